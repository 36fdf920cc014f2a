"""`audiosae-steer transcribe` over many files: resuming, failures, formats and interruption, with the real tiny.en."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from av_files import write_av
from commands import CLIPS, failed, run

from audiosae_steer import load_audio
from audiosae_steer.evaluate.transcription import recordings
from audiosae_steer.models import load

RIVER = "We walked along the river until the sun went down."
MEETING = "The meeting was moved to Thursday."


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    """A folder with two files of one name, a clip without speech, and one that is no audio."""
    folder = tmp_path / "calls"
    (folder / "sub").mkdir(parents=True)
    shutil.copy(CLIPS / "speech-04.flac", folder / "a.flac")
    write_av(folder / "a.m4a", load_audio(CLIPS / "speech-08.flac"))
    shutil.copy(CLIPS / "fan.flac", folder / "sub" / "fan.flac")
    (folder / "bad.wav").write_text("no audio")
    return folder


@pytest.fixture
def nothing_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_whisper(*_: object, **__: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(load, "load_whisper", load_whisper)


def test_a_folder_in_several_formats_and_again(calls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("transcribe", calls, "--format", "txt,json", "--out", tmp_path / "texts")
    result = run(*words)
    assert result.exit_code == 2, result.output
    assert f"{calls / 'sub' / 'fan.flac'}: (no speech)" in result.stdout
    assert f"error: {calls / 'bad.wav'} is not audio" in result.stderr
    assert result.stderr.endswith(f"4 files: 3 done (1 without text), 0 skipped, 1 failed: {calls / 'bad.wav'}\n")
    texts = {path.relative_to(tmp_path / "texts").as_posix() for path in (tmp_path / "texts").rglob("[!.]*.*")}
    names = ("a.flac", "a.m4a", "sub/fan")
    assert texts == {f"{name}.{form}" for name in names for form in ("txt", "json")}
    assert (tmp_path / "texts" / "a.flac.txt").read_text() == f"{RIVER}\n"
    assert (tmp_path / "texts" / "a.m4a.txt").read_text() == f"{MEETING}\n"
    assert "words" not in json.loads((tmp_path / "texts" / "a.flac.json").read_text())["segments"][0]

    (calls / "bad.wav").unlink()
    (tmp_path / "texts" / "a.flac.txt").write_text("mine")
    with monkeypatch.context() as patch:
        patch.setattr(load, "load_whisper", None)  # nothing is left to do, so nothing is loaded
        again = run(*words)
    assert again.exit_code == 0, again.output
    assert again.stderr == (
        "3 of 3 files have their transcripts already and are skipped; --overwrite makes them anew\n"
        "3 files: 0 done (0 without text), 3 skipped, 0 failed\n"
    )
    assert (tmp_path / "texts" / "a.flac.txt").read_text() == "mine"
    anew = run("transcribe", calls / "a.flac", "--format", "txt", "--out", tmp_path / "texts", "--overwrite")
    assert anew.exit_code == 0, anew.output
    assert (tmp_path / "texts" / "a.flac.txt").read_text() == f"{RIVER}\n"


def test_an_interruption_says_what_is_kept(calls: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner, seen = recordings.load_audio, []

    def interrupted(path: Path) -> object:
        seen.append(path)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return inner(path)

    monkeypatch.setattr(recordings, "load_audio", interrupted)
    result = run("transcribe", calls / "a.flac", calls / "a.m4a", "--format", "txt")
    assert result.exit_code == 130
    assert result.stderr.endswith(
        "interrupted after 1 of 2 files; what is written stays, and the same command goes on with the rest\n"
    )
    assert [path.name for path in calls.glob("*.txt")] == ["a.flac.txt"]
    assert [path.name for path in calls.glob(".*")] == [".transcripts.json"]
    monkeypatch.setattr(recordings, "load_audio", inner)
    rest = run("transcribe", calls / "a.flac", calls / "a.m4a", "--format", "txt")
    assert rest.exit_code == 0, rest.output
    assert rest.stderr.startswith("1 of 2 files have their transcripts already")
    assert (calls / "a.m4a.txt").read_text() == f"{MEETING}\n"


def test_words_and_beams(calls: Path) -> None:
    result = run("transcribe", calls / "a.flac", "--format", "json", "--word-timestamps", "--beam-size", 2)
    assert result.exit_code == 0, result.output
    [segment] = json.loads((calls / "a.flac.json").read_text())["segments"]
    assert "".join(word["text"] for word in segment["words"]).strip() == RIVER
    times = [(word["start"], word["end"]) for word in segment["words"]]
    assert all(0 <= start <= end <= 4 for start, end in times)
    assert times == sorted(times)


def test_a_batch_of_transformers(calls: Path) -> None:
    result = run(
        "transcribe", calls, "--library", "transformers", "--batch", 3, "--format", "json", "--word-timestamps"
    )
    assert result.exit_code == 2, result.output
    assert result.stderr.endswith(f"4 files: 3 done (1 without text), 0 skipped, 1 failed: {calls / 'bad.wav'}\n")
    for name, text in (("a.flac", RIVER), ("a.m4a", MEETING)):
        written = json.loads((calls / f"{name}.json").read_text())
        assert written["text"] == text
        assert "".join(word["text"] for word in written["segments"][0]["words"]).strip() == text


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--format", "srt,xml"), "--format xml is not a format that is written; expected one of srt, vtt, txt, json"),
        (("--out", "xml"), "--out needs a format as well"),
        (("--out", "vtt"), "did you mean --format vtt?"),
        (("--batch", "2"), "for --batch take --library transformers"),
        (("--word-timestamps",), "add --format json"),
        (("--device", "abacus"), "cannot be used here: there is no such device; expected cpu, cuda, cuda:1 or mps"),
        (("--library", "jax"), "--library jax is unknown"),
        (("--drop-unheard", "50"), "least share of speech is 50; expected a number above 0 and up to 1"),
        (("--drop-unheard", "0.5", "--no-steer"), "--no-steer runs none"),
        (("--strength", "0.5", "--no-steer"), "--strength is of a steering, and --no-steer runs none; leave one out"),
        (("--threshold", "1", "--no-steer"), "--threshold is of a steering"),
        (("--recipe", "no-false-speech", "--no-steer"), "--recipe is of a steering"),
        (("--overwrite",), "--overwrite needs a format as well"),
        (("--language", "germn"), "language 'germn' is unknown to Whisper; did you mean german (de)"),
        (("--language", "en-US"), "did you mean en (english)?"),
        (("--language", "xx", "--library", "transformers"), "language 'xx' is unknown to Whisper; expected a code"),
        (("--recipe", "nosuch"), "there is no recipe 'nosuch'; there are: no-false-speech, "),
        (("--recipe", ""), "the recipe's name is empty"),
        (("--format", "txt", "--out", "FILE"), "is a file; expected a folder"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_loaded(
    calls: Path, nothing_loads: None, words: tuple[str, ...], says: str
) -> None:
    given = (calls / "bad.wav" if word == "FILE" else word for word in words)
    assert says in failed(run("transcribe", calls, *given))


def test_an_unknown_recipe_is_refused_though_all_is_done(calls: Path, nothing_loads: None) -> None:
    for name in ("a.flac.txt", "a.m4a.txt"):
        (calls / name).touch()
    words = ("transcribe", calls / "a.flac", calls / "a.m4a", "--format", "txt")
    assert run(*words).exit_code == 0
    assert failed(run(*words, "--recipe", "nosuch")).startswith("there is no recipe 'nosuch'")


def test_a_file_that_looks_like_options(calls: Path, nothing_loads: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(calls)
    for name in ("-dash.wav", "-music.wav"):  # -m is an option
        (calls / name).touch()
        result = run("transcribe", name)
        assert result.exit_code == 2
        said = " ".join(result.stderr.replace("│", " ").split())
        assert f"(the file {name} is taken for an option: write ./{name})" in said
    assert "taken for" not in run("transcribe", "-dash.mp3").stderr


def test_english_models_know_no_other_language(
    calls: Path, tiny_en: Any, tiny_en_hf: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for library, model in (("openai", tiny_en), ("transformers", tiny_en_hf)):
        monkeypatch.setattr(load, "load_whisper", lambda *_, loaded=model, **__: loaded)
        said = failed(run("transcribe", calls, "--no-steer", "--language", "de", "--library", library))
        assert said == "this Whisper knows English alone, not language 'de'; take a multilingual one, such as base"


def test_windows_of_each_file_are_counted_from_0(calls: Path) -> None:
    words = ("--verbose", "--word-timestamps", "--format", "json")
    result = run("transcribe", calls / "a.flac", calls / "a.m4a", *words)
    assert result.exit_code == 0, result.output
    seen = re.findall(r"(a\.\w+): window (\d+), clip (\d+)", result.stderr)
    assert {name for name, *_ in seen} == {"a.flac", "a.m4a"}
    assert {tuple(numbers) for _, *numbers in seen} == {("0", "0")}


def test_english_models_do_not_translate(calls: Path) -> None:
    said = failed(run("transcribe", calls / "a.flac", "--task", "translate"))
    assert said.startswith("this Whisper knows English alone and cannot translate")


def test_what_no_gate_hears_is_left_out(calls: Path) -> None:
    words = ("transcribe", calls / "a.flac", "--format", "srt", "--word-timestamps", "--drop-unheard", 0.5)
    refused = failed(run(*words, "--recipe", "no-false-speech-ungated"))
    assert refused.startswith(
        "--drop-unheard needs a recipe with a timestamp gate, which no-false-speech-ungated has not"
    )
    assert not (calls / "a.flac.srt").exists()
    result = run(*words, "--recipe", "no-false-speech")
    assert result.exit_code == 0, result.output
    assert result.stderr.endswith("0 words left out as unheard\n")
    assert RIVER in (calls / "a.flac.srt").read_text()
