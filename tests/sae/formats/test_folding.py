"""What is folded into weights, against the formulas it stands for."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiosae_steer import SAE, Gate
from audiosae_steer.sae.formats.folding import gated_as_jumprelu, just_below, reading_raw, unit_directions

D, F = 7, 23


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10**6), spread=st.sampled_from((0.1, 1.0, 3.0)))
def test_a_gated_sae_is_a_jumprelu_one(seed: int, spread: float) -> None:
    W_gate, W_dec, b_dec = normal(seed, F, D), normal(seed + 1, F, D), normal(seed + 2, D)
    r_mag, b_gate, b_mag = (spread * normal(seed + n, F) for n in (3, 4, 5))
    W_enc, b_enc, threshold = gated_as_jumprelu(W_gate, r_mag, b_gate, b_mag)
    sae = SAE(W_enc, b_enc, W_dec, b_dec, gate=Gate("jumprelu"), threshold=threshold)
    x = normal(seed + 6, 40, D)
    p = (x - b_dec) @ W_gate.T
    expected = (p + b_gate > 0) * (r_mag.exp() * p + b_mag).clamp(min=0)
    torch.testing.assert_close(sae.encode(x), expected)
    assert 0 < (expected > 0).double().mean() < 1


def test_an_encoder_of_x_itself() -> None:
    W_enc, b_enc, b_dec, x = normal(0, F, D), normal(1, F), normal(2, D), normal(3, 9, D)
    torch.testing.assert_close((x - b_dec) @ W_enc.T + reading_raw(W_enc, b_enc, b_dec), x @ W_enc.T + b_enc)


def test_directions_of_norm_1_keep_the_reconstruction() -> None:
    W_enc, b_enc, W_dec, x = normal(0, F, D), normal(1, F), normal(2, F, D), normal(3, 9, D)
    W_dec[4] = 0
    unit = unit_directions(W_enc, b_enc, W_dec)
    torch.testing.assert_close(unit[2].norm(dim=-1), torch.tensor([1.0] * 4 + [0.0] + [1.0] * (F - 5)).double())
    before, after = ((x @ W.T + b).clamp(min=0) @ out for W, b, out in ((W_enc, b_enc, W_dec), unit))
    torch.testing.assert_close(after, before)
    W_dec[4] = 1.0
    unit = unit_directions(W_enc, b_enc, W_dec)
    assert all(again is once for again, once in zip(unit_directions(*unit), unit, strict=True))


def test_at_least_is_greater_than_the_number_just_below() -> None:
    threshold = torch.tensor([0.0, 1e-38, 0.05, 1.0, 3.4e38])
    below = just_below(threshold)
    assert bool((threshold[1:] > below[1:]).all())
    assert bool((below >= 0).all())
    assert bool((torch.nextafter(below, torch.tensor(torch.inf))[1:] == threshold[1:]).all())
