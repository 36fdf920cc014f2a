"""Picture of a log-mel spectrogram: a PNG of one pixel a frame and band, low bands at the bottom."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

STOPS = (
    (0.0, (10, 9, 24)),
    (0.25, (66, 23, 104)),
    (0.5, (150, 44, 110)),
    (0.75, (233, 96, 74)),
    (0.9, (252, 172, 94)),
    (1.0, (252, 246, 200)),
)
"""Colours by loudness: lightness rises all the way, so that the picture reads without hue."""


def mel_png(levels: NDArray[np.float32]) -> bytes:
    """PNG, 8 bits and a palette, of a log-mel spectrogram (frames, bands); its range fills the palette."""
    low, high = float(levels.min(initial=0.0)), float(levels.max(initial=0.0))
    steps = np.round((levels - low) / max(high - low, 1e-9) * 255).astype(np.uint8)
    rows = np.ascontiguousarray(steps.T[::-1])
    height, width = rows.shape
    lines = np.concatenate([np.zeros((height, 1), np.uint8), rows], 1).tobytes()
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    parts = ((b"IHDR", header), (b"PLTE", _palette()), (b"IDAT", zlib.compress(lines, 6)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in parts)


def _palette() -> bytes:
    at = np.linspace(0, 1, 256)
    places = [place for place, _ in STOPS]
    channels = [np.interp(at, places, [colour[i] for _, colour in STOPS]) for i in range(3)]
    return np.round(np.stack(channels, 1)).astype(np.uint8).tobytes()


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
