"""steer() on both libraries' Whisper: what it changes, what it leaves alone, and that nothing leaks."""

from __future__ import annotations

import copy
import inspect
import pickle
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from make import KINDS, NORMS, count_hooks, edit_lists, make_hf, make_openai, make_sae, naive_edit, naive_push
from thresholds import far_from_thresholds

from audiosae_steer import (
    Ablate,
    Add,
    Clamp,
    ClipGate,
    EditError,
    GateError,
    NeverCalledWarning,
    Push,
    RecipeNotFoundError,
    Scale,
    Set,
    Site,
    SiteEdits,
    SiteError,
    SiteGate,
    SteeringError,
    UnknownModelError,
    steer,
)
from audiosae_steer.ops import reference

D, F = 64, 200


@pytest.fixture(params=["openai", "transformers"], scope="module")
def model(request: pytest.FixtureRequest) -> Any:
    return make_openai(d=D) if request.param == "openai" else make_hf(d=D)


@pytest.fixture(scope="module")
def sae() -> Any:
    return make_sae("batchtopk-threshold", D, F)


MEL = torch.randn(2, 80, 3000, generator=torch.Generator().manual_seed(0))
TOKENS = torch.tensor([[50257, 50362, 11, 12], [50257, 50362, 13, 14]])


def encode(model: Any, mel: torch.Tensor = MEL) -> torch.Tensor:
    """The encoder's output."""
    if hasattr(model, "dims"):
        return model.encoder(mel)
    return getattr(model, "model", model).encoder(mel).last_hidden_state


def logits(model: Any, mel: torch.Tensor = MEL, tokens: torch.Tensor = TOKENS) -> torch.Tensor:
    """The decoder's logits, from audio to the end."""
    if hasattr(model, "dims"):
        return model(mel, tokens)
    return model(mel, decoder_input_ids=tokens).logits


def blocks(model: Any, side: str = "encoder") -> Any:
    """The residual blocks of one side."""
    inner = model if hasattr(model, "dims") else model.model
    stack = getattr(inner, side)
    return stack.blocks if hasattr(stack, "blocks") else stack.layers


def residual_at(model: Any, layer: int, run: Callable[[], Any], side: str = "encoder") -> torch.Tensor:
    """What leaves a block, as the next one reads it."""
    seen = []
    handle = blocks(model, side)[layer - 1].register_forward_hook(
        lambda module, args, output: seen.append(output[0] if isinstance(output, tuple) else output)
    )
    run()
    handle.remove()
    return seen[0].clone()


@pytest.mark.parametrize("side", ["encoder", "decoder"])
@pytest.mark.parametrize("layer", [1, 2, 3])
def test_every_layer_gets_the_reference(model: Any, sae: Any, layer: int, side: Any) -> None:
    def run() -> torch.Tensor:
        return logits(model)

    x = residual_at(model, layer, run, side)
    edits = [Scale([3, 17], 0.2), Set(5, 0.4), Clamp(9, high=0.1)]
    with steer(model, sae=sae, layer=layer, side=side, edits=edits) as steering:
        got = residual_at(model, layer, run, side)
        assert steering.path == "delta"
    times = torch.arange(x.shape[1], dtype=torch.float64)
    wanted = reference.steer(
        x.double(), sae.weights(torch.float64), lambda f: naive_edit(f, edits, sae.typical.double(), times)
    )
    near = (got.double() - wanted).abs().amax(-1)
    assert (near < 1e-3).float().mean() > 0.999  # a frame on its threshold may fall either side
    assert (got - x).abs().max() > 0.1


def block_input(frames: int) -> torch.Tensor:
    """A residual for one block alone."""
    return torch.randn(2, frames, D, generator=torch.Generator().manual_seed(frames))


def one_block(model: Any, layer: int, x: torch.Tensor) -> torch.Tensor:
    """One encoder block with its hooks, without the rest of the model."""
    block = blocks(model)[layer - 1]
    wanted = ("attention_mask", "layer_head_mask")  # the second in transformers 4
    nothing = {name: None for name in wanted if name in inspect.signature(block.forward).parameters}
    output = block(x) if hasattr(model, "dims") else block(x, **nothing)
    return output[0] if isinstance(output, tuple) else output


@pytest.mark.filterwarnings("ignore::audiosae_steer.EditWarning")  # some set features below 0, or none that fires
@settings(max_examples=60)
@given(
    edits=edit_lists(F, D),
    kind=st.sampled_from(KINDS),
    norm=st.sampled_from(NORMS),
    error=st.sampled_from(["keep", "drop"]),
    strength=st.sampled_from([1.0, 0.3, -0.25, 2.0]),
    layer=st.integers(1, 3),
    frames=st.sampled_from([1, 7, 40]),
)
def test_any_edits_at_any_layer_give_the_reference(model, edits, kind, norm, error, strength, layer, frames) -> None:
    drawn = make_sae(kind, D, F, 1, norm)
    before = one_block(model, layer, block_input(frames))
    with steer(model, sae=drawn, layer=layer, edits=edits, error=error, strength=strength):
        got = one_block(model, layer, block_input(frames))
    times = (torch.arange(frames, dtype=torch.float64) + 0.5) / 50
    wanted = reference.steer(
        before.double(),
        drawn.weights(torch.float64),
        lambda f: naive_edit(f, edits, drawn.typical.double(), times),
        push=naive_push(edits, times, D),
        strength=strength,
        error=error,
    )
    sure = far_from_thresholds(before, drawn)
    torch.testing.assert_close(got[sure].double(), wanted[sure], rtol=5e-4, atol=5e-4)
    assert torch.equal(one_block(model, layer, block_input(frames)), before)


def bits(x: torch.Tensor) -> torch.Tensor:
    """The bits, so that a zero and its negative are two things."""
    return x.contiguous().view(torch.int32 if x.dtype == torch.float32 else torch.int16)


@pytest.mark.parametrize("error", ["keep", "drop"])
@pytest.mark.parametrize("side", ["encoder", "decoder"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_zero_strength_is_bit_identical_on_both_sides_and_every_path(
    model: Any, sae: Any, dtype: torch.dtype, side: Any, error: Any
) -> None:
    half = copy.deepcopy(model) if hasattr(model, "dims") else copy.deepcopy(model).to(dtype)
    mel = MEL[:1].to(dtype)
    before = bits(logits(half, mel, TOKENS[:1]))
    drawn = make_sae("topk", D, F)  # its feature edits take the path `full`, its additions `add`
    for used in (sae, drawn):
        for edits in ([Add(3, 2.0), Push(torch.ones(D))], [Set(4, 1.0), Scale([1, 2], -3.0)]):
            with steer(half, sae=used, layer=2, side=side, edits=edits, error=error, strength=0.0):
                assert torch.equal(bits(logits(half, mel, TOKENS[:1])), before)
    with steer(half, sae=sae, layer=2, side=side, edits=[]) as steering:
        assert torch.equal(bits(logits(half, mel, TOKENS[:1])), before)
        assert steering.path == "identity"
    with steer(half, sae=sae, layer=2, side=side, edits=[Set(4, 1.0)], error=error):
        assert not torch.equal(bits(logits(half, mel, TOKENS[:1])), before)


def test_autocast_does_not_round_the_residual(model: Any, sae: Any) -> None:
    x = torch.randn(2, 9, D, generator=torch.Generator().manual_seed(1))
    for edits, error in (([Ablate([1, 2])], "keep"), ([Ablate([1, 2])], "drop"), ([Add(3, 2.0)], "keep")):
        with steer(model, sae=sae, layer=2, edits=edits, error=error, gate=ClipGate((3,), (1.0,), threshold=-1.0)) as s:
            encode(model)
            hook = s.hooks[Site(2)]
            wide = hook(x)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                assert torch.equal(hook(x), wide)
            assert not torch.equal(wide, x)


def test_autocast_compiles_whole(model: Any, sae: Any) -> None:
    torch._dynamo.reset()
    encoder = torch.compile((model if hasattr(model, "dims") else model.model).encoder, backend="eager", fullgraph=True)
    with steer(model, sae=sae, layer=2, edits=[Ablate([1, 2])]), torch.autocast("cpu", dtype=torch.bfloat16):
        wanted = encode(model)
        got = encoder(MEL)
        assert torch.equal(got if isinstance(got, torch.Tensor) else got.last_hidden_state, wanted)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_zero_strength_and_no_edits_are_bit_identical(model: Any, sae: Any, dtype: torch.dtype) -> None:
    half = copy.deepcopy(model)
    if not hasattr(half, "dims"):  # openai-whisper keeps float32 weights and casts them to the input's dtype
        half = half.to(dtype)
    mel = MEL.to(dtype)
    before = encode(half, mel)
    for edits in ([], [Add(3, 2.0)], [Ablate([1, 2])], [Push(torch.ones(D))]):
        with steer(half, sae=sae, layer=2, edits=edits, strength=0.0 if edits else 1.0):
            assert torch.equal(encode(half, mel), before)
    with steer(half, sae=sae, layer=2, edits=[Ablate([1, 2])]) as steering:
        assert not torch.equal(encode(half, mel), before)
        assert encode(half, mel).dtype == dtype
        steering.enabled = False
        assert torch.equal(encode(half, mel), before)
        steering.enabled = True
        steering.strength = 0.5
        halfway = encode(half, mel)
        steering.strength = 1.0
        assert not torch.equal(encode(half, mel), halfway)
    assert torch.equal(encode(half, mel), before)


def test_removal_takes_only_its_own_hooks_in_any_order(model: Any, sae: Any) -> None:
    before, hooks = encode(model), count_hooks(model)
    calls: list[int] = []
    foreign = blocks(model)[1].register_forward_hook(lambda *_: calls.append(1))
    first = steer(model, sae=sae, layer=2, edits=[Add(1, 3.0)])
    second = steer(model, sae=sae, layer=2, edits=[Add(2, 3.0)])
    third = steer(model, sae=sae, layer=3, side="encoder", edits=[Ablate(4)])
    both = encode(model)
    first.remove()
    first.remove()
    rest = encode(model)
    assert not torch.equal(rest, both)
    third.remove()
    alone = encode(model)
    second.remove()
    assert torch.equal(encode(model), before)
    assert len(calls) == 4
    foreign.remove()
    assert count_hooks(model) == hooks
    with steer(model, sae=sae, layer=2, edits=[Add(2, 3.0)]):
        assert torch.equal(encode(model), alone)
        with steer(model, sae=sae, layer=3, edits=[Ablate(4)]):
            assert torch.equal(encode(model), rest)
        assert torch.equal(encode(model), alone)


def test_two_steerings_at_one_site_compose(model: Any, sae: Any) -> None:
    with steer(model, sae=sae, layer=2, edits=[Add(1, 3.0), Add(2, 1.0)]):
        together = encode(model)
    with steer(model, sae=sae, layer=2, edits=[Add(1, 3.0)]), steer(model, sae=sae, layer=2, edits=[Add(2, 1.0)]):
        torch.testing.assert_close(encode(model), together, rtol=1e-4, atol=1e-4)


def test_an_exception_inside_the_block_removes_the_hooks(model: Any, sae: Any) -> None:
    before, hooks = encode(model), count_hooks(model)
    with pytest.raises(ZeroDivisionError), steer(model, sae=sae, layer=2, edits=[Ablate(1)], allow_empty=True):
        1 / 0  # noqa: B018
    assert count_hooks(model) == hooks
    assert not {"decode", "generate"} & set(vars(model))
    assert torch.equal(encode(model), before)


def test_an_exception_inside_the_model_is_the_models_own(model: Any, sae: Any) -> None:
    hooks = count_hooks(model)
    with pytest.raises((RuntimeError, AssertionError, ValueError)), steer(model, sae=sae, layer=2, edits=[Ablate(1)]):
        encode(model, torch.randn(1, 7, 9))
    assert count_hooks(model) == hooks


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"layer": 4}, SiteError, "layers 1 to 3"),
        ({"layer": 0}, SiteError, "counted from 1"),
        ({"side": "middle"}, SiteError, "side"),
        ({"edits": [Ablate(F)]}, EditError, "out of range"),
        ({"edits": [Push(torch.ones(3))]}, EditError, "width 3"),
        ({"edits": Ablate(1)}, EditError, "must be a list"),
        ({"sae": make_sae("relu", 12)}, SiteError, "width 12"),
        ({"sae": None}, EditError, "pass sae="),
        ({"error": "halve"}, EditError, "keep"),
        ({"gate": ClipGate((F,), (1.0,))}, GateError, "has 200"),
        ({"gate": SiteGate(Site(3), make_sae("relu", D), ClipGate((1,), (1.0,)))}, GateError, "comes after"),
        ({"side": "decoder", "edits": [Ablate(1, window=(0, 1))]}, EditError, "time axis"),
        ({"strength": float("nan")}, SteeringError, "finite"),
        ({"strength": 1e39}, SteeringError, "finite"),
        ({"strength": "strong"}, SteeringError, "finite"),
        ({"layer": "2"}, SiteError, "counted from 1"),
        ({"layer": 2.0}, SiteError, "counted from 1"),
        ({"edits": [Add(1, 1e39)]}, EditError, "too large"),
        ({"edits": [Push([1e39] * D)]}, EditError, "too large"),
        ({"edits": [Ablate(2), Scale(1, 1e30), Scale(1, 1e30)]}, EditError, "feature 1 together"),
        ({"edits": {}}, EditError, "mapping"),
        ({"edits": ["ablate"]}, EditError, "not an edit"),
        ({"sae": "layer_4/ae.pt"}, SteeringError, "load_sae"),
        ({"gate": "no-false-speech"}, GateError, "ClipGate"),
        ({"gate": ClipGate((1,), (1.0,)), "sae": make_sae("topk", D, F)}, GateError, "calibrate"),
        ({"side": "decoder", "sae": make_sae("batchtopk", D, F)}, SiteError, "calibrate"),
    ],
)
def test_what_cannot_be_leaves_the_model_as_it_was(model: Any, sae: Any, arguments: Any, error: Any, says: str) -> None:
    hooks = count_hooks(model)
    attributes = set(vars(model))
    with pytest.raises(error, match=says):
        steer(model, **{"sae": sae, "layer": 2, "edits": [Ablate(1)], "allow_empty": True, **arguments})
    assert count_hooks(model) == hooks
    assert set(vars(model)) == attributes


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_edits_of_no_number_are_refused_when_written(number: float) -> None:
    makers: list[Callable[[], Any]] = [
        lambda: Scale(1, number),
        lambda: Set([1, 2], [0.0, number]),
        lambda: Add(1, number),
        lambda: Clamp(1, low=number),
        lambda: Push([1.0, number]),
        lambda: Push([1.0], number),
    ]
    for maker in makers:
        with pytest.raises(EditError, match="NaN|infinit"):
            maker()


def test_a_block_that_takes_no_hook_takes_the_other_hooks_away(sae: Any) -> None:
    model = make_openai(d=D)
    model.decoder.blocks[1] = torch.jit.script(torch.nn.Linear(D, D))
    sites = [SiteEdits(Site(1), sae, [Ablate(1)]), SiteEdits(Site(2, "decoder"), sae, [Ablate(1)])]
    with pytest.raises(SteeringError, match=r"decoder layer 2 .* scripted"):
        steer(model, sites, allow_empty=True)
    assert count_hooks(model) == 0
    assert "decode" not in vars(model)


def test_numpys_whole_numbers_name_a_layer(model: Any, sae: Any) -> None:
    with steer(model, sae=sae, layer=np.int64(2), edits=[Ablate(int(np.int64(1)))]) as steering:
        encode(model)
        assert steering.sites == (Site(2),)
        assert type(steering.sites[0].layer) is int


def test_made_in_inference_mode_and_changed_outside(model: Any, sae: Any) -> None:
    with steer(model, sae=sae, layer=2, edits=[Ablate([1, 2])], strength=0.5):
        wanted = encode(model)
    with torch.inference_mode():
        steering = steer(model, sae=sae, layer=2, edits=[Ablate([1, 2])])
        encode(model)
    steering.strength = 0.5
    assert torch.equal(encode(model), wanted)
    steering.remove()


def test_steered_before_its_weights_arrive(sae: Any) -> None:
    model = make_openai(d=D)
    weights = model.state_dict()
    with steer(model, sae=sae, layer=2, edits=[Ablate([1, 2])]):
        wanted = encode(model)
    empty = make_openai(d=D, seed=9).to("meta")
    with steer(empty, sae=sae, layer=2, edits=[Ablate([1, 2])]):
        empty.to_empty(device="cpu").load_state_dict(weights)
        empty.encoder.positional_embedding.copy_(model.encoder.positional_embedding)
        assert torch.equal(encode(empty), wanted)


def test_a_removed_steering_cannot_be_entered_again(model: Any, sae: Any) -> None:
    with steer(model, sae=sae, layer=2, edits=[Ablate(1)]) as steering:
        encode(model)
    with pytest.raises(SteeringError, match="call steer"), steering:
        pass


def test_ways_of_calling_that_make_no_sense(model: Any, sae: Any) -> None:
    with pytest.raises(SteeringError, match="needs a recipe"):
        steer(model)
    with pytest.raises(SteeringError, match="not both"):
        steer(model, "no-false-speech", layer=2)
    with pytest.raises(SiteError, match="twice"):
        steer(model, [SiteEdits(Site(1), sae, [Ablate(1)]), SiteEdits(Site(1), sae, [Ablate(2)])])
    with pytest.raises(EditError, match="empty"):
        steer(model, [])
    for edits in ([Ablate(1)], SiteEdits(Site(1), sae, [Ablate(1)])):
        with pytest.raises(SteeringError, match="a list of SiteEdits"):
            steer(model, edits)
    with pytest.raises(GateError, match="say where"):
        steer(model, [SiteEdits(Site(1), sae, [Ablate(1)])], gate=ClipGate((1,), (1.0,)))
    with pytest.raises(UnknownModelError, match="known are"):
        steer(torch.nn.Linear(2, 2), sae=sae, layer=1, edits=[])
    with pytest.raises(UnknownModelError, match="not a model"):
        steer(3, sae=sae, layer=1, edits=[])
    with pytest.raises(RecipeNotFoundError, match=r"(?s)fits this .*no-false-speech for tiny.en.*To make one"):
        steer(model, "no-false-speech")


def test_several_sites_at_once(model: Any, sae: Any) -> None:
    before = logits(model)
    ablated = [Ablate(range(9))]
    sites = [SiteEdits(Site(1), sae, ablated), SiteEdits(Site(2, "decoder"), sae, [Add(4, 2.0)])]
    with steer(model, sites) as steering:
        steered = logits(model)
        assert steering.path == "delta, add"
        assert steering.sites == (Site(1), Site(2, "decoder"))
        assert "encoder layer 1" in steering.explain()
    second = {"sae": sae, "layer": 2, "side": "decoder", "edits": [Add(4, 2.0)]}
    with steer(model, sae=sae, layer=1, edits=ablated), steer(model, **second):
        torch.testing.assert_close(logits(model), steered)
    assert torch.equal(logits(model), before)


def test_a_gate_opens_for_some_clips_and_the_decoder_follows(model: Any, sae: Any) -> None:
    x = residual_at(model, 1, lambda: encode(model))
    f = sae.encode(x).amax(1)
    feature = int((f[0] - f[1]).argmax())
    middle = float(f[:, feature].mean())
    gate = SiteGate(Site(1), sae, ClipGate((feature,), (1.0,), threshold=middle))
    before = logits(model)
    for side in ("encoder", "decoder"):
        edits = [SiteEdits(Site(2, side), sae, [Add(7, 5.0)])]
        with steer(model, edits, gate=gate) as steering:
            after = logits(model)
            assert steering.opened is not None
            assert steering.opened.tolist() == [True, False]
        assert not torch.equal(after[0], before[0])
        assert torch.equal(after[1], before[1])


def test_a_decoder_gate_follows_beams(sae: Any) -> None:
    model = make_openai(d=D)
    x = residual_at(model, 1, lambda: encode(model))
    f = sae.encode(x).amax(1)
    feature = int((f[0] - f[1]).argmax())
    gate = SiteGate(Site(1), sae, ClipGate((feature,), (1.0,), threshold=float(f[:, feature].mean())))
    rows = TOKENS.repeat_interleave(3, 0)
    audio = encode(model)
    before = model.decoder(rows, audio.repeat_interleave(3, 0))
    with steer(model, [SiteEdits(Site(2, "decoder"), sae, [Add(7, 5.0)])], gate=gate):
        audio = encode(model)
        after = model.decoder(rows, audio.repeat_interleave(3, 0))
        one = model.decoder(rows[3:4], audio[1:])
    assert not torch.equal(after[:3], before[:3])
    assert torch.equal(after[3:], before[3:])
    torch.testing.assert_close(one, before[3:4])


def test_a_gate_that_has_not_run_says_so(sae: Any) -> None:
    model = make_openai(d=D)
    gate = SiteGate(Site(1), sae, ClipGate((1,), (1.0,)))
    with (
        pytest.raises(GateError, match="run the encoder first"),
        steer(model, [SiteEdits(Site(1, "decoder"), sae, [Add(7, 5.0)])], gate=gate),
    ):
        model.decoder(TOKENS, torch.zeros(2, 1500, D))


def test_each_clip_of_a_batch_may_be_steered_differently(model: Any, sae: Any) -> None:
    before = encode(model)
    edits = {"loud": [Add(3, 4.0)], "quiet": [Ablate([1, 2, 3]), Scale(9, 3.0)]}
    alone = {}
    for name, chosen in edits.items():
        with steer(model, sae=sae, layer=2, edits=chosen):
            alone[name] = encode(model)
    with steer(model, sae=sae, layer=2, edits=edits) as steering:
        with pytest.raises(SteeringError, match="for_clips"):
            encode(model)
        steering.for_clips(["quiet", None])
        mixed = encode(model)
        torch.testing.assert_close(mixed[0], alone["quiet"][0], rtol=1e-4, atol=1e-4)
        assert torch.equal(mixed[1], before[1])
        steering.for_clips(["loud", "quiet"])
        mixed = encode(model)
        torch.testing.assert_close(mixed[0], alone["loud"][0], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(mixed[1], alone["quiet"][1], rtol=1e-4, atol=1e-4)
        steering.for_clips(["loud"] * 3)
        with pytest.raises(SteeringError, match="3 clips, but 2 rows"):
            encode(model)
        with pytest.raises(SteeringError, match="not among"):
            steering.for_clips(["lound"])


def test_a_window_is_in_seconds_of_the_audio(model: Any, sae: Any) -> None:
    x = residual_at(model, 2, lambda: encode(model))
    with steer(model, sae=sae, layer=2, edits=[Add(3, 4.0, window=(1.0, 2.5))]) as steering:
        changed = (residual_at(model, 2, lambda: encode(model)) != x).any(-1).any(0)
        assert changed.nonzero().flatten().tolist() == list(range(50, 125))
        steering.offset = 2.0
        changed = (residual_at(model, 2, lambda: encode(model)) != x).any(-1).any(0)
        assert changed.nonzero().flatten().tolist() == list(range(25))


def test_a_steering_that_never_ran_says_so(model: Any, sae: Any) -> None:
    with pytest.warns(NeverCalledWarning, match="encoder layer 2"):
        steer(model, sae=sae, layer=2, edits=[Ablate(1)]).remove()


def test_the_model_copies_and_pickles_after_removal(model: Any, sae: Any) -> None:
    before = logits(model)
    with steer(model, sae=sae, layer=2, edits=[Ablate([1, 2])], allow_empty=True):
        steered = logits(model)
        twin = copy.deepcopy(model)
        assert torch.equal(logits(twin), steered)
    assert torch.equal(logits(twin), before)
    assert torch.equal(logits(copy.deepcopy(model)), before)
    assert torch.equal(logits(pickle.loads(pickle.dumps(model))), before)
    assert set(vars(model)) == set(vars(copy.deepcopy(model)))


def test_two_models_in_two_threads(sae: Any) -> None:
    models = [make_openai(seed, d=D) for seed in (1, 2)]
    wanted = []
    for model in models:
        with steer(model, sae=sae, layer=2, edits=[Ablate([1, 2])], gate=ClipGate((3,), (1.0,), threshold=-1.0)):
            wanted.append(encode(model))
    got: dict[int, list[torch.Tensor]] = {0: [], 1: []}

    def work(which: int) -> None:
        for _ in range(3):
            with steer(
                models[which], sae=sae, layer=2, edits=[Ablate([1, 2])], gate=ClipGate((3,), (1.0,), threshold=-1.0)
            ):
                got[which].append(encode(models[which]))

    threads = [threading.Thread(target=work, args=(which,)) for which in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for which in (0, 1):
        assert len(got[which]) == 3
        for output in got[which]:
            torch.testing.assert_close(output, wanted[which])


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("edits", [[Ablate([1, 2])], [Add(3, 4.0)]], ids=["delta", "add"])
def test_compiled_before_and_after(model: Any, sae: Any, when: str, edits: Any) -> None:
    torch._dynamo.reset()
    plain = encode(model)
    with steer(model, sae=sae, layer=2, edits=edits):
        wanted = encode(model)
    inner = model if hasattr(model, "dims") else model.model

    def run(compiled: Any) -> torch.Tensor:
        output = compiled(MEL)
        return output if isinstance(output, torch.Tensor) else output.last_hidden_state

    if when == "before":
        compiled = torch.compile(inner.encoder, backend="eager", fullgraph=True)
        torch.testing.assert_close(run(compiled), plain)
        steering = steer(model, sae=sae, layer=2, edits=edits)
    else:
        steering = steer(model, sae=sae, layer=2, edits=edits)
        compiled = torch.compile(inner.encoder, backend="eager", fullgraph=True)
    torch.testing.assert_close(run(compiled), wanted)
    counters = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    steering.strength = 0.0
    assert torch.equal(run(compiled), plain)
    steering.strength = 1.0
    torch.testing.assert_close(run(compiled), wanted)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == counters  # strength recompiles nothing
    steering.remove()
    assert torch.equal(run(compiled), plain)


def test_a_compiled_whole_model_can_be_passed_in(model: Any, sae: Any) -> None:
    torch._dynamo.reset()
    middle = float(sae.encode(residual_at(model, 1, lambda: encode(model)))[..., 3].amax(1).mean())
    parts = [SiteEdits(Site(2), sae, [Ablate([1, 2])]), SiteEdits(Site(2, "decoder"), sae, [Add(1, 3.0)])]
    gate = SiteGate(Site(1), sae, ClipGate((3,), (1.0,), threshold=middle))
    with steer(model, parts, gate=gate):
        wanted = logits(model)
    compiled = torch.compile(model, backend="eager")
    run = (
        (lambda: compiled(MEL, TOKENS))
        if hasattr(model, "dims")
        else (lambda: compiled(MEL, decoder_input_ids=TOKENS).logits)
    )
    plain = run()
    with steer(compiled, parts, gate=gate) as steering:
        torch.testing.assert_close(run(), wanted)
        assert steering.opened is not None
        assert sorted(steering.opened.tolist()) == [False, True]
    assert not torch.equal(plain, wanted)
    torch.testing.assert_close(run(), plain)


@pytest.mark.parametrize("when", ["before", "after"])
def test_gates_and_choices_are_followed_by_compiled_code(model: Any, sae: Any, when: str) -> None:
    torch._dynamo.reset()
    compiled = torch.compile((model if hasattr(model, "dims") else model.model).encoder, backend="eager")

    def run() -> torch.Tensor:
        output = compiled(MEL)
        return output if isinstance(output, torch.Tensor) else output.last_hidden_state

    if when == "before":
        run()
    seen = []
    for threshold in (-1e3, 1e3):
        gate = SiteGate(Site(1), sae, ClipGate((3,), (1.0,), threshold=threshold))
        with steer(model, [SiteEdits(Site(2), sae, [Add(1, 3.0)])], gate=gate) as steering:
            seen.append(run())
            assert steering.opened is not None
            assert steering.opened.tolist() == [threshold < 0] * 2
            assert torch.equal(encode(model), seen[-1])
    edits = {"loud": [Add(3, 4.0)], "quiet": [Ablate([1, 2, 3])]}
    with steer(model, [SiteEdits(Site(2), sae, edits)]) as steering:
        for choice in (["loud", None], ["quiet", "loud"], [None, None]):
            steering.for_clips(choice)
            seen.append(run())
            assert torch.equal(encode(model), seen[-1])
    assert torch.equal(seen[1], seen[4])
    assert not any(torch.equal(seen[i], seen[j]) for i in range(4) for j in range(i))


def test_a_block_or_a_side_compiled_in_place(model: Any, sae: Any) -> None:
    with steer(model, sae=sae, layer=2, edits=[Ablate([1, 2])]):
        wanted = encode(model)
    plain = encode(model)
    one, other = copy.deepcopy(model), copy.deepcopy(model)
    blocks(one)[1] = torch.compile(blocks(one)[1], backend="eager")
    (other if hasattr(other, "dims") else other.model).encoder.compile(backend="eager")
    for twin in (one, other):
        assert torch.equal(encode(twin), plain)
        with steer(twin, sae=sae, layer=2, edits=[Ablate([1, 2])]):
            torch.testing.assert_close(encode(twin), wanted)
        assert torch.equal(encode(twin), plain)


def test_generated_code_gives_what_the_block_gives() -> None:
    torch._dynamo.reset()
    edits = [Ablate([1, 2])]
    model, small = make_openai(d=D), make_sae("relu", D, F)
    x = torch.randn(2, 40, D, generator=torch.Generator().manual_seed(0))
    block = model.encoder.blocks[1]
    plain = block(x)
    steering = steer(model, sae=small, layer=2, edits=edits)
    wanted = block(x)
    compiled = torch.compile(block, fullgraph=True)
    torch.testing.assert_close(compiled(x), wanted, rtol=1e-4, atol=1e-4)
    assert (wanted - plain).abs().max() > 0.1
    steering.strength = 0.0
    torch.testing.assert_close(compiled(x), plain, rtol=1e-4, atol=1e-4)
    steering.remove()
    torch.testing.assert_close(compiled(x), plain, rtol=1e-4, atol=1e-4)


def test_a_steering_can_be_trained_through(model: Any, sae: Any) -> None:
    mel = MEL[:1].clone().requires_grad_()
    with steer(model, sae=sae, layer=2, edits=[Scale([1, 2, 3], 0.1)]):
        encode(model, mel).square().sum().backward()
    assert mel.grad is not None
    assert torch.isfinite(mel.grad).all()


def test_repr_tells_what_it_is(model: Any, sae: Any) -> None:
    with steer(model, sae=sae, layer=2, edits=[Ablate(1)], strength=0.5) as steering:
        encode(model)
        assert "encoder layer 2 (delta); strength 0.5, on" in repr(steering)
    assert "removed" in repr(steering)


def test_a_slip_in_a_setting_is_told(model: Any, sae: Any) -> None:
    with steer(model, sae=sae, layer=2, edits=[Set(3, 1.0)], strength=0) as steering:
        with pytest.raises(AttributeError, match=r"no attribute 'stregth'; did you mean 'strength'\?") as raised:
            steering.stregth = 0.5
        assert isinstance(raised.value, SteeringError)
        with pytest.raises(AttributeError, match=r"'x'; expected one of enabled, offset, opened, strength, threshold"):
            steering.x = 1
        with steering.session() as session, pytest.raises(AttributeError):
            session.strength = 0.5
        steering.strength, steering.enabled, steering.offset = 0.25, True, 1.0
        assert (steering.strength, steering.offset) == (0.25, 1.0)
        encode(model)
