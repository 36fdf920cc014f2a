"""Domains of features: speech, music, sounds."""
