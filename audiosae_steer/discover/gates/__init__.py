"""Clip and frame gates, fitted on pooled SAE features."""
