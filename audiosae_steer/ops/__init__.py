"""Steering on tensors: reference, fast forms, kernels, and the choice between them."""
