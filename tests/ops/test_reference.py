"""The reference itself, against loops in plain Python."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from make import KINDS, NORMS, make_sae

from audiosae_steer.ops import reference


@given(
    values=st.lists(st.integers(-3, 3), min_size=1, max_size=12),
    count=st.integers(0, 14),
)
def test_largest_is_exact_with_ties_to_the_lower_index(values: list[int], count: int) -> None:
    order = sorted(range(len(values)), key=lambda i: (-values[i], i))[:count]
    mask = reference.largest(torch.tensor([values], dtype=torch.float64), count)
    assert mask[0].nonzero().flatten().tolist() == sorted(order)


@pytest.mark.parametrize("norm", NORMS, ids=lambda norm: norm.kind)
@pytest.mark.parametrize("kind", KINDS)
def test_encode_and_decode_by_hand(kind: str, norm: object) -> None:
    sae = make_sae(kind, d=5, F=9, norm=norm)
    w = sae.weights(torch.float64)
    x = torch.randn(2, 7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    got = reference.encode(x, w)
    for clip in range(2):
        pre = torch.zeros(7, 9, dtype=torch.float64)
        scales = torch.ones(7, dtype=torch.float64)
        for frame in range(7):
            vector = x[clip, frame]
            scales[frame] = {"none": 1.0, "scalar": norm.scale}.get(
                norm.kind, norm.scale / float(vector.square().sum().sqrt())
            )
            for i in range(9):
                pre[frame, i] = float((w.W_enc[i] * (vector * scales[frame] - w.b_dec)).sum() + w.b_enc[i])
        positive = pre.clamp(min=0)
        if kind == "relu":
            f = positive
        elif kind == "rms":
            f = torch.zeros_like(pre)
            for frame in range(7):
                square = sum(float(positive[frame, i]) ** 2 for i in range(9)) / 9
                for i in range(9):
                    f[frame, i] = float(w.gain[i]) * float(positive[frame, i]) / (square + 1e-6) ** 0.5
        elif kind == "topk":
            f = torch.zeros_like(pre)
            for frame in range(7):
                for i in sorted(range(9), key=lambda i: -float(pre[frame, i]))[:5]:
                    f[frame, i] = positive[frame, i]
        elif kind == "batchtopk":
            f = torch.zeros_like(pre).flatten()
            for i in sorted(range(63), key=lambda i: -float(pre.flatten()[i]))[:35]:
                f[i] = positive.flatten()[i]
            f = f.reshape(7, 9)
        else:
            f = torch.where(pre > w.threshold, positive, 0.0)
        torch.testing.assert_close(got[clip], f)
        rebuilt = reference.decode(got[clip : clip + 1], w, scales[None, :, None])[0]
        for frame in range(7):
            by_hand = (sum(f[frame, i] * w.W_dec[i] for i in range(9)) + w.b_dec) / scales[frame]
            torch.testing.assert_close(rebuilt[frame], by_hand)


def test_a_gate_without_its_threshold_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a threshold"):
        reference.gate(torch.zeros(1, 1, 2), "jumprelu", None, None)


def test_a_frames_score_by_hand() -> None:
    f = torch.rand(2, 9, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    got = reference.frame_score(f, torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64), 0.3, 2)
    for clip in range(2):
        for frame in range(9):
            near = [max(float(f[clip, t, i]) for t in range(9) if abs(t - frame) <= 2) for i in range(3)]
            assert float(got[clip, frame]) == pytest.approx(near[0] - 2 * near[1] + 0.5 * near[2] + 0.3)
