"""An index built in units is that of one build, byte for byte; a clip that cannot be read is left out."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from toy_work import AT_ONCE

import audiosae_steer.explorer.index.index_units as units
from audiosae_steer import SAE
from audiosae_steer.errors import AudioError, SteeringError, WorkError
from audiosae_steer.explorer.index.index_build import SQLITE, build_index
from audiosae_steer.explorer.index.index_settings import IndexSettings
from audiosae_steer.explorer.index.index_units import IndexSpec, IndexWork, build_in_units
from audiosae_steer.io.shipped import checkpoints_dir
from audiosae_steer.io.units.local_engine import Local
from audiosae_steer.io.units.unit_run import RunSettings
from audiosae_steer.io.units.unit_work import Answer, Try

FAST = RunSettings(retry=AT_ONCE)


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> IndexSpec:
    folder = tmp_path_factory.mktemp("corpus") / "audio"
    folder.mkdir()
    for name in ("fan.flac", "alarm.flac", "speech-08.flac"):
        shutil.copyfile(checkpoints_dir() / "clips" / name, folder / name)
    rng = torch.Generator().manual_seed(0)
    rows = torch.randn(32, 384, generator=rng)  # few features: what is found at the end is not what is tested
    path = folder.parent / "sae.safetensors"
    SAE(rows, torch.full((32,), -20.0), rows.clone(), torch.zeros(384), gate="relu").save(path)
    return IndexSpec(
        model="tiny.en",
        saes=((str(path), 4),),
        audio=(str(folder),),
        settings=IndexSettings(top=2, each=1, neighbours=4),
    )


@pytest.fixture(autouse=True)
def loaded_once(monkeypatch: pytest.MonkeyPatch, tiny_en: object) -> None:
    monkeypatch.setattr("audiosae_steer.models.load.load_model", lambda name: tiny_en)


@pytest.fixture(scope="module")
def whole(spec: IndexSpec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "index"
    build_index(spec.job(), out)
    return out


class LostTwice:
    """Each unit loses two workers, at whatever moment."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def __call__(self, given: Try, when: str) -> Answer | None:
        self.seen.append(given.number)
        return Answer("lost", "gone") if self.seen.count(given.number) < 3 else None


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


def test_units_and_their_merges_give_the_bytes_of_one_build(spec: IndexSpec, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "index"
    found = build_in_units(spec, out, Local(LostTwice(), 2), seconds=60, settings=FAST)
    assert found.built is not None
    assert (found.built.clips, found.failed) == (3, ())
    for name in (".", "shards"):
        assert files_in(out / name) == files_in(whole / name)
    assert build_in_units(spec, out, settings=FAST) == found  # of a folder that is finished


def test_shards_of_an_index_and_a_clip_that_is_no_audio(
    spec: IndexSpec, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_poison(job: object, clips: list[int], progress: object = None) -> object:
        if job.corpus.clips[clips[-1]].recording == "speech-08.flac":  # type: ignore[attr-defined]
            raise AudioError("speech-08.flac is not audio")
        return collect(job, clips)  # type: ignore[arg-type]

    collect = units.collect_part
    monkeypatch.setattr(units, "collect_part", with_poison)
    out = tmp_path / "index"
    part = RunSettings(part=(1, 2), retry=AT_ONCE)
    assert build_in_units(spec, out, seconds=30, settings=part).built is None
    found = build_in_units(spec, out, seconds=30, settings=RunSettings(part=(2, 2), retry=AT_ONCE))
    assert found.built is not None
    assert (found.built.clips, found.failed) == (2, ("speech-08.flac@0",))
    assert "speech-08.flac is not audio" in (out / "failed.jsonl").read_text()
    assert not (out / "work").exists()
    assert (out / SQLITE).read_bytes() != (whole / SQLITE).read_bytes()


def test_other_models_on_workers_and_other_folders_are_refused(spec: IndexSpec, whole: Path) -> None:
    with pytest.raises(WorkError, match="not what the plan was made with"):
        IndexWork(spec, "0" * 64).open()
    other = IndexSpec(model="tiny.en", saes=spec.saes, audio=spec.audio, settings=IndexSettings(top=3))
    with pytest.raises(SteeringError, match="holds a build of another"):
        build_in_units(other, whole)
