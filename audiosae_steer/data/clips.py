"""Sets of clips in memory, from several sources, and their split by recording and speaker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..io.progress import track
from .audio import Samples
from .sources import Clip, open_source
from .splits import split


class ClipSet(NamedTuple):
    """Clips with their samples."""

    clips: tuple[Clip, ...]
    """Name, transcript, group and label of each."""
    samples: tuple[Samples, ...]
    """Mono at 16 kHz, at most 30 s each."""
    sources: tuple[str, ...]
    """Their sources; data sets of the Hub are pinned to a commit."""

    @property
    def texts(self) -> list[str | None]:
        """Transcript of each clip; None where there is none."""
        return [clip.text for clip in self.clips]

    def provenance(self) -> dict[str, Any]:
        """Sources and count of the clips, for a recipe: names, not folders, which differ from machine to machine."""
        names = [source if source.startswith("hub:") else Path(source).name for source in self.sources]
        return {"sources": names, "clips": len(self.clips)}

    def pick(self, positions: Sequence[int]) -> ClipSet:
        """The clips at these positions."""
        return ClipSet(tuple(self.clips[i] for i in positions), tuple(self.samples[i] for i in positions), self.sources)


def load_clips(
    sources: Sequence[str | Path], *, most: int | None = None, seed: int = 0, progress: bool = True
) -> ClipSet:
    """Read every clip of all sources; see `sources.open_source` for what a source may be.

    Args:
        sources: folders, files, `.txt` lists, or data sets of the Hub.
        most: most clips to take of each source, drawn at random.
        seed: seed of that draw.
        progress: show progress bars.

    Raises:
        AudioError: a source has no audio, or it cannot be read.
        HubError: a data set cannot be had.
    """
    clips: list[Clip] = []
    samples: list[Samples] = []
    names = []
    for source in sources:
        opened = open_source(source, most=most, seed=seed, progress=progress)
        names.append(opened.source)
        clips += opened.clips
        samples += [opened.load(i) for i in track(range(len(opened)), f"reading {Path(source).name}", progress)]
    return ClipSet(tuple(clips), tuple(samples), tuple(names))


def split_clips(clips: ClipSet, shares: Mapping[str, float], seed: int = 0) -> dict[str, ClipSet]:
    """Split clips into parts of about these shares that have no recording and no speaker in common.

    Raises:
        AudioError: there are fewer recordings than parts.
    """
    return {name: clips.pick(positions) for name, positions in split(clips.clips, shares, seed).items()}
