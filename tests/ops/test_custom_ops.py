"""The kernels against the reference in float64: on the processor by Triton's interpreter, on a GPU as they are.

`pytest -m gpu` runs them on a GPU; without one they run on small shapes in the interpreter.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from make import NORMS, edit_lists, make_sae, naive_edit, naive_push
from torch import Tensor

from audiosae_steer import Ablate, Add, Clamp, Push, Scale, Set, SteeringError
from audiosae_steer.ops import dispatch, reference
from audiosae_steer.ops.eager import Where
from audiosae_steer.steering.plan import Plan

pytest.importorskip("triton", reason="the kernels need Triton")

GPU = torch.cuda.is_available()
DEVICE = "cuda" if GPU else "cpu"
KINDS = ("relu", "jumprelu", "batchtopk-threshold")
RATE = 20.0
D, F = 24, 31
pytestmark = [pytest.mark.gpu] if GPU else []
TOLERANCE = {torch.float32: (2e-4, 2e-4), torch.float16: (4e-3, 2e-2), torch.bfloat16: (2e-2, 2e-1)}
"""Relative and absolute: the edited rows are rounded to the dtype of x, sums are float32."""


@pytest.fixture(autouse=True)
def kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "INTERPRETED", True)


def truth(x: Tensor, sae: Any, edits: list[Any], strength: float, on: Tensor | None = None) -> Tensor:
    times = (torch.arange(x.shape[1], dtype=torch.float64) + 0.5) / RATE
    return reference.steer(
        x.double(),
        sae.weights(torch.float64),
        lambda f: naive_edit(f, edits, sae.typical.double(), times),
        push=naive_push(edits, times, x.shape[-1]),
        strength=strength,
        on=on,
    )


def sure(x: Tensor, sae: Any, dtype: torch.dtype) -> Tensor:
    """(clips, frames): where no feature is so near its threshold that rounding decides whether it fires."""
    w = sae.weights(torch.float64)
    pre = (x.double() * reference.input_scale(x.double(), w.norm, w.scale) - w.b_dec) @ w.W_enc.T + w.b_enc
    edge = 0.0 if w.threshold is None else w.threshold.clamp(min=0)
    return ((pre - edge).abs() > TOLERANCE[dtype][1]).all(-1)


def run(plan: Plan, x: Tensor, strength: float = 1.0, **where: Any) -> Tensor:
    """The plan's answer, from kernels; checks that these are what ran."""
    plan.to(DEVICE)
    assert plan.path == "identity" or dispatch.kernel_for(x.to(DEVICE)) == "triton"
    where = {name: value.to(DEVICE) for name, value in where.items()}
    return plan(x.to(DEVICE), torch.tensor(strength, device=DEVICE), **where).cpu()


def close(got: Tensor, wanted: Tensor, x: Tensor, sae: Any) -> None:
    rtol, atol = TOLERANCE[x.dtype]
    rows = sure(x, sae, x.dtype)
    torch.testing.assert_close(got[rows].double(), wanted[rows], rtol=rtol, atol=atol)


@settings(max_examples=40)
@given(
    edits=edit_lists(F, D),
    kind=st.sampled_from(KINDS),
    norm=st.sampled_from(NORMS),
    strength=st.sampled_from([1.0, 0.5, -0.25]),
    shape=st.tuples(st.integers(1, 3), st.sampled_from([1, 2, 17, 33])),
    dtype=st.sampled_from(list(TOLERANCE)),
    seed=st.integers(0, 5),
)
def test_the_kernel_gives_the_reference(edits, kind, norm, strength, shape, dtype, seed) -> None:
    sae = make_sae(kind, D, F, seed, norm)
    x = torch.randn(*shape, D, generator=torch.Generator().manual_seed(seed)).to(dtype)
    got = run(Plan([edits], sae, D, frame_rate=RATE), x, strength)
    assert got.dtype == dtype
    close(got, truth(x, sae, edits, strength), x, sae)


@pytest.mark.parametrize(("d", "width"), [(8, 1), (40, 1), (72, 129), (136, 300), (768, 7)])
@pytest.mark.parametrize("dtype", list(TOLERANCE))
def test_odd_widths_one_feature_and_all_of_them(d: int, width: int, dtype: torch.dtype) -> None:
    sae = make_sae("jumprelu", d, width)
    edits = [Scale(list(range(width)), 0.25), Add(0, 0.5)]
    x = torch.randn(2, 19, d, generator=torch.Generator().manual_seed(1)).to(dtype)
    close(run(Plan([edits], sae, d), x), truth(x, sae, edits, 1.0), x, sae)


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("kind", ["relu", "topk", "add"])
def test_a_strength_for_each_clip(kind: str, dtype: torch.dtype) -> None:
    sae = None if kind == "add" else make_sae(kind, D, F)
    edits = [Push(torch.ones(D), window=(0.2, 5.0))] + ([] if sae is None else [Ablate([1, 2, 3]), Add(4, 0.5)])
    strengths = torch.tensor([0.5, 0.0, 1.0], device=DEVICE)
    x = torch.randn(3, 19, D, generator=torch.Generator().manual_seed(1)).to(dtype)
    plan = Plan([edits], sae, D, frame_rate=RATE).to(DEVICE)
    got = plan(x.to(DEVICE), strengths).cpu()
    assert torch.equal(got[1], x[1])
    for clip in range(3):
        one = x[clip : clip + 1].to(DEVICE)
        torch.testing.assert_close(got[clip], plan(one, strengths[clip])[0].cpu(), rtol=1e-3, atol=1e-3)
    mapped = torch.vmap(lambda clips: plan(clips, strengths))(x.to(DEVICE)[None].expand(2, -1, -1, -1))
    torch.testing.assert_close(mapped[1].cpu(), got, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dtype", list(TOLERANCE))
def test_strides_of_any_kind(dtype: torch.dtype) -> None:
    sae, edits = make_sae("relu", D, F), [Ablate([1, 2, 3]), Push(torch.ones(D))]
    whole = torch.randn(4, 50, 3 * D, generator=torch.Generator().manual_seed(1)).to(dtype)
    plan = Plan([edits], sae, D)
    for x in (whole[::2, ::3, D : 2 * D], whole[:, :D, :50].transpose(1, 2), whole[:1, :1, :D].expand(3, 7, D)):
        assert not x.is_contiguous()
        close(run(plan, x), truth(x, sae, edits, 1.0), x, sae)
    live = (torch.rand(7, 6, generator=torch.Generator().manual_seed(0)) < 0.5)[:, ::2].T
    got = run(plan, x, live=live)
    assert torch.equal(got[~live], x[~live])
    close(got, torch.where(live[..., None], truth(x, sae, edits, 1.0), x.double()), x, sae)
    assert run(plan, x[:0]).shape == (0, 7, D)
    assert run(plan, x[:, :0]).shape == (3, 0, D)


@pytest.mark.parametrize("dtype", list(TOLERANCE))
def test_gates_choices_windows_and_strength_zero_leave_bits_alone(dtype: torch.dtype) -> None:
    bits = torch.int32 if dtype == torch.float32 else torch.int16
    first = [Ablate(list(range(9))), Add([1, 2], 0.5, window=(0.5, 1.0))]
    second = [Set(3, 0.7), Clamp(4, high=0.1), Push(torch.ones(D))]
    sae = make_sae("jumprelu", D, F)
    x = torch.randn(4, 40, D, generator=torch.Generator().manual_seed(3)).to(dtype)
    x[:, 2], x[:, 3] = 0.0, -0.0
    plan = Plan([first, second], sae, D, frame_rate=RATE)
    assert torch.equal(run(plan, x, 0.0).view(bits), x.view(bits))
    live = torch.tensor([False, True, True, True])
    got = run(plan, x, live=live, choice=torch.tensor([0, 1, 0, 1]))
    assert torch.equal(got[0].view(bits), x[0].view(bits))
    for clip, edits in ((1, second), (2, first), (3, second)):
        one = x[clip : clip + 1]
        close(got[clip : clip + 1], truth(one, sae, edits, 1.0), one, sae)
    frames = torch.rand(4, 40, generator=torch.Generator().manual_seed(0)) < 0.5
    got = run(plan, x, live=frames)
    assert torch.equal(got[~frames].view(bits), x[~frames].view(bits))
    close(got, torch.where(frames[..., None], truth(x, sae, first, 1.0), x.double()), x, sae)
    away = torch.cat([torch.tensor([-torch.inf] * 4), torch.linspace(0.0, 2.0, 36)])
    moved = (run(plan, x, times=away) != run(Plan([first[:1]], sae, D), x)).any(-1).any(0)
    assert torch.equal(moved, (away >= 0.5) & (away < 1.0))  # frames of other times than their place says
    starts = torch.tensor([0.0, 0.4, 3.0, -0.6])  # clips that begin at other times
    got = run(plan, x, offset=starts)
    for clip, start in enumerate(starts):
        assert torch.equal(got[clip], run(plan, x, offset=start)[clip])
    only = Plan([[Scale(5, 3.0, window=(0.5, 1.0))]], sae, D, frame_rate=RATE)
    moved = (run(only, x, offset=torch.tensor(0.4)) != x).any(-1).any(0).nonzero().flatten().tolist()
    assert moved
    assert set(moved) <= set(range(2, 12))


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")  # the interpreter is numpy's
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_spreads_as_in_the_reference(bad: float) -> None:
    x = torch.randn(2, 20, D, generator=torch.Generator().manual_seed(3))
    x[1, 7, 5] = bad
    for kind in KINDS:
        # of all features: those that are not edited come and go in the reference, and inf − inf is no number
        sae, edits = make_sae(kind, D, F), [Scale(list(range(F)), 2.0)]
        got, wanted = run(Plan([edits], sae, D), x), truth(x, sae, edits, 1.0)
        assert not got[1, 7].isfinite().all()
        assert torch.equal(got.isnan(), wanted.isnan())
        assert torch.equal(got.isinf(), wanted.isinf())


def test_every_number_of_the_result_is_written() -> None:
    from audiosae_steer.ops.triton_delta import delta

    sae, x = make_sae("relu", D, F), torch.randn(2, 21, D).to(DEVICE)
    plan = Plan([[Ablate([1, 2])]], sae, D).to(DEVICE)
    wanted = run(plan, x.cpu())
    one = torch.tensor(1.0, device=DEVICE)
    poisoned = torch.full_like(x, float("nan"))
    tensors = plan.tensors()
    delta(x, tensors.rows, tensors.edits, one, Where(), out=poisoned)
    assert torch.equal(poisoned.cpu(), wanted)
    delta(x, tensors.rows, tensors.edits, one, Where(), out=x)
    assert torch.equal(x.cpu(), wanted)


def test_the_derivative_is_that_of_the_eager_form(monkeypatch: pytest.MonkeyPatch) -> None:
    sae = make_sae("jumprelu", D, F)
    edits = [
        Scale([1, 2, 3], 0.5),
        Clamp([2, 4], 0.1, 0.6, window=(0.2, 0.9)),
        Ablate(5),
        Set(6, 0.3),
        Add([1, 7], 0.2),
    ]
    plan = Plan([edits, [Ablate(2)]], sae, D, frame_rate=RATE).to(DEVICE)
    x = torch.randn(3, 33, D, generator=torch.Generator().manual_seed(3)).to(DEVICE)
    upstream = torch.randn_like(x)
    choice, live = torch.tensor([0, 1, 0], device=DEVICE), torch.tensor([True, True, False], device=DEVICE)
    found = []
    for interpreted in (True, False):
        monkeypatch.setattr(dispatch, "INTERPRETED", interpreted)
        monkeypatch.setattr(dispatch, "SERVED", dispatch.SERVED if interpreted else ())
        own = x.clone().requires_grad_()
        plan(own, torch.tensor(0.7, device=DEVICE), choice=choice, live=live).backward(upstream)
        found.append(own.grad)
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


def test_the_derivative_of_an_addition_is_one() -> None:
    plan = Plan([[Push(torch.ones(D), window=(0.0, 0.1))]], None, D, frame_rate=RATE).to(DEVICE)
    x = torch.randn(2, 5, D, device=DEVICE, requires_grad=True)
    plan(x, torch.tensor(0.7, device=DEVICE)).square().sum().backward()
    with torch.no_grad():
        torch.testing.assert_close(x.grad, 2 * plan(x, torch.tensor(0.7, device=DEVICE)))


def test_gradients_of_the_strength_take_the_eager_form() -> None:
    plan = Plan([[Ablate([1, 2, 3])]], make_sae("relu", D, F), D).to(DEVICE)
    strength = torch.tensor(1.0, device=DEVICE, requires_grad=True)
    plan(torch.randn(1, 5, D, device=DEVICE), strength).sum().backward()
    assert strength.grad is not None


def test_torch_checks_the_operator() -> None:
    plan = Plan([[Ablate([1, 2, 3]), Push(torch.ones(D))]], make_sae("relu", D, F), D).to(DEVICE)
    x = torch.randn(2, 5, D, device=DEVICE, requires_grad=True)
    _, edits, rows, *_ = plan.tensors()
    assert not edits.joints  # which no kernel takes
    args = (x, *rows[:4], *edits[:5], torch.tensor(1.0, device=DEVICE), None, None, None, 1.0, None, None, 0, None)
    torch.library.opcheck(torch.ops.audiosae_steer.delta.default, args)

    torch.library.opcheck(
        torch.ops.audiosae_steer.add.default, (x, plan.vectors, *[None] * 2, args[10], *args[11:15], None)
    )


@pytest.mark.parametrize("edit", [Ablate([1, 2, 3]), Push(torch.ones(D))], ids=["delta", "add"])
def test_vmap_maps_over_inputs(edit: Any) -> None:
    plan = Plan([[edit]], make_sae("relu", D, F), D).to(DEVICE)
    one = torch.tensor(1.0, device=DEVICE)
    x = torch.randn(4, 2, 5, D, device=DEVICE)
    mapped = torch.vmap(lambda clips: plan(clips, one))(x)
    torch.testing.assert_close(mapped, torch.stack([plan(clips, one) for clips in x]))
    starts = torch.tensor([0.0, 0.3], device=DEVICE)  # of each clip, the same for all that is mapped
    timed = Plan([[type(edit)(*([edit.features] if isinstance(edit, Ablate) else [edit.vector]), window=(0.2, 0.4))]],
                 make_sae("relu", D, F), D, frame_rate=RATE).to(DEVICE)  # fmt: skip
    mapped = torch.vmap(lambda clips: timed(clips, one, offset=starts))(x)
    torch.testing.assert_close(mapped, torch.stack([timed(clips, one, offset=starts) for clips in x]))
    with pytest.raises(SteeringError, match="maps its inputs"):
        torch.vmap(lambda strength: plan(x[0], strength))(torch.ones(3, device=DEVICE))


def test_compiled_without_a_graph_break() -> None:
    plan = Plan([[Ablate([1, 2, 3])]], make_sae("relu", D, F), D).to(DEVICE)
    one = torch.tensor(1.0, device=DEVICE)
    x = torch.randn(2, 5, D, device=DEVICE)
    compiled = torch.compile(lambda x: plan(2 * x, one) + 1, fullgraph=True, backend="inductor" if GPU else "eager")
    torch.testing.assert_close(compiled(x), plan(2 * x, one) + 1)


needs_gpu = pytest.mark.skipif(not GPU, reason="CUDA graphs need a GPU")
EDITED = [("relu", [Ablate([1, 2, 3])]), ("relu", [Push(torch.ones(D))]), ("topk", [Scale([1, 2], 0.5)])]


@needs_gpu
@pytest.mark.parametrize(("kind", "edits"), EDITED, ids=["delta", "add", "topk"])
@pytest.mark.parametrize("frames", [1, 33])
def test_captured_in_a_cuda_graph(kind: str, edits: list[Any], frames: int) -> None:
    plan = Plan([edits], make_sae(kind, D, F), D, products=torch.bfloat16).to(DEVICE)
    strength = torch.tensor(1.0, device=DEVICE)
    x = torch.randn(2, frames, D, device=DEVICE, dtype=torch.bfloat16)
    with torch.no_grad():
        plan(x, strength)  # compiles
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            captured = plan(x, strength)
        for value in (1.0, 0.5, 0.0):  # strength is a buffer: nothing is captured again
            x.copy_(torch.randn_like(x))
            strength.fill_(value)
            graph.replay()
            assert torch.equal(captured, plan(x, strength))


@needs_gpu
@pytest.mark.parametrize(("kind", "edits"), EDITED, ids=["delta", "add", "topk"])
def test_compiled_with_less_overhead(kind: str, edits: list[Any]) -> None:
    plan = Plan([edits], make_sae(kind, D, F), D).to(DEVICE)
    one = torch.tensor(1.0, device=DEVICE)
    compiled = torch.compile(lambda x: plan(2 * x, one) + 1, fullgraph=True, mode="reduce-overhead")
    for _ in range(4):
        x = torch.randn(2, 5, D, device=DEVICE)
        with torch.no_grad():
            torch.testing.assert_close(compiled(x).clone(), plan(2 * x, one) + 1)
