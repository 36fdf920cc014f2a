"""Erasure of a concept."""
