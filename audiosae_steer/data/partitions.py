"""Partitions of clips for finding, calibrating and testing, which share no recording, speaker or kind of sound."""

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
    """Sources of one kind of clips, speech or non-speech, for each partition."""

    find: Sequence[Source]
    """For finding; and for those of the others that are left empty, which get a share of these clips."""
    calibrate: Sequence[Source] = ()
    """For calibrating."""
    test: Sequence[Source] = ()
    """For testing."""


class Partition(NamedTuple):
    """Clips of both kinds for one purpose."""

    absent: ClipSet
    """Non-speech."""
    present: ClipSet
    """Speech."""

    @property
    def key(self) -> str:
        """A hash of the samples, groups and transcripts."""
        digest = hashlib.sha256()
        for gathered in self:
            for clip, samples in zip(gathered.clips, gathered.samples, strict=True):
                digest.update(f"{samples_key(samples)} {clip.group} {clip.text}\n".encode())
            digest.update(b"|")
        return digest.hexdigest()[:16]


class Partitions(NamedTuple):
    """The three partitions, which share no clip."""

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
    """Read all clips and divide them into partitions.

    Partitions of non-speech differ in recording and, where labels allow it, in the kind of sound; those of speech in
    speaker or recording. A clip whose samples are in an earlier partition is left out of a later one.

    Args:
        absent: sources of non-speech.
        present: sources of speech.
        shares: shares of finding, calibrating and testing, where they come from the same clips.
        most: most clips to take of each source.
        seed: seed of the draws.
        progress: show progress bars.

    Raises:
        AudioError: there is no audio, or there are too few recordings, speakers or kinds of sound.
        HubError: a data set cannot be downloaded.
    """
    kinds, how = {}, {}
    for kind, given, apart in (("without speech", absent, ("group", "label")), ("with speech", present, ("group",))):
        try:
            parts, kept_apart = _parts(given, apart, shares, most, seed, progress)
        except AudioError as error:
            raise AudioError(f"clips {kind}: {error}") from error
        left_out = _without_copies(parts)
        empty = [part for part in PARTITIONS if not parts[part].clips]
        if empty:
            raise AudioError(
                f"the clips {kind} for {empty[0]} are all among those of an earlier side; give other ones for each"
            )
        kinds[kind] = parts
        how[kind] = {
            **{part: parts[part].provenance() for part in PARTITIONS},
            "apart": kept_apart,
            **({"copies left out": left_out} if left_out else {}),
        }
    without, having = kinds["without speech"], kinds["with speech"]
    find, calibrate, test = (Partition(without[part], having[part]) for part in PARTITIONS)
    return Partitions(find, calibrate, test, how)


def _parts(
    given: PartitionSources, apart: Sequence[str], shares: Sequence[float], most: int | None, seed: int, progress: bool
) -> tuple[dict[str, ClipSet], str]:
    own = {part: sources for part, sources in given._asdict().items() if sources and part != "find"}
    found = {part: load_clips(sources, most=most, seed=seed, progress=progress) for part, sources in own.items()}
    pool = load_clips(given.find, most=most, seed=seed, progress=progress)
    wanted = {part: share for part, share in zip(PARTITIONS, shares, strict=True) if part not in own}
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
    return {**found, **{part: pool.pick(chosen) for part, chosen in positions.items()}}, words


def _without_copies(parts: dict[str, ClipSet]) -> int:
    """Remove, in place, clips that an earlier partition has; returns their number."""
    seen: set[str] = set()
    left_out = 0
    for part in PARTITIONS:
        keys = [samples_key(samples) for samples in parts[part].samples]
        fresh = [i for i, key in enumerate(keys) if key not in seen]
        left_out += len(keys) - len(fresh)
        if len(fresh) < len(keys):
            parts[part] = parts[part].pick(fresh)
        seen |= set(keys)
    return left_out
