"""The index of what transcripts are of: several writers, damage, interruption, and names that are no text."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from audiosae_steer.evaluate.transcription import recordings
from audiosae_steer.evaluate.transcription.decoding import Decoding
from audiosae_steer.evaluate.transcription.jobs import find_recordings, plan_jobs
from audiosae_steer.evaluate.transcription.transcribe import Transcript
from audiosae_steer.evaluate.transcription.transcript_index import NAME, Content, foreign, key_of, note, read_index


def test_a_recording_is_known_by_its_size_and_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(bytes(1 << 20) + b"a")
    first = Content.of(path)
    assert first is not None
    assert first.size == (1 << 20) + 1
    path.write_bytes(bytes(1 << 20) + b"ab")
    assert Content.of(path) == (first.size + 1, first.sha256)
    path.write_bytes(b"x" + bytes(1 << 20))
    assert Content.of(path) != first
    assert Content.of(tmp_path / "none") is None


def test_several_writers_lose_nothing(tmp_path: Path) -> None:
    names = [f"{n}.txt" for n in range(24)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: note(tmp_path / name, Content(1, name)), names))
    assert read_index(tmp_path) == {name: (1, name) for name in names}
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    note(tmp_path / "3.txt", None)
    assert set(read_index(tmp_path)) == set(names) - {"3.txt"}


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"transcripts": 1}', b'{"transcripts": {"a.txt": "x y"}}', b"\xff"]
)
def test_a_damaged_index_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / NAME).write_bytes(content)
    assert read_index(tmp_path) == {}
    note(tmp_path / "a.txt", Content(2, "b"))
    assert read_index(tmp_path) == {"a.txt": (2, "b")}


def test_names_that_are_no_text(tmp_path: Path) -> None:
    names = [os.fsdecode(b"\xff.txt"), os.fsdecode(b"\xfe.txt"), "ü\u202e.txt"]
    for size, name in enumerate(names):
        note(tmp_path / name, Content(size, "a"))
    assert [read_index(tmp_path)[key_of(Path(name))].size for name in names] == [0, 1, 2]


def test_a_transcript_of_this_recording_is_not_foreign(tmp_path: Path) -> None:
    audio, text = tmp_path / "a.wav", tmp_path / "a.txt"
    audio.write_bytes(b"one")
    text.touch()
    content = Content.of(audio)
    assert content is not None
    assert foreign(audio, [text], {"a.txt": content}) is None
    assert foreign(audio, [], {"a.txt": Content(0, "")}) is None
    assert f"{text} is of another recording" in str(foreign(audio, [text], {"a.txt": Content(0, "")}))
    audio.unlink()
    assert foreign(audio, [text], {"a.txt": Content(0, "")}) is None  # that it is missing is said elsewhere


def test_writing_over_that_is_interrupted_claims_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    audio, text = tmp_path / "a.wav", tmp_path / "a.txt"
    audio.write_bytes(b"one")
    text.touch()
    note(text, Content(0, "of another"))

    def interrupted(*_: object) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(recordings, "load_audio", lambda path: path.read_bytes())
    monkeypatch.setattr(recordings, "transcribe_batch", lambda *_, **__: [Transcript("", ())])
    jobs = plan_jobs(find_recordings([audio]), ["txt"], overwrite=True)
    with monkeypatch.context() as patch:
        patch.setattr(recordings, "write_transcript", interrupted)
        with pytest.raises(KeyboardInterrupt):
            list(recordings.transcribe_files(None, jobs, Decoding()))
    assert read_index(tmp_path) == {}
    [outcome] = recordings.transcribe_files(None, jobs, Decoding())
    assert outcome.written == (text,)
    assert read_index(tmp_path) == {"a.txt": Content.of(audio)}


def test_audio_that_is_replaced_meanwhile_is_not_taken_for_what_was_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audio = tmp_path / "a.wav"
    audio.write_bytes(b"one")
    before = Content.of(audio)
    monkeypatch.setattr(recordings, "load_audio", lambda path: path.read_bytes())
    monkeypatch.setattr(
        recordings, "transcribe_batch", lambda *_, **__: [audio.write_bytes(b"two") and Transcript("", ())]
    )
    [outcome] = recordings.transcribe_files(None, plan_jobs(find_recordings([audio]), ["txt"]), Decoding())
    assert outcome.error is None
    assert read_index(tmp_path) == {"a.txt": before}
    [job] = plan_jobs(find_recordings([audio]), ["txt"])
    assert job.refusal is not None
