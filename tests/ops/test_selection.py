"""What a selection keeps of a few features, against the reference's mask over all of them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from make import make_sae

from audiosae_steer import Push, Scale, SteeringError
from audiosae_steer.ops import dispatch, reference, selection
from audiosae_steer.steering.plan import Plan

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
pytestmark = [pytest.mark.gpu] if DEVICE == "cuda" else []


def weights(kind: str, k: int, F: int, d: int, values: int, seed: int) -> reference.SAEWeights:
    """Whole numbers, so that ties are common and sums exact."""
    g = torch.Generator().manual_seed(seed)
    W = torch.randint(-values, values + 1, (F, d), generator=g).double()
    zero = torch.zeros(d, dtype=torch.float64)
    return reference.SAEWeights(W, torch.zeros(F, dtype=torch.float64), W, zero, kind, k, None, "none", 1.0)


@given(
    kind=st.sampled_from(["topk", "batchtopk"]),
    k=st.integers(0, 9),
    F=st.integers(1, 7),
    shape=st.tuples(st.integers(0, 3), st.integers(0, 11)),
    values=st.integers(1, 3),
    block=st.integers(1, 12),
    seed=st.integers(0, 20),
    asks=st.booleans(),
)
def test_the_same_as_of_all_features(kind, k, F, shape, values, block, seed, asks) -> None:
    w = weights(kind, min(k, F) if kind == "topk" else k, F, 3, values, seed)
    g = torch.Generator().manual_seed(seed + 1)
    x = torch.randint(-1, 2, (*shape, 3), generator=g).double()
    index = torch.randperm(F, generator=g)[: 1 + seed % F]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selection, "BLOCK", block)
        if not asks:
            patch.setattr(selection, "asks", lambda x: False)
        got = selection.selected(x, w, index)
    assert torch.equal(got, reference.encode(x, w)[..., index])


@example(kind="topk", k=1, F=4, shape=(1, 1), values=1, block=1, broken=True, seed=2)
@given(
    kind=st.sampled_from(["topk", "batchtopk"]),
    k=st.integers(0, 9),
    F=st.integers(1, 7),
    shape=st.tuples(st.integers(0, 3), st.integers(0, 11)),
    values=st.integers(1, 3),
    block=st.integers(1, 12),
    broken=st.booleans(),
    seed=st.integers(0, 20),
)
def test_what_the_others_write_is_the_same_as_of_all_features(kind, k, F, shape, values, block, broken, seed) -> None:
    """Features one by one, whatever their share: whole numbers, so that ties are common and sums exact."""
    w = weights(kind, min(k, F) if kind == "topk" else k, F, 3, values, seed)
    g = torch.Generator().manual_seed(seed + 1)
    x = torch.randint(-1, 2, (*shape, 3), generator=g).double()
    if broken and x.numel():
        x.view(-1)[seed % x.numel()] = float("nan")
    index = torch.randperm(F, generator=g)[: 1 + seed % F]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selection, "BLOCK", block)
        patch.setattr(selection, "SPARSE", 9.0)
        own, rest = selection.parted(x, w, index)
    f = reference.encode(x, w)
    torch.testing.assert_close(own, f[..., index], rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(rest, f.index_fill(-1, index, 0.0) @ w.W_dec, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("asks", [True, False])
@pytest.mark.parametrize("kind", ["topk", "batchtopk"])
def test_nan_spreads_as_in_the_reference(kind, asks, monkeypatch) -> None:
    if not asks:
        monkeypatch.setattr(selection, "asks", lambda x: False)
    w = weights(kind, 2, 7, 3, 3, 0)
    x = torch.randn(2, 9, 3, dtype=torch.float64)
    x[1, 4, 0] = float("nan")
    got, wanted = (f(x, w) for f in (lambda x, w: selection.selected(x, w, torch.arange(7)), reference.encode))
    torch.testing.assert_close(got, wanted, rtol=0, atol=0, equal_nan=True)


@given(
    k=st.integers(1, 9),
    F=st.sampled_from([2, 7, 31, 32, 33, 100]),
    E=st.sampled_from([1, 2, 17, 300]),
    values=st.sampled_from([0, 1, 3]),
    seed=st.integers(0, 20),
)
@settings(max_examples=30)
def test_the_kernel_gives_the_reference_bit_for_bit(k, F, E, values, seed) -> None:
    pytest.importorskip("triton", reason="the kernels need Triton")
    from audiosae_steer.ops.triton_select import select

    g = torch.Generator().manual_seed(seed)
    whole = torch.randint(-values, values + 1, (5, 2 * F), generator=g).float()
    pre = (torch.randn(5, 2 * F, generator=g) if values == 0 else whole)[:, ::2]
    pre[seed % 5] = [float("nan"), float("inf"), 0.0][seed % 3]
    index = torch.randint(0, F, (E,), generator=g)
    wanted = reference.gate(pre[None], "topk", min(k, F), None)[0][:, index]
    got = select(pre.to(DEVICE), index.to(DEVICE), min(k, F)).cpu()
    torch.testing.assert_close(got, wanted, rtol=0, atol=0, equal_nan=True)
    with pytest.raises(ValueError, match="cannot select"):
        select(pre, index, F + 1)


@given(
    d=st.sampled_from([8, 24, 72]),
    F=st.sampled_from([1, 7, 31, 64, 200]),
    E=st.sampled_from([1, 5, 16]),
    shape=st.tuples(st.integers(0, 2), st.sampled_from([0, 1, 9, 33])),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    seed=st.integers(0, 20),
)
@settings(max_examples=30)
def test_ranks_are_counted_with_ties_to_the_lower_index(d, F, E, shape, dtype, seed) -> None:
    pytest.importorskip("triton", reason="the kernels need Triton")
    from audiosae_steer.ops.triton_rank import rank

    g = torch.Generator().manual_seed(seed)
    W, bias = torch.randint(-1, 2, (F, d), generator=g).float(), torch.randint(-2, 3, (F,), generator=g).float()
    x = torch.randint(-1, 2, (*shape, 2 * d), generator=g).to(dtype)[..., ::2]  # small whole numbers: sums are exact
    index = torch.randint(0, F, (E,), generator=g)
    own = (W[index], bias[index], index)
    got = rank(x.to(DEVICE), W.to(DEVICE, dtype), bias.to(DEVICE), *(t.to(DEVICE) for t in own)).cpu()
    pre = x.float() @ W.T + bias
    mine = pre[..., index, None]
    earlier = torch.arange(F) < index[:, None]
    wanted = (pre[..., None, :] > mine) | ((pre[..., None, :] == mine) & earlier)
    assert torch.equal(got, wanted.sum(-1, dtype=torch.int32))


@pytest.mark.parametrize("edited", [3, 20], ids=["by counting", "by bits"])
@pytest.mark.parametrize("pushed", [False, True])
def test_a_topk_plan_runs_the_kernels(edited: int, pushed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton", reason="the kernels need Triton")
    sae = make_sae("topk", 12, 31)
    edits = [Scale(list(range(edited)), 2.0), *([Push(torch.ones(12))] if pushed else [])]
    plan = Plan([edits], sae, 12).to(DEVICE)
    x = torch.randn(2, 9, 12, device=DEVICE)
    upstream, one = torch.randn_like(x), torch.tensor(1.0, device=DEVICE)
    found = []
    for interpreted in (True, False):
        monkeypatch.setattr(dispatch, "INTERPRETED", interpreted)
        monkeypatch.setattr(dispatch, "SERVED", dispatch.SERVED if interpreted else ())
        assert dispatch.counts(x, "topk", edited) == (interpreted and edited == 3)
        own = x.clone().requires_grad_()
        steered = plan(own, one)
        steered.backward(upstream)
        with torch.no_grad():
            found.append((steered.detach(), plan(x, one), own.grad))
    for one_way, other in zip(*found, strict=True):
        torch.testing.assert_close(one_way, other)


def test_ranks_under_vmap() -> None:
    pytest.importorskip("triton", reason="the kernels need Triton")
    from audiosae_steer.ops import custom_ops

    g = torch.Generator().manual_seed(0)
    W, bias, index = torch.randn(31, 12, generator=g), torch.randn(31, generator=g), torch.tensor([3, 30])
    W, bias, index = (t.to(DEVICE) for t in (W, bias, index))
    x = torch.randn(3, 2, 5, 12, generator=g).to(DEVICE)
    got = torch.vmap(lambda clips: custom_ops.rank(clips, W, bias, W[index], bias[index], index))(x)
    pre = x @ W.T + bias
    assert torch.equal(got, (pre[..., None, :] > pre[..., index, None]).sum(-1, dtype=torch.int32))
    with pytest.raises(SteeringError, match="maps its inputs"):
        torch.vmap(lambda rows: custom_ops.rank(x[0], rows, bias, W[index], bias[index], index))(W.expand(2, 31, 12))
    args = (x[0], W, bias, W[index], bias[index], index)
    torch.library.opcheck(torch.ops.audiosae_steer.rank.default, args)


def test_ties_in_a_later_block_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "BLOCK", 1)
    ones = torch.ones(2, 1, dtype=torch.float64)
    w = reference.SAEWeights(
        ones, torch.zeros(2, dtype=torch.float64), ones, torch.zeros(1, dtype=torch.float64), "batchtopk", 1, None,
        "none", 1.0,
    )  # fmt: skip
    x = torch.ones(1, 2, 1, dtype=torch.float64)
    assert torch.equal(selection.selected(x, w, torch.arange(2)), reference.encode(x, w))


def test_the_operator_of_bits_is_checked_by_torch() -> None:
    pytest.importorskip("triton", reason="the kernels need Triton")
    pre = torch.randn(5, 40, device=DEVICE).bfloat16()
    index = torch.tensor([3, 4], device=DEVICE)
    torch.library.opcheck(torch.ops.audiosae_steer.select.default, (pre, index, 7), test_utils="test_faketensor")
