"""Clips of the benchmark, read when they are needed, and the harder ones that are made of them."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from ...data.acoustics import HARD, SNRS, mixture
from ...data.audio import SAMPLE_RATE, WINDOW, Samples
from ...data.sources import Source, open_source
from ...errors import AudioError
from .long_recordings import LongFile, assemble, synthetic_fillers
from .mixed_recordings import MixedFile, mix

QUIETEST = 1e-4
"""RMS from which on a clip can be put under speech at a given ratio."""
SPOKEN = (1, 13)
"""Seconds of an utterance in a window of speech and noise."""


@dataclass(frozen=True)
class BenchClip:
    """A clip, of which Whisper encodes the first 30 s."""

    name: str
    """For tables; unique within its set as a rule."""
    source: str
    """Corpus, or collection of clips."""
    read: Callable[[], Samples]
    """Gives the samples: mono, 16 kHz."""
    text: str | None = None
    """Its transcript, where that is known exactly."""

    def samples(self) -> Samples:
        """The samples (n,), of at most 30 s."""
        return self.read()[:WINDOW]

    @cached_property
    def _seen(self) -> tuple[str, int]:
        samples = np.ascontiguousarray(self.samples(), dtype=np.float32)
        return hashlib.sha256(samples.tobytes()).hexdigest()[:20], len(samples)

    @property
    def key(self) -> str:
        """Names the samples."""
        return self._seen[0]

    @property
    def count(self) -> int:
        """Number of samples."""
        return self._seen[1]

    @property
    def seconds(self) -> float:
        """Length."""
        return self.count / SAMPLE_RATE


@dataclass(frozen=True)
class ClipGroup:
    """Clips that are measured together."""

    name: str
    """For caches and tables."""
    clips: tuple[BenchClip, ...]

    def sample(self, count: int) -> ClipGroup:
        """A sample of so many clips, evenly spread; all if there are fewer."""
        return ClipGroup(self.name, tuple(spread(self.clips, count)))

    @property
    def key(self) -> str:
        """Names its clips, in order."""
        return hashlib.sha256(" ".join(clip.key for clip in self.clips).encode()).hexdigest()[:12]


def spread(items: Sequence[BenchClip], count: int) -> list[BenchClip]:
    """A sample of so many clips, evenly spread; all if there are fewer."""
    if len(items) <= count:
        return list(items)
    return [items[int(i)] for i in np.linspace(0, len(items) - 1, count).round()]


def open_clips(sources: Iterable[str], text: Path | None = None, *, progress: bool = False) -> list[BenchClip]:
    """The clips of folders, files, lists or data sets, as `data.sources.open_source` reads them.

    Args:
        sources: at least one.
        text: a table with columns file and text, by tabs, for clips of which the tables beside them say nothing.
        progress: show progress bars.

    Raises:
        AudioError: there is no audio, or the table cannot be read.
        HubError: a data set cannot be had.
    """
    said = {} if text is None else _texts(text)
    found = []
    for name in sources:
        source = open_source(name, progress=progress)
        for number, clip in enumerate(source.clips):
            words = clip.text if clip.text is not None else said.get(clip.name, said.get(Path(clip.name).name))
            kind = clip.label or Path(name).name
            found.append(BenchClip(clip.name, kind, partial(_read, source, number), words))
    return found


def mixtures(speech: Sequence[BenchClip], noise: Sequence[BenchClip]) -> Iterator[tuple[str, ClipGroup]]:
    """The speech with noise under it, at 20, 10, 5 and 0 dB; the n-th clip has the same noise at every ratio."""
    loud = audible(noise)
    for snr in SNRS:
        clips = [
            BenchClip(s.name, s.source, partial(_mixed, s, loud[n % len(loud)], snr, n), s.text)
            for n, s in enumerate(speech)
        ]
        yield f"{snr:g} dB", ClipGroup(f"mixture-{snr:g}", tuple(clips))


def hard(
    speech: Sequence[BenchClip], noise: Sequence[BenchClip], digits: Sequence[BenchClip] = ()
) -> Iterator[tuple[str, ClipGroup]]:
    """The speech made hard to tell from silence, one kind after the other, and single digits if there are any."""
    if digits:
        yield "digits", ClipGroup("digits", tuple(digits))
    loud = audible(noise)
    for kind in HARD:
        clips = [
            BenchClip(s.name, s.source, partial(_hardened, kind, s, loud[n % len(loud)], n), s.text)
            for n, s in enumerate(speech)
        ]
        yield kind, ClipGroup(kind.replace(" ", "-"), tuple(clips))


def long_files(
    speech: Sequence[BenchClip], noise: Sequence[BenchClip], count: int, minutes: float, seed: int = 0
) -> list[LongFile]:
    """Recordings in which utterances alternate with gaps of noise, hum and near-silence.

    Raises:
        AudioError: no utterance has a text, or no noise is loud enough.
    """
    spoken = [(s.samples(), s.text) for s in speech if s.text]
    loud = [s.samples() for s in audible(noise)]
    return [
        assemble(
            [(samples, str(text)) for samples, text in spoken[number::count] or spoken],
            {"noise": loud[number::count] or loud, **synthetic_fillers(seed + number)},
            seed + number,
            minutes,
            name=f"assembled {number + 1}",
        )
        for number in range(count)
    ]


def mixed_files(speech: Sequence[BenchClip], noise: Sequence[BenchClip], count: int, seed: int = 0) -> list[MixedFile]:
    """Windows of 30 s in which utterances alternate with sounds, each source of sounds a kind of its own.

    Raises:
        AudioError: no utterance of 1 to 13 s has a text, or no noise is loud enough.
    """
    spoken = [(s.samples(), str(s.text)) for s in speech if s.text and SPOKEN[0] <= s.seconds <= SPOKEN[1]]
    if not spoken:
        raise AudioError(
            f"no clip with speech of {SPOKEN[0]} to {SPOKEN[1]} s has a text; give some, or leave out the part mixed"
        )
    kinds: dict[str, list[Samples]] = {}
    for clip in audible(noise):
        kinds.setdefault(clip.source, []).append(clip.samples())
    return [mix(spoken, kinds, seed + number, name=f"window {number + 1}") for number in range(count)]


def audible(noise: Sequence[BenchClip]) -> list[BenchClip]:
    """The clips that are loud enough to be put under speech, and 0.1 s long at least.

    Raises:
        AudioError: no clip is.
    """
    found = [
        clip
        for clip, samples in ((clip, clip.samples()) for clip in noise)
        if len(samples) >= SAMPLE_RATE // 10 and np.sqrt(np.mean(np.square(samples, dtype=np.float64))) > QUIETEST
    ]
    if not found:
        raise AudioError("none of the clips without speech is loud enough to be mixed with speech; give others")
    return found


def words(text: str) -> int:
    """Number of words: runs of letters and digits."""
    return len(re.findall(r"\w+", text))


def _read(source: Source, number: int) -> Samples:
    return source.load(number)


def _mixed(speech: BenchClip, noise: BenchClip, snr: float, seed: int) -> Samples:
    return mixture(speech.samples(), noise.samples(), snr, seed)


def _hardened(kind: str, speech: BenchClip, noise: BenchClip, seed: int) -> Samples:
    return HARD[kind](speech.samples(), noise.samples(), seed)


def _texts(path: Path) -> dict[str, str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return {row["file"]: row["text"] for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)}
    except (OSError, KeyError, ValueError, csv.Error) as error:
        raise AudioError(
            f"{path} cannot be read ({error!r:.200}); expected the columns file and text, by tabs"
        ) from error
