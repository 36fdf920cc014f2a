"""Baking: the same model without hooks, or a refusal that says why and leaves everything as it was."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from baking import changed, constants, mute, same_bits, weights_of
from families import FAMILIES, Case
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from make import BRIEF, NORMS, count_hooks, make_hf, make_openai, make_sae
from torch import Tensor, nn

from audiosae_steer import (
    Add,
    Clamp,
    ClipGate,
    FrameGate,
    Push,
    Scale,
    Site,
    SiteEdits,
    SiteError,
    SteeringError,
    load_audio,
    load_recipe,
    load_sae,
    steer,
)
from audiosae_steer.evaluate.transcription.transcribe import transcribe
from audiosae_steer.models.registry import family_of
from audiosae_steer.steering.bake import Baked, bakes
from audiosae_steer.steering.recipes.load import checkpoints_dir, shipped

D, F = 24, 40
MEL = torch.randn(2, 80, 2 * BRIEF, generator=torch.Generator().manual_seed(0))
TOKENS = torch.tensor([[50257, 50362, 11, 12], [50257, 50362, 13, 14]])
CANNOT = ("EnCodec 24 kHz", "EnCodec 48 kHz", "EnCodec (package)", "WavTokenizer", "DiffRhythm", "wav2vec2-conformer")
"""Families without a bias that reaches the residual unchanged."""


@pytest.fixture(params=["openai", "transformers"])
def model(request: pytest.FixtureRequest) -> Any:
    return make_openai(d=D, frames=BRIEF) if request.param == "openai" else make_hf(d=D, frames=BRIEF)


@pytest.fixture(scope="module")
def sae() -> Any:
    return make_sae("batchtopk-threshold", D, F)


def logits(model: Any) -> Tensor:
    with torch.no_grad():
        if hasattr(model, "dims"):
            return model(MEL.to(model.encoder.conv1.weight.dtype), TOKENS)
        return model(MEL, decoder_input_ids=TOKENS).logits


def near(one: Tensor, other: Tensor, plain: Tensor, share: float = 1e-4) -> None:
    """Whether two are the same up to rounding, which is a small share of what was changed."""
    change = (one - plain).abs().max()
    assert change > 0
    assert (one - other).abs().max() < share * change + 1e-6 * plain.abs().max()


def test_the_baked_model_is_the_steered_one(model: Any, sae: Any) -> None:
    plain, before = logits(model), weights_of(model)
    steering = steer(model, constants(D, (3, 3), sae), strength=0.7, allow_empty=True)
    steered = logits(model)
    hooked = count_hooks(model)
    baked = steering.bake()
    assert hooked > count_hooks(model) == 0
    near(steered, logits(model), plain)
    last = "mlp.2" if hasattr(model, "dims") else "fc2"
    names = [change.parameter for change in baked.changes]
    assert [name.split(".", 1)[1] if "model." in name else name for name in names] == [
        *([f"encoder.blocks.2.{last}.bias"] if hasattr(model, "dims") else [f"encoder.layers.2.{last}.bias"]),
        *(f"decoder.{'blocks' if hasattr(model, 'dims') else 'layers'}.{n}.{last}.bias" for n in range(3)),
    ]
    assert set(changed(model, before)) == set(names)
    assert isinstance(baked, Baked)
    assert baked.strength == 0.7
    assert baked.recipe is None
    assert baked.allow_empty
    for change in baked.changes:
        moved = model.get_parameter(change.parameter).double() - before[change.parameter].double()
        assert moved.norm().item() == pytest.approx(change.norm, rel=1e-5)
        assert change.before == pytest.approx(before[change.parameter].double().norm().item())
        assert change.rounding < 1e-6
    with pytest.raises(SteeringError, match="was removed, and has nothing to bake"):
        steering.bake()
    steering.remove()
    near(steered, logits(model), plain)


@st.composite
def additions(draw: st.DrawFn) -> list[Any]:
    number = st.floats(-3, 3, allow_nan=False, width=32)
    found: list[Any] = []
    for _ in range(draw(st.integers(1, 5))):
        features = draw(st.lists(st.integers(0, F - 1), min_size=1, max_size=4, unique=True))
        amounts = draw(st.lists(number, min_size=len(features), max_size=len(features)))
        vector = draw(st.lists(number, min_size=D, max_size=D))
        kind = draw(st.sampled_from(["raw", "typical", "push"]))
        found.append(Push(vector, draw(number)) if kind == "push" else Add(features, amounts, units=kind))
    return found


def summed(edits: list[Any], sae: Any) -> Tensor:
    """What they add to every frame, edit by edit, in float64."""
    total = torch.zeros(D, dtype=torch.float64)
    rows = sae.W_dec.double() / (sae.normalisation.scale if sae.normalisation.kind == "scalar" else 1.0)
    for edit in edits:
        if isinstance(edit, Push):
            total += edit.amount * edit.vector
            continue
        for feature, amount in zip(edit.features, edit.amount, strict=True):
            unit = sae.typical[feature].double() if edit.units == "typical" else 1.0
            total += amount * unit * rows[feature]
    return total


@settings(max_examples=60)
@given(
    edits=additions(), strength=st.floats(-2, 2).filter(lambda v: abs(v) > 1e-3), seed=st.integers(0, 3),
    norm=st.sampled_from(NORMS[:2]), double=st.booleans(), kind=st.sampled_from(["relu", "topk", "batchtopk"]),
)  # fmt: skip
def test_any_additions_are_exact(
    edits: list[Any], strength: float, seed: int, norm: Any, double: bool, kind: str
) -> None:
    """The bias is the nearest number of its dtype to the exact sum, up to the rounding of what the hook adds."""
    sae = make_sae(kind, D, F, seed, norm)
    block = _block(double)
    bias, before = block.layer[2].bias, block.layer[2].bias.detach().clone()
    x = torch.randn(2, 5, D, generator=torch.Generator().manual_seed(seed)).to(bias.dtype)
    assume(abs(strength) * summed(edits, sae).abs().max() > 1e-6)  # what is nothing is refused
    steering = steer(block, [SiteEdits(Site(path="layer.2"), sae, edits)], strength=strength)
    steered = block(x)
    wanted = before.double() + strength * summed(edits, sae)
    steering.bake()
    scale = wanted.abs().max() + before.abs().max() + abs(strength) * sum(_size(edit, sae) for edit in edits)
    assert (bias.double() - wanted).abs().max() <= (1e-14 if double else 3e-7) * abs(scale) + 1e-30
    assert (block(x) - steered).abs().max() <= (1e-13 if double else 3e-6) * (abs(scale) + steered.abs().max())


def _size(edit: Any, sae: Any) -> float:
    return summed([edit], sae).abs().max().item()


def _block(double: bool) -> Any:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Sequential(nn.Linear(D, 2 * D), nn.GELU(), nn.Linear(2 * D, D))

        def forward(self, x: Tensor) -> Tensor:
            return x + self.layer(x)

    torch.manual_seed(0)
    return Block().to(torch.float64 if double else torch.float32).requires_grad_(False)


@pytest.mark.parametrize("case", FAMILIES, ids=lambda case: case.name)
def test_every_layer_of_every_family_is_baked_or_refused(case: Case) -> None:
    made = case.make()
    with torch.no_grad():
        plain, before = case.run(made, case.seconds), weights_of(made)
        for site in case.sites(made):
            model = copy.deepcopy(made)
            steering = steer(
                model, site=site, edits=[Push(torch.linspace(-1, 1, case.width(model, site)))], strength=0.5
            )
            steered = case.run(model, case.seconds)
            if case.name in CANNOT:
                with pytest.raises(SiteError, match=f"{site}|EncoderLayer"):
                    steering.bake()
                assert changed(model, before) == []
                assert torch.equal(case.run(model, case.seconds), steered)
                continue
            baked = steering.bake()
            assert changed(model, before) == [baked.changes[0].parameter]
            assert count_hooks(model) == 0
            near(steered.float(), case.run(model, case.seconds).float(), plain.float(), 1e-3)


def test_padding_apart_a_batch_of_clips_is_as_hooked() -> None:
    """Frames that only fill up a batch are left alone by hooks; no frame of a clip attends to them."""
    case = next(case for case in FAMILIES if case.name == "HuBERT, stable")
    model = case.make()
    wav = 0.1 * torch.randn(2, 16000, generator=torch.Generator().manual_seed(1))
    mask = torch.ones(2, 16000, dtype=torch.long)
    mask[1, 8000:] = 0
    wav[1, 8000:] = 0

    def run() -> Tensor:
        with torch.no_grad():
            return model(wav, attention_mask=mask).last_hidden_state

    plain = run()
    steering = steer(model, layer=2, edits=[Push(torch.linspace(-1, 1, D))])
    steered = run()
    steering.bake()
    for clip, frames in enumerate((49, 24)):
        near(steered[clip, :frames], run()[clip, :frames], plain[clip, :frames])


def gate(sae: Any) -> ClipGate:
    return ClipGate((1, 2), (1.0, -1.0))


REFUSED: dict[str, tuple[Any, str]] = {
    "clip gate": (lambda m, s: steer(m, sae=s, layer=2, edits=[Add(1, 1.0)], gate=gate(s)),
                  "its clip gate at encoder layer 2 decides clip by clip.*without the clip gate it could be"),
    "frame gate": (lambda m, s: steer(m, sae=s, layer=2, edits=[Add(1, 1.0)], gate=FrameGate((1, 2), (1.0, -1.0))),
                   "its frame gate at encoder layer 2 decides frame by frame.*without the frame gate"),
    "window": (lambda m, s: steer(m, sae=s, layer=2, edits=[Add(1, 1.0, window=(0.0, 1.0))]),
               "at encoder layer 2 edits have windows of time.*without windows"),
    "scale": (lambda m, s: steer(m, sae=s, layer=2, edits=[Add(1, 1.0), Scale(2, 0.5)]),
              r"edits that depend on what the features are \(path delta\).*without all edits but Add and Push"),
    "clamp": (lambda m, s: steer(m, sae=s, layer=2, edits=[Clamp(2, high=0.5)]), "depend on what the features are"),
    "drop": (lambda m, s: steer(m, sae=s, layer=2, edits=[Add(1, 1.0)], error="drop"), 'error="drop" puts the SAE'),
    "first": (lambda m, s: steer(m, [SiteEdits(Site(2, "decoder"), s, [Add(1, 1.0)], steps="first")]),
              "only the step that writes a text's first token is edited.*without steps=\"first\""),
    "names": (lambda m, s: steer(m, sae=s, layer=2, edits={"a": [Add(1, 1.0)], "b": [Add(2, 1.0)]}),
              "each clip chooses among a, b"),
    "choice": (lambda m, s: steer(m, sae=s, layer=2, edits=[Add(1, 1.0)]).for_clips(["edits", None]),
               "each clip chooses among edits"),
    "unit norm": (lambda m, s: steer(m, sae=make_sae("relu", D, F, norm=NORMS[2]), layer=2, edits=[Add(1, 1.0)]),
                  "measures each frame by its own norm"),
    "strength 0": (lambda m, s: steer(m, sae=s, layer=2, edits=[Add(1, 1.0)], strength=0.0), "at strength 0"),
    "amount 0": (lambda m, s: steer(m, sae=s, layer=2, edits=[Add([1, 2], 0.0), Push(torch.ones(D), 0.0)]),
                 "adds is 0, and changes nothing; give its edits amounts"),
    "off": (lambda m, s: _off(steer(m, sae=s, layer=2, edits=[Add(1, 1.0)])), "is at switched off"),
    "path": (lambda m, s: steer(m, site=Site(path=_path(m)), sae=s, edits=[Add(1, 1.0)]),
             "of which it is not known how it ends; name a linear map"),
    "second of two": (lambda m, s: steer(m, [
        SiteEdits(Site(1), s, [Add(1, 1.0)]), SiteEdits(Site(2), s, [Add(1, 1.0), Scale(3, 2.0)])]),
        "at encoder layer 2 there are edits that depend"),
    "two reasons": (lambda m, s: steer(m, sae=s, layer=2, edits=[Scale(1, 1.5, window=(0.0, 1.0))], gate=gate(s)),
                    "clip gate.*; .*depend on.*; .*windows.*without the clip gate and all edits but Add and Push and "),
}  # fmt: skip


def _off(steering: Any) -> Any:
    steering.enabled = False
    return steering


def _path(model: Any) -> str:
    return "encoder.blocks.1" if hasattr(model, "dims") else "model.encoder.layers.1"


@pytest.mark.parametrize("why", REFUSED)
def test_what_is_no_constant_is_refused_and_nothing_is_touched(model: Any, sae: Any, why: str) -> None:
    make, says = REFUSED[why]
    before = weights_of(model)
    steering = make(model, sae)
    hooks = count_hooks(model)
    shown = repr(steering)
    with pytest.raises((SteeringError, SiteError), match=says):
        steering.bake()
    assert changed(model, before) == []
    assert count_hooks(model) == hooks
    assert repr(steering) == shown
    steering._leave(quiet=True)


def spoilt(kind: str) -> tuple[Any, str]:
    """A model whose last maps cannot take a constant, and what is said of it."""
    model = make_openai(d=D, frames=BRIEF)
    block = model.encoder.blocks[1]
    if kind == "no bias":
        block.mlp[2] = nn.Linear(4 * D, D, bias=False)
        return model, "has no bias that could take a constant"
    if kind == "adapted":
        block.mlp[2] = nn.Sequential(block.mlp[2])
        return model, "ends in a Sequential, which is no linear map of torch"
    if kind == "quantised":
        block.mlp[2] = _Int8(4 * D, D)
        return model, r"is quantised \(torch.int8\); bake it before it is"
    if kind == "parametrised":
        nn.utils.parametrize.register_parametrization(block.mlp[2], "bias", _Doubled())
        return model, "has no bias that could take a constant"
    if kind == "shared":
        model.encoder.blocks[0].mlp[2].bias = block.mlp[2].bias
        return model, "is shared by 2 modules, and would change all of them"
    model.encoder.blocks[1] = block.half()
    return model, "torch.float16, too narrow for the sum"


class _Doubled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


class _Int8(nn.Linear):
    """As bitsandbytes has it: a Linear whose weight is of whole numbers."""

    def __init__(self, wide: int, d: int) -> None:
        super().__init__(wide, d)
        self.weight = nn.Parameter(self.weight.mul(127).to(torch.int8), requires_grad=False)


@pytest.mark.parametrize("kind", ["no bias", "adapted", "quantised", "parametrised", "shared", "narrow"])
def test_maps_that_cannot_take_it_are_refused_before_others_are_touched(kind: str) -> None:
    model, says = spoilt(kind)
    before = weights_of(model)
    parts = [SiteEdits(Site(layer), None, [Push(torch.full((D,), 7e4))]) for layer in (1, 2, 3)]
    steering = steer(model, parts if kind == "narrow" else parts[1:])
    with pytest.raises((SiteError, SteeringError), match=says):
        steering.bake()
    assert changed(model, before) == []
    assert count_hooks(model) == (3 if kind == "narrow" else 2)
    steering._leave(quiet=True)


def test_a_write_that_fails_half_way_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    from audiosae_steer.steering import bake as module

    model = make_openai(d=D, frames=BRIEF)
    before, write, calls = weights_of(model), module._write, []

    def failing(bias: Any, value: Tensor) -> None:
        calls.append(bias)
        if len(calls) == 3:
            raise RuntimeError("out of memory")
        write(bias, value)

    monkeypatch.setattr(module, "_write", failing)
    steering = steer(model, constants(D, (3, 3)))
    with pytest.raises(RuntimeError, match="out of memory"):
        steering.bake()
    assert changed(model, before) == []
    assert count_hooks(model) == 4
    steering._leave(quiet=True)


def test_another_steering_stays_and_gives_what_it_gave(sae: Any) -> None:
    model = make_openai(d=D, frames=BRIEF)
    first = steer(model, sae=sae, layer=2, edits=[Push(torch.linspace(-2, 2, D))])
    plain = logits(model)
    second = steer(model, sae=sae, layer=2, edits=[Scale([1, 2, 3, 4, 5], 3.0)])
    both = logits(model)
    with pytest.raises(SteeringError, match="depend on what the features are"):
        second.bake()
    first.bake()  # it ran before the other, and so does the bias
    near(both, logits(model), plain, 1e-3)
    third = steer(model, layer=2, edits=[Push(torch.ones(D))])
    with pytest.raises(
        SteeringError, match="another steering is at encoder layer 2, and runs before it.*without the other"
    ):
        third.bake()
    for left in (third, second):
        left._leave(quiet=True)


def test_two_sites_that_are_one_place_are_summed() -> None:
    model = make_openai(d=D, frames=BRIEF)
    before = weights_of(model)
    vector = torch.linspace(-1, 1, D)
    parts = [
        SiteEdits(Site(1), None, [Push(vector)]),
        SiteEdits(Site(path="encoder.blocks.0.mlp.2"), None, [Push(vector, 2.0)]),
    ]
    baked = steer(model, parts).bake()
    assert [len(change.sites) for change in baked.changes] == [2]
    moved = model.encoder.blocks[0].mlp[2].bias - before["encoder.blocks.0.mlp.2.bias"]
    torch.testing.assert_close(moved, 3 * vector)


def test_compiled_code_sees_the_new_bias() -> None:
    model = make_openai(d=D, frames=BRIEF)
    compiled = torch.compile(model.encoder, backend="eager")
    with torch.no_grad():
        plain = compiled(MEL)
        steering = steer(model, layer=2, edits=[Push(torch.linspace(-1, 1, D))])
        steered = compiled(MEL)
        steering.bake()
        near(steered, compiled(MEL), plain)


def test_weights_made_in_inference_mode() -> None:
    with torch.inference_mode():
        model = make_openai(d=D, frames=BRIEF)
    plain = logits(model)
    steering = steer(model, layer=2, edits=[Push(torch.linspace(-1, 1, D))])
    steered = logits(model)
    steering.bake()
    near(steered, logits(model), plain)


def test_half_precision_rounds_once() -> None:
    model = make_openai(d=D, frames=BRIEF).to(torch.bfloat16)
    before = model.encoder.blocks[0].mlp[2].bias.clone()
    vector = torch.linspace(-1, 1, D)
    baked = steer(model, layer=1, edits=[Push(vector)]).bake()
    after = model.encoder.blocks[0].mlp[2].bias
    assert same_bits(after, (before.double() + vector.double()).to(torch.bfloat16))
    assert baked.changes[0].rounding == (after.double() - before.double() - vector.double()).abs().max().item()


@pytest.fixture
def tiny(tiny_en: Any) -> Any:
    return copy.deepcopy(tiny_en)


CLIPS = checkpoints_dir() / "clips"


def test_released_tiny_en_by_features_of_its_sae(tiny: Any) -> None:
    """The shipped features without their gate, and vectors in the decoder: residuals and texts as hooked."""
    recipe = load_recipe("no-false-speech", tiny)
    sae = load_sae(checkpoints_dir() / "whisper-tiny.en" / "encoder-4.safetensors")
    edits = recipe.sites[0].build()
    mel = torch.randn(1, 80, 3000, generator=torch.Generator().manual_seed(3))
    clips = [load_audio(CLIPS / f"{name}.flac") for name in ("speech-04", "fan", "footsteps")]
    parts = [SiteEdits(Site(4), sae, edits), *constants(384, (4, 4), size=0.05)[1:]]
    plain = [transcribe(tiny, clip).text for clip in clips]
    with torch.no_grad():
        unsteered = tiny.encoder(mel)
        steering = steer(tiny, parts, strength=0.75)
        steered, texts = tiny.encoder(mel), [transcribe(tiny, clip).text for clip in clips]
        steering.bake()
        near(steered, tiny.encoder(mel), unsteered, 1e-3)
    assert [transcribe(tiny, clip).text for clip in clips] == texts
    assert texts != plain


def test_the_shipped_constants_silence_noise_without_a_hook(tiny: Any) -> None:
    clips = {name: load_audio(CLIPS / f"{name}.flac") for name in ("fan", "footsteps", "speech-01", "speech-04")}
    assert all(transcribe(tiny, clip).text for clip in clips.values())
    steering = steer(tiny, "no-false-speech-constant")
    hooked = {name: transcribe(tiny, clip).text for name, clip in clips.items()}
    steering.bake()
    assert count_hooks(tiny) == 0
    assert {name: transcribe(tiny, clip).text for name, clip in clips.items()} == hooked
    assert [name for name, text in hooked.items() if text] == ["speech-01", "speech-04"]


def test_a_recipe_that_cannot_names_what_would_have_to_go_and_one_that_can(tiny: Any) -> None:
    able = [recipe.name for recipe in shipped() if bakes(recipe) and recipe.misfit(tiny) is None]
    nearest = f"of the recipes for this model {', '.join(map(repr, able))} can be" if able else "learns constants that"
    for name, says in (
        ("no-false-speech", "its clip gate at encoder layer 4.*its timestamp gate limits what the decoding may write"),
        ("no-false-speech-ungated", 'at decoder layer 1 only the step.*without steps="first" it could be; '),
    ):
        before = weights_of(tiny)
        with steer(tiny, name) as steering:
            tiny.encoder(torch.zeros(1, 80, 3000))
            with pytest.raises(SteeringError, match=says) as refused:
                steering.bake()
            assert nearest in str(refused.value)
            steering._leave(quiet=True)
        assert changed(tiny, before) == []


def test_which_recipes_bake() -> None:
    found = {(recipe.name, recipe.model.name): bakes(recipe) for recipe in shipped()}
    assert not found["no-false-speech", "tiny.en"]
    assert not found["no-false-speech-ungated", "base"]
    assert all(found["no-false-speech-constant", model] for model in ("tiny.en", "base"))
    recipe = load_recipe("no-false-speech", make_like_tiny())
    assert not bakes(recipe.model_copy(update={"gate": None}))
    recipe = recipe.model_copy(update={"timestamp_gate": None})
    assert bakes(recipe.model_copy(update={"gate": None}))
    site = recipe.sites[0]
    window = site.model_copy(update={"edits": [{**site.edits[0], "window": [0.0, 1.0]}]})
    for update in ({"sites": [window]}, {"sites": [site.model_copy(update={"error": "drop"})]}):
        assert not bakes(recipe.model_copy(update={"gate": None, **update}))


def make_like_tiny() -> Any:
    """Of tiny.en's sizes, with random weights."""
    return make_openai(d=384, layers=4)


def test_muting_is_baked_too(tiny: Any) -> None:
    """The strongest steering there is, and the two doors: with timestamps silence is written, without it cannot be."""
    clip = load_audio(CLIPS / "speech-04.flac")
    steering = steer(tiny, mute(tiny), allow_empty=True)
    assert transcribe(tiny, clip).text == ""
    assert transcribe(tiny, clip, timestamps=False).text == ""
    assert steering.bake().allow_empty
    assert family_of(tiny).name == "whisper"
    assert transcribe(tiny, clip).text == ""
    assert transcribe(tiny, clip, timestamps=False).text != ""  # SuppressBlank is code, which no weight carries
