"""Every path against the reference in float64, on random shapes, gates, edits, windows, choices and dtypes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from make import KINDS, NORMS, edit_lists, make_sae, naive_edit, naive_push
from thresholds import far_from_thresholds
from torch import Tensor

from audiosae_steer import SAE, Ablate, Add, Clamp, EditError, Normalisation, Push, Scale, Set
from audiosae_steer.ops import reference, selection
from audiosae_steer.steering.plan import Plan

RATE = 20.0
D, F = 12, 31


def truth(x: Tensor, sae: Any, edits: list[Any], strength: float, error: str, on: Tensor | None) -> Tensor:
    w = sae.weights(torch.float64)
    times = (torch.arange(x.shape[1], dtype=torch.float64) + 0.5) / RATE
    return reference.steer(
        x.double(),
        w,
        lambda f: naive_edit(f, edits, sae.typical.double(), times),
        push=naive_push(edits, times, x.shape[-1]),
        strength=strength,
        error=error,
        on=on,
    )


@settings(max_examples=150, deadline=None)
@given(
    edits=edit_lists(F, D),
    kind=st.sampled_from(KINDS),
    norm=st.sampled_from(NORMS),
    error=st.sampled_from(["keep", "drop"]),
    strength=st.sampled_from([1.0, 0.5, -0.25, 2.0]),
    shape=st.tuples(st.integers(1, 3), st.sampled_from([1, 2, 7, 33])),
    seed=st.integers(0, 5),
    dtype=st.sampled_from([torch.float64, torch.float32]),
)
def test_every_path_gives_the_reference(edits, kind, norm, error, strength, shape, seed, dtype) -> None:
    sae = make_sae(kind, D, F, seed, norm)
    x = torch.randn(*shape, D, generator=torch.Generator().manual_seed(seed)).to(dtype)
    plan = Plan([edits], sae, D, error=error, frame_rate=RATE, dtype=dtype)
    got = plan(x, torch.tensor(strength, dtype=dtype))
    wanted = truth(x, sae, edits, strength, error, None)
    assert got.dtype == dtype
    sure = far_from_thresholds(x, sae) if dtype == torch.float32 else torch.ones(shape[0], dtype=torch.bool)
    tolerance = {"rtol": 1e-9, "atol": 1e-9} if dtype == torch.float64 else {"rtol": 2e-4, "atol": 2e-4}
    torch.testing.assert_close(got[sure].double(), wanted[sure], **tolerance)


@settings(max_examples=60, deadline=None)
@given(edits=edit_lists(F, D), dtype=st.sampled_from([torch.bfloat16, torch.float16]), seed=st.integers(0, 3))
def test_half_precision_is_computed_wide_and_rounded_once(edits, dtype, seed) -> None:
    sae = make_sae("relu", D, F, seed)
    x = torch.randn(2, 9, D, generator=torch.Generator().manual_seed(seed)).to(dtype)
    got = Plan([edits], sae, D, frame_rate=RATE)(x, torch.tensor(1.0))
    wanted = truth(x, sae, edits, 1.0, "keep", None)
    assert got.dtype == dtype
    error = (got.double() - wanted).abs()
    assert (error <= wanted.abs() * torch.finfo(dtype).eps * 0.51 + 1e-4).all()


@settings(max_examples=60, deadline=None)
@given(
    edits=edit_lists(F, D),
    kind=st.sampled_from(KINDS),
    norm=st.sampled_from(NORMS),
    error=st.sampled_from(["keep", "drop"]),
    dtype=st.sampled_from([torch.bfloat16, torch.float16]),
    seed=st.integers(0, 5),
)
def test_products_of_half_precision_lose_no_more_than_their_inputs_did(edits, kind, norm, error, dtype, seed) -> None:
    sae = make_sae(kind, D, F, seed, norm)
    # far from zero together, as residuals are: a product of x itself would lose what tells frames apart
    far = SAE(
        sae.W_enc, sae.b_enc, sae.W_dec, sae.b_dec + 8.0, gate=sae.gate, threshold=sae.threshold,
        normalisation=sae.normalisation, typical=sae.typical, gain=sae.gain,
    )  # fmt: skip
    used = far if norm.kind == "none" else sae
    x = torch.randn(40, 1, D, generator=torch.Generator().manual_seed(seed))
    x = (x + (8.0 if norm.kind == "none" else 0.0)).to(dtype)
    got = Plan([edits], used, D, error=error, frame_rate=RATE, products=dtype)(x, torch.tensor(1.0))
    assert got.dtype == dtype
    wanted = truth(x, used, edits, 1.0, error, None)
    sure = far_from_thresholds(x, used, noise=0.05)
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(got[sure].double(), wanted[sure], rtol=eps, atol=8 * eps)


@settings(max_examples=60, deadline=None)
@given(
    edits=edit_lists(F, D),
    kind=st.sampled_from(KINDS),
    norm=st.sampled_from(NORMS),
    error=st.sampled_from(["keep", "drop"]),
    dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float16]),
)
def test_zero_strength_and_shut_clips_are_bit_identical(edits, kind, norm, error, dtype) -> None:
    sae = make_sae(kind, D, F, 0, norm)
    x = torch.randn(3, 8, D, generator=torch.Generator().manual_seed(3)).to(dtype)
    x[:, 2] = 0.0
    x[:, 3] = -0.0
    bits = torch.int32 if dtype == torch.float32 else torch.int16
    plan = Plan([edits], sae, D, error=error, frame_rate=RATE)
    assert torch.equal(plan(x, torch.tensor(0.0)).view(bits), x.view(bits))
    live = torch.tensor([False, True, False])
    steered = plan(x, torch.tensor(1.0), live=live)
    assert torch.equal(steered[~live].view(bits), x[~live].view(bits))
    torch.testing.assert_close(steered[live], plan(x, torch.tensor(1.0))[live], rtol=0, atol=0)


def test_frames_outside_a_window_are_bit_identical_and_an_offset_moves_it() -> None:
    sae = make_sae("relu", D, F)
    x = torch.randn(1, 40, D, generator=torch.Generator().manual_seed(3))
    plan = Plan([[Add([1, 2], 0.5, window=(0.5, 1.0))]], sae, D, frame_rate=RATE)
    changed = (plan(x, torch.tensor(1.0)) != x).any(-1)[0]
    assert changed.nonzero().flatten().tolist() == list(range(10, 20))
    changed = (plan(x, torch.tensor(1.0), offset=torch.tensor(0.4)) != x).any(-1)[0]
    assert changed.nonzero().flatten().tolist() == list(range(2, 12))


@settings(max_examples=40, deadline=None)
@given(
    first=edit_lists(F, D),
    second=edit_lists(F, D),
    rows=st.lists(st.integers(0, 1), min_size=1, max_size=4),
    kind=st.sampled_from(KINDS),
)
def test_a_choice_per_clip_equals_each_plan_alone(first, second, rows, kind) -> None:
    sae = make_sae(kind, D, F)
    x = torch.randn(len(rows), 33, D, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    strength = torch.tensor(1.0, dtype=torch.float64)
    both = Plan([first, second], sae, D, frame_rate=RATE, dtype=torch.float64)(x, strength, choice=torch.tensor(rows))
    for row, which in enumerate(rows):
        alone = Plan([[first, second][which]], sae, D, frame_rate=RATE, dtype=torch.float64)
        torch.testing.assert_close(both[row], alone(x[row : row + 1], strength)[0], rtol=1e-10, atol=1e-10)


@settings(max_examples=80, deadline=None)
@given(
    edits=edit_lists(F, D),
    kind=st.sampled_from(KINDS),
    norm=st.sampled_from(NORMS),
    error=st.sampled_from(["keep", "drop"]),
    strengths=st.lists(st.sampled_from([0.0, 0.5, 1.0, -0.25]), min_size=1, max_size=4),
    dtype=st.sampled_from([torch.float64, torch.float32, torch.bfloat16]),
)
def test_a_strength_per_clip_equals_each_clip_alone(edits, kind, norm, error, strengths, dtype) -> None:
    sae = make_sae(kind, D, F, 1, norm)
    x = torch.randn(len(strengths), 9, D, generator=torch.Generator().manual_seed(2)).to(dtype)
    wide = torch.promote_types(dtype, torch.float32)
    plan = Plan([edits], sae, D, error=error, frame_rate=RATE, dtype=wide)
    got = plan(x, torch.tensor(strengths, dtype=wide))
    for clip, strength in enumerate(strengths):
        alone = plan(x[clip : clip + 1], torch.tensor(strength, dtype=wide))[0]
        if strength == 0:
            assert torch.equal(got[clip], x[clip])
        torch.testing.assert_close(got[clip], alone)  # products of other shapes round otherwise


def test_paths_are_the_cheapest_that_are_exact() -> None:
    def path(kind: str, edits: list[Any], error: str = "keep", norm: Any = NORMS[0]) -> str:
        return Plan([edits], make_sae(kind, D, F, 0, norm), D, error=error).path

    assert path("topk", [Add(1, 1.0), Push(torch.ones(D))]) == "add"
    assert path("relu", [Add(1, 1.0)], norm=NORMS[2]) == "delta"
    assert path("relu", [Push(torch.ones(D))], norm=NORMS[2]) == "add"
    assert path("batchtopk-threshold", [Ablate(1)]) == "delta"
    assert path("batchtopk", [Ablate(1)]) == "full"
    assert path("topk", [Scale(1, 0.5)]) == "full"
    assert path("relu", [Set(1, 0.5)], error="drop") == "full"
    assert path("relu", []) == "identity"


def test_an_unset_threshold_is_never_a_dense_relu() -> None:
    sae = make_sae("batchtopk", D, F)
    x = torch.randn(1, 50, D, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    plan = Plan([[Ablate(list(range(F)))]], sae, D, dtype=torch.float64)
    gone = (x - plan(x, torch.tensor(1.0, dtype=torch.float64)))[0]
    kept = sae.encode(x)[0].double() @ sae.W_dec.double()
    torch.testing.assert_close(gone, kept)
    assert (sae.encode(x) > 0).sum() == 50 * 5


def test_all_features_and_none_and_an_empty_batch() -> None:
    sae = make_sae("jumprelu", D, F)
    every = Plan([[Scale(list(range(F)), 0.5)]], sae, D)
    assert every(torch.zeros(0, 10, D), torch.tensor(1.0)).shape == (0, 10, D)
    nothing = Plan([[]], sae, D)
    x = torch.randn(1, 3, D)
    assert nothing(x, torch.tensor(1.0)) is x


def test_strided_input_and_gradients() -> None:
    sae = make_sae("jumprelu", D, F)
    x = torch.randn(D, 6, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64).permute(2, 1, 0)
    plan = Plan([[Scale([1, 2], 0.5), Clamp(3, high=0.2)]], sae, D, dtype=torch.float64)
    one = torch.tensor(1.0, dtype=torch.float64)
    torch.testing.assert_close(plan(x, one), plan(x.contiguous(), one))
    assert torch.autograd.gradcheck(lambda v: plan(v, one), x.contiguous().requires_grad_())
    strength = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    plan(x, strength).sum().backward()
    assert strength.grad is not None


@pytest.mark.parametrize(
    ("edits", "says"),
    [
        ([Ablate(F)], "out of range"),
        ([Push(torch.ones(D + 1))], "width 13"),
        ([Ablate(1, window=(0, 1))], "time axis"),
        (["ablate"], "not an edit"),
    ],
)
def test_what_cannot_be_is_refused(edits: list[Any], says: str) -> None:
    with pytest.raises(EditError, match=says):
        Plan([edits], make_sae("relu", D, F), D)


def test_feature_edits_need_an_sae() -> None:
    with pytest.raises(EditError, match="pass sae="):
        Plan([[Ablate(1)]], None, D)
    with pytest.raises(EditError, match="pass sae="):
        Plan([[]], None, D, error="drop")


@pytest.mark.parametrize("kind", ["topk", "batchtopk"])
@pytest.mark.parametrize("block", [512, 4])
def test_a_reconstruction_is_the_sum_of_few_rows(kind: str, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "BLOCK", block)
    sae = make_sae(kind, D, 96)  # 5 of 96 are few
    x = torch.randn(3, 21, D, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    edits = [Scale(list(range(0, 96, 3)), 0.25), Set(4, 0.5)]
    plan = Plan([edits], sae, D, error="drop", dtype=torch.float64)
    one = torch.tensor(1.0, dtype=torch.float64)
    assert plan.cost().multiply_adds == D * (96 + 5 + len(plan.features))
    torch.testing.assert_close(plan(x, one), truth(x, sae, edits, 1.0, "drop", None))
    assert plan(x[:, :0], one).shape == (3, 0, D)
    assert torch.autograd.gradcheck(lambda v: plan(v, one), x[:1, :3].clone().requires_grad_())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_frame_of_zeros_under_a_large_norm_stays_finite(dtype: torch.dtype) -> None:
    sae = make_sae("jumprelu", D, F, 0, Normalisation("unit_norm", 30.0))
    x = torch.randn(1, 4, D, dtype=dtype)
    x[0, 1] = 0.0
    plan = Plan([[Scale([1, 2], 0.5), Add(3, 0.1)]], sae, D, dtype=dtype)
    x.requires_grad_()
    steered = plan(x, torch.tensor(1.0, dtype=dtype), live=torch.tensor([[True, False, True, True]]))
    steered.sum().backward()
    assert steered.isfinite().all()
    assert x.grad.isfinite().all()


def test_a_choice_with_fewer_windows_touches_nothing_outside_of_them() -> None:
    first = [Push(torch.ones(D), window=(0.0, 0.1)), Push(torch.ones(D), window=(0.3, 0.4))]
    plan = Plan([first, first[:1]], None, D, frame_rate=RATE)
    x = torch.full((2, 10, D), -0.0)
    got = plan(x, torch.tensor(1.0), choice=torch.tensor([0, 1]))
    assert torch.equal(got[1, 2:].view(torch.int32), x[1, 2:].view(torch.int32))
    assert plan(x[:, :0], torch.tensor(1.0), choice=torch.tensor([0, 1])).shape == (2, 0, D)


READ = {
    "identity": ({"firing"}, [], "relu"),
    "add": ({"firing", "vectors"}, [Add(3, 0.5)], "relu"),
    "delta": ({"firing", "W_enc", "bias", "threshold", "W_dec"}, [Ablate([3, 5])], "relu"),
}


@pytest.mark.parametrize("path", READ)
def test_a_pass_looks_up_no_more_buffers_than_its_path_reads(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look-up takes a module longer than any other step of an addition to one frame."""
    expected, edits, kind = READ[path]
    plan, looked = Plan([edits], make_sae(kind, D, F), D), set()
    assert plan.path == path
    found = torch.nn.Module.__getattr__

    def look(self: torch.nn.Module, name: str) -> Any:
        looked.add(name)
        return found(self, name)

    monkeypatch.setattr(torch.nn.Module, "__getattr__", look)
    plan(torch.randn(1, 1, D), torch.tensor(1.0))
    assert looked == expected


@pytest.mark.parametrize("edits", [[Add(3, 0.5)], [Ablate(3)], [Add(3, 0.5, window=(0.0, 0.2))]], ids=str)
@pytest.mark.parametrize("kind", ["relu", "topk"])
def test_a_plan_that_moved_reads_its_buffers_where_they_are(edits: list[Any], kind: str) -> None:
    plan = Plan([edits], make_sae(kind, D, F), D, frame_rate=RATE)
    x, one = torch.randn(2, 3, D), torch.tensor(1.0)
    plan(x, one)
    there = plan.to("meta").tensors()
    kept = [*there.edits, *(there.rows or ()), *(there.whole.weights if there.whole else ())]
    assert {each.device.type for each in kept if isinstance(each, Tensor)} == {"meta"}
    assert plan(x.to("meta"), one.to("meta")).device.type == "meta"


@pytest.mark.parametrize("edits", [[Add(3, 0.5)], [Ablate(3)], [Add(3, 0.5, window=(0.0, 0.1))]], ids=str)
def test_a_plan_whose_buffers_changed_is_compiled_with_what_they_hold_now(edits: list[Any]) -> None:
    plan = Plan([edits], make_sae("relu", D, F), D, frame_rate=RATE)
    x, one = torch.randn(2, 3, D), torch.tensor(1.0)
    compiled = torch.compile(lambda x: plan(2 * x, one), fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), plan(2 * x, one))
    for buffer in plan.buffers():
        if buffer.is_floating_point():
            buffer.mul_(0.5)
    torch.testing.assert_close(compiled(x), plan(2 * x, one))
