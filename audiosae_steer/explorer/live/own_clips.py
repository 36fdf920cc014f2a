"""Clips of the user's own: decoded from memory within bounds, and kept in memory for as long as there is room."""

from __future__ import annotations

import io
import secrets
import threading
from collections import OrderedDict
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from ...data.audio import Samples, check_samples
from ...data.sound_files import NOT_READ, read
from ...errors import AudioError, SteeringError, printable

MAX_BYTES = 32 << 20
"""Of an upload: 2 minutes of 48 kHz stereo in 16 bits are 23 MB."""
MAX_SECONDS = 120.0
"""Longest part of a clip that is kept; the rest is left out."""
RATES = (4_000, 192_000)
CHANNELS = 16
MAX_SAMPLES = 64_000_000
"""Of all channels: what a header may make the decoder ask memory for, 256 MB."""
KEPT_RATE = 48_000
"""Hz; of a higher rate nothing above is heard."""
STORE_BYTES = 64 << 20
STORE_ITEMS = 24


class OwnClip(NamedTuple):
    """A clip that was uploaded or recorded."""

    name: str
    samples: Samples
    """Mono (n,)."""
    rate: int
    """Hz."""
    whole: float
    """Seconds of the file; what is beyond `MAX_SECONDS` was left out."""

    @property
    def seconds(self) -> float:
        """Duration of what is kept."""
        return len(self.samples) / self.rate

    @property
    def nbytes(self) -> int:
        """Memory it takes."""
        return int(self.samples.nbytes)


class MadeSound(NamedTuple):
    """A sound that a model made, as a WAV file."""

    wav: bytes

    @property
    def nbytes(self) -> int:
        """Memory it takes."""
        return len(self.wav)


Item = TypeVar("Item", OwnClip, MadeSound)


class SoundStore(Generic[Item]):
    """Sounds by random names that nobody guesses; the oldest go when there is no more room. Nothing is on the disk.

    Args:
        most: of them.
        size: bytes, of all.
    """

    def __init__(self, most: int = STORE_ITEMS, size: int = STORE_BYTES) -> None:
        self._most, self._size = most, size
        self._items: OrderedDict[str, Item] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, item: Item) -> str:
        """Its name, 22 letters; the newest is always kept."""
        token = secrets.token_urlsafe(16)
        with self._lock:
            self._items[token] = item
            while len(self._items) > 1 and (
                len(self._items) > self._most or sum(each.nbytes for each in self._items.values()) > self._size
            ):
                self._items.popitem(last=False)
        return token

    def get(self, token: str) -> Item:
        """The sound of that name. SteeringError: there is none, or no more."""
        with self._lock:
            if token not in self._items:
                raise SteeringError("this sound is not kept any more: upload or record it again")
            self._items.move_to_end(token)
            return self._items[token]


def read_clip(data: bytes, name: str) -> OwnClip:
    """A clip of the bytes of a sound file, by libsndfile alone: wav, flac, ogg, opus, mp3, aiff.

    Args:
        data: the file.
        name: its name, for people; it is never a path to anything.

    Raises:
        AudioError: it is too large, not audio, or holds samples that are no sound.
    """
    import soxr

    shown = _name(name)
    if len(data) > MAX_BYTES:
        raise AudioError(f"{shown} is larger than {MAX_BYTES >> 20} MB; cut out the part that matters")
    whole, rate = _checked_header(data, shown)
    samples, rate = read(io.BytesIO(data), shown, 0.0, MAX_SECONDS, others=False)
    if not len(samples):
        raise AudioError(f"{shown} holds no samples")
    mono = samples.mean(axis=1)
    check_samples(mono, shown)
    if rate > KEPT_RATE:
        mono, rate = soxr.resample(mono, rate, KEPT_RATE, quality="HQ"), KEPT_RATE
    kept = np.ascontiguousarray(mono, np.float32)
    if not len(kept):
        raise AudioError(f"{shown} is too short to be heard")
    return OwnClip(shown, kept, rate, max(whole, len(kept) / rate))


def _name(name: str) -> str:
    """The last part of a file's name, in one short line."""
    last = name.replace("\\", "/").rpartition("/")[2].strip()
    return printable(" ".join(last.split()), 80) or "own clip"


def _checked_header(data: bytes, name: str) -> tuple[float, int]:
    """Seconds that the header tells of, and the rate in Hz; what libsndfile does not open, no other reader tries.

    Raises:
        AudioError: it does not open it, or the header asks for more memory than there should be need of.
    """
    import soundfile

    try:
        with soundfile.SoundFile(io.BytesIO(data)) as sound:
            rate, channels, frames = int(sound.samplerate), int(sound.channels), int(sound.frames)
    except NOT_READ as error:
        raise AudioError(
            f"{name} is not audio that libsndfile reads ({error}); take WAV, FLAC, OGG, Opus, MP3 or AIFF"
        ) from error
    if not RATES[0] <= rate <= RATES[1] or channels > CHANNELS:
        raise AudioError(
            f"{name} has {channels} channels at {rate} Hz; expected up to {CHANNELS}, at {RATES[0]} to {RATES[1]} Hz"
        )
    if min(frames, round(MAX_SECONDS * rate)) * channels > MAX_SAMPLES:
        raise AudioError(f"{name} holds too many samples: export it in mono, at 48 kHz or less")
    return min(frames / rate, 1e6), rate
