"""Metrics: word error rate, alignment, rates with their intervals, rankings of features."""
