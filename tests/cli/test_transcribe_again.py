"""`audiosae-steer transcribe` where transcripts are there: of the same recording, and of another of its name."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from commands import CLIPS, failed, run

from audiosae_steer.evaluate.transcription.transcript_index import NAME, Content, note
from audiosae_steer.models import load

RIVER = "We walked along the river until the sun went down."
MEETING = "The meeting was moved to Thursday."


@pytest.fixture
def both(tmp_path: Path) -> tuple[Path, Path]:
    """Two recordings of one name."""
    found = []
    for folder, clip in (("a", "speech-04"), ("b", "speech-08")):
        (tmp_path / "s" / folder).mkdir(parents=True)
        found.append(Path(shutil.copy(CLIPS / f"{clip}.flac", tmp_path / "s" / folder / "c.flac")))
    return found[0], found[1]


@pytest.fixture
def nothing_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "load_whisper", None)


def of_another(recording: Path, transcript: Path, older: str = "") -> str:
    return (
        f"{recording} is not transcribed: {transcript} is {older}of another recording, or of this one before it was "
        "changed; write over it with --overwrite, or choose another folder with --out"
    )


def test_another_recording_of_the_same_name_is_no_transcript_of_it(
    both: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = both
    out = tmp_path / "o"
    words = ("--format", "txt", "--out", out)
    assert run("transcribe", first, *words).exit_code == 0
    with monkeypatch.context() as patch:
        patch.setattr(load, "load_whisper", None)
        assert failed(run("transcribe", second, *words)) == of_another(second, out / "c.txt")
        more = failed(run("transcribe", second, "--format", "txt,srt", "--out", out))
        assert more == of_another(second, out / "c.txt")
        again = run("transcribe", first, *words)
        assert again.exit_code == 0
        assert again.stderr.startswith("1 of 1 file has its transcript and is skipped")
        moved = shutil.move(first, first.with_name("d.flac"))  # the recording is the same, wherever it lies
        shutil.copy(moved, tmp_path / "c.flac")
        assert run("transcribe", tmp_path / "c.flac", *words).exit_code == 0
    assert (out / "c.txt").read_text() == f"{RIVER}\n"
    assert {path.name for path in out.iterdir()} == {"c.txt", NAME}
    assert str(tmp_path) not in (out / NAME).read_text()
    assert run("transcribe", second, *words, "--overwrite").exit_code == 0
    assert (out / "c.txt").read_text() == f"{MEETING}\n"
    monkeypatch.setattr(load, "load_whisper", None)
    assert run("transcribe", second, *words).exit_code == 0


def test_one_among_others_fails_alone(both: tuple[Path, Path], nothing_loads: None) -> None:
    first, second = both
    for each, of in ((first, first), (second, first)):
        each.with_suffix(".txt").touch()
        note(each.with_suffix(".txt"), Content.of(of))
    result = run("transcribe", first.parent.parent, "--format", "txt")
    assert result.exit_code == 2
    assert result.stderr == (
        "1 of 2 files have their transcripts already and are skipped; --overwrite makes them anew\n"
        f"error: {of_another(second, second.with_suffix('.txt'))}\n"
        f"2 files: 0 done (0 without text), 1 skipped, 1 failed: {second}\n"
    )


def test_audio_that_was_replaced_since(both: tuple[Path, Path], nothing_loads: None) -> None:
    first, second = both
    text = first.with_suffix(".txt")
    text.touch()
    note(text, Content.of(first))
    os.utime(first, (2e9, 2e9))  # touched, and the same
    assert run("transcribe", first, "--format", "txt").exit_code == 0
    shutil.copy(second, first)
    os.utime(first, (1e9, 1e9))
    assert failed(run("transcribe", first, "--format", "txt")) == of_another(first, text)


def test_folders_without_an_index(both: tuple[Path, Path], nothing_loads: None) -> None:
    first, _ = both
    text = first.with_suffix(".txt")
    text.touch()
    os.utime(first, (1e9, 1e9))
    assert run("transcribe", first, "--format", "txt").exit_code == 0
    os.utime(first, (2e9, 2e9))
    older = "older than this file, and so perhaps "
    assert failed(run("transcribe", first, "--format", "txt")) == of_another(first, text, older)
