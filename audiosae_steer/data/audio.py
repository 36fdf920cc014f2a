"""Audio files decoded to mono samples; the program ffmpeg is not needed."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..errors import AudioError, AudioSAESteerWarning
from . import pyav
from .sound_files import UNKNOWN, read

Samples = NDArray[np.float32]
"""Mono samples of one recording, (n,) float32; at `SAMPLE_RATE` by default."""
SAMPLE_RATE = 16_000
"""Hz."""
WINDOW = 30 * SAMPLE_RATE
"""Samples of the 30 s that Whisper encodes at once."""
LOUDEST = 10.0
"""Largest sample that nothing is said of: floating-point samples may exceed full scale, 1, by some dB."""
NO_SOUND = 2.0**32
"""Sample beyond that of any format, integers of 32 bits read as they are included: it overflows a model's float32."""
CANCELLED = 0.01
"""Share of the channels' power below which their mean's is too low; one of 16 that sounds alone gives 0.06."""
SUFFIXES = pyav.SUFFIXES | {
    ".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".au", ".caf", ".w64", ".rf64"
}  # fmt: skip
"""Endings by which audio is known in folders and data sets."""


def load_audio(path: str | Path, sample_rate: int = SAMPLE_RATE) -> NDArray[np.float32]:
    """Mono float32 samples at `sample_rate` of a file of any rate; channels are averaged.

    wav, flac, ogg, opus, mp3 and what else libsndfile reads; m4a, mp4, webm, aac and others where PyAV is installed
    (`pip install 'audiosae-steer[av]'`), of videos the sound. A file that is cut short is read as far as samples go. An
    `AudioSAESteerWarning` says so, where its header tells; and tells of peaks far above full scale, and of channels
    that cancel each other.

    Raises:
        AudioError: there is no such file, it is empty, it is not audio, its samples are not numbers, or reading it
            needs PyAV.
    """
    path = Path(path)
    if not path.is_file():
        raise AudioError(f"there is no audio file at {path}")
    return decode(path, str(path), sample_rate)


def decode(
    file: Path | BinaryIO,
    name: str,
    sample_rate: int = SAMPLE_RATE,
    *,
    start: float = 0.0,
    seconds: float | None = None,
    budget: int = UNKNOWN,
) -> NDArray[np.float32]:
    """Mono float32 samples at `sample_rate` of an encoded file, on disk or in memory.

    Args:
        file: a path, or an open binary file.
        name: its name in errors.
        sample_rate: of the result, in Hz.
        start: seconds to skip at its beginning.
        seconds: most seconds to read after that; all by default.
        budget: samples that may be decoded, of all channels together: a small file may hold very many.

    Raises:
        AudioError: it is empty, it is not audio, its samples are not numbers, or there are more than the budget allows.
    """
    import soxr

    samples, rate = read(file, name, start, seconds, budget)
    if not len(samples):
        raise AudioError(f"{name} is empty: it holds no samples")
    mono = samples.mean(axis=1)
    check_samples(mono, name)
    _tell_of_levels(samples, mono, name)
    if rate != sample_rate:
        mono = soxr.resample(mono, rate, sample_rate, quality="HQ")
    return np.ascontiguousarray(mono, dtype=np.float32)


def check_samples(samples: Samples, name: str) -> None:
    """Refuse samples that are no sound: NaN, infinite, or so large that a model's float32 overflows.

    Args:
        samples: of any shape.
        name: of the file, in errors.

    Raises:
        AudioError: as it says.
    """
    if not np.isfinite(samples).all():
        raise AudioError(f"{name} holds NaN or infinite samples; it is damaged: export it again")
    peak = max(-float(samples.min(initial=0)), float(samples.max(initial=0)))
    if peak > NO_SOUND:
        raise AudioError(f"{name} holds a sample of {peak:.0e}, where full scale is 1; it is damaged: export it again")


def _tell_of_levels(samples: Samples, mono: Samples, name: str) -> None:
    """Warnings of samples that are no sound from −1 to 1, and of channels whose mean is next to nothing."""
    peak = max(-float(samples.min()), float(samples.max()))
    if peak > LOUDEST:
        warnings.warn(
            f"{name} peaks at {peak:.0f}, where full scale is 1, and models hear it otherwise: export it anew, or "
            "divide its samples",
            AudioSAESteerWarning,
            stacklevel=4,
        )
    if samples.shape[1] > 1:
        flat = samples.ravel()
        before, after = (float(np.vdot(each, each)) / len(each) for each in (flat, mono))
        if after < CANCELLED * before:
            warnings.warn(
                f"the {samples.shape[1]} channels of {name} cancel each other, and little is left of them in their "
                "mean: one is probably inverted; export one channel alone",
                AudioSAESteerWarning,
                stacklevel=4,
            )


def audio_files(folder: str | Path) -> list[Path]:
    """Every audio file below `folder`, sorted; hidden files, such as those that macOS writes beside others, are not.

    Raises:
        AudioError: there is no such folder, or no audio in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise AudioError(f"there is no folder {folder}")
    found = sorted(path for path in folder.rglob("*") if is_audio(path) and path.is_file())
    if not found:
        raise AudioError(f"{folder} holds no audio; expected files ending in {', '.join(sorted(SUFFIXES))}")
    return found


def is_audio(path: Path) -> bool:
    """True for a name that ends as audio does, and is not hidden."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def samples_key(samples: Samples) -> str:
    """A hash of the first 30 s of samples at 16 kHz, to tell copies of a clip."""
    window = np.ascontiguousarray(samples[:WINDOW], dtype=np.float32)
    return hashlib.sha256(window.tobytes()).hexdigest()[:16]
