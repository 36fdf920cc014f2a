"""Arms on mixed windows with the real tiny.en: controls, resumption, and the table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from audiosae_steer import SteeringError, load_audio, load_processor, load_recipe
from audiosae_steer.evaluate.benchmark.mixed_arms import MixedArm, decoding_as_it_comes, mixed_arms
from audiosae_steer.evaluate.benchmark.mixed_recordings import MixedFile, mix
from audiosae_steer.evaluate.benchmark.mixed_run import mixed_table, run_mixed
from audiosae_steer.evaluate.transcription.decoding import Decoding
from audiosae_steer.steering.recipes.load import checkpoints_dir

CLIPS = checkpoints_dir() / "clips"


@pytest.fixture(scope="module")
def files() -> list[MixedFile]:
    known = json.loads((CLIPS / "clips.json").read_text())
    utterances = [(load_audio(CLIPS / each["file"]), each["text"]) for each in known if each["kind"] == "speech"]
    sounds = {"rain": [load_audio(CLIPS / "rain.flac")], "fan": [load_audio(CLIPS / "fan.flac")]}
    return [mix(utterances, sounds, seed, 12.0, name=str(seed)) for seed in (0, 1)]


def test_arms_are_measured_once_and_resumed(tiny_en: Any, files: list[MixedFile], tmp_path: Path) -> None:
    recipe = load_recipe("no-false-speech", tiny_en)
    arms = [arm for arm in mixed_arms([recipe], decoding_as_it_comes()) if "threshold" not in arm.name]
    assert [arm.name for arm in arms] == [
        "unsteered", "gaps silent", "gaps cut out", "Silero VAD", "no-false-speech", "Silero VAD + no-false-speech",
    ]  # fmt: skip
    told: list[str] = []
    rows = run_mixed(tiny_en, files, arms, tmp_path, tell=lambda what, done, total: told.append(what))
    assert set(told) == {arm.name for arm in arms}
    words = sum(len(str(piece.text).split()) for each in files for piece in each.mixed.speech)
    for row in rows:
        assert row.files == 2
        assert row.wer == pytest.approx(row.inserted + row.deleted + row.substituted)
        assert row.wer < 0.5
        assert row.edge[1] <= words
    assert rows[0].change == (0, 0, 0)
    assert rows[1].inserted_per_minute == 0
    again: list[str] = []
    assert run_mixed(tiny_en, files, arms, tmp_path, tell=lambda what, done, total: again.append(what)) == rows
    assert again == []
    lines = mixed_table(rows).splitlines()
    assert len(lines) == 2 + len(arms)
    assert lines[2].startswith("| unsteered | ")
    assert " | – | " in lines[2]


def test_transformers_and_its_pipeline(tiny_en_hf: Any, files: list[MixedFile], tmp_path: Path) -> None:
    recipe = load_recipe("no-false-speech", tiny_en_hf)
    arms = [arm for arm in mixed_arms([recipe], Decoding(language="en")) if arm.name in ("unsteered", recipe.name)]
    given = {"processor": load_processor("tiny.en")}
    for pipeline in (False, True):
        rows = run_mixed(tiny_en_hf, files, arms, tmp_path, pipeline=pipeline, **given)
        assert [row.name for row in rows] == ["unsteered", recipe.name]
        assert all(row.wer < 0.5 for row in rows)
    (folder,) = tmp_path.glob("*/mixed")
    assert sorted({path.name.split("-")[0] for path in folder.iterdir()}) == ["pipeline", "transformers"]
    guarded = [MixedArm(name="Silero VAD", vad=True)]
    with pytest.raises(SteeringError, match="cuts the recording"):
        run_mixed(tiny_en_hf, files, guarded, tmp_path, pipeline=True, **given)


def test_arms_that_write_other_texts_have_other_keys(tiny_en: Any) -> None:
    recipe = load_recipe("no-false-speech", tiny_en)
    arms = mixed_arms([recipe], decoding_as_it_comes()) + mixed_arms([recipe], decoding_as_it_comes(beams=5))
    assert len({arm.key for arm in arms}) == len(arms)


def test_a_threshold_of_silence_needs_the_times_of_words() -> None:
    with pytest.raises(SteeringError, match="set word_timestamps"):
        Decoding(silence_threshold=2.0)
