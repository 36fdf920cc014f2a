"""Probes of classes over few features, and without them."""
