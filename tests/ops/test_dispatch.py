"""What computes a plan, and what it says of it."""

from __future__ import annotations

import pytest
import torch
from make import make_sae

from audiosae_steer import Ablate, Add
from audiosae_steer.ops import dispatch
from audiosae_steer.steering.plan import Plan


def test_processors_take_plain_torch_and_doubles_always_do(monkeypatch: pytest.MonkeyPatch) -> None:
    assert dispatch.kernel_for(torch.zeros(1)) == "torch"
    monkeypatch.setattr(dispatch, "INTERPRETED", True)
    monkeypatch.setattr(dispatch, "TRITON", True)
    assert dispatch.kernel_for(torch.zeros(1)) == "triton"
    assert dispatch.kernel_for(torch.zeros(1, dtype=torch.float64)) == "torch"


def test_without_triton_it_warns_once_and_steers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "INTERPRETED", True)  # as on a GPU
    monkeypatch.setattr(dispatch, "TRITON", False)
    dispatch._miss_triton.cache_clear()
    plan = Plan([[Ablate([1, 2])]], make_sae("relu", 12, 31), 12)
    x, one = torch.randn(1, 5, 12), torch.tensor(1.0)
    with pytest.warns(UserWarning, match="pip install triton"):
        steered = plan(x, one)
    assert torch.equal(plan(x, one), steered)


@pytest.mark.parametrize(
    ("kind", "edit", "adds", "weights"),
    [("relu", Add(1, 0.5), 12, 48), ("relu", Ablate([1, 2]), 48, 192), ("topk", Ablate([1, 2]), 396, 1584)],
)
def test_costs_by_hand(kind: str, edit: object, adds: int, weights: int) -> None:
    plan = Plan([[edit]], make_sae(kind, 12, 31), 12)
    assert plan.cost() == dispatch.Cost("torch", adds, 96, weights)
    assert f"{adds:,} multiply-adds ({adds / 1000:.2%} of the block's own)" in plan.describe(1000)
