"""Sentences on a gate and its threshold: what it was seen to trade, as far as the recipe's calibration tells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .gates import ClipGate, FrameGate, TimestampGate

LIMIT = 1e-9
"""Share of a threshold by which two are the same."""


def gate_sentence(gate: ClipGate | FrameGate, where: str, threshold: float | None = None, after: str = "") -> str:
    """Site, features and threshold of a gate."""
    now = gate.threshold if threshold is None else threshold
    own = "" if _same(now, gate.threshold) else f"; its own is {gate.threshold:.4g}"
    if isinstance(gate, TimestampGate):
        what = (
            f"a timestamp gate finds frames without speech, from {len(gate.features)} features within {gate.reach:g} "
            f"s, in which no timestamp may lie; {gate.least_gap:g} s of them make a gap, and {gate.least_speech:g} s "
            "without them speech"
        )
    elif isinstance(gate, FrameGate):
        what = f"a frame gate decides frame by frame from {len(gate.features)} features within {gate.reach:g} s{after}"
    else:
        what = f"a clip gate decides clip by clip from {len(gate.features)} features ({gate.pool} over the clip)"
    return f"At {where}, {what}: it opens for a score above the threshold, {now:.4g}{own}."


def trade_sentences(gate: ClipGate | FrameGate, threshold: float | None = None) -> list[str]:
    """Shares for which a gate opened in its calibration, and what other thresholds trade; none if not recorded."""
    found = gate.calibration
    absent, present = _share(found.get("open_absent")), _share(found.get("open_present"))
    if absent is None or present is None:
        return []
    unit = "frames" if isinstance(gate, FrameGate) else "clips"
    counts = found.get(unit, found.get("clips"))
    known = isinstance(counts, (list, tuple)) and len(counts) == 2 and all(isinstance(n, int) for n in counts)
    of_absent, of_present = (f"{n:,} " for n in counts) if known and counts is not None else ("the ", "those ")
    at = f"In its calibration it opened, at {gate.threshold:.4g}, for"
    opened = f"{at} {absent:.1%} of {of_absent}{unit} without speech"
    if isinstance(gate, TimestampGate):
        return [f"{opened} and for {present:.1%} of {of_present}with speech."]
    sentences = [
        f"{opened}, whose text it takes away, and for {present:.1%} of {of_present}with speech, which it would blank."
    ]
    now = gate.threshold if threshold is None else threshold
    lower = "A lower threshold leaves less text on noise and blanks more speech, a higher one the reverse"
    if _same(now, gate.threshold):
        sentences.append(f"{lower}; shares were recorded at this threshold alone.")
    else:
        which = "lower" if now < gate.threshold else "higher"
        sentences.append(f"{lower}. What the {which} one set now does was not measured.")
    return sentences


def measured_sentences(measured: Mapping[str, Any]) -> list[str]:
    """Text on noise and speech blanked in a recipe's calibration, with its gate and without; none if not recorded."""
    calibrated = measured.get("calibrate")
    if not isinstance(calibrated, dict):
        return []
    steered = _point(calibrated.get("chosen")) or _point(calibrated.get("steered"))
    if steered is None:
        return []
    before = _point(calibrated.get("unsteered"))
    sentences = [
        f"In the recipe's calibration the steered Whisper wrote text for {steered[0]:.1%} of the clips without speech"
        + ("" if before is None else f" ({before[0]:.1%} unsteered)")
        + f", and {steered[1]:.1%} of those with speech lost theirs."
    ]
    ungated = calibrated.get("without the gate")
    always = _values(ungated.get("x 1")) if isinstance(ungated, dict) else None
    if always is not None:
        sentences.append(
            f"With the gate open for every clip, which a very low threshold comes to, it was {always[0]:.1%} and "
            f"{always[1]:.1%}."
        )
    return sentences


def _point(arm: Any) -> tuple[float, float] | None:
    """Shares of clips with text, and of speech without, in the first mode of decoding that is recorded."""
    modes = list(arm.values()) if isinstance(arm, dict) else []
    return _values(modes[0]) if modes else None


def _values(content: Any) -> tuple[float, float] | None:
    if not isinstance(content, dict):
        return None
    text = _share(content.get("text"))
    blanked = _share(content.get("blanked", content.get("blanked_plain")))
    return None if text is None or blanked is None else (text, blanked)


def _share(value: Any) -> float | None:
    """A share, written as such or as counts: [part, whole, ...]."""
    if isinstance(value, (list, tuple)) and len(value) >= 2 and all(is_number(each) for each in value[:2]):
        return value[0] / value[1] if value[1] else None
    return float(value) if is_number(value) and 0 <= value <= 1 else None


def is_number(value: Any) -> bool:
    """A number of a sensible size: records may hold anything that JSON can."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e15


def _same(a: float, b: float) -> bool:
    return abs(a - b) <= LIMIT * max(abs(a), abs(b))
