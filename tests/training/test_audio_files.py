"""What is trained on, from folders and from data sets of the Hub."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow
import soundfile
from hub_server import Repository, served
from pyarrow import parquet

from audiosae_steer.data.audio_paths import list_audio, recording_of
from audiosae_steer.training.audio_files import as_files


def noise(seed: int) -> bytes:
    held = io.BytesIO()
    soundfile.write(held, np.random.default_rng(seed).uniform(-0.5, 0.5, 22_050), 22_050, format="WAV")
    return held.getvalue()


def esc50(clips: int) -> bytes:
    """As the data set lies on the Hub: pieces of one recording share `src_file`."""
    rows = pyarrow.table(
        {
            "filename": [f"1-{100 + i // 2}-{'AB'[i % 2]}-0.wav" for i in range(clips)],
            "category": ["rain"] * clips,
            "src_file": [100 + i // 2 for i in range(clips)],
            "audio": [{"bytes": noise(i), "path": f"{i}.wav"} for i in range(clips)],
        }
    )
    held = io.BytesIO()
    parquet.write_table(rows, held)
    return held.getvalue()


def test_folders_are_taken_as_they_are(tmp_path: Path) -> None:
    paths, names = as_files([tmp_path / "a", "b.txt"], tmp_path / "cache", progress=False)
    assert paths == [tmp_path / "a", Path("b.txt")]
    assert names == [str(tmp_path / "a"), "b.txt"]
    assert not (tmp_path / "cache").exists()


def test_a_data_set_is_written_out_once(tmp_path, monkeypatch):
    with served(monkeypatch, tmp_path) as hub:
        repository = hub.repositories.setdefault("datasets/ashraq/esc50", Repository())
        commit = repository.commit({"data/train-00000-of-00001-2f1ab7b8.parquet": esc50(6)})
        (folder,), (name,) = as_files(["hub:esc50"], tmp_path / "cache", progress=False)
        assert name == f"hub:esc50@{commit}"
        files = list_audio([folder])
        assert len(files) == 6
        assert len({recording_of(file) for file in files}) == 3
        for file in files:
            samples, rate = soundfile.read(file)
            assert rate == 16_000
            assert abs(len(samples) - 16_000) < 10
            assert np.abs(samples).max() > 0.3
        before = {file: file.stat().st_mtime_ns for file in files}
        assert as_files(["hub:esc50"], tmp_path / "cache", progress=False) == ([folder], [name])
        assert {file: file.stat().st_mtime_ns for file in files} == before
        again, _ = as_files(["hub:esc50"], tmp_path / "cache", most=2, progress=False)
        assert len(list_audio(again)) == 2
