"""Windows and recordings in which speech and noise alternate, exact by construction, with their controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...data.acoustics import looped, mono
from ...data.audio import SAMPLE_RATE, Samples
from ...errors import AudioError
from .long_recordings import FLOOR_DB, PAUSE, PAUSES, SPEECH, SPOKEN_DB, LongFile, Piece, Turns, levelled, trimmed

GAPS = (1.0, 15.0)
"""Seconds that a gap lasts."""
BESIDE = (-20.0, 5.0)
"""RMS of a gap beside that of speech, in dB."""
UNDER = (10.0, 25.0)
"""Decibels by which the sound of a gap lies below the speech that follows it, under which it goes on."""
CROSSFADE = 0.1
"""Seconds in which one level or sound passes into the next."""
QUIET_DB = 35.0
"""Decibels below its loudest 10 ms at which an utterance begins and ends."""
CUT = 0.3
"""Seconds that are left of each gap in the control without gaps."""
SILENCE = "silence"
"""Kind of the gaps that hold the microphone's own noise alone."""


class MixedFile(NamedTuple):
    """One draw of utterances and gaps, and the same with its gaps silent, and cut out."""

    mixed: LongFile
    """Sounds in the gaps, going on under the speech."""
    silent: LongFile
    """The same speech, with the same sounds under it, and only the microphone's own noise in the gaps."""
    cut: LongFile
    """The same speech, with 0.3 s left of every gap."""


class _Slot(NamedTuple):
    """A stretch of a recording in the making, in samples."""

    start: int
    stop: int
    text: str | None
    kind: str
    level: float
    """RMS of the sound in it or under it, in dB under full scale; −inf for none."""
    sound: int
    """Number of the sound."""


def mix(
    utterances: Sequence[tuple[Samples, str]],
    sounds: Mapping[str, Sequence[Samples]],
    seed: int = 0,
    seconds: float = 30.0,
    *,
    under: tuple[float, float] = UNDER,
    name: str = "",
) -> MixedFile:
    """Alternate one to three utterances with gaps of 1 to 15 s, beginning and ending with a gap.

    Each gap has a sound of its own, 20 dB below to 5 dB above the speech, which goes on 10 to 25 dB below the speech
    that follows. The quiet at the ends of utterances is cut off, so that their times are exact.

    Args:
        utterances: samples and what is said in them; those that do not fit any more are left out.
        sounds: of each kind, without speech; short ones go round. Gaps of silence are added as a kind of their own.
        seed: of everything that is drawn.
        seconds: length of the mixed recording.
        under: decibels, from and to, by which the sound of a gap lies below the speech that follows; with other
            numbers and the same seed all else stays as it is.
        name: for tables.

    Raises:
        AudioError: no utterances, no sounds, a silent one, or none of the utterances fits.
    """
    kinds = [kind for kind in sounds if len(sounds[kind])]
    if not utterances or not kinds:
        raise AudioError("a mixed recording needs at least one utterance, and one sound to fill the gaps with")
    rng = np.random.default_rng(seed)
    spoken = [(levelled(trimmed(mono(samples), QUIET_DB), SPOKEN_DB), text) for samples, text in utterances]
    own = {kind: sounds[kind] for kind in kinds}
    slots, voices, beds = _drawn(rng, spoken, own, round(seconds * SAMPLE_RATE), under)
    total = slots[-1].stop
    speech = np.zeros(total, np.float32)
    for slot, voice in zip([slot for slot in slots if slot.text is not None], voices, strict=True):
        speech[slot.start : slot.stop] = voice
    floor = np.asarray(10 ** (FLOOR_DB / 20) * rng.standard_normal(total), np.float32)
    pieces = tuple(Piece(s.start / SAMPLE_RATE, s.stop / SAMPLE_RATE, s.text, s.kind) for s in slots)
    whole = _clipped(speech + floor + _bed(slots, beds, gaps=True))
    quiet = _clipped(speech + floor + _bed(slots, beds, gaps=False))
    silent = LongFile(quiet, pieces, f"{name} silent".strip())
    return MixedFile(LongFile(whole, pieces, name), silent, _cut(silent, f"{name} cut".strip()))


def _drawn(
    rng: np.random.Generator,
    spoken: Sequence[tuple[Samples, str]],
    sounds: Mapping[str, Sequence[Samples]],
    total: int,
    below: tuple[float, float],
) -> tuple[list[_Slot], list[Samples], list[Samples | None]]:
    """Slots from 0 to `total`, the utterances in them in order, and the sounds by number."""
    order = Turns(rng, len(spoken))
    kinds = [*sounds, SILENCE]
    turns = Turns(rng, len(kinds))
    slots: list[_Slot] = []
    voices: list[Samples] = []
    beds: list[Samples | None] = []

    def sound(kind: str) -> None:
        own = sounds.get(kind, ())
        beds.append(looped(own[int(rng.integers(len(own)))], total, int(rng.integers(2**31))) if own else None)

    at, least = 0, round(GAPS[0] * SAMPLE_RATE)
    longest = min(round(GAPS[1] * SAMPLE_RATE), total // 2)
    while at < total:
        kind = kinds[next(turns)]
        beside = -np.inf if kind == SILENCE else SPOKEN_DB + rng.uniform(*BESIDE)
        under = -np.inf if kind == SILENCE else SPOKEN_DB - rng.uniform(*below)
        sound(kind)
        gap = int(rng.integers(least, max(longest, least) + 1))
        block = _block(rng, spoken, order, total - at - gap - least)
        for _ in range(0 if block or voices else len(spoken)):  # one at least, if any fits
            gap, block = least, block or _block(rng, spoken, order, total - at - 2 * least)
        if not block:  # the rest
            left = total - at
            gap = left if left <= longest or not voices else min(left // 2, longest)
        slots.append(_Slot(at, at + gap, None, kind, beside, len(beds) - 1))
        at += gap
        for voice, text in block:
            slots.append(_Slot(at, at + len(voice), text, SPEECH if text is not None else PAUSE, under, len(beds) - 1))
            voices += [voice] if text is not None else []
            at += len(voice)
    if not voices:
        raise AudioError("none of the utterances fits into so short a recording with a gap on either side")
    return slots, voices, beds


def _block(
    rng: np.random.Generator, spoken: Sequence[tuple[Samples, str]], order: Turns, room: int
) -> list[tuple[Samples, str | None]]:
    """One to three utterances with pauses between them, as many as there is room for."""
    found: list[tuple[Samples, str | None]] = []
    for number in range(int(rng.integers(1, 4))):
        voice, text = spoken[next(order)]
        pause = np.zeros(round(rng.uniform(*PAUSES) * SAMPLE_RATE) if number else 0, np.float32)
        room -= len(pause) + len(voice)
        if room < 0:
            break
        found += [(pause, None), (voice, text)] if number else [(voice, text)]
    return found


def _bed(slots: Sequence[_Slot], beds: Sequence[Samples | None], *, gaps: bool) -> NDArray[np.float32]:
    """The sounds of all slots; with `gaps` False, those under speech and pauses alone."""
    total = slots[-1].stop
    found = np.zeros(total, np.float32)
    for number, bed in enumerate(beds):
        if bed is None:
            continue
        gain = np.zeros(total, np.float32)
        for slot in slots:
            if slot.sound == number and (gaps or slot.text is not None or slot.kind == PAUSE):
                gain[slot.start : slot.stop] = 10 ** (slot.level / 20)
        live = np.flatnonzero(gain)
        if live.size:
            found += levelled(bed, 0.0, full_scale=False) * _smoothed(gain)
    return found


def _smoothed(gain: NDArray[np.float32]) -> NDArray[np.float32]:
    """Steps made into ramps of 0.1 s."""
    n = round(CROSSFADE * SAMPLE_RATE)
    padded = np.pad(np.asarray(gain, np.float64), (n // 2 + 1, n - n // 2 - 1), mode="edge")
    sums = np.concatenate([[0.0], np.cumsum(padded)])
    return np.asarray(np.maximum(sums[n:] - sums[:-n], 0)[: len(gain)] / n, np.float32)


def _clipped(samples: NDArray[np.float32]) -> Samples:
    return np.asarray(np.clip(samples, -1, 1), np.float32)


def _cut(file: LongFile, name: str) -> LongFile:
    """The recording with 0.3 s left of every gap: half of it from the gap's beginning, half from its end."""
    pieces: list[Piece] = []
    parts: list[Samples] = []
    at = 0
    for piece in file.pieces:
        start, stop = round(piece.start * SAMPLE_RATE), round(piece.end * SAMPLE_RATE)
        samples = file.samples[start:stop]
        if piece.text is None and piece.kind != PAUSE:
            half = round(CUT * SAMPLE_RATE / 2)
            samples = np.concatenate([samples[:half], samples[-half:]]) if len(samples) > 2 * half else samples
        kind = PAUSE if piece.text is None else piece.kind
        pieces.append(Piece(at / SAMPLE_RATE, (at + len(samples)) / SAMPLE_RATE, piece.text, kind))
        parts.append(samples)
        at += len(samples)
    return LongFile(np.concatenate(parts), tuple(pieces), name)
