"""Retrieval: clips ranked by named features."""
