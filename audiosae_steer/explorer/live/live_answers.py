"""Answers of the live part, as JSON holds them."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..index.index_schema import CURVE_LEVELS
from .heard_features import GateCurve, Heard
from .steered_sounds import SteeredSound
from .steered_texts import HeardText, SteeredText


def heard_answer(found: Heard) -> dict[str, Any]:
    """Features that fire on a clip: curves are base64 of a byte a frame, value = byte * scale / 255."""
    return {
        "layer": found.layer,
        "rate": found.rate,
        "seconds": round(found.seconds, 3),
        "fired": found.fired,
        "features": [
            {
                "feature": each.feature,
                "label": each.label,
                "peak": round(each.peak, 4),
                "at": round(each.at, 3),
                "share": round(each.share, 5),
                "surprise": round(each.surprise, 2),
                "corpus_peak": round(each.corpus_peak, 4),
                "curve": None if each.curve is None else packed(each.curve),
            }
            for each in found.features
        ],
        "gates": [_gate(each) for each in found.gates],
        "notes": list(found.notes),
    }


def text_answer(found: SteeredText) -> dict[str, Any]:
    """Texts before and after, and their differences as [kind, words]."""
    return {
        "kind": "text",
        "before": _text(found.before),
        "after": _text(found.after),
        "diff": [list(each) for each in found.diff],
        "steering": found.steering,
        "notes": list(found.notes),
    }


def sound_answer(found: SteeredSound, before: str, after: str) -> dict[str, Any]:
    """Sounds before and after, by their names in the store."""
    return {
        "kind": "sound",
        "sounds": [
            {"sound": name, "gain": round(level.gain, 6), "level": level.rms}
            for name, level in zip((before, after), found.levels, strict=True)
        ],
        "changed": found.changed,
        "steering": found.steering,
        "notes": list(found.notes),
    }


def packed(curve: NDArray[np.float32]) -> dict[str, Any]:
    """A curve (frames,) as its scale and base64 of a byte a frame."""
    scale = float(max(curve.max(initial=0.0), 0.0))
    steps = np.zeros(len(curve)) if scale <= 0 else np.clip(curve, 0, None) / scale * CURVE_LEVELS
    return {"scale": scale, "bytes": base64.b64encode(np.round(steps).astype(np.uint8).tobytes()).decode()}


def _gate(found: GateCurve) -> dict[str, Any]:
    """A gate; its scores may be below 0, hence low and high."""
    low, high = float(found.scores.min(initial=0.0)), float(found.scores.max(initial=0.0))
    low, high = min(low, found.threshold), max(high, found.threshold)
    steps = np.round((found.scores - low) / max(high - low, 1e-9) * CURVE_LEVELS).astype(np.uint8)
    return {
        "recipe": found.recipe,
        "kind": found.kind,
        "threshold": round(found.threshold, 4),
        "low": low,
        "high": high,
        "bytes": base64.b64encode(steps.tobytes()).decode(),
        "windows": list(found.windows),
    }


def _text(found: HeardText) -> dict[str, Any]:
    return {"text": found.text, "windows": list(found.windows), "gates": list(found.gates)}
