"""The clip gate against the reference, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from make import NORMS, make_sae

from audiosae_steer import ClipGate, GateError
from audiosae_steer.ops import reference
from audiosae_steer.steering.gates import Probe, gate_features


@pytest.mark.parametrize("norm", NORMS, ids=lambda norm: norm.kind)
@pytest.mark.parametrize("kind", ["max", "mean", "nonzero_mean"])
def test_score_equals_the_reference(kind: Any, norm: Any) -> None:
    sae = make_sae("batchtopk-threshold", norm=norm)
    gate = ClipGate((3, 11, 30), (1.0, -2.0, 0.5), bias=0.3, threshold=0.1, pool=kind)
    x = torch.randn(4, 25, 12, generator=torch.Generator().manual_seed(0))
    f = reference.encode(x.double(), sae.weights(torch.float64))[..., [3, 11, 30]]
    pooled = {
        "max": f.amax(1),
        "mean": f.mean(1),
        "nonzero_mean": torch.stack(
            [torch.stack([c[c > 0].mean() if (c > 0).any() else c.sum() for c in clip.T]) for clip in f]
        ),
    }[kind]
    score = pooled @ torch.tensor(gate.weights, dtype=torch.float64) + 0.3 - 0.1
    torch.testing.assert_close(Probe(gate, sae)(x).double(), score, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(gate_features(sae, x, gate.features, kind).double(), pooled, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (((), ()), "one weight per feature"),
        (((1, 2), (1.0,)), "one weight per feature"),
        (((1, 1), (1.0, 1.0)), "different"),
        (((-1,), (1.0,)), "counted from 0"),
        (((1,), (float("nan"),)), "NaN"),
        (((1,), (1.0,), 0.0, 0.0, "median"), "unknown"),
    ],
)
def test_a_malformed_gate_is_refused(arguments: tuple[Any, ...], says: str) -> None:
    with pytest.raises(GateError, match=says):
        ClipGate(*arguments)


def test_a_gate_must_fit_its_sae() -> None:
    with pytest.raises(GateError, match="31"):
        Probe(ClipGate((31,), (1.0,)), make_sae())
    with pytest.raises(GateError, match="calibrate"):
        Probe(ClipGate((1,), (1.0,)), make_sae("topk"))
