"""Clips dealt to finding, calibrating and testing, so that no two of these share a recording, a speaker or a sound."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import AudioError
from .audio import samples_key
from .clips import ClipSet, load_clips
from .splits import split

PARTITIONS = ("find", "calibrate", "test")
Source = str | Path


class PartitionSources(NamedTuple):
    """Sources of one kind of clips."""

    find: Sequence[Source]
    """For finding; also for those of the others that are not given, which then get a share of these clips."""
    calibrate: Sequence[Source] = ()
    """For calibrating."""
    test: Sequence[Source] = ()
    """For testing."""


class Partition(NamedTuple):
    """Clips of both kinds for one purpose."""

    absent: ClipSet
    """Nobody speaks."""
    present: ClipSet
    """Somebody does."""

    @property
    def key(self) -> str:
        """Names their samples and texts."""
        digest = hashlib.sha256()
        for gathered in self:
            for clip, samples in zip(gathered.clips, gathered.samples, strict=True):
                digest.update(f"{samples_key(samples)} {clip.group} {clip.text}\n".encode())
            digest.update(b"|")
        return digest.hexdigest()[:16]


class Partitions(NamedTuple):
    """The three sides."""

    find: Partition
    calibrate: Partition
    test: Partition
    provenance: dict[str, Any]
    """Sources, counts and what the partitions do not share, for a recipe."""


def partition_clips(
    absent: PartitionSources,
    present: PartitionSources,
    shares: Sequence[float] = (0.6, 0.2, 0.2),
    *,
    most: int | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Partitions:
    """Read all clips and deal them out.

    Non-speech sides differ in recording and, where labels say enough, in the kind of sound; speech sides in speaker or
    recording. A clip whose very samples are on an earlier side is left out of a later one.

    Args:
        absent: clips in which nobody speaks.
        present: clips in which somebody does.
        shares: of finding, calibrating and testing, where they are dealt from the same clips.
        most: most clips to take of each source.
        seed: of the draws.
        progress: show progress bars.

    Raises:
        AudioError: there is no audio, or there are too few recordings, speakers or kinds of sound.
        HubError: a data set cannot be had.
    """
    kinds, how = {}, {}
    for kind, given, apart in (("without speech", absent, ("group", "label")), ("with speech", present, ("group",))):
        parts, kept_apart = _parts(given, apart, shares, most, seed, progress)
        left_out = _without_copies(parts)
        empty = [side for side in PARTITIONS if not parts[side].clips]
        if empty:
            raise AudioError(
                f"the clips {kind} for {empty[0]} are all among those of an earlier side; give other ones for each"
            )
        kinds[kind] = parts
        how[kind] = {
            **{side: parts[side].provenance() for side in PARTITIONS},
            "apart": kept_apart,
            **({"copies left out": left_out} if left_out else {}),
        }
    without, having = kinds["without speech"], kinds["with speech"]
    find, calibrate, test = (Partition(without[side], having[side]) for side in PARTITIONS)
    return Partitions(find, calibrate, test, how)


def _parts(
    given: PartitionSources, apart: Sequence[str], shares: Sequence[float], most: int | None, seed: int, progress: bool
) -> tuple[dict[str, ClipSet], str]:
    own = {side: sources for side, sources in given._asdict().items() if sources and side != "find"}
    found = {side: load_clips(sources, most=most, seed=seed, progress=progress) for side, sources in own.items()}
    pool = load_clips(given.find, most=most, seed=seed, progress=progress)
    wanted = {side: share for side, share in zip(PARTITIONS, shares, strict=True) if side not in own}
    if len(wanted) == 1:
        return {**found, "find": pool}, "given apart"
    # one kind of sound, or none that is named, says nothing: kinds of sound are kept apart where there are some
    labelled = [clip for clip in pool.clips if clip.label is not None]
    tries = [apart, ("group",)] if len(labelled) == len(pool.clips) and len(apart) > 1 else [("group",)]
    positions: dict[str, list[int]] = {}
    for keys in tries:
        try:
            positions = split(pool.clips, wanted, seed, apart=keys)
        except AudioError:
            if keys is tries[-1]:
                raise
        else:
            break
    words = "recording or speaker" + (" and kind of sound" if "label" in keys else "")
    if own:
        words += f"; {' and '.join(own)} given apart"
    return {**found, **{side: pool.pick(chosen) for side, chosen in positions.items()}}, words


def _without_copies(parts: dict[str, ClipSet]) -> int:
    """Leave out of each side what an earlier one has, in place; how many clips that were."""
    seen: set[str] = set()
    left_out = 0
    for side in PARTITIONS:
        keys = [samples_key(samples) for samples in parts[side].samples]
        fresh = [i for i, key in enumerate(keys) if key not in seen]
        left_out += len(keys) - len(fresh)
        if len(fresh) < len(keys):
            parts[side] = parts[side].pick(fresh)
        seen |= set(keys)
    return left_out
