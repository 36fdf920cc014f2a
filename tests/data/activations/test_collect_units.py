"""A collection in units gives the files of one without, on any engine, after any failure."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import soundfile
import torch
from make import make_openai
from toy_work import AT_ONCE

from audiosae_steer import SAE, Ablate, steer
from audiosae_steer.data.activations import collect as module
from audiosae_steer.data.activations import extraction
from audiosae_steer.data.activations.collect import collect
from audiosae_steer.data.activations.collect_units import collect_in_units
from audiosae_steer.data.activations.shards import load_activations, open_shards
from audiosae_steer.errors import AudioError, SteeringError, WorkError
from audiosae_steer.io.units.local_engine import Local
from audiosae_steer.io.units.process_engine import Processes
from audiosae_steer.io.units.unit_run import RunSettings
from audiosae_steer.io.units.unit_work import Answer, Try


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sounds")
    for number, name in enumerate("abcde"):
        samples = 0.1 * np.random.default_rng(number).standard_normal(8_000 + 1_600 * number)
        soundfile.write(folder / f"{name}.wav", samples.astype(np.float32), 16_000, subtype="FLOAT")
    return folder


@pytest.fixture(scope="module")
def model() -> Any:
    return make_openai(1)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards of two windows, and no waits between retries."""
    monkeypatch.setattr(module, "WINDOWS_PER_SHARD", 2)
    monkeypatch.setattr(module, "collect_in_units", partial(collect_in_units, settings=RunSettings(retry=AT_ONCE)))


def content(folder: Path) -> dict[str, bytes]:
    """All files of a collection but for its records."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


@pytest.fixture(scope="module")
def whole(audio: Path, model: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "WINDOWS_PER_SHARD", 2)
        collect(model, [audio], [1], out, progress=False)
    found = content(out)
    assert sorted(found) == ["manifest.json", *(f"shard-0000{n}.safetensors" for n in range(3))]
    return found


class LostTwice:
    """Each unit loses two workers: one before it is done, one after."""

    def __init__(self) -> None:
        self.seen: dict[int, int] = {}

    def __call__(self, given: Try, when: Literal["before", "after"]) -> Answer | None:
        count = self.seen[given.number] = self.seen.get(given.number, 0) + 1
        return Answer("lost", "killed") if (count, when) in ((1, "before"), (3, "after")) else None


def test_the_same_bytes_in_any_order_after_any_loss(
    audio: Path, model: Any, tmp_path: Path, whole: dict[str, bytes]
) -> None:
    faults = LostTwice()
    engine = Local(faults=faults, capacity=3, choose=lambda count: count - 1)
    collect(model, [audio], [1], tmp_path, engine=engine, progress=False)
    assert content(tmp_path) == whole
    assert set(faults.seen) == {0, 1, 2}
    assert min(faults.seen.values()) > 3
    assert json.loads((tmp_path / "work" / "summary.json").read_text())["recordings"] == 5
    assert len(open_shards(tmp_path, 1).train)


def test_two_processes_give_the_bytes_of_none(audio: Path, model: Any, tmp_path: Path, whole: dict[str, bytes]) -> None:
    collect(model, [audio], [1], tmp_path, engine=Processes(2, method="forkserver"), progress=False)
    assert content(tmp_path) == whole


@pytest.mark.parametrize("engines", [(None, "local"), ("local", None)], ids=["begun without", "begun with"])
def test_a_collection_that_was_cut_off_goes_on_with_and_without_an_engine(
    engines: tuple[Any, Any], audio: Path, model: Any, tmp_path: Path, whole: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    placed: list[str] = []
    place = extraction.Extractor._place

    def cut(extractor: Any, window: Any) -> Any:
        placed.append(window.path.name)
        if len(placed) == 4:
            raise KeyboardInterrupt
        return place(extractor, window)

    monkeypatch.setattr(extraction.Extractor, "_place", cut)
    with pytest.raises(KeyboardInterrupt):
        collect(model, [audio], [1], tmp_path, engine=engines[0], progress=False)
    assert sorted(content(tmp_path)) == ["manifest.json", "shard-00000.safetensors"]
    with pytest.raises(SteeringError, match="no complete set"):
        load_activations(tmp_path, 1)
    collect(model, [audio], [1], tmp_path, engine=engines[1], progress=False)
    assert placed[4:] == ["c.wav", "d.wav", "e.wav"]
    assert content(tmp_path) == whole


def test_a_window_that_cannot_be_read_is_left_out_and_named(
    audio: Path, model: Any, tmp_path: Path, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = extraction.Extractor._place

    def broken(extractor: Any, window: Any) -> Any:
        if window.path.name in bad:
            raise AudioError(f"{window.path} is damaged")
        return place(extractor, window)

    monkeypatch.setattr(extraction.Extractor, "_place", broken)
    bad = {"b.wav", "e.wav"}  # one of two in a shard, and all of one
    collect(model, [audio], [1], tmp_path, engine="local", progress=False)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert (manifest["clips"], manifest["failed"], manifest["shards"]) == (3, 2, 2)
    lines = (tmp_path / "work" / "failed.jsonl").read_text().splitlines()
    assert [json.loads(line)["recording"] for line in lines] == ["b.wav@0", "e.wav@0"]
    assert content(tmp_path)["shard-00001.safetensors"] == whole["shard-00001.safetensors"]
    assert len(open_shards(tmp_path, 1).train)


def test_half_the_batch_is_tried_where_memory_runs_out(
    audio: Path, model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, given = [], extraction.residuals

    def residuals(model: Any, samples: Any, layers: Any) -> Any:
        taken.append(len(samples))
        if len(samples) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return given(model, samples, layers)

    monkeypatch.setattr(extraction, "residuals", residuals)
    collect(model, [audio], [1], tmp_path, batch=2, engine="local", progress=False)
    assert taken == [2, 1, 1, 2, 1, 1, 1]


def test_what_cannot_be_done_in_units_is_said(audio: Path, tmp_path: Path, model: Any, whole: dict[str, bytes]) -> None:
    collect(model, [audio], [1], tmp_path / "a", engine="local", progress=False)
    (tmp_path / "a" / "manifest.json").unlink()
    (tmp_path / "a" / "shard-00001.safetensors").unlink()
    with pytest.raises(WorkError, match=r"shard-00001\.safetensors is gone"):
        collect(model, [audio], [1], tmp_path / "a", engine="local", progress=False)
    with pytest.raises(WorkError, match="there is no engine 'spark'; expected one of local, processes, ray"):
        collect(model, [audio], [1], tmp_path / "b", engine="spark", progress=False)  # type: ignore[arg-type]
    steered = make_openai(1)
    rows = torch.eye(steered.dims.n_audio_state)
    sae = SAE(rows, torch.zeros(len(rows)), rows.clone(), torch.zeros(len(rows)), gate="relu")
    steer(steered, sae=sae, layer=1, edits=[Ablate(0)])
    with pytest.raises(WorkError, match="cannot be sent to workers"):
        collect(steered, [audio], [1], tmp_path / "c", engine=Processes(1), progress=False)
