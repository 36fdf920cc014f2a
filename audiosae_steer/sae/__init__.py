"""Sparse autoencoders: weights, gate, quality, and the files they come in. Knows no audio model."""
