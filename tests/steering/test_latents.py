"""Sound through a codec with its features changed, and latents on their way to a decoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from families import encodec, encodec_package
from hypothesis import given, settings
from hypothesis import strategies as st
from make import make_openai, make_sae

from audiosae_steer import (
    Ablate,
    Add,
    AudioError,
    Clamp,
    EditError,
    EditWarning,
    Push,
    Scale,
    Set,
    SiteError,
    edit_audio,
    load_sae,
    steer_latents,
)
from audiosae_steer.ops import reference
from audiosae_steer.sae.quality import measure
from audiosae_steer.steering.recipes.load import checkpoints_dir

MONO = encodec(24000, 1)
STEREO = encodec(48000, 2, chunk_length_s=1.0, overlap=0.01, normalize=True, use_causal_conv=False)


def sound(*shape: int) -> torch.Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("shape", [(30001,), (1, 24000), (2, 1, 12345)])
def test_sound_keeps_its_shape(shape: tuple[int, ...]) -> None:
    model, wav = MONO(), sound(*shape)
    made = edit_audio(model, wav, [Push(torch.ones(16), 3.0)])
    assert made.shape == wav.shape
    assert made.dtype == wav.dtype
    assert made.isfinite().all()
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("make", [MONO, encodec_package], ids=["transformers", "package"])
def test_no_strength_gives_what_the_codec_makes(make: Any) -> None:
    model, wav = make(), sound(1, 24000)
    with torch.no_grad():
        plain = model(wav[None]).audio_values if hasattr(model, "config") else model(wav[None])
    sae = make_sae("relu", 16, 40)
    for side in ("encoder", "decoder"):
        assert torch.equal(edit_audio(model, wav, [Scale([1, 2], 3.0)], sae=sae, side=side, strength=0.0), plain[0])
        assert not torch.equal(edit_audio(model, wav, [Add([1, 2], 3.0)], sae=sae, side=side), plain[0])


def test_an_edit_before_the_quantizer_changes_codes_and_one_after_it_does_not() -> None:
    from audiosae_steer import steer

    model, wav = MONO(), sound(1, 1, 24000)
    with torch.no_grad():
        codes = model.encode(wav).audio_codes
        with steer(model, layer=1, edits=[Push(torch.ones(16), 3.0)]):
            assert not torch.equal(model.encode(wav).audio_codes, codes)
        with steer(model, layer=1, side="decoder", edits=[Push(torch.ones(16), 3.0)]) as steering:
            assert torch.equal(model.encode(wav).audio_codes, codes)
            model.decode(codes, [None])
        assert steering.path == "add"


@settings(max_examples=6)
@given(start=st.floats(0.3, 2.2), length=st.floats(0.05, 0.3))
def test_given_codes_sound_the_same_before_a_window_and_long_after_it(start: float, length: float) -> None:
    for model, rate, channels, reach in ((MONO(), 24000, 1, 0.0), (STEREO(), 48000, 2, 0.2)):
        wav = sound(channels, int(2.5 * rate))
        plain = edit_audio(model, wav, [], side="decoder")
        made = edit_audio(model, wav, [Push(torch.ones(16), 3.0, window=(start, start + length))], side="decoder")
        changed = (made != plain).any(0).nonzero().flatten() / rate
        if start + length < 2.5:
            assert len(changed), (start, length)
            frame = 320 / rate
            assert float(changed.min()) >= start - reach - frame


def test_stereo_in_pieces_is_steered_in_every_piece() -> None:
    model, wav = STEREO(), sound(2, 120000)
    plain = edit_audio(model, wav, [], side="decoder")
    made = edit_audio(model, wav, [Push(torch.ones(16), 3.0)], side="decoder")
    changed = (made != plain).any(0).reshape(-1, 12000).float().mean(1)
    assert (changed > 0.9).all()


@pytest.mark.parametrize(
    ("wav", "says"),
    [
        (torch.zeros(0), "one of them at least"),
        (torch.zeros(8, dtype=torch.int16), "floating-point"),
        (torch.full((8,), float("nan")), "NaN"),
        (torch.zeros(2, 800), "2 channels"),
    ],
)
def test_what_is_no_sound_is_refused(wav: torch.Tensor, says: str) -> None:
    with pytest.raises(AudioError, match=says):
        edit_audio(MONO(), wav, [Push(torch.ones(16))])


@pytest.mark.parametrize("make", [MONO, STEREO, encodec_package], ids=["mono", "stereo", "package"])
@pytest.mark.parametrize(
    ("wav", "says"),
    [
        ("x.wav", r"wav is a path, 'x.wav'.*load_audio\(path, sample_rate=(24000|48000)\)"),
        (Path("x.wav"), "wav is a path"),
        (None, "wav is a NoneType"),
        ({"array": [0.0]}, "wav is a dict"),
        (np.array(["a"]), "wav is a ndarray"),
    ],
)
def test_a_path_is_not_sound(make: Any, wav: Any, says: str) -> None:
    with pytest.raises(AudioError, match=says):
        edit_audio(make(), wav, [Push(torch.ones(16))])


def test_a_model_that_makes_no_sound_is_refused() -> None:
    with pytest.raises(SiteError, match="Whisper"):
        edit_audio(make_openai(d=24), np.zeros(800, np.float32), [])


@pytest.mark.parametrize("layout", ["bdf", "bfd"])
def test_latents_are_steered_as_the_reference_says(layout: str) -> None:
    sae, x = make_sae("jumprelu", 12, 31), sound(2, 40, 12)
    given = x.transpose(1, 2) if layout == "bdf" else x
    got = steer_latents(given, sae, [Ablate(list(range(9)), window=(0.5, 1.0))], layout=layout)
    times = (torch.arange(40) + 0.5) / (44100 / 2048)
    on = ((times >= 0.5) & (times < 1.0))[None, :, None]

    def ablate(f: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.zeros_like(f[..., :9]), f[..., 9:]], dim=-1)

    wanted = reference.steer(x.double(), sae.weights(torch.float64), ablate, on=on)
    shown = got.transpose(1, 2) if layout == "bdf" else got
    torch.testing.assert_close(shown.double(), wanted, rtol=1e-4, atol=1e-4)
    assert torch.equal(steer_latents(given, sae, [Ablate(1)], layout=layout, strength=0.0), given)


def test_latents_of_another_width_or_layout_are_refused() -> None:
    sae = make_sae("relu", 12, 31)
    with pytest.raises(SiteError, match="other layout"):
        steer_latents(torch.zeros(1, 40, 12), sae, [Ablate(1)])
    with pytest.raises(SiteError, match="three axes"):
        steer_latents(torch.zeros(40, 12), sae, [Ablate(1)])
    with pytest.raises(SiteError, match="bdf"):
        steer_latents(torch.zeros(1, 12, 40), sae, [Ablate(1)], layout="dbf")
    with pytest.raises(EditError, match="list"):
        steer_latents(torch.zeros(1, 12, 40), sae, "no-drums")


@pytest.mark.parametrize("edit", [Set(3, -4.0), Clamp(3, high=-1.0)])
def test_latents_with_a_feature_below_zero_are_steered_with_a_warning(edit: Any) -> None:
    with pytest.warns(EditWarning, match="at these latents puts feature 3 at -") as seen:
        steer_latents(torch.zeros(1, 12, 40), make_sae("relu", 12, 31), [edit])
    assert seen[0].filename == __file__


def test_real_latents_and_the_sae_that_ships(assets: Any) -> None:
    sae = load_sae(checkpoints_dir() / "diffrhythm-vae" / "latents.safetensors").float()
    held_out = torch.load(sorted((assets / "diffrhythm-latents").glob("*.pt"))[-1], weights_only=True)
    assert measure(sae, held_out[0].T).fvu < 0.08
    fired = int(sae.encode(held_out[0].T).sum(0).argmax())
    got = steer_latents(held_out, sae, [Scale(fired, 3.0, window=(10.0, 20.0))])
    changed = (got != held_out).any(1)[0].nonzero().flatten() / (44100 / 2048)
    assert 9.9 < float(changed.min()) < 11
    assert 19 < float(changed.max()) < 20
    assert torch.equal(steer_latents(held_out, sae, [Ablate(fired)], strength=0.0), held_out)


def test_lengths_at_which_the_last_chunk_but_one_is_short() -> None:
    model = STEREO()
    for length in (47521, 47700, 95040, 95041, 95200, 95201, 95360, 95361):
        wav = sound(2, length)
        assert edit_audio(model, wav, [Push(torch.ones(16))]).shape == wav.shape


def test_a_bandwidth_is_that_of_one_call() -> None:
    model, wav = encodec_package(), sound(1, 4800)
    model.target_bandwidths = [3.0, 6.0]
    edit_audio(model, wav, [Push(torch.ones(16))], bandwidth=3.0)
    assert model.bandwidth == 6.0
    with pytest.raises(AudioError, match="3, 6 kbit/s"):
        edit_audio(model, wav, [Push(torch.ones(16))], bandwidth=5.0)


def test_gates_of_a_codec_that_runs_in_pieces_stay_where_they_read() -> None:
    from audiosae_steer import ClipGate, GateError, Site, SiteEdits, SiteGate, steer

    sae = make_sae("relu", 16, 31)
    gate = SiteGate(Site(1), sae, ClipGate(features=[1], weights=[1.0], bias=0.0, threshold=0.0, pool="max"))
    with pytest.raises(GateError, match="pieces"):
        steer(STEREO(), [SiteEdits(Site(1, "decoder"), sae, [Ablate(1)])], gate=gate)
    steer(MONO(), [SiteEdits(Site(1, "decoder"), sae, [Ablate(1)])], gate=gate)._leave(quiet=True)
