"""SAEs whose features go through a ReLU and an RMSNorm: in every path, in files, and where they are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from make import edit_lists, make_sae, naive_edit, naive_push
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from audiosae_steer import (
    SAE,
    Ablate,
    Add,
    CheckpointError,
    ClipGate,
    Gate,
    GateError,
    Normalisation,
    Push,
    Scale,
    Set,
    load_sae,
    steer_latents,
)
from audiosae_steer.io.tensors.digest import sha256_of_tensors
from audiosae_steer.ops import dispatch, reference, selection
from audiosae_steer.sae.normalisation import settle
from audiosae_steer.steering.describe import of_sae
from audiosae_steer.steering.gates import Probe
from audiosae_steer.steering.plan import Plan

RATE = 20.0


def random(seed: int, d: int, F: int, *, epsilon: float = 1e-6, norm: Normalisation | None = None) -> SAE:
    g = torch.Generator().manual_seed(seed)
    W, D = torch.randn(2, F, d, generator=g).unbind()
    return SAE(
        W, 0.3 * torch.randn(F, generator=g), D, torch.randn(d, generator=g), gate=Gate("rms", epsilon=epsilon),
        gain=torch.rand(F, generator=g) + 0.1, normalisation=norm, typical=torch.rand(F, generator=g) + 0.5,
    )  # fmt: skip


def frames(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


ODD = {
    "d": st.integers(1, 9), "F": st.integers(1, 40), "shape": st.tuples(st.integers(1, 3), st.integers(1, 9)),
    "seed": st.integers(0, 99), "epsilon": st.sampled_from([1e-12, 1e-6, 0.3]),
}  # fmt: skip


@settings(max_examples=60)
@given(**ODD)
def test_the_reference_is_torchs_own_norm_after_a_relu(d, F, shape, seed, epsilon) -> None:
    sae, x = random(seed, d, F, epsilon=epsilon).double(), frames(seed, *shape, d)
    norm = nn.RMSNorm(F, eps=epsilon, dtype=torch.float64)
    norm.weight.data = sae.gain
    h = ((x - sae.b_dec) @ sae.W_enc.T + sae.b_enc).relu()
    f = reference.encode(x, sae.weights())
    torch.testing.assert_close(f, norm(h))
    torch.testing.assert_close(sae.encode(x), f, rtol=0, atol=0)
    torch.testing.assert_close(sae(x), f @ sae.W_dec + sae.b_dec)


@settings(max_examples=40)
@given(**ODD, block=st.sampled_from([1, 3, 512]))
def test_the_selected_and_the_rest_are_the_references_block_by_block(d, F, shape, seed, epsilon, block) -> None:
    sae, x = random(seed, d, F, epsilon=epsilon), frames(seed, *shape, d)
    w, index = sae.weights(torch.float64), torch.arange(0, F, 2)
    f, before = reference.encode(x, w), selection.BLOCK
    try:
        selection.BLOCK = block
        own, rest = selection.parted(x, w, index)
        torch.testing.assert_close(selection.selected(x, w, index), f[..., index])
    finally:
        selection.BLOCK = before
    torch.testing.assert_close(own, f[..., index])
    torch.testing.assert_close(rest, f.index_fill(-1, index, 0.0) @ w.W_dec)


@settings(max_examples=60)
@given(
    data=st.data(),
    norm=st.sampled_from([Normalisation(), Normalisation("scalar", 0.37), Normalisation("unit_norm", 3.0)]),
    error=st.sampled_from(["keep", "drop"]),
    strength=st.sampled_from([1.0, 0.5, -0.25]),
    **ODD,
)
def test_every_path_is_the_references_on_odd_shapes(data, norm, error, strength, d, F, shape, seed, epsilon) -> None:
    sae, x = random(seed, d, F, epsilon=epsilon, norm=norm), frames(seed, *shape, d)
    edits = data.draw(edit_lists(F, d))
    times = (torch.arange(shape[1], dtype=torch.float64) + 0.5) / RATE
    plan = Plan([edits], sae, d, error=error, frame_rate=RATE, dtype=torch.float64)
    assert plan.path != "delta"
    wanted = reference.steer(
        x, sae.weights(torch.float64), lambda f: naive_edit(f, edits, sae.typical.double(), times),
        push=naive_push(edits, times, d), strength=strength, error=error,
    )  # fmt: skip
    torch.testing.assert_close(plan(x, torch.tensor(strength, dtype=torch.float64)), wanted, rtol=1e-9, atol=1e-9)


def test_edited_rows_alone_would_be_wrong_and_are_not_taken() -> None:
    sae, x = random(0, 6, 20), frames(0, 2, 7, 6)
    plan = Plan([[Scale(3, 0.0)]], sae, 6, dtype=torch.float64)
    assert (plan.path, plan.cost().kernel) == ("full", "torch")
    assert "norm" in plan.describe()
    wanted = plan(x, torch.tensor(1.0, dtype=torch.float64))
    # the shortcut of other gates: each feature by itself
    alone = sae.altered(gate=Gate("relu"), gain=None)
    naive = Plan([[Scale(3, 0.0)]], alone, 6, dtype=torch.float64)
    assert naive.path == "delta"
    assert not torch.allclose(naive(x, torch.tensor(1.0, dtype=torch.float64)), wanted, rtol=1e-2, atol=1e-2)
    assert Plan([[Add(3, 1.0), Push(torch.ones(6))]], sae, 6).path == "add"  # the same whatever fires


def test_kernels_leave_it_to_torch(monkeypatch) -> None:
    """As on a GPU, where every other gate has a kernel."""
    monkeypatch.setattr(dispatch, "INTERPRETED", True)
    monkeypatch.setattr(dispatch, "TRITON", True)
    monkeypatch.setattr(selection.custom_ops, "select", None)
    monkeypatch.setattr("audiosae_steer.ops.plan_paths.custom_ops.delta", None)
    sae, x = random(1, 6, 20), frames(1, 1, 7, 6).float()
    assert dispatch.kernel_for(x) == "triton"
    for error in ("keep", "drop"):
        plan = Plan([[Set(2, 0.7)]], sae, 6, error=error)
        assert plan.cost(x).kernel == "torch"
        wanted = reference.steer(
            x.double(), sae.weights(torch.float64), lambda f: f.index_fill(-1, torch.tensor([2]), 0.7), error=error
        )
        torch.testing.assert_close(plan(x, torch.tensor(1.0)).double(), wanted, rtol=1e-4, atol=1e-4)


def test_it_is_compiled_without_a_break_and_differentiable() -> None:
    sae, x = random(2, 5, 13).double(), frames(2, 1, 4, 5)
    plan = Plan([[Scale([1, 2], 3.0)]], sae, 5, dtype=torch.float64)
    one = torch.tensor(1.0, dtype=torch.float64)
    torch._dynamo.reset()
    compiled = torch.compile(plan, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, one), plan(x, one))
    assert torch.autograd.gradcheck(lambda x: plan(x, one), (x.requires_grad_(),))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_squares_of_half_precision_do_not_overflow(dtype: torch.dtype) -> None:
    sae = random(3, 8, 30)
    x = (600 * frames(3, 1, 5, 8)).to(dtype)
    plan = Plan([[Ablate([1, 2])]], sae, 8, error="drop", products=dtype)
    got = plan(x, torch.tensor(1.0))
    wanted = reference.steer(
        x.double(), sae.weights(torch.float64), lambda f: f.index_fill(-1, torch.tensor([1, 2]), 0.0), error="drop"
    )
    assert got.isfinite().all()
    torch.testing.assert_close(got.double(), wanted, rtol=0.02, atol=0.1)


def test_loudness_is_gone_from_its_features_and_silence_stays_silent() -> None:
    sae, x = random(4, 6, 20), frames(4, 1, 9, 6).float()
    bare = sae.altered(b_enc=torch.zeros(20), b_dec=torch.zeros(6))
    torch.testing.assert_close(bare.encode(50 * x), bare.encode(x), rtol=1e-3, atol=1e-3)
    assert not bare.encode(0 * x).any()
    plain = bare.altered(gate="relu", gain=None)
    torch.testing.assert_close(plain.encode(50 * x), 50 * plain.encode(x), rtol=1e-4, atol=1e-3)


def test_latents_at_zero_strength_are_themselves_bit_for_bit() -> None:
    sae, x = random(5, 6, 20), frames(5, 2, 6, 11).float()
    assert torch.equal(steer_latents(x, sae, [Scale([1, 2], 3.0)], strength=0.0), x)
    assert not torch.equal(steer_latents(x, sae, [Scale([1, 2], 3.0)]), x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_file_gives_back_the_same_sae(tmp_path: Path, dtype: torch.dtype) -> None:
    sae = random(6, 6, 20, epsilon=3e-7).to(dtype)
    sae.save(tmp_path / "sae.safetensors")
    back = load_sae(tmp_path / "sae.safetensors")
    assert back.gate == sae.gate
    assert torch.equal(back.gain, sae.gain)
    assert back.digest() == sae.digest()
    assert "rms, epsilon = 3e-07, gain one per feature" in of_sae(back)
    sae.save(tmp_path / "parts.safetensors", shard_bytes=500)
    assert load_sae(tmp_path / "parts.safetensors").digest() == sae.digest()


@pytest.mark.parametrize("left_out", ["gain", "epsilon"])
def test_a_file_without_its_gain_or_epsilon_is_refused(tmp_path: Path, left_out: str) -> None:
    path = tmp_path / "sae.safetensors"
    random(7, 6, 20).save(path)
    with safe_open(path, framework="pt") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    (tensors if left_out == "gain" else metadata).pop(left_out)
    save_file(tensors, path, metadata)
    with pytest.raises(CheckpointError, match=left_out):
        load_sae(path)
    metadata.update(epsilon="nan")
    save_file({**tensors, "gain": torch.ones(20)}, path, metadata)
    with pytest.raises(CheckpointError, match="epsilon"):
        load_sae(path)


def test_a_plain_dictionary_states_its_norm_by_gain_and_epsilon(tmp_path: Path) -> None:
    sae, path = random(8, 6, 20), tmp_path / "plain.safetensors"
    parts = {name: getattr(sae, name).clone() for name in ("W_enc", "b_enc", "W_dec", "b_dec", "gain")}
    for held in ({**parts, "epsilon": torch.tensor(1e-6, dtype=torch.float64)}, parts):
        save_file(held, path, None if "epsilon" in held else {"epsilon": "1e-6"})
        back = load_sae(path)
        assert (back.gate, back.info["read_as"]) == (Gate("rms", epsilon=1e-6), "rms")
        torch.testing.assert_close(back.encode(torch.ones(3, 6)), sae.encode(torch.ones(3, 6)))
    for held, said in ((parts, None), ({**parts, "threshold": torch.zeros(20)}, {"epsilon": "1e-6"})):
        save_file(held, path, said)
        with pytest.raises(CheckpointError, match="by a gain"):
            load_sae(path)
    save_file(parts, path, {"epsilon": "small"})
    with pytest.raises(CheckpointError, match="expected a number"):
        load_sae(path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"gain": None}, "needs its gain"),
        ({"gain": -torch.ones(20)}, "below 0"),
        ({"gain": torch.ones(19)}, r"gain has shape \(19,\)"),
        ({"gain": torch.full((20,), float("nan"))}, "NaN"),
        ({"gate": Gate("relu")}, "no other gate has one"),
        ({"gate": "rms"}, "needs the epsilon"),
    ],
)
def test_an_sae_that_lacks_a_part_is_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(CheckpointError, match=says):
        random(9, 6, 20).altered(**change)


@pytest.mark.parametrize("epsilon", [None, 0.0, -1e-6, float("nan"), float("inf")])
def test_an_epsilon_is_a_number_above_zero(epsilon: float | None) -> None:
    with pytest.raises(CheckpointError, match="epsilon"):
        Gate("rms", epsilon=epsilon)
    with pytest.raises(CheckpointError, match="no other gate"):
        Gate("topk", 3, epsilon=1e-6)


def test_gates_of_clips_are_refused_and_so_is_a_threshold() -> None:
    sae = random(10, 6, 20)
    with pytest.raises(GateError, match="an rms gate divides each by the norm of all"):
        Probe(ClipGate(features=[1], weights=[1.0], bias=0.0, threshold=0.0), sae)
    with pytest.raises(CheckpointError, match="only a batchtopk gate has a threshold to calibrate"):
        sae.calibrate_threshold([torch.ones(3, 6)])


def test_the_digest_knows_gain_and_epsilon_and_is_what_it_was_for_other_gates() -> None:
    sae = random(11, 6, 20)
    digests = {sae.digest(), sae.altered(gain=2 * sae.gain).digest(), random(11, 6, 20, epsilon=1e-5).digest()}
    assert len(digests) == 3
    plain = make_sae("topk")
    tensors = (plain.W_enc, plain.b_enc, plain.W_dec, plain.b_dec, plain.threshold, plain.typical)
    said = "Gate(kind='topk', k=5) Normalisation(kind='none', scale=1.0)"
    assert plain.digest() == sha256_of_tensors(tensors, said)


def test_its_input_normalisation_is_measured_as_any_others() -> None:
    """Planted: frames of one loudness, from the SAE's own dictionary, on a scale that its file leaves open."""
    g = torch.Generator().manual_seed(12)
    W = nn.functional.normalize(torch.randn(30, 16, generator=g), dim=1)
    f = torch.rand(400, 30, generator=g) * (torch.rand(400, 30, generator=g) < 0.1)
    x = f / f.square().mean(1, keepdim=True).add(1e-6).sqrt() @ W
    sae = SAE(W, torch.full((30,), -0.5), W, torch.zeros(16), gate=Gate("rms", epsilon=1e-6), gain=1.0)
    found = settle(sae, x, "here", stated=False)
    assert found.gate == sae.gate
    assert found.info["normalisation"]["fvu"][found.info["normalisation"]["chosen"]] < 1
