"""Bulk transcription: a corpus' marks, and texts that depend on a unit's own recordings alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import fsspec
import pytest
import torch
from commands import CLIPS

from audiosae_steer.errors import AudioError, SteeringError, WorkError
from audiosae_steer.evaluate.transcription import bulk_transcription
from audiosae_steer.evaluate.transcription.bulk_transcription import BulkSettings, BulkTranscription, plan_transcription
from audiosae_steer.evaluate.transcription.corpus_audio import list_corpus, read_item
from audiosae_steer.evaluate.transcription.decoding import FALLBACK, Decoding
from audiosae_steer.evaluate.transcription.steered_whisper import SteeredWhisper
from audiosae_steer.evaluate.transcription.transcribe import Transcript
from audiosae_steer.io.units.unit_work import Unit


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("speech-04", "speech-08", "fan"):
        shutil.copy(CLIPS / f"{name}.flac", tmp_path / f"{name}.flac")
    (tmp_path / ".hidden.wav").write_text("x")
    return tmp_path


def test_a_folder_and_an_object_store_hold_the_same_recordings(folder: Path) -> None:
    items = list_corpus(folder)
    lengths = {item.name: item.seconds for item in items}
    assert lengths == {"fan.flac": 4.0, "speech-04.flac": 3.175, "speech-08.flac": 2.39}
    memory, url = fsspec.filesystem("memory"), f"memory://{folder.name}/audio"
    for item in items:
        memory.pipe_file(f"/{folder.name}/audio/{item.name}", (folder / item.name).read_bytes())
    stored = list_corpus(url)
    assert [item.name for item in stored] == [item.name for item in items]
    for here, there in zip(items, stored, strict=True):
        assert (read_item(str(folder), here)[0] == read_item(url, there)[0]).all()
    shutil.copy(CLIPS / "speech-08.flac", folder / "fan.flac")
    with pytest.raises(AudioError, match="fan.flac was changed since the plan was made"):
        read_item(str(folder), items[0])
    memory.pipe_file(f"/{folder.name}/audio/fan.flac", b"other")
    with pytest.raises(AudioError, match="was changed since the plan was made"):
        read_item(url, stored[0])
    memory.rm_file(f"/{folder.name}/audio/fan.flac")
    with pytest.raises(AudioError, match="is gone since"):
        read_item(url, stored[0])
    with pytest.raises(AudioError, match="holds no audio"):
        list_corpus(f"memory://{folder.name}/nothing")


def test_settings_survive_the_plan_and_other_weights_are_refused(
    folder: Path, tiny_en: torch.nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BulkSettings, "load", lambda self: SteeredWhisper(tiny_en, None, None))
    settings = BulkSettings(recipe=None, decoding=Decoding(temperatures=FALLBACK, filters=True), formats=("srt", "txt"))
    plan = plan_transcription(folder, settings)
    work = BulkTranscription.of(plan)
    assert work.settings == settings
    assert plan_transcription(folder, BulkSettings(recipe=None)).digest != plan.digest
    work.open()
    monkeypatch.setattr(bulk_transcription, "fingerprint", lambda model: "f" * 64)
    with pytest.raises(WorkError, match="weights of the plan is .*, and on this machine fff"):
        work.open()


def test_draws_are_of_the_recording_and_not_of_the_order(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder that draws, as Whisper's at higher temperatures; drawn as they come, texts follow the order."""

    def drawing(model: object, given: list[object], *_: object, **__: object) -> list[Transcript]:
        return [Transcript(str(torch.rand(()).item()), ()) for _ in given]

    monkeypatch.setattr(bulk_transcription, "transcribe_batch", drawing)
    loaded, items = SteeredWhisper(None, None, None), tuple(list_corpus(folder))
    work = BulkTranscription(BulkSettings(formats=("json",)), str(folder), {})
    whole = work._made(loaded, Unit("x", items, False)).files
    apart = [work._made(loaded, Unit("x", (item,), False)).files for item in items[::-1]]
    for item in items:
        name = f"texts/{item.name}.json"
        assert whole[name] == next(files[name] for files in apart if name in files)
    assert len({whole[f"texts/{item.name}.json"] for item in items}) == 3
    naive = [drawing(None, [None])[0].text for _ in range(2)]
    assert naive[0] != naive[1]


def test_batches_are_of_one_length_and_half_as_many_where_memory_ran_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[int]] = []

    def counting(model: object, given: list[object], *_: object, **__: object) -> list[Transcript]:
        seen.append([len(each) for each in given])  # type: ignore[arg-type]
        return [Transcript("", ()) for _ in given]

    monkeypatch.setattr(bulk_transcription, "transcribe_batch", counting)
    items = tuple(list_corpus(folder))
    work = BulkTranscription(BulkSettings(library="transformers", batch=2), str(folder), {})
    full = work._made(SteeredWhisper(None, None, None), Unit("x", items, False))
    half = work._made(SteeredWhisper(None, None, None), Unit("x", items, True))
    assert [len(each) for each in seen] == [2, 1, 1, 1, 1]
    assert [length for each in seen[:2] for length in each] == sorted(length for each in seen[:2] for length in each)
    assert full.files == half.files


def test_wrong_settings() -> None:
    with pytest.raises(SteeringError, match="batch is 4; expected 1"):
        BulkSettings(batch=4)
    with pytest.raises(SteeringError, match="threads is 0"):
        BulkSettings(threads=0)
    with pytest.raises(WorkError, match="not of this version"):
        BulkSettings.from_json({"model": "tiny.en"})
