"""Sounds of a report, and that what a codec's report hears is what an edit of the same sound makes."""

from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from families import encodec, encodec_package
from make import make_sae
from planted_sound import QUICK, RATE, TARGET, World
from wavtokenizer import wavtokenizer

from audiosae_steer import Add, Scale, Site, SiteError, edit_audio, steer_latents
from audiosae_steer.analyse import ControlSettings, codec_decoder, control_report, control_sounds
from audiosae_steer.data.activations.by_clip import clip_residuals
from audiosae_steer.models.registry import family_of


def test_each_way_is_a_sound_of_the_clip_that_is_least_at_the_target(tmp_path: Any) -> None:
    world = World(0)
    settings = ControlSettings(**{**QUICK.__dict__, "alphas": (0.0, 1.2)})
    given = (world.map, world.sae, world.residuals)
    found = control_report(*given, "pitch", TARGET, decoder=world.decoder, settings=settings)
    sounds = control_sounds(found, *given, world.decoder, settings=settings)
    assert [each.name.partition(", ")[2] for each in sounds] == [
        "unedited", "the edit at α = 1.2", "random direction at α = 1.2", "difference of means at α = 1.2",
        "signal processing at α = 1.2",
    ]  # fmt: skip
    assert {each.name.partition(",")[0] for each in sounds} == {"clip 1"}  # its note is the first, the target the sixth
    unedited, edited, drawn, means, _ = sounds
    assert (unedited.samples == world.decode(world.residuals.read(0))).all()
    assert "pitch 60.0 MIDI note" in unedited.says
    assert f"pitch {TARGET:.1f} MIDI note" in edited.says
    assert f"pitch {TARGET:.1f}" not in drawn.says
    assert len(means.samples) == len(unedited.samples)
    page = found.report(tmp_path / "a.html", sounds).read_text(encoding="utf-8")
    assert len(set(re.findall(r"data:audio/wav;base64,[^\"]+", page))) == 5
    assert all(each.name in page for each in sounds)
    assert all(each.rate == RATE for each in sounds)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("side", ["encoder", "decoder"])
@pytest.mark.parametrize(
    "make", [encodec(24_000, 1), encodec_package, wavtokenizer], ids=["transformers", "encodec", "wavtokenizer"]
)
def test_what_is_decoded_is_what_an_edit_of_the_sound_makes(make: Any, side: Any) -> None:
    """On the codecs' real classes: latents that are read, edited and decoded, beside `edit_audio` of the sound."""
    model = make()
    sound = 0.3 * np.sin(np.arange(24_000) / 9).astype(np.float32)
    (x,) = clip_residuals(model, Site(1, side), [sound])
    sae = make_sae("relu", x.shape[1])
    edits = [Scale([1, 2, 3], 3.0), Add([4], 2.0)]
    moved = steer_latents(x.float()[None], sae, edits, layout="bfd")[0]
    heard = codec_decoder(model, side).decode(moved)
    # the model's own lowest bandwidth, as latents are read at
    wav = torch.from_numpy(sound)[None]
    made = edit_audio(model, wav, edits, sae=sae, side=side)[0].numpy()
    plain = edit_audio(model, wav, edits, sae=sae, side=side, strength=0.0)[0].numpy()
    count = min(len(made), len(heard))
    assert count > 23_000
    apart = np.abs(made[:count] - plain[:count]).max()
    assert apart > 1e-3
    assert np.abs(heard[:count] - made[:count]).max() < 1e-3 * apart
    assert codec_decoder(model, side).rate == family_of(model).sample_rate(model)


def test_a_codec_that_takes_chunks_has_no_decoder_of_a_clip() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        chunked = encodec(48_000, 2, chunk_length_s=1.0, overlap=0.01)()
    with pytest.raises(SiteError, match="a codec that reads a clip whole"):
        codec_decoder(chunked)
