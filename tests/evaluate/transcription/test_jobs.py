"""Recordings named by files, folders and patterns, and the paths of their transcripts."""

from __future__ import annotations

from pathlib import Path

import pytest

from audiosae_steer import AudioError, SteeringError
from audiosae_steer.evaluate.transcription.jobs import find_recordings, plan_jobs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.wav", "b.m4a", "sub/c.webm", "sub/notes.txt", ".hidden.wav"):
        (tmp_path / "calls" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "calls" / name).touch()
    return tmp_path / "calls"


def targets(*sources: Path | str, formats: tuple[str, ...] = ("srt",), out: Path | None = None) -> list[str]:
    jobs = plan_jobs(find_recordings(sources), formats, out)
    return [str(path) for job in jobs for path in job.missing]


def test_folders_files_and_patterns(folder: Path) -> None:
    names = [recording.path.name for recording in find_recordings([folder])]
    assert names == ["a.wav", "b.m4a", "c.webm"]
    assert [r.path.name for r in find_recordings([f"{folder}/*.m4a"])] == ["b.m4a"]
    assert [r.path.name for r in find_recordings([f"{folder}/**/*"])] == ["a.wav", "b.m4a", "c.webm"]
    assert [r.path.name for r in find_recordings([folder / "a.wav", folder])] == names  # each once
    (folder / "x[1].wav").touch()
    assert [r.path.name for r in find_recordings([folder / "x[1].wav"])] == ["x[1].wav"]


def test_what_is_not_there(folder: Path) -> None:
    with pytest.raises(AudioError, match=r"no audio file at .*\*\.ogg; check the pattern"):
        find_recordings([f"{folder}/*.ogg"])
    with pytest.raises(AudioError, match=r"no audio file among the 1 that match"):
        find_recordings([f"{folder}/sub/*.txt"])
    with pytest.raises(AudioError, match=r"there is no audio file at .*gone.wav"):
        find_recordings([folder / "gone.wav"])
    assert len(find_recordings([folder / "gone.wav", folder / "a.wav"])) == 2  # one fails later, by itself


def test_transcripts_lie_beside_the_audio_or_as_it_lies(folder: Path, tmp_path: Path) -> None:
    assert targets(folder) == [str(folder / name) for name in ("a.srt", "b.srt", "sub/c.srt")]
    assert targets(folder, out=tmp_path / "o") == [
        str(tmp_path / "o" / name) for name in ("a.srt", "b.srt", "sub/c.srt")
    ]
    assert targets(folder / "sub/c.webm", out=tmp_path / "o") == [str(tmp_path / "o" / "c.srt")]
    assert targets(folder / "a.wav", formats=("srt", "json")) == [str(folder / "a.srt"), str(folder / "a.json")]


def test_files_of_one_name_keep_their_endings_whichever_is_named(folder: Path) -> None:
    (folder / "A.mp3").touch()
    assert targets(folder / "a.wav") == [str(folder / "a.wav.srt")]
    assert targets(folder / "A.mp3") == [str(folder / "A.mp3.srt")]
    assert targets(folder / "b.m4a") == [str(folder / "b.srt")]


def test_files_of_one_name_in_two_folders(folder: Path, tmp_path: Path) -> None:
    (folder / "sub" / "a.mp3").touch()
    both = (folder / "a.wav", folder / "sub" / "a.mp3")
    assert targets(*both, out=tmp_path / "o") == [str(tmp_path / "o" / name) for name in ("a.wav.srt", "a.mp3.srt")]
    (folder / "sub" / "a.wav").touch()
    with pytest.raises(
        SteeringError, match=r"a.wav and .*sub/a.wav would both be written to .*a.wav.srt; name the folder"
    ):
        targets(folder / "a.wav", folder / "sub" / "a.wav", out=tmp_path / "o")
    assert len(set(targets(folder, out=tmp_path / "o"))) == 5


def test_what_is_there_is_kept(folder: Path) -> None:
    (folder / "a.srt").touch()
    [job] = plan_jobs(find_recordings([folder / "a.wav"]), ("srt", "txt"))
    assert (job.missing, job.kept, job.is_done) == ((folder / "a.txt",), (folder / "a.srt",), False)
    [job] = plan_jobs(find_recordings([folder / "a.wav"]), ("srt",))
    assert job.is_done
    [job] = plan_jobs(find_recordings([folder / "a.wav"]), ("srt",), overwrite=True)
    assert job.missing == (folder / "a.srt",)


def test_formats_and_folders_that_cannot_be(folder: Path) -> None:
    with pytest.raises(SteeringError, match=r"--format xml is not a format"):
        targets(folder, formats=("srt", "xml"))
    with pytest.raises(SteeringError, match=r"--out needs a format as well: .*; did you mean --format srt\?"):
        targets(folder, formats=(), out=Path("srt"))
    assert targets(folder, formats=()) == []
