"""Comparisons of one analysis over SAEs, layers and models."""
