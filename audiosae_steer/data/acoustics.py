"""Conditions in which speech is hard to tell from silence: quiet, telephone, reverberation, noise before it or in it.

Pure functions of samples at 16 kHz (float32, full scale ±1) and, where something is drawn, of a seed.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..errors import AudioError
from .audio import SAMPLE_RATE, Samples

SNRS = (20.0, 10.0, 5.0, 0.0)
"""Signal-to-noise ratios in dB of the mixtures that are reported."""
LONGEST = 30.0
"""Seconds of the window that Whisper encodes at once."""
JOIN = 320
"""Samples over which two sounds are faded into each other: 20 ms."""


def mono(samples: NDArray[np.floating]) -> Samples:
    """The samples as float32, checked.

    Raises:
        AudioError: they are not one-dimensional, none, no floating-point numbers, or not finite.
    """
    given = np.asarray(samples)
    if given.ndim != 1 or not given.size or not np.issubdtype(given.dtype, np.floating):
        raise AudioError(
            f"expected mono samples (n,), n > 0, as floating-point numbers from −1 to 1 at 16 kHz; got {given.dtype} "
            f"of shape {given.shape}"
        )
    if not np.isfinite(given).all():
        raise AudioError("the samples hold NaN or infinite numbers; check how they were made")
    return np.asarray(given, np.float32)


def quiet(speech: Samples, gain_db: float = -40.0) -> Samples:
    """Speech far below full scale, which 32-bit floats represent without loss."""
    return np.asarray(mono(speech) * 10 ** (gain_db / 20), np.float32)


def telephone(speech: Samples, low: float = 300.0, high: float = 3400.0) -> Samples:
    """Speech in a telephone's band of `low` to `high` Hz, resampled to 8 kHz and back; of the same length and RMS."""
    import soxr

    dry = mono(speech)
    narrow = soxr.resample(dry, SAMPLE_RATE, 8000, quality="HQ")
    spectrum, frequency = np.fft.rfft(narrow), np.fft.rfftfreq(len(narrow), 1 / 8000)
    spectrum *= np.clip((frequency - low) / 50 + 1, 0, 1) * np.clip((high - frequency) / 50 + 1, 0, 1)
    wide = soxr.resample(np.fft.irfft(spectrum, len(narrow)), 8000, SAMPLE_RATE, quality="HQ")
    fitted = np.pad(wide, (0, max(len(dry) - len(wide), 0)))[: len(dry)]
    return _at_level(fitted, _rms(dry))


def reverb(speech: Samples, seed: int = 0, t60: float = 1.2, direct_db: float = 0.0) -> Samples:
    """Speech in a hall: the direct sound, and decaying noise from 5 ms after it (Polack's model of late reverberation).

    The hall rings on after the last word, so that the result is `t60` seconds longer; it has the speech's RMS.

    Args:
        speech: samples at 16 kHz.
        seed: seed of the hall's impulse response.
        t60: reverberation time: seconds in which the sound falls by 60 dB.
        direct_db: energy of the direct sound over that of all the rest, in dB.
    """
    dry = mono(speech)
    n = round(t60 * SAMPLE_RATE)
    tail = np.random.default_rng(seed).standard_normal(n) * 10 ** (-3 * np.arange(n) / n)
    tail[: SAMPLE_RATE // 200] = 0
    hall = tail * np.sqrt(10 ** (-direct_db / 10) / np.sum(tail**2))
    hall[0] = 1
    length = len(dry) + n
    size = 1 << (length - 1).bit_length()
    wet = np.fft.irfft(np.fft.rfft(dry, size) * np.fft.rfft(hall, size), size)[:length]
    return _at_level(wet, _rms(dry) * np.sqrt(len(dry) / length))


def after_noise(
    speech: Samples, noise: Samples, seed: int = 0, *, seconds: float = 20.0, snr_db: float = 10.0
) -> Samples:
    """Speech that begins after so many seconds of noise, `snr_db` quieter than it; the noise stops as it begins.

    The noise is shorter where the two would be longer than 30 s.

    Raises:
        AudioError: the speech alone is longer than that, or either is silent.
    """
    dry = mono(speech)
    room = LONGEST - len(dry) / SAMPLE_RATE
    if room < 0:
        raise AudioError(
            f"the speech lasts {len(dry) / SAMPLE_RATE:.1f} s; noise and speech have to fit into {LONGEST:g} s"
        )
    n = int(min(seconds, room) * SAMPLE_RATE)
    if n < 2 * JOIN:
        return dry
    lead = looped(noise, n, seed)
    lead = lead * (_loudness(dry) * 10 ** (-snr_db / 20) / _loudness(lead))
    lead[-JOIN:] *= np.linspace(1, 0, JOIN)
    return _within(np.concatenate([lead, dry]))


def mixture(speech: Samples, noise: Samples, snr_db: float, seed: int = 0) -> Samples:
    """Speech with noise all through it, at a ratio of mean powers in dB; as long as the speech.

    A mixture that exceeds full scale is turned down, both parts alike, which keeps the ratio.

    Raises:
        AudioError: either is silent.
    """
    dry = mono(speech)
    under = looped(noise, len(dry), seed)
    return _within(dry + under * (_loudness(dry) * 10 ** (-snr_db / 20) / _loudness(under)))


def looped(sound: Samples, n: int, seed: int = 0) -> Samples:
    """n samples of a sound: from a random position if it is longer, else repeated, cross-faded where it repeats.

    Raises:
        AudioError: the sound is shorter than 50 ms.
    """
    given = mono(sound)
    if len(given) < SAMPLE_RATE // 20:
        raise AudioError(
            f"{len(given)} samples are too short to go round; expected 50 ms ({SAMPLE_RATE // 20}) at least"
        )
    if len(given) >= n:
        start = int(np.random.default_rng(seed).integers(len(given) - n + 1))
        if not given[start : start + n].any():  # a door slams once in a minute of nothing: then that
            start = int(np.clip(np.abs(given).argmax() - n // 2, 0, len(given) - n))
        return np.array(given[start : start + n])
    fade = np.sqrt(np.linspace(0, 1, JOIN, dtype=np.float32))  # equal power: the ends of noise have nothing in common
    once = given[:-JOIN].copy()
    once[:JOIN] = once[:JOIN] * fade + given[-JOIN:] * fade[::-1]
    return np.concatenate([given[:-JOIN], np.resize(once, max(n - len(given) + JOIN, 0))])[:n]


HARD: dict[str, Callable[[Samples, Samples, int], Samples]] = {
    "quiet": lambda speech, noise, seed: quiet(speech),
    "telephone": lambda speech, noise, seed: telephone(speech),
    "reverb": lambda speech, noise, seed: reverb(speech, seed),
    "after noise": after_noise,
}
"""The conditions by name: (speech, noise, seed) -> samples, whether they use the noise and the seed or not."""


def _rms(samples: NDArray[np.floating]) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


def _loudness(samples: Samples) -> float:
    """RMS of samples that must not be silent."""
    found = _rms(samples)
    if found < 1e-9:
        raise AudioError("the speech or the noise is silent, so that no ratio of the two can be set; leave it out")
    return found


def _at_level(samples: NDArray[np.floating], rms: float) -> Samples:
    return _within(samples * (rms / max(_rms(samples), 1e-12)))


def _within(samples: NDArray[np.floating]) -> Samples:
    return (samples / max(1.0, float(np.abs(samples).max()))).astype(np.float32)
