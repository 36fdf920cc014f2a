"""Stability of features over seeds, layers and models."""
