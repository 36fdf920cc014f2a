"""Clips of an index: windows of at most 30 s of recordings, in order, with all that is known of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ...data.audio import Samples, load_audio
from ...data.sources import Source, open_source
from ...errors import AudioError
from ...evaluate.demo.run import read_clips
from ...io.hub.read import sha256_of
from ...io.shipped import checkpoints_dir

KIND = {"speech": "speech", "nonspeech": "no speech"}
"""Labels of the bundled clips."""


class IndexClip(NamedTuple):
    """A clip's description."""

    recording: str
    """Name of its recording, the same on every machine."""
    start: float
    """Seconds into the recording."""
    label: str
    """Its class; empty where there is none."""
    transcript: str
    """Its text; empty where it is not known."""
    group: str
    """Its speaker or recording, over which intervals are drawn."""
    source: str
    """The data set, or the folder's name."""
    licence: str
    """Its licence; empty where it is not known."""
    redistributable: bool
    """Its sound may be given on."""

    @property
    def key(self) -> int:
        """A number of 64 bits in its place, by which ties are decided: a hash of recording and start."""
        name = f"{self.recording}\0{self.start:.3f}".encode()
        return int.from_bytes(hashlib.sha256(name).digest()[:8], "little")


@dataclass(frozen=True)
class Corpus:
    """Clips in the order of recording and start, whose samples are read on demand."""

    clips: tuple[IndexClip, ...]
    marks: tuple[str, ...]
    """Digest of each: what is known of it, and its file's own."""
    read: Callable[[int, int], Samples]
    """Mono samples of a clip's position, at so many Hz."""

    @classmethod
    def of(cls, clips: Sequence[IndexClip], contents: Sequence[str], read: Callable[[int, int], Samples]) -> Corpus:
        """A corpus of clips in any order.

        Args:
            clips: the clips.
            contents: digest of each clip's file.
            read: mono samples of a clip's position in `clips`, at so many Hz.

        Raises:
            AudioError: two clips are of one recording and start, or there are none.
        """
        order = sorted(range(len(clips)), key=lambda i: clips[i][:2])
        if not order:
            raise AudioError("there are no clips to make an index of; give at least one")
        keys = [clips[i].key for i in order]
        if len(set(keys)) < len(keys):
            twice = next(clips[i] for i in order if keys.count(clips[i].key) > 1)
            raise AudioError(f"{twice.recording} at {twice.start:g} s is there twice; name each source once")
        marks = [json.dumps([*clips[i], contents[i]], ensure_ascii=False) for i in order]
        digests = tuple(hashlib.sha256(mark.encode()).hexdigest() for mark in marks)
        return cls(tuple(clips[i] for i in order), digests, lambda i, rate: read(order[i], rate))

    def __len__(self) -> int:
        return len(self.clips)


def corpus_of(
    sources: Sequence[str | Path],
    *,
    licences: Sequence[str] = (),
    redistributable: bool = False,
    most: int | None = None,
    progress: bool = False,
) -> Corpus:
    """The clips of folders, files, lists, or data sets of the Hub; see `data.sources.open_source`.

    Args:
        sources: the sources.
        licences: one for all sources, or one for each; empty where it is not known.
        redistributable: their sound may be given on.
        most: most clips to take of each source, drawn at random.
        progress: show progress bars.

    Raises:
        AudioError: a source has no audio or cannot be read, or there is another number of licences than of sources.
        HubError: a data set cannot be had.
    """
    if len(licences) not in (0, 1, len(sources)):
        raise AudioError(
            f"there are {len(licences)} licences for {len(sources)} sources; give one for all, or one for each"
        )
    opened = [open_source(source, most=most, progress=progress) for source in sources]
    clips: list[IndexClip] = []
    contents: list[str] = []
    places: list[tuple[int, int]] = []
    known: dict[Path, str] = {}
    for number, source in enumerate(opened):
        licence = "" if not licences else licences[number if len(licences) > 1 else 0]
        name = _name(source)
        for i, clip in enumerate(source.clips):
            start, file = source.start(i), source.file(i)
            own = _recording(clip.name.removesuffix(f"@{start}s") if start else clip.name)
            recording = own if len(opened) == 1 else f"{name}/{own}"
            clips.append(
                IndexClip(recording, float(start), clip.label or "", clip.text or "", clip.group, name, licence,
                          redistributable)
            )  # fmt: skip
            if file is not None and file not in known:
                known[file] = sha256_of(file)
            contents.append(known[file] if file is not None else source.source)
            places.append((number, i))
    return Corpus.of(clips, contents, lambda i, rate: opened[places[i][0]].load(places[i][1], rate))


def shipped_corpus() -> Corpus:
    """The clips that ship with the package, of our own and in the public domain."""
    folder = checkpoints_dir() / "clips"
    found = read_clips(folder)
    clips = [
        IndexClip(clip.path.name, 0.0, KIND.get(clip.kind or "", ""), clip.text or "", clip.path.name,
                  "clips of this package", "CC0-1.0", True)
        for clip in found
    ]  # fmt: skip
    contents = [sha256_of(clip.path) for clip in found]
    return Corpus.of(clips, contents, lambda i, rate: load_audio(found[i].path, rate)[: 30 * rate])


def _name(source: Source) -> str:
    """Name of a source without the folders above it, which differ from machine to machine."""
    return source.source if source.source.startswith("hub:") else Path(source.source).name


def _recording(name: str) -> str:
    """Name of a recording without the folders above it."""
    return Path(name).name if Path(name).is_absolute() else name
