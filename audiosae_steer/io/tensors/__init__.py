"""Tensors of untrusted files, read without running any of their code."""
