"""The demo clips that ship with the package: sound files, their list, and the script they come from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from audiosae_steer.data.audio import load_audio
from audiosae_steer.evaluate.demo.run import read_clips
from audiosae_steer.evaluate.metrics.rates import wrote
from audiosae_steer.evaluate.metrics.wer import word_errors
from audiosae_steer.evaluate.transcription.transcribe import transcribe
from audiosae_steer.steering.recipes.load import checkpoints_dir

FOLDER = checkpoints_dir() / "clips"
CLIPS: list[dict[str, Any]] = json.loads((FOLDER / "clips.json").read_text(encoding="utf-8"))
NONSPEECH = [clip for clip in CLIPS if clip["kind"] == "nonspeech"]
SPEECH = [clip for clip in CLIPS if clip["kind"] == "speech"]
LOOPS = {"siren", "dripping tap"}
"""The model fills its whole context on these, which takes as long as all the others together."""
BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.mark.parametrize("clip", CLIPS, ids=lambda clip: clip["file"])
def test_each_clip_is_sound(clip):
    samples, rate = soundfile.read(FOLDER / clip["file"], dtype="float32")
    assert rate == 16_000
    assert samples.ndim == 1
    assert 1.5 < len(samples) / rate < 6
    assert len(samples) / rate == pytest.approx(clip["seconds"], abs=1e-3)
    assert np.isfinite(samples).all()
    assert samples.std() > 1e-4
    assert np.abs(samples).max() < 0.9
    assert abs(samples.mean()) < 3e-3  # one of flite's voices has an offset of 2e-3


def test_the_list_and_the_folder_agree():
    files = [clip["file"] for clip in CLIPS]
    assert len(set(files)) == len(files)
    assert set(files) == {path.name for path in FOLDER.glob("*.flac")}
    assert all(clip["label"] and clip["made_by"] for clip in CLIPS)
    assert len({clip["label"] for clip in NONSPEECH}) == len(NONSPEECH)
    assert len(NONSPEECH) >= 13
    assert len(SPEECH) >= 9
    assert len(NONSPEECH) + len(SPEECH) == len(CLIPS)


def test_sentences_have_texts_and_sounds_have_none():
    assert all(len(clip["text"].split()) > 4 for clip in SPEECH)
    assert len({clip["text"] for clip in SPEECH}) == len(SPEECH)
    assert not any("text" in clip for clip in NONSPEECH)


def test_all_together_are_small():
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 1_550_000


def test_the_card_names_every_clip():
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert "CC0" in card
    assert all(f"| {clip['label']} |" in card for clip in CLIPS)


def test_the_demo_reads_them():
    found = read_clips(FOLDER)
    assert [clip.path.name for clip in found] == [clip["file"] for clip in CLIPS]
    assert [clip.text for clip in found] == [clip.get("text") for clip in CLIPS]


@pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="the script that makes the clips is not beside the tests")
@pytest.mark.parametrize("clip", NONSPEECH, ids=lambda clip: clip["label"])
def test_the_script_makes_the_same_samples_again(clip, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from noises import candidate

    again = candidate(clip["label"], clip["variant"])
    shipped, _ = soundfile.read(FOLDER / clip["file"], dtype="float32")
    # a mathematical library may round the last of 16 bits otherwise
    np.testing.assert_allclose(shipped, again, rtol=0, atol=1.01 / 2**15)


def test_unsteered_text_appears_on_most_sounds(tiny_en):
    chosen = [clip for clip in NONSPEECH if clip["label"] not in LOOPS]
    texts = [transcribe(tiny_en, load_audio(FOLDER / clip["file"])).text for clip in chosen]
    assert np.mean([wrote(text) for text in texts]) >= 0.75


# Whisper's normaliser leaves its list of spellings open
@pytest.mark.filterwarnings("ignore:unclosed file .*english.json:ResourceWarning")
def test_unsteered_sentences_are_understood(tiny_en):
    heard = [transcribe(tiny_en, load_audio(FOLDER / clip["file"])).text for clip in SPEECH]
    assert word_errors([clip["text"] for clip in SPEECH], heard).rate < 0.1
