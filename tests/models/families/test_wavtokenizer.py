"""WavTokenizer: sites, frame rates, sound through it, and gates whose decision goes from `encode_infer` to `decode`."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st
from make import make_sae
from torch import Tensor, nn
from wavtokenizer import WavTokenizer, given, wavtokenizer

from audiosae_steer import (
    Ablate,
    Add,
    AudioError,
    ClipGate,
    GateError,
    Push,
    Scale,
    Site,
    SiteEdits,
    SiteGate,
    UnknownModelError,
    edit_audio,
    list_sites,
    steer,
)
from audiosae_steer.models.registry import family_of

MODEL = wavtokenizer()
SIDES = ("encoder", "decoder")


def sound(*shape: int, seed: int = 1) -> Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def through(model: Any, wav: Tensor) -> Tensor:
    """Its own output (batch, samples) of (batch, samples), as its README makes it."""
    features, _ = model.encode_infer(wav, **given())
    return model.decode(features, **given())


def test_sites_have_names_widths_and_rates() -> None:
    found = [(str(info.site), info.path, info.d_model, info.layout, info.frame_rate) for info in list_sites(MODEL)]
    assert found == [
        ("encoder layer 1", "feature_extractor.encodec.encoder", 16, "bdf", 75.0),
        ("decoder layer 1", "→ backbone", 16, "bdf", 75.0),
        *((f"decoder layer {n + 2}", f"backbone.convnext.{n}", 24, "bdf", 75.0) for n in range(3)),
    ]
    slow = wavtokenizer((6, 5, 5, 4))
    assert {info.frame_rate for info in list_sites(slow)} == {40.0}
    assert slow.encode_infer(sound(1, 24000), **given())[0].shape == (1, 16, 40)


def test_a_name_alone_or_parts_alone_are_not_enough() -> None:
    with pytest.raises(UnknownModelError):
        family_of(type("WavTokenizer", (nn.Module,), {})())
    with pytest.raises(UnknownModelError):
        family_of(type("Vocos", (nn.Module,), {"feature_extractor": nn.Identity(), "backbone": nn.Identity()})())
    assert family_of(type("Tuned", (WavTokenizer,), {})(MODEL.feature_extractor, MODEL.backbone, MODEL.head)).name == (
        "wavtokenizer"
    )


@pytest.mark.parametrize("shape", [(24001,), (1, 9000), (2, 1, 12345), (1,)])
@pytest.mark.parametrize("side", SIDES)
def test_sound_keeps_its_shape_and_can_be_written_to(shape: tuple[int, ...], side: Any) -> None:
    wav = sound(*shape)
    made = edit_audio(MODEL, wav, [Push(torch.ones(16), 3.0)], side=side)
    assert made.shape == wav.shape
    assert made.isfinite().all()
    assert not made.is_inference()
    made += 1
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in MODEL.modules())


@pytest.mark.parametrize("kind", ["relu", "topk"])
@pytest.mark.parametrize("side", SIDES)
def test_no_strength_gives_what_the_codec_makes_bit_for_bit(side: Any, kind: str) -> None:
    wav, sae = sound(1, 20000), make_sae(kind, 16, 40)
    plain = through(MODEL, wav)[..., :20000]
    assert torch.equal(edit_audio(MODEL, wav, [Scale([1, 2], 3.0)], sae=sae, side=side, strength=0.0), plain)
    assert not torch.equal(edit_audio(MODEL, wav, [Add([1, 2], 3.0)], sae=sae, side=side), plain)
    assert torch.equal(through(MODEL, wav)[..., :20000], plain)


def test_before_the_codebook_codes_change_and_after_it_they_do_not() -> None:
    wav = sound(1, 12000)
    features, codes = MODEL.encode_infer(wav, **given())
    plain = MODEL.decode(features, **given())
    with steer(MODEL, layer=1, edits=[Push(torch.ones(16), 3.0)]):
        assert not torch.equal(MODEL.encode_infer(wav, **given())[1], codes)
    for layer in (1, 2, 4):
        width = 16 if layer == 1 else 24
        with steer(MODEL, layer=layer, side="decoder", edits=[Push(torch.ones(width), 3.0)]) as steering:
            assert torch.equal(MODEL.encode_infer(wav, **given())[1], codes)
            assert not torch.equal(MODEL.decode(features, **given()), plain), layer
        assert steering.path == "add"


@settings(max_examples=8)
@drawn(start=st.floats(0.3, 1.0), length=st.floats(0.05, 0.3))
def test_a_window_of_the_last_block_is_heard_in_its_seconds(start: float, length: float) -> None:
    wav, reach = sound(1, 36000), 3 * 320 / 24000  # the head's windows are of four frames
    plain = through(MODEL, wav)
    with steer(MODEL, layer=4, side="decoder", edits=[Push(torch.linspace(-1, 1, 24), window=(start, start + length))]):
        made = through(MODEL, wav)
    changed = (made != plain).any(0).nonzero().flatten() / 24000
    assert len(changed)
    assert start - reach <= float(changed.min()) <= start + reach
    assert start + length - reach <= float(changed.max()) <= start + length + reach


def test_a_gates_decision_goes_with_the_quantized_latents() -> None:
    """Gate on the encoder's side, edits on the decoder's; the two are run apart, and in another order."""
    loud, quiet = sound(1, 12000), 0.01 * sound(1, 12000, seed=2)
    sae = make_sae("relu", 16, 31)
    family, scores = family_of(MODEL), []
    for wav in (loud, quiet):
        kept: list[Tensor] = []
        handle = family.tap(MODEL, Site(1)).module.register_forward_hook(
            lambda m, a, out, kept=kept: kept.append(out.transpose(1, 2).clone())
        )
        MODEL.encode_infer(wav, **given())
        handle.remove()
        scores.append(sae.encode(kept[0])[..., :5].amax(1)[0])
    feature = int((scores[0] - scores[1]).argmax())
    middle = float(scores[0][feature] + scores[1][feature]) / 2
    gate = SiteGate(Site(1), sae, ClipGate(features=[feature], weights=[1.0], bias=0.0, threshold=middle, pool="max"))
    before = {id(part): set(vars(part)) for part in MODEL.modules()}
    plain = [MODEL.encode_infer(wav, **given()) for wav in (loud, quiet)]
    sounds = [MODEL.decode(features, **given()) for features, _ in plain]
    with steer(MODEL, [SiteEdits(Site(1, "decoder"), sae, [Add([1, 2, 3], 5.0)])], gate=gate):
        made = [MODEL.encode_infer(wav, **given()) for wav in (loud, quiet)]
        assert torch.equal(MODEL.decode(made[1][0], **given()), sounds[1])
        assert not torch.equal(MODEL.decode(made[0][0], **given()), sounds[0])
        looked_up = MODEL.codes_to_features(made[0][1])
        assert not torch.equal(MODEL.decode(looked_up, **given()), sounds[0])
        assert not torch.equal(MODEL(loud, **given()), sounds[0])
        with pytest.raises(GateError, match="has not run"):
            MODEL.decode(torch.randn(1, 16, 9), **given())
    assert {id(part): set(vars(part)) for part in MODEL.modules()} == before


@pytest.mark.parametrize(
    ("wav", "more", "says"),
    [
        (torch.zeros(2, 800), {}, "2 channels, and this model takes 1"),
        (torch.zeros(800), {"bandwidth": 6.6}, "has one codebook"),
        (torch.full((8,), float("nan")), {}, "NaN"),
        ("x.wav", {}, r"sample_rate=24000"),
    ],
)
def test_what_it_cannot_take_is_refused(wav: Any, more: dict[str, Any], says: str) -> None:
    with pytest.raises(AudioError, match=says):
        edit_audio(MODEL, wav, [Push(torch.ones(16))], **more)


def test_settings_made_in_its_own_mode_are_changed_outside_of_it() -> None:
    wav, sae = sound(1, 8000), make_sae("topk", 16, 40)
    plain = through(MODEL, wav)
    with steer(MODEL, layer=1, side="decoder", sae=sae, edits=[Ablate(list(range(20)))]) as steering:
        first = through(MODEL, wav)
        steering.strength = 0.0
        assert torch.equal(through(MODEL, wav), plain)
        steering.strength = 1.0
        assert torch.equal(through(MODEL, wav), first)
        assert not torch.equal(first, plain)
