"""Audio in the containers that PyAV reads, written by PyAV itself."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

CODECS = {
    "m4a": ("aac", 16_000),
    "mp4": ("aac", 16_000),
    "aac": ("aac", 16_000),
    "mkv": ("aac", 16_000),
    "webm": ("libopus", 48_000),
    "mov": ("alac", 16_000),
    "amr": ("libopencore_amrnb", 8_000),
}
"""The codec of each ending, and a rate that it takes in Hz."""


def write_av(
    path: Path, samples: NDArray[np.float32] | None, rate: int = 16_000, *, channels: int = 1, video: bool = False
) -> Path:
    """Write mono samples (n,), in `channels` equal channels, to a file of the kind that its ending names; skips the
    test if this build of PyAV has no encoder for it. None: no sound at all, which needs `video`."""
    codec, at = CODECS[path.suffix[1:]]
    for name in (codec, "mpeg4"):
        try:
            av.codec.Codec(name, "w")
        except ValueError:
            pytest.skip(f"this PyAV has no encoder {name}")
    layout = "mono" if channels == 1 else "stereo"
    with av.open(str(path), "w") as file:
        picture = file.add_stream("mpeg4", rate=5) if video else None
        sound = None if samples is None else file.add_stream(codec, rate=at, layout=layout)
        if picture is not None:
            picture.width = picture.height = 64
            picture.pix_fmt = "yuv420p"
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8))
            file.mux([*picture.encode(frame), *picture.encode(None)])
        if sound is not None and samples is not None:
            whole = av.AudioFrame.from_ndarray(np.repeat(samples[None], channels, 0), format="fltp", layout=layout)
            whole.sample_rate = rate
            file.mux([*sound.encode(whole), *sound.encode(None)])
    return path
