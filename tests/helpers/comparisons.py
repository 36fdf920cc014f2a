"""Comparisons of SAEs."""

from __future__ import annotations

import torch

from audiosae_steer import SAE

BUFFERS = ("W_enc", "b_enc", "W_dec", "b_dec", "threshold", "typical")


def assert_same(a: SAE, b: SAE) -> None:
    assert (a.gate, a.normalisation, a.info) == (b.gate, b.normalisation, b.info)
    for name in BUFFERS:
        one, other = getattr(a, name), getattr(b, name)
        assert (one is None) == (other is None), name
        if one is not None:
            assert one.dtype == other.dtype, name
            assert torch.equal(one, other), name
