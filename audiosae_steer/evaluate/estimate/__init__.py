"""Estimates of what work on a corpus costs: from a brief measurement, and on paper."""
