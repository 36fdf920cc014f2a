"""Pitch, loudness and spectral centroid of frames, and their maps from features."""
