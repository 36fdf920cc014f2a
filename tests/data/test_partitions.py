"""Clips dealt to finding, calibrating and testing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiosae_steer.data.partitions import PARTITIONS, PartitionSources, partition_clips
from audiosae_steer.errors import AudioError


def put(folder: Path, names: dict[str, int]) -> Path:
    """Short clips, each of its own seed's noise."""
    for name, seed in names.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        samples = np.random.default_rng(seed).normal(0, 0.1, 4_800).astype(np.float32)
        soundfile.write(folder / f"{name}.wav", samples, 16_000)
    return folder


@pytest.fixture
def sounds(tmp_path):
    kinds = ("rain", "fan", "dog", "bell", "sea")
    return put(tmp_path / "absent", {f"{kind}/{kind}-{i}x_{n}": 10 * k + 2 * i + n
                                     for k, kind in enumerate(kinds) for i in range(3) for n in range(2)})  # fmt: skip


@pytest.fixture
def speech(tmp_path):
    return put(tmp_path / "present", {f"{s}-1-{n:04d}": 1000 + 10 * s + n for s in range(6) for n in range(3)})


def test_sides_share_no_kind_of_sound_and_no_speaker(sounds, speech):
    dealt = partition_clips(PartitionSources([sounds]), PartitionSources([speech]), progress=False)
    labels = [{clip.label for clip in getattr(dealt, side).absent.clips} for side in PARTITIONS]
    speakers = [{clip.group for clip in getattr(dealt, side).present.clips} for side in PARTITIONS]
    for parts in (labels, speakers):
        assert all(parts)
        assert sum(map(len, parts)) == len(set.union(*parts))
    assert dealt.provenance["without speech"]["apart"] == "recording or speaker and kind of sound"
    assert dealt.provenance["with speech"]["apart"] == "recording or speaker"
    counts = [dealt.provenance["without speech"][side]["clips"] for side in PARTITIONS]
    assert sum(counts) == 30
    assert counts[0] == 18
    assert dealt.provenance["without speech"]["find"]["sources"] == ["absent"]


def test_one_kind_of_sound_is_dealt_by_recording(tmp_path, speech):
    one = put(tmp_path / "one", {f"rain/rain{i}x": i for i in range(6)})
    dealt = partition_clips(PartitionSources([one]), PartitionSources([speech]), progress=False)
    assert dealt.provenance["without speech"]["apart"] == "recording or speaker"
    assert [len(getattr(dealt, side).absent.clips) for side in PARTITIONS] == [4, 1, 1]


def test_what_is_given_apart_is_not_dealt(tmp_path, sounds, speech):
    other = put(tmp_path / "other", {"hum": 5000, "buzz": 5001})
    dealt = partition_clips(PartitionSources([sounds], test=[other]), PartitionSources([speech]), progress=False)
    assert {clip.name for clip in dealt.test.absent.clips} == {"hum.wav", "buzz.wav"}
    assert len(dealt.find.absent.clips) + len(dealt.calibrate.absent.clips) == 30
    assert dealt.provenance["without speech"]["apart"].endswith("; test given apart")


def test_copies_are_left_out_of_later_sides(tmp_path, sounds, speech):
    again = put(tmp_path / "again", {"copy": 0, "own": 7000})  # the first is rain/rain-0x_0
    last = put(tmp_path / "last", {"own": 7000, "new": 7001})
    dealt = partition_clips(PartitionSources([sounds], [again], [last]), PartitionSources([speech]), progress=False)
    assert [clip.name for clip in dealt.calibrate.absent.clips] == ["own.wav"]
    assert [clip.name for clip in dealt.test.absent.clips] == ["new.wav"]
    assert dealt.provenance["without speech"]["copies left out"] == 2
    assert dealt.provenance["without speech"]["apart"] == "given apart"


def test_a_side_of_copies_alone_is_refused(sounds, speech):
    with pytest.raises(AudioError, match="for calibrate are all among those of an earlier side"):
        partition_clips(PartitionSources([sounds], [sounds], [sounds]), PartitionSources([speech]), progress=False)


def test_too_few_recordings_are_refused(tmp_path, speech):
    few = put(tmp_path / "few", {"rain_1": 1, "rain_2": 2, "fan": 3})
    with pytest.raises(AudioError, match="cannot be split into 3 parts"):
        partition_clips(PartitionSources([few]), PartitionSources([speech]), progress=False)


def test_the_same_whatever_the_folder_is_called(tmp_path, sounds, speech):
    first = partition_clips(PartitionSources([sounds]), PartitionSources([speech]), progress=False)
    sounds.rename(tmp_path / "moved")
    again = partition_clips(PartitionSources([tmp_path / "moved"]), PartitionSources([speech]), progress=False)
    assert [side.key for side in first[:3]] == [side.key for side in again[:3]]
    other = partition_clips(PartitionSources([tmp_path / "moved"]), PartitionSources([speech]), seed=1, progress=False)
    assert other.find.key != first.find.key
