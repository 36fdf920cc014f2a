"""Clips as the stage of a page shows them: picture, sound and curve, and each of them in words."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from ...data.audio import SAMPLE_RATE, Samples
from ...data.log_mel import MEL_RATE, log_mel, mel_power
from .drawn_parts import Numbers, curve_in_words, curve_svg, number
from .mel_png import mel_png
from .single_page import PARTS, data_address, joined_modules
from .sound_bytes import sound_bytes, sound_type

CURVE_LEVELS = 255
"""Steps of a curve from 0 to its highest value."""
LEAD = 0.4
"""Seconds before its peak at which a clip begins to play."""
MODULES = (PARTS / "curve.js", PARTS / "clip_stage.js", PARTS / "clip_page.js")
"""Modules that a page in one file runs."""


class Curve(NamedTuple):
    """Activation over a clip."""

    values: Numbers
    """(frames,); of a near miss, what lies before the gate."""
    rate: float
    """Frames per second."""
    top: float
    """Activation at the upper edge."""
    at: float | None = None
    """Second of the peak, or of what comes closest; None: where it is highest."""
    lacks: float | None = None
    """Of a near miss, what its highest value lacks to fire; None: it fires."""

    @property
    def peak_at(self) -> float:
        """Second of the peak."""
        if self.at is not None or not len(self.values):
            return self.at or 0.0
        return float(np.argmax(self.values)) / self.rate


class Media(NamedTuple):
    """Addresses of a clip's picture and sound; empty where there is none."""

    seconds: float
    mel: str
    sound: str


class StageClip(NamedTuple):
    """A clip, ready for the macros of `parts.html`."""

    key: str
    kind: str
    """`near`, or any other word."""
    name: str
    words: str
    """A line beside the name."""
    said: str
    """Text alternative of its curve; empty without one."""
    brief: str
    """The same, short."""
    seconds: float
    at: float
    cursor: float
    mel: str
    sound: str
    svg: Markup
    data: dict[str, Any]
    """For the player, as JSON."""
    clip: Any = None
    """Recording that it is of, as whoever made it knows it."""


def stage_clip(
    key: str, name: str, media: Media, curve: Curve | None = None, *, words: str = "", kind: str = "top",
    cursor: float | None = None, **further: Any,
) -> StageClip:  # fmt: skip
    """A clip for the stage.

    Args:
        key: what links call it.
        name: its name.
        media: its picture, its sound, and their length.
        curve: activation over it; None: it is only seen and heard.
        words: a line beside the name.
        kind: that of the example; `near` draws the curve dashed.
        cursor: seconds; None: a little before the peak.
        **further: more for the player's JSON.
    """
    if curve is None:
        said, brief, scale, coded, at, svg = "", f"{media.seconds:.1f} s", 0.0, "", 0.0, Markup("")
    else:
        at, scale = curve.peak_at, float(curve.values.max(initial=0.0))
        said, brief = _in_words(curve)
        steps = np.round(np.maximum(curve.values, 0) / scale * CURVE_LEVELS) if scale > 0 else np.zeros(
            len(curve.values)
        )  # fmt: skip
        coded = base64.b64encode(steps.astype(np.uint8).tobytes()).decode("ascii")
        svg = curve_svg(curve.values, scale if kind == "near" else max(curve.top, scale))
    data = {
        "key": key, "kind": kind, "name": name, "words": words, "said": said, "seconds": media.seconds,
        "at": round(at, 3), "scale": round(scale, 5), "mel": media.mel, "sound": media.sound, **further,
        "curve": coded,
    }  # fmt: skip
    start = max(at - LEAD, 0.0) if cursor is None else min(max(cursor, 0.0), media.seconds)
    return StageClip(key, kind, name, words, said, brief, media.seconds, at, start, media.mel, media.sound, svg, data)


def _in_words(curve: Curve) -> tuple[str, str]:
    """Text alternative, and a short one."""
    at = curve.peak_at
    if curve.lacks is not None:
        lacks = number(curve.lacks)
        return (
            f"Does not fire; comes closest at {at:.1f} s, {lacks} below the threshold.",
            f"{lacks} below, at {at:.1f} s",
        )
    said = curve_in_words(curve.values, curve.rate, curve.at)
    peak = float(curve.values.max(initial=0.0))
    return said[0].upper() + said[1:] + ".", f"{number(peak)} at {at:.1f} s"


def media_of(samples: Samples, rate: int = SAMPLE_RATE, picture: NDArray[np.float32] | None = None) -> Media:
    """Picture and sound of a clip, held by their own addresses.

    Args:
        samples: mono (n,); what is beyond full scale is clipped.
        rate: Hz.
        picture: log-mel spectrogram (frames, bands) that a model reads; None: Whisper's, of 80 bands.
    """
    if picture is None:
        picture = spectrogram_of(samples, rate)
    sound = sound_bytes(samples, rate)
    return Media(
        round(len(samples) / rate, 3), data_address("image/png", mel_png(picture)),
        data_address(sound_type(sound), sound),
    )  # fmt: skip


def spectrogram_of(samples: Samples, rate: int = SAMPLE_RATE) -> NDArray[np.float32]:
    """Log-mel spectrogram (frames, 80) by Whisper's definition, 100 frames a second."""
    if rate != SAMPLE_RATE:
        import soxr

        samples = soxr.resample(samples, rate, SAMPLE_RATE)
    return log_mel(mel_power(samples))


def stretch_of(picture: NDArray[np.float32], start: float, seconds: float) -> NDArray[np.float32]:
    """Frames of a spectrogram (frames, bands) of a stretch, at least one."""
    first = min(round(start * MEL_RATE), max(len(picture) - 1, 0))
    return picture[first : max(round((start + seconds) * MEL_RATE), first + 1)]


def page_state(clips: Sequence[StageClip]) -> dict[str, Any]:
    """State of a page in one file for its player: each sound once; pictures are in the page itself."""
    sounds = list(dict.fromkeys(clip.sound for clip in clips))
    place = {sound: number for number, sound in enumerate(sounds)}
    return {"sounds": sounds, "data": [{**clip.data, "mel": "", "sound": place[clip.sound]} for clip in clips]}


def player() -> Markup:
    """Script of a page in one file."""
    return Markup(joined_modules(MODULES))  # our own modules
