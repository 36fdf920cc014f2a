"""What is trained on, from folders and from data sets of the Hub."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from hub_server import served
from test_data import ESC50, KNOWN, SOUNDS, audio, put, table

from audiosae_steer.discover.collect import list_audio, recording_of
from audiosae_steer.training.audio import as_files


def test_folders_are_taken_as_they_are(tmp_path: Path) -> None:
    paths, names = as_files([tmp_path / "a", "b.txt"], tmp_path / "cache", progress=False)
    assert paths == [tmp_path / "a", Path("b.txt")]
    assert names == [str(tmp_path / "a"), "b.txt"]
    assert not (tmp_path / "cache").exists()


def test_a_data_set_is_written_out_once(tmp_path, monkeypatch):
    with served(monkeypatch, tmp_path) as hub:
        columns = {
            "filename": [f"1-{100 + i // 2}-A-0.wav" for i in range(len(SOUNDS))],
            "category": [KNOWN[file.name]["label"] for file in SOUNDS],
            "src_file": [100 + i // 2 for i in range(len(SOUNDS))],
            "audio": audio(SOUNDS),
        }
        commit = put(hub, ESC50, {"data/train-00000-of-00001-2f1ab7b8.parquet": table(columns)})
        (folder,), (name,) = as_files(["hub:esc50"], tmp_path / "cache", progress=False)
        assert name == f"hub:esc50@{commit}"
        files = list_audio([folder])
        assert len(files) == len(SOUNDS)
        assert len({recording_of(file) for file in files}) == (len(SOUNDS) + 1) // 2
        samples, rate = soundfile.read(sorted(files, key=lambda file: int(file.stem.split("_")[1]))[0])
        assert rate == 16_000
        assert len(samples) > 16_000
        assert np.abs(samples).max() > 0
        before = {file: file.stat().st_mtime_ns for file in files}
        assert as_files(["hub:esc50"], tmp_path / "cache", progress=False) == ([folder], [name])
        assert {file: file.stat().st_mtime_ns for file in files} == before
