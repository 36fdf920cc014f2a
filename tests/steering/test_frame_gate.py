"""The frame gate against the reference, on small shapes, in both libraries' Whisper, and on real sounds."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from make import NORMS, count_hooks, make_hf, make_openai, make_sae
from torch import Tensor

from audiosae_steer import (
    Ablate,
    Add,
    ClipGate,
    FrameGate,
    GateError,
    Push,
    Scale,
    Set,
    Site,
    SiteEdits,
    SiteGate,
    load_audio,
    load_sae,
    steer,
)
from audiosae_steer.data.activations.capture import residuals
from audiosae_steer.discover.gates.probe import fit_frame_gate, set_threshold
from audiosae_steer.ops import reference
from audiosae_steer.steering.gates import FrameProbe, frame_features, nearby
from audiosae_steer.steering.recipes.load import checkpoints_dir

D, F, RATE = 64, 200, 50.0
MEL = torch.randn(2, 80, 3000, generator=torch.Generator().manual_seed(0))
EDITS = [Add(7, 3.0), Scale([3, 17], 0.2)]


@pytest.fixture(params=["openai", "transformers"], scope="module")
def model(request: pytest.FixtureRequest) -> Any:
    return make_openai(d=D) if request.param == "openai" else make_hf(d=D)


@pytest.fixture(scope="module")
def sae() -> Any:
    return make_sae("batchtopk-threshold", D, F)


@pytest.fixture(scope="module")
def frames() -> Tensor:
    """Residuals of two clips, half in step with what was before, as audio is."""
    steps = torch.randn(2, 90, D, generator=torch.Generator().manual_seed(4))
    return steps.repeat_interleave(2, 1) + 0.3 * torch.randn(2, 180, D, generator=torch.Generator().manual_seed(5))


def encode(model: Any, mel: Tensor = MEL) -> Tensor:
    """The encoder's output."""
    if hasattr(model, "dims"):
        return model.encoder(mel)
    return getattr(model, "model", model).encoder(mel).last_hidden_state


def residual(model: Any, layer: int, mel: Tensor = MEL) -> Tensor:
    """What leaves a block, as the next one reads it."""
    stack = model.encoder.blocks if hasattr(model, "dims") else model.model.encoder.layers
    seen = []
    handle = stack[layer - 1].register_forward_hook(
        lambda module, args, output: seen.append(output[0] if isinstance(output, tuple) else output)
    )
    encode(model, mel)
    handle.remove()
    return seen[0].clone()


def scores(x: Tensor, sae: Any, gate: FrameGate, rate: float = RATE) -> Tensor:
    """How far each frame is above the threshold, in float64."""
    f = reference.encode(x.double(), sae.weights(torch.float64))[..., list(gate.features)]
    weights = torch.tensor(gate.weights, dtype=torch.float64)
    return reference.frame_score(f, weights, gate.bias, round(gate.reach * rate)) - gate.threshold


def halfway(model: Any, sae: Any, layer: int, reach: float = 0.1) -> FrameGate:
    """A gate that opens for about half of the frames that leave a layer."""
    return parting(residual(model, layer), sae, reach)


def parting(x: Tensor, sae: Any, reach: float = 0.1) -> FrameGate:
    """A gate that opens for about half of the frames of x, with its threshold where rounding decides least."""
    gate = FrameGate((3, 11, 30), (-1.0, 0.4, -0.5), 0.2, 0.0, reach)
    ranked = scores(x, sae, gate).flatten().sort().values
    ranked = ranked[int(0.3 * len(ranked)) : int(0.7 * len(ranked))]
    widest = int(ranked.diff().argmax())
    return FrameGate(gate.features, gate.weights, gate.bias, float(ranked[widest : widest + 2].mean()), reach)


@settings(max_examples=60)
@given(
    shape=st.tuples(st.integers(0, 3), st.sampled_from([1, 2, 7, 33])),
    reach=st.sampled_from([0.0, 0.04, 0.1, 0.5, 30.0]),
    rate=st.sampled_from([50.0, 20.0, 31.25]),
    norm=st.sampled_from(NORMS),
    kind=st.sampled_from(["relu", "jumprelu", "batchtopk-threshold"]),
    dtype=st.sampled_from([torch.float64, torch.float32, torch.bfloat16, torch.float16]),
    seed=st.integers(0, 5),
)
def test_scores_equal_the_reference(shape, reach, rate, norm, kind, dtype, seed) -> None:
    drawn = make_sae(kind, 12, 31, seed, norm)
    gate = FrameGate((3, 11, 30), (1.0, -2.0, 0.5), bias=0.3, threshold=0.1, reach=reach)
    x = torch.randn(*shape, 12, generator=torch.Generator().manual_seed(seed)).to(dtype)
    wide = torch.promote_types(dtype, torch.float32)
    got = FrameProbe(gate, drawn, rate, wide)(x)
    assert got.shape == shape
    assert got.dtype == wide
    exact = dtype == torch.float64
    pre = (x.double() * reference.input_scale(x.double(), norm.kind, norm.scale) - drawn.b_dec) @ drawn.W_enc.double().T
    threshold = 0.0 if drawn.threshold is None else drawn.threshold.double()
    sure = exact or not bool(((pre + drawn.b_enc - threshold).abs() < 1e-5)[..., [3, 11, 30]].any())
    if sure:  # rounding does not decide whether a feature fires
        tolerance = 1e-10 if exact else 1e-4
        torch.testing.assert_close(got.double(), scores(x, drawn, gate, rate), rtol=tolerance, atol=tolerance)
    for clip in x[:1]:
        near = frame_features(drawn, clip, gate.features, round(reach * rate))
        assert near.dtype == wide
        every = frame_features(drawn, clip, None, round(reach * rate))
        torch.testing.assert_close(every[:, list(gate.features)], near, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close((near @ torch.tensor(gate.weights, dtype=wide) + 0.2), got[0], rtol=1e-4, atol=1e-4)


def test_one_odd_frame_reaches_as_far_as_it_should() -> None:
    f = torch.zeros(1, 100, 2)
    f[0, 40, 1] = 5.0
    assert (nearby(f, 7)[0, :, 1] > 0).nonzero().flatten().tolist() == list(range(33, 48))
    assert nearby(f, 7)[0, :, 0].abs().max() == 0
    assert nearby(f, 0) is f
    assert (nearby(f, 1000)[0, :, 1] == 5).all()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (((), ()), "one weight per feature"),
        (((1, 2), (1.0,)), "one weight per feature"),
        (((1, 1), (1.0, 1.0)), "different"),
        (((-1,), (1.0,)), "counted from 0"),
        (((1,), (float("nan"),)), "frame gate holds NaN"),
        (((1,), (1.0,), float("inf")), "NaN, infinite"),
        (((1,), (1.0,), 0.0, 0.0, -0.1), "reach"),
        (((1,), (1.0,), 0.0, 0.0, 31.0), "reach"),
        (((1,), (1.0,), 0.0, 0.0, float("nan")), "reach"),
    ],
)
def test_a_malformed_gate_is_refused(arguments: tuple[Any, ...], says: str) -> None:
    with pytest.raises(GateError, match=says):
        FrameGate(*arguments)


def test_a_gate_must_fit_its_sae() -> None:
    for make in (
        lambda drawn, features: FrameProbe(FrameGate(features, (1.0,)), drawn, RATE),
        lambda drawn, features: frame_features(drawn, torch.zeros(4, 12), features, 2),
    ):
        with pytest.raises(GateError, match="frame gate reads feature 31"):
            make(make_sae(), (31,))
        with pytest.raises(GateError, match="calibrate"):
            make(make_sae("topk"), (1,))
    with pytest.raises(GateError, match="reach_frames"):
        frame_features(make_sae(), torch.zeros(4, 12), None, -1)


@pytest.mark.parametrize(
    ("edits", "error", "kind"),
    [
        (EDITS, "keep", "batchtopk-threshold"),
        ([Add(7, 3.0), Push(torch.ones(D), 0.1)], "keep", "batchtopk-threshold"),
        ([Set(7, 1.0)], "drop", "batchtopk-threshold"),
        ([Scale([3, 17], 0.2)], "keep", "topk"),
        ([Scale([3, 17], 0.2, window=(1.0, 20.0)), Add(2, 2.0)], "keep", "batchtopk-threshold"),
    ],
    ids=["delta", "add", "drop", "full", "window"],
)
def test_open_frames_get_the_edits_and_shut_ones_stay_as_they_are(
    frames: Tensor, sae: Any, edits: Any, error: Any, kind: str
) -> None:
    model, gate = make_openai(d=D, layers=2), parting(frames, sae)
    editor = make_sae(kind, D, F)
    parts = [SiteEdits(Site(2), editor, edits, error)]
    whole = steer(model, parts)
    gated = steer(model, parts, gate=SiteGate(Site(2), sae, gate))
    assert gated.opened_frames is None
    got, opened = gated.hooks[Site(2)](frames), gated.opened_frames
    everywhere = whole.hooks[Site(2)](frames)
    wanted = scores(frames, sae, gate)
    assert gated.opened is None
    assert opened is not None
    sure = wanted.abs() > 1e-5  # rounding does not decide whether the frame opens
    assert sure.float().mean() > 0.9
    assert torch.equal(opened[sure], (wanted > 0)[sure])
    assert 0.2 < opened.float().mean() < 0.8
    assert torch.equal(got[~opened], frames[~opened])
    assert torch.equal(got[opened], everywhere[opened])
    assert (got != frames).any(-1)[opened].any()
    assert not torch.equal(everywhere[~opened], frames[~opened])
    for steering in (whole, gated):
        steering._leave(quiet=True)


def test_the_model_runs_it(model: Any, sae: Any) -> None:
    x = residual(model, 2)
    with steer(model, sae=sae, layer=2, edits=EDITS, gate=parting(x, sae)) as steering:
        got, opened = residual(model, 2), steering.opened_frames
    assert opened is not None
    assert opened.shape == (2, 1500)
    assert torch.equal((got != x).any(-1), opened)


def test_it_governs_later_layers_and_goes_with_a_clip_gate_and_choices(model: Any, sae: Any) -> None:
    gate = SiteGate(Site(1), sae, halfway(model, sae, 1))
    peak = sae.encode(residual(model, 2)).amax(1)
    feature = int((peak[0] - peak[1]).argmax())
    clip_gate = SiteGate(Site(2), sae, ClipGate((feature,), (1.0,), threshold=float(peak[:, feature].mean())))
    x = residual(model, 3)
    parts = [SiteEdits(Site(3), sae, {"a": EDITS, "b": [Push(torch.ones(D))]})]
    whole = {}
    for name in ("a", "b"):
        with steer(model, parts) as steering:
            whole[name] = residual(model, 3) if steering.for_clips([name, name]) else x
    with steer(model, parts, gate=gate) as steering:
        steering.for_clips(["b", None])
        got, opened = residual(model, 3), steering.opened_frames
        assert opened is not None
        assert torch.equal(got[1], x[1])
        assert torch.equal(got[0][~opened[0]], x[0][~opened[0]])
        torch.testing.assert_close(got[0][opened[0]], whole["b"][0][opened[0]])
    with steer(model, parts, gate=[clip_gate, gate]) as steering:
        steering.for_clips(["a", "a"])
        got, clips, frames = residual(model, 3), steering.opened, steering.opened_frames
        assert clips is not None
        assert frames is not None
        assert sorted(clips.tolist()) == [False, True]
        edited, rest = int(clips.int().argmax()), int(clips.int().argmin())
        torch.testing.assert_close(got[edited], whole["a"][edited])  # an open clip gate is enough
        assert torch.equal(got[rest][~frames[rest]], x[rest][~frames[rest]])
        torch.testing.assert_close(got[rest][frames[rest]], whole["a"][rest][frames[rest]])
        assert "clip gate at encoder layer 2, frame gate at encoder layer 1" in repr(steering)
        assert "a frame gate decides frame by frame from 3 features within 0.1 s" in steering.explain()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_zero_strength_and_removal_are_bit_identical_in_every_dtype(
    model: Any, sae: Any, frames: Tensor, dtype: torch.dtype
) -> None:
    half = copy.deepcopy(model) if hasattr(model, "dims") else copy.deepcopy(model).to(dtype)
    mel, x = MEL[:1].to(dtype), frames.to(dtype)
    before, hooks = encode(half, mel), count_hooks(half)
    with steer(half, sae=sae, layer=2, edits=EDITS, gate=halfway(model, sae, 2)) as steering:
        steered = encode(half, mel)
        twin = copy.deepcopy(half)
        assert torch.equal(encode(twin, mel), steered)
        assert steered.dtype == dtype
        assert not torch.equal(steered, before)
        steering.strength = 0.0
        assert torch.equal(encode(half, mel), before)
    assert torch.equal(encode(half, mel), before)
    assert torch.equal(encode(twin, mel), before)
    assert count_hooks(half) == hooks
    for edits in (EDITS, [Add(7, 3.0)]):
        steering = steer(half, sae=sae, layer=2, edits=edits, gate=parting(frames, sae))
        got, opened = steering.hooks[Site(2)](x), steering.opened_frames
        assert opened is not None
        assert got.dtype == dtype
        assert torch.equal((got != x).any(-1), opened)
        steering.strength = 0.0
        assert torch.equal(steering.hooks[Site(2)](x), x)
        steering._leave(quiet=True)


def test_compiled_whole(model: Any, sae: Any) -> None:
    torch._dynamo.reset()
    inner = (model if hasattr(model, "dims") else model.model).encoder
    clip_gate = SiteGate(Site(1), sae, ClipGate((3,), (1.0,), threshold=1e3))
    gates = [clip_gate, SiteGate(Site(1), sae, halfway(model, sae, 1))]
    plain = encode(model)
    with steer(model, [SiteEdits(Site(2), sae, EDITS)], gate=gates) as steering:
        wanted = encode(model)
        compiled = torch.compile(inner, backend="eager", fullgraph=True)

        def run() -> Tensor:
            output = compiled(MEL)
            return output if isinstance(output, Tensor) else output.last_hidden_state

        torch.testing.assert_close(run(), wanted)
        assert steering.opened_frames is not None
        assert 0.2 < steering.opened_frames.float().mean() < 0.8
        steering.strength = 0.0
        assert torch.equal(run(), plain)
    assert not torch.equal(wanted, plain)
    assert torch.equal(run(), plain)


def test_gradients_pass_through_open_frames_and_shut_ones_alike(sae: Any, frames: Tensor) -> None:
    model = make_openai(d=D, layers=2)
    steering = steer(model, sae=sae, layer=2, edits=[Set(list(range(F)), 0.0)], gate=parting(frames, sae))
    x = frames.clone().requires_grad_()
    steering.hooks[Site(2)](x).sum().backward()
    opened = steering.opened_frames
    steering._leave(quiet=True)
    assert opened is not None
    assert not opened.requires_grad
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()
    assert torch.equal(x.grad[~opened], torch.ones_like(x.grad[~opened]))
    assert not torch.equal(x.grad[opened], torch.ones_like(x.grad[opened]))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"side": "decoder"}, "frames that have a time"),
        ({"gate": FrameGate((F,), (1.0,))}, "has 200"),
        ({"gate": [FrameGate((1,), (1.0,)), FrameGate((2,), (1.0,))]}, "two gates of one kind"),
        ({"gate": SiteGate(Site(3), make_sae("relu", D), FrameGate((1,), (1.0,)))}, "comes after"),
        ({"gate": SiteGate(Site(1, "decoder"), make_sae("relu", D), FrameGate((1,), (1.0,)))}, "comes after"),
        (
            {"side": "decoder", "gate": SiteGate(Site(1), make_sae("relu", D), FrameGate((1,), (1.0,)))},
            "decides by frames of the audio",
        ),
        ({"gate": SiteGate(Site(2), make_sae("relu", D), "frames")}, "FrameGate"),
        ({"sae": make_sae("topk", D, F)}, "calibrate"),
    ],
)
def test_what_cannot_be_leaves_the_model_as_it_was(model: Any, sae: Any, arguments: Any, says: str) -> None:
    hooks = count_hooks(model)
    given = {"sae": sae, "layer": 2, "edits": [Push(torch.ones(D))], "gate": FrameGate((1,), (1.0,)), **arguments}
    with pytest.raises(GateError, match=says):
        steer(model, **given)
    assert count_hooks(model) == hooks


def test_without_an_sae_or_a_place_to_read_it_is_refused(model: Any, sae: Any) -> None:
    with pytest.raises(GateError, match="pass sae="):
        steer(model, layer=2, edits=[Push(torch.ones(D))], gate=FrameGate((1,), (1.0,)))
    with pytest.raises(GateError, match="say where"):
        steer(model, [SiteEdits(Site(2), sae, EDITS)], gate=[FrameGate((1,), (1.0,))])


def test_a_gate_that_saw_another_batch_says_so(sae: Any) -> None:
    model = make_openai(d=D, layers=2)
    gate = SiteGate(Site(1), sae, FrameGate((1,), (1.0,)))
    with steer(model, [SiteEdits(Site(2), sae, [Ablate(1)])], gate=gate) as steering:
        for _ in range(2):
            with pytest.raises(GateError, match="has not run for the batch"):
                steering.hooks[Site(2)](torch.zeros(3, 1500, D))
            encode(model)


def sentence(x: Any) -> tuple[int, int]:
    """First and last frame of 20 ms that is at most 30 dB below the loudest."""
    power = np.square(x[: len(x) // 320 * 320].reshape(-1, 320)).mean(1)
    loud = np.flatnonzero(power > power.max() / 1000)
    return int(loud[0]), int(loud[-1]) + 1


def test_on_real_sounds_it_opens_after_the_sentence_and_not_within(tiny_en: Any) -> None:
    folder = checkpoints_dir() / "clips"
    clips = json.loads((folder / "clips.json").read_text(encoding="utf-8"))
    noises = [load_audio(folder / clip["file"]) for clip in clips if clip["kind"] == "nonspeech"]
    spoken = [load_audio(folder / clip["file"]) for clip in clips if clip["kind"] == "speech"][:8]
    sae = load_sae(checkpoints_dir() / "whisper-tiny.en" / "encoder-3.safetensors")
    ends = [len(x) // 320 for x in spoken]
    words = [slice(*sentence(x)) for x in spoken]
    both = [
        np.concatenate([x[: end * 320], np.resize(noise, 64_000)])
        for x, end, noise in zip(spoken, ends, noises[:4] + noises[8:12], strict=True)
    ]

    def seen(samples: Any) -> list[np.ndarray]:  # 8 s are enough, and a quarter of the work
        found = residuals(tiny_en, samples, [3], "zeros")[3][:, :400]
        return [frame_features(sae, x, None, 25).double().numpy() for x in found]

    heard = seen(both[:4])
    present = np.concatenate([f[span][::4] for f, span in zip(heard, words, strict=False)])
    noisy = [f[end + 30 : end + 200 : 8] for f, end in zip(heard, ends, strict=False)]
    absent = np.concatenate([*(f[:200:8] for f in seen(noises[4:8])), *noisy])
    gate, weights = fit_frame_gate(absent, present, 0.5, max_features=24)
    assert np.count_nonzero(weights) == len(gate.features) <= 24
    gate = set_threshold(gate, absent, present)
    assert gate.calibration["open_present"] == 0.0

    with steer(tiny_en, sae=sae, layer=3, edits=[Ablate(5)], gate=gate) as steering:
        residuals(tiny_en, both[4:], [3], "zeros")
        opened = steering.opened_frames
    assert opened is not None
    assert not any(row[span].any() for row, span in zip(opened, words[4:], strict=True))
    after = [float(row[end + 30 : end + 200].float().mean()) for row, end in zip(opened, ends[4:], strict=True)]
    assert min(after) > 0.5, after  # sounds of kinds that it was not fitted on
