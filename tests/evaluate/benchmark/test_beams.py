"""Beams in the benchmark: recipes in each way to decode, by way of a cache of texts."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from audiosae_steer import SteeringError, load_audio, load_recipe
from audiosae_steer.cli.bench import beam_engines
from audiosae_steer.evaluate.benchmark import beams
from audiosae_steer.evaluate.benchmark.beams import beam_table, measure_beams, measure_decoding
from audiosae_steer.evaluate.benchmark.bench_clips import BenchClip
from audiosae_steer.evaluate.benchmark.decodings import Decoding, Engines, decodings, pipeline_beams, writer
from audiosae_steer.steering.recipes.load import checkpoints_dir

pytestmark = [
    # Whisper's normaliser leaves its list of spellings open, and its beam search sorts tensors by numpy
    pytest.mark.filterwarnings("ignore:unclosed file .*english.json:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning"),
]

CLIPS = checkpoints_dir() / "clips"
NOISE = [BenchClip("footsteps", "clips", partial(load_audio, CLIPS / "footsteps.flac"))]
SPEECH = [
    BenchClip(
        "speech-04", "clips", partial(load_audio, CLIPS / "speech-04.flac"),
        "We walked along the river until the sun went down.",
    )
]  # fmt: skip


@pytest.fixture(scope="module")
def engines(tiny_en: Any, tmp_path_factory: Any) -> Engines:
    return beam_engines("tiny.en", tiny_en, tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def recipes(tiny_en: Any) -> dict[str, Any]:
    return {name: load_recipe(name, tiny_en) for name in ("no-false-speech", "no-false-speech-constant")}


def test_the_ways_to_decode(engines: Engines) -> None:
    assert [each.label for each in decodings(engines, [1, 5, 1])] == [
        "openai-whisper, greedy", "openai-whisper, 5 beams",
        "transformers' pipeline, greedy", "transformers' pipeline, as it comes",
        "faster-whisper, int8, as it comes", "faster-whisper, float32, as it comes",
    ]  # fmt: skip
    assert pipeline_beams() == 5
    assert [each.label for each in decodings(Engines(openai=None), [2])] == ["openai-whisper, 2 beams"]
    for wrong in ([], [0], [5, -1]):
        with pytest.raises(SteeringError, match="numbers of beams are 1"):
            decodings(engines, wrong)
    for engine in ("pipeline", "faster-whisper"):
        with pytest.raises(SteeringError, match="give `"), writer(Engines(openai=None), Decoding(engine), None):
            pass


@pytest.mark.parametrize("number", [0, 1, 2, 3, 4], ids=["openai-1", "openai-5", "pipe-1", "pipe-5", "faster"])
def test_recipes_keep_noise_empty_and_speech_whole(
    engines: Engines, recipes: dict[str, Any], tmp_path: Path, number: int
) -> None:
    decoding = decodings(engines, [1, 5])[number]
    rows = measure_decoding(engines, decoding, recipes, NOISE, SPEECH, tmp_path, noise_tokens=8)
    gated = [] if decoding.engine == "faster-whisper" else ["no-false-speech"]
    assert [row.recipe for row in rows] == ["unsteered", *gated, "no-false-speech-constant"]
    before, *after = rows
    assert before.text[:2] == (1, 1)
    assert before.wer is not None
    assert before.wer.value < 0.2
    for row in after:
        # five beams of faster-whisper bring text back on a fifth of all noises, by the rounding of its int8 on this one
        assert row.text[:2] == (0, 1) or decoding.engine == "faster-whisper"
        assert (row.lost, row.utterances) == (0, 1)
        assert row.wer is not None
        assert row.wer.change.value == 0 or row.recipe == "no-false-speech-constant"
    if gated:
        assert after[0].changed == 0
    assert not any(module._forward_hooks for module in engines.openai.modules())


def test_texts_are_kept_and_a_run_resumes(
    engines: Engines, recipes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, int, int]] = []
    decoding = Decoding("openai", 1)
    arguments = (engines, decoding, {"no-false-speech": recipes["no-false-speech"]}, NOISE, SPEECH, tmp_path)
    rows = measure_decoding(*arguments, noise_tokens=8, progress=lambda *what: told.append(what))
    assert ("openai-whisper, greedy, no-false-speech: noise", 1, 1) in told
    files = sorted(tmp_path.rglob("*.json"))
    assert len(files) == 4
    assert [len(json.loads(file.read_text())) for file in files] == [1] * 4

    def never(*_: Any) -> Any:
        raise AssertionError("decoded again")

    monkeypatch.setattr(beams, "writer", never)
    with pytest.raises(AssertionError):
        measure_decoding(*arguments)  # another limit, other texts
    monkeypatch.undo()
    spoiled = next(file for file in files if "unsteered.speech" in file.name)
    spoiled.write_text(json.dumps({SPEECH[0].key: ""}))
    again = measure_decoding(*arguments, noise_tokens=8)
    assert again[0].wer is not None
    assert again[0].wer.value == 1.0  # the cache is what is read
    assert again[1].wer == rows[1].wer or again[1].changed == 1
    spoiled.write_text("{")
    with pytest.raises(SteeringError, match="delete it"):
        measure_decoding(*arguments, noise_tokens=8)


def test_both_kinds_of_clip_are_needed(engines: Engines, tmp_path: Path) -> None:
    for absent, present in (([], SPEECH), (NOISE, [])):
        with pytest.raises(SteeringError, match="one kind is missing"):
            measure_beams(engines, {}, absent, present, tmp_path)


def test_the_table(engines: Engines, recipes: dict[str, Any], tmp_path: Path) -> None:
    kept = {"no-false-speech": recipes["no-false-speech"]}
    rows = measure_decoding(engines, Decoding("openai", 1), kept, NOISE, SPEECH, tmp_path, noise_tokens=8)
    lines = beam_table(rows).splitlines()
    assert lines[0] == "| decoding | recipe | text on noise | WER | change | lost |"
    assert lines[2].startswith("| openai-whisper, greedy | unsteered | 100.0% [20.7%, 100.0%] |")
    assert lines[3].endswith("| +0.00 [+0.00, +0.00] | 0 |")
