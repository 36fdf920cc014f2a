"""Recordings of minutes in which utterances alternate with gaps of noise, music, hum or near-silence."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...data.acoustics import JOIN, looped, mono
from ...data.audio import SAMPLE_RATE, Samples, load_audio
from ...errors import AudioError

SPEECH, PAUSE = "speech", "pause"
SHORTEST_GAP = 2.0
"""Seconds between utterances from which on there is a gap, and not a pause of the speaker."""
GAPS = (5.0, 30.0)
"""Seconds that the gaps of an assembled recording last."""
PAUSES = (0.3, 1.0)
"""Seconds between utterances that follow each other."""
SPOKEN_DB = -26.0
"""RMS of every utterance, in dB under full scale."""
LEVELS = (-20.0, 0.0)
"""RMS of a gap beside that of speech, from and to, in dB."""
FLOOR_DB = -75.0
"""The microphone's own noise, all through: a recording is nowhere digitally silent."""
FRAME = SAMPLE_RATE // 100
"""Samples of the 10 ms by which quiet ends are found."""


class Piece(NamedTuple):
    """One utterance, or what is between two."""

    start: float
    """Seconds."""
    end: float
    """Seconds."""
    text: str | None
    """The transcript; None without speech."""
    kind: str
    """`speech`, `pause`, or the kind of sound that fills the gap."""


class LongFile(NamedTuple):
    """A recording whose utterances and gaps are known."""

    samples: Samples
    """Mono, 16 kHz."""
    pieces: tuple[Piece, ...]
    """In order of time, without holes, from 0 to the end."""
    name: str = ""
    """For tables."""

    @property
    def speech(self) -> tuple[Piece, ...]:
        """The utterances."""
        return tuple(piece for piece in self.pieces if piece.text is not None)

    @property
    def gaps(self) -> tuple[Piece, ...]:
        """Stretches without speech; pauses between utterances that follow each other do not count."""
        return tuple(piece for piece in self.pieces if piece.text is None and piece.kind != PAUSE)

    @property
    def seconds(self) -> float:
        """Length."""
        return len(self.samples) / SAMPLE_RATE


def synthetic_fillers(seed: int = 0, count: int = 4, seconds: float = GAPS[1]) -> dict[str, list[Samples]]:
    """Gaps that need no recordings: mains `hum`, and `near-silence`; music and noise are for the caller to add."""
    rng = np.random.default_rng(seed)
    n = round(seconds * SAMPLE_RATE)
    t = np.arange(n) / SAMPLE_RATE
    hums, quiet = [], []
    for number in range(count):
        base = (50.0, 60.0)[number % 2]
        waves = [rng.uniform(0.2, 1) / h * np.sin(2 * np.pi * (base * h * t + rng.random())) for h in range(1, 17)]
        hums.append(np.asarray(sum(waves), np.float32))
        spectrum = np.fft.rfft(rng.standard_normal(n)) / np.maximum(np.fft.rfftfreq(n, 1 / SAMPLE_RATE), 20) ** 0.5
        quiet.append(np.asarray(np.fft.irfft(spectrum, n), np.float32))
    return {"hum": hums, "near-silence": quiet}


def assemble(
    utterances: Sequence[tuple[Samples, str]],
    fillers: Mapping[str, Sequence[Samples]],
    seed: int = 0,
    minutes: float = 5.0,
    *,
    levels: Mapping[str, tuple[float, float]] | None = None,
    name: str = "",
) -> LongFile:
    """A recording in which one to three utterances alternate with gaps of 5 to 30 s, beginning and ending with a gap.

    Utterances come in an order that the seed draws, and anew once all have been used; the quiet at their ends is cut
    off, so that a piece begins and ends with the sound of speech. The kinds of filler take turns.

    Args:
        utterances: samples and what is said in them.
        fillers: sounds of each kind, such as `{"noise": [...], **synthetic_fillers()}`; short ones go round.
        seed: of everything that is drawn.
        minutes: length; the last gap fills the rest.
        levels: RMS of a gap beside that of speech, from and to, in dB, by kind; −20 to 0 dB unless given here, and
            −50 to −30 dB for `near-silence`.
        name: for tables.

    Raises:
        AudioError: no utterances, no fillers, one that is silent, or too few minutes for one utterance.
    """
    kinds = [kind for kind in fillers if len(fillers[kind])]
    if not utterances or not kinds:
        raise AudioError("a long recording needs at least one utterance, and one sound to fill the gaps with")
    rng = np.random.default_rng(seed)
    spoken = [(levelled(trimmed(mono(samples)), SPOKEN_DB), text) for samples, text in utterances]
    ranges = {"near-silence": (-50.0, -30.0), **(levels or {})}
    draw = _Draw(rng, spoken, {kind: fillers[kind] for kind in kinds}, ranges)
    total = round(minutes * 60 * SAMPLE_RATE)
    parts: list[_Part] = []
    used = 0
    while True:
        before, block = draw.block()
        length = before + sum(len(part.samples) for part in block)
        if used + length + GAPS[0] * SAMPLE_RATE > total:
            break
        parts += [draw.gap(before), *block]
        used += length
    if not parts:
        raise AudioError(f"{minutes:g} minutes are too short for a gap, an utterance and a gap; make it 2 or more")
    while used < total:  # the rest, in gaps no longer than the others
        left = total - used
        n = left if left <= GAPS[1] * SAMPLE_RATE else min(left // 2, round(GAPS[1] * SAMPLE_RATE))
        parts.append(draw.gap(n))
        used += n
    return _joined(parts, rng, name)


def read_long_files(folder: str | Path) -> list[LongFile]:
    """Recordings described by a `segments.tsv` beside them: columns file, start, end (seconds) and text, by tabs.

    What is between utterances is a gap of the kind that the file's name tells, from 2 s on; else a pause.

    Raises:
        AudioError: there is no such list, it cannot be read, or a file of it.
    """
    path = Path(folder) / "segments.tsv"
    rows: dict[str, list[tuple[float, float, str]]] = {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
                rows.setdefault(row["file"], []).append((float(row["start"]), float(row["end"]), row["text"]))
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise AudioError(
            f"{path} cannot be read ({error!r:.200}); expected the columns file, start, end (seconds) and text, by tabs"
        ) from error
    found = []
    for file_name, spoken in rows.items():
        samples, stem = load_audio(path.parent / file_name), Path(file_name).stem
        end, seconds = 0.0, len(samples) / SAMPLE_RATE
        pieces: list[Piece] = []
        for start, stop, text in [*sorted(spoken), (seconds, seconds, "")]:
            if not end <= start <= stop <= seconds:
                raise AudioError(f"{path}: {start} to {stop} s of {file_name} overlaps another piece, or its ends")
            if start > end:
                pieces.append(Piece(end, start, None, stem if start - end >= SHORTEST_GAP else PAUSE))
            if stop > start:
                pieces.append(Piece(start, stop, text, SPEECH))
            end = stop
        found.append(LongFile(samples, tuple(pieces), stem))
    return found


class Turns:
    """Numbers below n, each once in a drawn order, then again in another."""

    def __init__(self, rng: np.random.Generator, n: int) -> None:
        self.rng, self.n, self.left = rng, n, list[int]()

    def __next__(self) -> int:
        self.left = self.left or [int(i) for i in self.rng.permutation(self.n)]
        return self.left.pop()


class _Part(NamedTuple):
    """A `Piece` in the making."""

    samples: Samples
    text: str | None
    kind: str


class _Draw:
    """Draws of what an assembled recording is made of.

    Args:
        rng: of everything that is drawn.
        spoken: utterances, levelled, and their texts.
        fillers: sounds by kind.
        levels: RMS of a gap beside that of speech, in dB, by kind; `LEVELS` for the others.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        spoken: Sequence[tuple[Samples, str]],
        fillers: Mapping[str, Sequence[Samples]],
        levels: Mapping[str, tuple[float, float]],
    ) -> None:
        self.rng, self.spoken, self.fillers, self.levels = rng, spoken, fillers, levels
        self.kinds = list(fillers)
        self.order, self.kind_order = Turns(rng, len(spoken)), Turns(rng, len(fillers))

    def block(self) -> tuple[int, list[_Part]]:
        """Samples of the gap before it, and one to three utterances with pauses between them."""
        before = round(self.rng.uniform(*GAPS) * SAMPLE_RATE)
        block = [self.spoken[next(self.order)] for _ in range(int(self.rng.integers(1, 4)))]
        parts = [_Part(samples, text, SPEECH) for samples, text in block]
        pauses = [round(self.rng.uniform(*PAUSES) * SAMPLE_RATE) for _ in block[1:]]
        for number, pause in reversed(list(enumerate(pauses, 1))):
            parts.insert(number, _Part(np.zeros(pause, np.float32), None, PAUSE))
        return before, parts

    def gap(self, n: int) -> _Part:
        """A gap of n samples, of the kind whose turn it is."""
        kind = self.kinds[next(self.kind_order)]
        sounds = self.fillers[kind]
        sound = looped(sounds[int(self.rng.integers(len(sounds)))], n, int(self.rng.integers(2**31)))
        level = SPOKEN_DB + self.rng.uniform(*self.levels.get(kind, LEVELS))
        return _Part(_faded(levelled(sound, level)), None, kind)


def _joined(parts: Sequence[_Part], rng: np.random.Generator, name: str) -> LongFile:
    ends = np.cumsum([len(part.samples) for part in parts])
    starts = [0, *ends[:-1]]
    pieces = tuple(
        Piece(float(start / SAMPLE_RATE), float(end / SAMPLE_RATE), part.text, part.kind)
        for start, end, part in zip(starts, ends, parts, strict=True)
    )
    whole = np.concatenate([part.samples for part in parts])
    whole = whole + 10 ** (FLOOR_DB / 20) * rng.standard_normal(len(whole), dtype=np.float32)
    return LongFile(np.asarray(np.clip(whole, -1, 1), np.float32), pieces, name)


def trimmed(samples: Samples, below_db: float = 40.0) -> Samples:
    """Cut off the stretches at both ends that are so far below the loudest 10 ms.

    Raises:
        AudioError: they are silent, or shorter than 10 ms.
    """
    power = np.square(samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME), dtype=np.float64).mean(1)
    if not power.size or not power.max():
        raise AudioError("an utterance is silent or shorter than 10 ms; leave it out")
    loud = np.flatnonzero(power > power.max() * 10 ** (-below_db / 10))
    return samples[loud[0] * FRAME : (loud[-1] + 1) * FRAME]


def levelled(samples: Samples, level_db: float, *, full_scale: bool = True) -> Samples:
    """Samples of that RMS, in dB under full scale, or less where `full_scale` bounds the loudest of them.

    Raises:
        AudioError: they are silent.
    """
    rms = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))
    if rms < 1e-9:
        raise AudioError("a sound for the gaps is silent; give one with some noise in it, or leave it out")
    gain = 10 ** (level_db / 20) / rms
    # rare knocks would have to be louder than full scale for such an RMS
    bound = 0.99 / float(np.abs(samples).max()) if full_scale else gain
    return np.asarray(samples * min(gain, bound), np.float32)


def _faded(samples: Samples) -> Samples:
    ramp = np.minimum(1, np.arange(len(samples), dtype=np.float32) / JOIN)
    return np.asarray(samples * ramp * ramp[::-1], np.float32)
