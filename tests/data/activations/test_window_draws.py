"""Random choices of a collection are of the window alone: not of its order, its shard, or where its folder is."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from make import make_openai
from safetensors.torch import load_file

from audiosae_steer.data.activations import collect as module
from audiosae_steer.data.activations.collect import collect
from audiosae_steer.data.activations.window_draws import WindowDraws, file_names
from audiosae_steer.data.windows import Window
from audiosae_steer.errors import SteeringError

NAMES = ("a.wav", "b.wav", "deep/a.wav", "deep/c.wav")


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sounds")
    (folder / "deep").mkdir()
    for number, name in enumerate(NAMES):
        samples = 0.1 * np.random.default_rng(number).standard_normal(8_000 + 1_600 * number)
        soundfile.write(folder / name, samples.astype(np.float32), 16_000, subtype="FLOAT")
    return folder


def shards(model: Any, files: list[Path], out: Path, size: int, monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """The frames of each window, in the order of the files, of shards of so many windows."""
    monkeypatch.setattr(module, "WINDOWS_PER_SHARD", size)
    collect(model, files, [1], out, batch=1, progress=False)
    return [torch.cat(list(load_file(path).values())) for path in sorted(out.glob("shard-*"))]


def test_frames_of_a_window_are_the_same_in_any_order_shard_and_folder(
    audio: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_openai(1)
    files = [audio / name for name in NAMES]
    alone = shards(model, files, tmp_path / "alone", 1, monkeypatch)
    back = shards(model, files[::-1], tmp_path / "back", 1, monkeypatch)
    assert all(torch.equal(one, other) for one, other in zip(alone, back[::-1], strict=True))
    pairs = shards(model, files, tmp_path / "pairs", 2, monkeypatch)
    assert all(torch.equal(torch.cat(alone[2 * i : 2 * i + 2]), pair) for i, pair in enumerate(pairs))
    moved = Path(shutil.copytree(audio, tmp_path / "elsewhere" / "sounds"))
    monkeypatch.chdir(moved)
    there = shards(model, [Path(name) for name in NAMES], tmp_path / "there", 1, monkeypatch)
    assert all(torch.equal(one, other) for one, other in zip(alone, there, strict=True))


def windows(count: int) -> list[Window]:
    return [
        Window(Path(f"/somewhere/{number}.wav"), start, number % 5 == 0)
        for number in range(count)
        for start in (0, 480_000)
    ]


def test_another_window_is_of_the_same_side_and_never_itself() -> None:
    given = windows(40)
    draws = WindowDraws(given, seed=0)
    others = {window: draws.other(window) for window in given}
    assert all(other.held_out == window.held_out and other != window for window, other in others.items() if other)
    assert None not in others.values()
    assert len({str(other) for other in others.values()}) > len(given) / 2
    assert {window: WindowDraws(given[::-1], seed=0).other(window) for window in given} == others
    assert WindowDraws(given, seed=1).other(given[3]) != others[given[3]]
    assert WindowDraws(given[:1], seed=0).other(given[0]) is None


def test_draws_are_spread_and_apart_by_window_purpose_and_seed() -> None:
    given = windows(200)
    draws = WindowDraws(given, seed=0)
    values = np.array([[draws.generator(window, what).random() for what in ("gain", "mixing")] for window in given])
    assert np.all(np.abs(values.mean(0) - 0.5) < 0.06)
    assert abs(np.corrcoef(values.T)[0, 1]) < 0.15
    assert np.unique(values).size == values.size
    assert WindowDraws(given, seed=1).generator(given[0], "gain").random() not in values


def test_files_are_named_below_the_folder_that_all_are_in() -> None:
    here = Path("x.wav")
    found = file_names([here, Path(os.path.abspath("y/x.wav")), Path("y/../z.wav")])
    assert list(found.values()) == ["x.wav", "y/x.wav", "z.wav"]
    assert file_names([Path("/a/b.wav")]) == {Path("/a/b.wav"): "b.wav"}
    assert file_names([]) == {}


def test_folders_of_earlier_versions_are_kept_if_finished_and_refused_if_not(audio: Path, tmp_path: Path) -> None:
    model = make_openai(1)
    collect(model, [audio], [1], tmp_path, progress=False)
    manifest, shard = tmp_path / "manifest.json", tmp_path / "shard-00000.safetensors"
    content = json.loads(manifest.read_text())
    assert content["settings"].pop("draws") == "by window"
    manifest.write_text(json.dumps(content))
    before = shard.stat().st_mtime_ns
    collect(model, [audio], [1], tmp_path, progress=False)
    assert json.loads(manifest.read_text()) == content
    with pytest.raises(SteeringError, match=r"other settings \(draws, seed\)"):
        collect(model, [audio], [1], tmp_path, seed=1, progress=False)
    manifest.write_text(json.dumps(content | {"complete": False}))
    with pytest.raises(SteeringError, match="an earlier version began"):
        collect(model, [audio], [1], tmp_path, progress=False)
    assert shard.stat().st_mtime_ns == before


def test_where_nothing_is_drawn_folders_of_earlier_versions_go_on(audio: Path, tmp_path: Path) -> None:
    collect(make_openai(1), [audio], [1], tmp_path, augment=False, padding_share=0.0, progress=False)
    assert "draws" not in json.loads((tmp_path / "manifest.json").read_text())["settings"]
