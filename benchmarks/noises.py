"""Sounds without speech, made from random numbers: each kind a function of a seeded generator, `KINDS` their list.

Dry sounds come out of the functions; `candidate` puts them into a small room with a microphone, because recordings
are like that and it matters to Whisper: on dry noise tiny.en rarely writes more than ".". numpy alone, so that
the same seed gives the same samples everywhere, to within the rounding of 16 bits.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

RATE = 16_000
Samples = NDArray[np.float64]
Random = np.random.Generator


class Kind(NamedTuple):
    """One kind of sound."""

    make: Callable[[Random, int], Samples]
    """The dry sound: (generator, number of samples) -> samples, at any level."""
    level: float
    """RMS of the clip in dB under full scale; each variant lies up to 3 dB off."""
    seconds: float = 5.0
    room: bool = True
    """Whether it sounds in a room; what comes down a wire or from the open air does not."""


def candidate(label: str, variant: int) -> NDArray[np.float32]:
    """Variant `variant` of the kind `label`: samples at 16 kHz that 16-bit files hold exactly.

    A variant depends on its own number and label alone: adding kinds or variants changes no other.
    """
    kind = KINDS[label]
    rng = np.random.default_rng([zlib.crc32(label.encode()), variant])
    n = int(kind.seconds * RATE)
    x = kind.make(rng, n)
    if kind.room:
        x = reverberate(rng, x)
    x = x / x.std() + 10 ** (rng.uniform(-60, -45) / 20) * coloured(rng, n, 1)
    x = np.fft.irfft(np.fft.rfft(x) * bandpass(n, 50, 7000), n)
    x *= 10 ** ((kind.level + rng.uniform(-3, 3)) / 20) / x.std()
    x *= min(1, 0.5 / np.abs(x).max()) * edges(n)
    return (np.round(x * 2**15) / 2**15).astype(np.float32)


def reverberate(rng: Random, x: Samples) -> Samples:
    """x in a small room: decaying noise behind the direct sound."""
    t = np.arange(RATE // 2) / RATE
    tail = rng.standard_normal(len(t)) * 10 ** (-3 * t / rng.uniform(0.15, 0.6))
    tail *= 10 ** (rng.uniform(-12, -2) / 20) / np.sqrt((tail**2).sum())
    tail[0] += 1
    n = len(x) + len(tail)
    return np.fft.irfft(np.fft.rfft(x, n) * np.fft.rfft(tail, n), n)[: len(x)]


def bandpass(n: int, low: float, high: float) -> Samples:
    """Gain at the frequencies of n samples, with edges of 12 dB per octave."""
    f = np.maximum(np.fft.rfftfreq(n, 1 / RATE), 1)
    return 1 / np.sqrt(1 + (low / f) ** 4) / np.sqrt(1 + (f / high) ** 4)


def edges(n: int) -> Samples:
    """20 ms of fading in and out."""
    ramp = np.arange(n) / (0.02 * RATE)
    return np.minimum(1, np.minimum(ramp, ramp[::-1]))


def coloured(rng: Random, n: int, slope: float, low: float = 20, high: float = 8000) -> Samples:
    """n samples of noise between two frequencies, its power falling as 1/f^slope, at an RMS of 1."""
    f = np.maximum(np.fft.rfftfreq(n, 1 / RATE), 20)
    x = np.fft.irfft(np.fft.rfft(rng.standard_normal(n)) * f ** (-slope / 2) * bandpass(n, low, high), n)
    return x / x.std()


def clock(n: int) -> Samples:
    """Seconds at each of n samples."""
    return np.arange(n) / RATE


def sine(pitch: Samples | float, n: int, phase: float = 0.0) -> Samples:
    """A sine of n samples whose pitch in Hz may change."""
    return np.sin(2 * np.pi * np.cumsum(np.broadcast_to(pitch, n)) / RATE + phase)


def sway(rng: Random, n: int, pace: float) -> Samples:
    """A slow random curve between 0 and 1, with about `pace` turns a second."""
    points = max(int(pace * n / RATE) + 2, 3)
    return np.interp(clock(n), np.linspace(0, n / RATE, points), rng.uniform(0, 1, points))


def burst(rng: Random, length: float, decay: float, low: float, high: float) -> Samples:
    """A decaying burst of noise; `length` and `decay` in seconds."""
    n = int(length * RATE)
    return coloured(rng, n, 0, low, high) * np.exp(-clock(n) / decay)


def at(times: Samples, n: int, sound: Callable[[], Samples]) -> Samples:
    """n samples with a short sound at each of some times, in seconds."""
    x = np.zeros(n)
    for start in (np.asarray(times) * RATE).astype(int):
        one = sound()
        end = min(start + len(one), n)
        if 0 <= start < end:
            x[start:end] += one[: end - start]
    return x


def paces(rng: Random, n: int, low: float, high: float) -> Samples:
    """Times, in seconds, from 0.2 s on, with gaps between `low` and `high`."""
    return 0.2 + np.cumsum(rng.uniform(low, high, int(n / RATE / low) + 1))


def pink_noise(rng: Random, n: int) -> Samples:
    """1/f noise."""
    return coloured(rng, n, 1)


def mains_hum(rng: Random, n: int) -> Samples:
    """50 or 60 Hz with harmonics, the even ones strong as they are in transformers, and a buzz."""
    base = rng.choice([50.0, 60.0])
    weights = rng.uniform(0.2, 1, 24) * np.where(np.arange(1, 25) % 2, 0.4, 1) / np.arange(1, 25) ** 0.8
    buzz = 0.02 * coloured(rng, n, 1)
    return buzz + sum(w * sine(base * (h + 1), n, rng.uniform(0, 6)) for h, w in enumerate(weights))


def fan(rng: Random, n: int) -> Samples:
    """Air, beaten by the blades, on a motor's tone."""
    blades = rng.uniform(12, 40)
    beat = 1 + rng.uniform(0.1, 0.4) * sine(blades, n)
    motor = sine(100.0, n) + 0.5 * sine(blades * 7, n)
    return coloured(rng, n, 1.2, 60, 4000) * beat + rng.uniform(0.1, 0.4) * motor


def rain(rng: Random, n: int) -> Samples:
    """A hiss, and drops on a window sill."""
    drops = np.sort(rng.uniform(0, n / RATE, int(rng.uniform(40, 150) * n / RATE)))
    hits = at(drops, n, lambda: rng.exponential(1) * burst(rng, 0.03, rng.uniform(0.002, 0.008), 900, 6500))
    return hits / hits.std() + rng.uniform(0.3, 1) * coloured(rng, n, 0.5, 500, 7500)


def clicks(rng: Random, n: int) -> Samples:
    """A switch, now and then."""
    times = 0.2 + np.cumsum(rng.exponential(0.4, 40))
    return at(times, n, lambda: rng.uniform(0.3, 1) * burst(rng, 0.03, 0.004, 700, 6000))


def keyboard(rng: Random, n: int) -> Samples:
    """Typing: a press, and a quieter release, of each key."""
    press = 0.2 + np.cumsum(rng.gamma(3, 0.055, 80))
    down = at(press, n, lambda: rng.uniform(0.5, 1) * burst(rng, 0.05, 0.009, 250, 4500))
    return down + at(press + 0.08, n, lambda: rng.uniform(0.1, 0.4) * burst(rng, 0.03, 0.005, 900, 6500))


def alarm(rng: Random, n: int) -> Samples:
    """A smoke alarm or an alarm clock: beeps in groups."""
    pitch, length = rng.uniform(1800, 3300), rng.uniform(0.08, 0.3)
    groups, beeps = np.arange(0.2, n / RATE, length * 8), int(rng.integers(2, 5))
    times = np.concatenate([groups + 1.6 * length * i for i in range(beeps)])
    m = int(length * RATE)
    return at(times, n, lambda: (sine(pitch, m) + 0.3 * sine(2 * pitch, m)) * edges(m))


def engine(rng: Random, n: int) -> Samples:
    """A car that idles: uneven cylinders, an exhaust, a rattle."""
    firing, uneven = rng.uniform(18, 45), rng.uniform(0.5, 1, 4)
    gaps = rng.normal(1, 0.03, int(n / RATE * firing) + 8) / firing
    count = iter(range(len(gaps)))
    low = rng.uniform(60, 140)

    def fire() -> Samples:
        t = clock(int(0.09 * RATE))
        thump = np.exp(-t / 0.02) * np.sin(2 * np.pi * low * t)
        return uneven[next(count) % 4] * (thump + 0.3 * burst(rng, 0.09, 0.012, 150, 2500))

    x = at(np.cumsum(gaps), n, fire)
    return x / x.std() + 0.15 * coloured(rng, n, 1, 100, 5000)


def dial_tone(rng: Random, n: int) -> Samples:
    """What a telephone says before one dials, or when the line is taken."""
    lines = ((350, 440, 0.0), (350, 450, 0.0), (425, 425, 0.0), (480, 620, 0.5), (425, 425, 0.5))
    a, b, pause = lines[rng.integers(len(lines))]
    on = ((clock(n) % (2 * pause)) < pause) if pause else np.ones(n)
    return (sine(float(a), n) + sine(float(b), n)) * on + 0.01 * coloured(rng, n, 0.5, 300, 3400)


def near_silence(rng: Random, n: int) -> Samples:
    """A quiet room: hardly more than the microphone's own noise."""
    return coloured(rng, n, rng.uniform(0, 1.5))


def siren(rng: Random, n: int) -> Samples:
    """A tone that wails."""
    pace, low, high = rng.uniform(0.2, 1.5), rng.uniform(450, 700), rng.uniform(1000, 1600)
    pitch = low + (high - low) * (0.5 - 0.5 * np.cos(2 * np.pi * pace * clock(n)))
    return sine(pitch, n) + 0.4 * sine(2 * pitch, n) + 0.2 * sine(3 * pitch, n) + 0.05 * pink_noise(rng, n)


def wind(rng: Random, n: int) -> Samples:
    """Gusts, and a whistle in the crack of a door."""
    gust = 0.15 + sway(rng, n, 1.2)
    whistle = coloured(rng, n, 0, 1, 40) * sine(rng.uniform(350, 500) + 350 * gust, n)
    return coloured(rng, n, 1.6, 60, 1500) * gust + 0.3 * whistle * gust**2


def dripping_tap(rng: Random, n: int) -> Samples:
    """Drops into a full sink: chirps that rise."""

    def drop() -> Samples:
        t = clock(int(0.12 * RATE))
        return rng.uniform(0.5, 1) * np.sin(2 * np.pi * (rng.uniform(600, 1500) + 4000 * t) * t) * np.exp(-t / 0.02)

    return at(paces(rng, n, 0.35, 0.9), n, drop)


def door_knocks(rng: Random, n: int) -> Samples:
    """Knuckles on wood, three or four at a time."""
    gap, knocks = rng.uniform(0.16, 0.28), int(rng.integers(3, 5))
    times = np.concatenate([start + gap * np.arange(knocks) for start in (0.4, 2.1, 3.7)])
    wood = rng.uniform(150, 320)

    def knock() -> Samples:
        t = clock(int(0.15 * RATE))
        return rng.uniform(0.6, 1) * (
            np.exp(-t / 0.025) * np.sin(2 * np.pi * wood * t) + 0.4 * burst(rng, 0.15, 0.008, 300, 3000)
        )

    return at(times, n, knock)


def helicopter(rng: Random, n: int) -> Samples:
    """Rotor blades: chopped low noise over a turbine."""
    chop = np.maximum(sine(rng.uniform(9, 16), n), 0) ** 3
    return coloured(rng, n, 1.3, 40, 1800) * (0.1 + chop) + 0.05 * sine(rng.uniform(1500, 2500), n)


def stamping_machine(rng: Random, n: int) -> Samples:
    """A loop of a strike, a puff of air and a whine."""
    pace = rng.uniform(0.5, 0.9)
    times = np.arange(0.2, n / RATE, pace)
    hits = at(times, n, lambda: burst(rng, 0.25, 0.04, 100, 3000))
    air = at(times + pace / 2, n, lambda: 0.3 * burst(rng, 0.3, 0.12, 2000, 7000))
    return hits + air + 0.05 * sine(rng.uniform(300, 900), n)


def telephone(rng: Random, n: int) -> Samples:
    """An old telephone's bell."""
    a, b, pace = rng.uniform(900, 1200), rng.uniform(1300, 1700), rng.uniform(18, 26)
    strike = 0.4 + 0.6 * np.abs(sine(pace / 2, n)) ** 4
    since = (clock(n) - 0.2) % 2.5
    fade = np.where(since < 1.4, 1, np.exp(-np.maximum(since - 1.4, 0) / 0.12)) * (clock(n) > 0.2)
    return (sine(a, n) + sine(b, n) + 0.4 * sine(2.7 * a, n) + 0.3 * sine(2.7 * b, n)) * strike * fade


def footsteps(rng: Random, n: int) -> Samples:
    """Shoes on a wooden floor: heel, then toe."""
    steps = 0.3 + rng.uniform(0.45, 0.65) * np.arange(10) + rng.uniform(0, 0.03, 10)
    heel = at(steps, n, lambda: rng.uniform(0.7, 1) * burst(rng, 0.12, 0.02, 80, 1200))
    return heel + at(steps + 0.09, n, lambda: rng.uniform(0.2, 0.4) * burst(rng, 0.06, 0.012, 300, 4000))


def hand_saw(rng: Random, n: int) -> Samples:
    """Sawing wood, to and fro."""
    stroke = sine(rng.uniform(0.8, 1.5), n)
    teeth = 1 + 0.6 * sine(60 + 80 * np.abs(stroke), n)
    return coloured(rng, n, 0.3, 600, 5000) * teeth * np.abs(stroke) * np.where(stroke > 0, 1, 0.5)


def horn(rng: Random, n: int) -> Samples:
    """A car's horn: two reeds."""
    base = rng.uniform(330, 420)
    times = 0.3 + np.cumsum(rng.uniform(0.7, 1.6, 5))
    m = int(rng.uniform(0.25, 0.6) * RATE)
    reeds = sum((sine(base * h, m) + sine(base * 1.26 * h, m)) / h for h in range(1, 9))
    return at(times, n, lambda: reeds * edges(m))


def birds(rng: Random, n: int) -> Samples:
    """Chirps in the garden."""

    def chirp() -> Samples:
        m = int(rng.uniform(0.06, 0.2) * RATE)
        pitch = np.linspace(rng.uniform(2200, 4500), rng.uniform(2200, 4500), m) + rng.uniform(0, 400) * sine(30.0, m)
        return rng.uniform(0.3, 1) * sine(pitch, m) * np.hanning(m)

    return at(0.2 + np.cumsum(rng.gamma(2, 0.2, 60)), n, chirp)


def frogs(rng: Random, n: int) -> Samples:
    """Croaks by a pond: pulses through a throat."""

    def croak() -> Samples:
        m = int(rng.uniform(0.18, 0.35) * RATE)
        pulses = np.maximum(sine(np.linspace(70, 95, m), m), 0) ** 6
        return rng.uniform(0.5, 1) * pulses * (sine(600.0, m) + sine(1350.0, m)) * np.hanning(m)

    return at(paces(rng, n, 0.4, 1.1), n, croak)


#: The kinds that every set of demo clips should hold come first; the others stand in by turns, in this order.
KINDS: dict[str, Kind] = {
    "pink noise": Kind(pink_noise, -38, 4, room=False),
    "mains hum": Kind(mains_hum, -33, 4, room=False),
    "fan": Kind(fan, -36, 4),
    "rain": Kind(rain, -36, 4),
    "clicks": Kind(clicks, -36),
    "keyboard": Kind(keyboard, -36, 4),
    "alarm": Kind(alarm, -28),
    "engine": Kind(engine, -34, 4),
    "dial tone": Kind(dial_tone, -30, 4, room=False),
    "near-silence": Kind(near_silence, -70, room=False),
    "siren": Kind(siren, -30, 4),
    "wind": Kind(wind, -34),
    "dripping tap": Kind(dripping_tap, -34),
    "door knocks": Kind(door_knocks, -30),
    "helicopter": Kind(helicopter, -34, 4),
    "stamping machine": Kind(stamping_machine, -34, 4),
    "telephone": Kind(telephone, -26),
    "footsteps": Kind(footsteps, -34),
    "hand saw": Kind(hand_saw, -36, 4),
    "horn": Kind(horn, -26),
    "birds": Kind(birds, -34),
    "frogs": Kind(frogs, -30),
}
