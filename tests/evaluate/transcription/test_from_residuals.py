"""Evaluating from cached residuals: the same texts as decoding the clips, steered or not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from make import make_hf

from audiosae_steer import (
    AudioError,
    NeverCalledWarning,
    Push,
    Site,
    SiteEdits,
    SiteError,
    SteeringError,
    load_audio,
    load_recipe,
    steer,
)
from audiosae_steer.evaluate.transcription import from_residuals
from audiosae_steer.evaluate.transcription.from_residuals import encode, resume, write
from audiosae_steer.models.families.whisper_mel import mel
from audiosae_steer.steering.recipes.load import checkpoints_dir
from audiosae_steer.steering.site_edits import ByHand, given_parts

NAMES = ("rain", "clicks", "speech-01", "speech-07")


@pytest.fixture(scope="module")
def clips():
    return [load_audio(checkpoints_dir() / "clips" / f"{name}.flac") for name in NAMES]


@pytest.fixture(scope="module")
def rows(tiny_en, clips):
    return {layer: encode(tiny_en, clips, layer, progress=False) for layer in (2, 4)}


def decoded(model, clips, **options):
    from whisper.decoding import DecodingOptions

    with torch.no_grad():
        return model.decode(
            mel(model, clips, "zeros"), DecodingOptions(language="en", fp16=False, temperature=0.0, **options)
        )


@pytest.mark.parametrize("layer", [2, 4])
@pytest.mark.parametrize("timed", [True, False])
def test_the_texts_are_those_of_decode(tiny_en, clips, rows, layer, timed, monkeypatch):
    monkeypatch.setattr(from_residuals, "BATCH", 3)
    written = write(tiny_en, rows[layer], layer, timestamps=timed)
    wanted = decoded(tiny_en, clips, without_timestamps=not timed)
    assert [w.tokens for w in written] == [tuple(r.tokens) for r in wanted]
    # residuals are kept in float16, of relative error 2^-11: four times that, and once in a probability
    np.testing.assert_allclose(
        [w.avg_logprob for w in written], [r.avg_logprob for r in wanted], rtol=0, atol=4 * 2**-11
    )
    np.testing.assert_allclose(
        [w.no_speech_prob for w in written], [r.no_speech_prob for r in wanted], rtol=0, atol=2**-11
    )


def test_a_steered_model_writes_what_it_writes_from_the_audio(tiny_en, clips, rows):
    with steer(tiny_en, "no-false-speech") as steering:
        written = write(tiny_en, rows[4], 4, steering=steering, clips=clips)
        told = [(event.kind, event.opened) for event in steering.events]
        steering.events.clear()
        wanted = decoded(tiny_en, clips)
        assert told == [(event.kind, event.opened) for event in steering.events]
    assert [w.tokens for w in written] == [tuple(r.tokens) for r in wanted]
    assert [w.opened for w in written] == [True, True, False, False]
    assert [bool(w.text) for w in written] == [False, False, True, True]


def test_a_steered_decoder_is_left_whole(tiny_en, clips, rows):
    vector = torch.randn(384, generator=torch.Generator().manual_seed(0))
    with steer(tiny_en, layer=2, side="decoder", edits=[Push(vector, 0.5)]):
        written = write(tiny_en, rows[4], 4, limit=12)
        wanted = decoded(tiny_en, clips, sample_len=12)
    assert [w.tokens for w in written] == [tuple(r.tokens) for r in wanted]


@pytest.mark.parametrize("steps", ["all", "first"])
def test_each_row_of_a_gated_decoder_has_its_own_decision(tiny_en, clips, rows, steps):
    """Texts of other lengths end at other steps: the rows that are left keep their own clips' decisions."""
    _, _, gates = given_parts(load_recipe("no-false-speech", tiny_en), ByHand(), tiny_en)
    vector = torch.randn(384, generator=torch.Generator().manual_seed(0))
    sites = [SiteEdits(Site(layer, "decoder"), None, [Push(vector, 2.0)], steps=steps) for layer in (1, 3)]
    with steer(tiny_en, sites, gate=gates) as steering:
        written = write(tiny_en, rows[4], 4, steering=steering, clips=clips, limit=30)
        wanted = decoded(tiny_en, clips, sample_len=30)
    assert [w.tokens for w in written] == [tuple(r.tokens) for r in wanted]
    unsteered = [tuple(r.tokens) for r in decoded(tiny_en, clips, sample_len=30)]
    assert len({len(tokens) for tokens in unsteered}) > 2  # rows are left out one after another
    assert [w.tokens != t for w, t in zip(written, unsteered, strict=True)] == [True, True, False, False]


def test_nothing_is_left_on_the_model(tiny_en, rows):
    before = (dict(vars(tiny_en.decoder)), dict(vars(tiny_en.encoder.blocks[3])))
    write(tiny_en, rows[4][:2], 4, limit=3)
    assert (dict(vars(tiny_en.decoder)), dict(vars(tiny_en.encoder.blocks[3]))) == before


def test_an_encoder_is_resumed_where_it_was_left(tiny_en, clips, rows):
    with torch.no_grad():
        whole = tiny_en.encoder(mel(tiny_en, clips[:2], "zeros"))
    found = resume(tiny_en, 2, torch.stack(rows[2][:2]).float())
    assert (found - whole).norm() / whole.norm() < 2e-3  # float16 in between


def test_what_is_cached_is_not_computed_again(tiny_en, clips, tmp_path):
    first = encode(tiny_en, clips[:2], 4, cache=tmp_path, progress=False)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(files) == 2
    again = encode(tiny_en, [clips[1], clips[2], clips[0]], 4, cache=tmp_path, progress=False)
    assert torch.equal(again[0], first[1])
    assert torch.equal(again[2], first[0])
    assert {path: path.stat().st_mtime_ns for path in files} == files
    encode(tiny_en, clips[:1], 4, "silence", cache=tmp_path, progress=False)
    assert len(list(tmp_path.iterdir())) == 4


def test_what_cannot_be_evaluated_says_why(tiny_en, clips, rows):
    with pytest.raises(AudioError, match="no clips to encode"):
        encode(tiny_en, [], 4)
    with pytest.raises(SiteError, match="no encoder layer 5"):
        encode(tiny_en, clips, 5)
    with pytest.raises(SteeringError, match="openai-whisper"):
        write(make_hf(), rows[4], 1)
    steering = steer(tiny_en, layer=1, edits=[Push(torch.ones(384))])
    with pytest.raises(SiteError, match="below 2"):
        write(tiny_en, rows[2], 2)
    with pytest.warns(NeverCalledWarning):
        steering.remove()
