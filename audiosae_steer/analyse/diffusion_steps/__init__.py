"""Emergence of properties over the steps of a diffusion."""
