"""Tables of an explorer's index: one SQLite file, written once and only read when it is served.

Clips are windows of at most 30 s of recordings; their ids count from 1 in the order of (recording, start). Features
are numbered per layer, as the SAE does. Integers in BLOBs are little-endian.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

from ...data.audio import Samples

VERSION = 1
"""Format of the index, kept in SQLite's `user_version`."""
APPLICATION = 0x41534158
"""SQLite's `application_id` of an index: "ASAX"."""
BINS = 64
"""Bins of a histogram: equal steps of log2 between `LOWEST` and `HIGHEST`; what lies beyond counts in the outermost."""
LOWEST, HIGHEST = 2.0**-8, 2.0**8
KINDS = ("top", "q90", "q75", "q50", "threshold", "near")
"""Kinds of examples: the best clips; clips at 90, 75 and 50 % of the feature's highest peak; clips whose peak is just
above the threshold; and clips on which it never fires and comes nearest to it."""
CURVE_LEVELS = 255
"""An activation curve is kept in steps of `scale` / 255."""

SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE layers (
    layer INTEGER PRIMARY KEY, site TEXT NOT NULL, sae TEXT NOT NULL, sae_sha256 TEXT NOT NULL,
    features INTEGER NOT NULL, width INTEGER NOT NULL, rate REAL NOT NULL, clips INTEGER NOT NULL,
    frames INTEGER NOT NULL
);
CREATE TABLE clips (
    id INTEGER PRIMARY KEY, recording TEXT NOT NULL, start REAL NOT NULL, seconds REAL NOT NULL,
    label TEXT NOT NULL, transcript TEXT NOT NULL, source TEXT NOT NULL, licence TEXT NOT NULL,
    redistributable INTEGER NOT NULL
);
CREATE TABLE sounds (clip INTEGER PRIMARY KEY REFERENCES clips, flac BLOB NOT NULL);
CREATE TABLE mels (clip INTEGER PRIMARY KEY REFERENCES clips, png BLOB NOT NULL);
CREATE TABLE features (
    layer INTEGER NOT NULL REFERENCES layers, feature INTEGER NOT NULL, fired INTEGER NOT NULL,
    clips INTEGER NOT NULL, peak REAL NOT NULL, mean REAL NOT NULL, histogram BLOB NOT NULL,
    label TEXT NOT NULL, x REAL, y REAL, PRIMARY KEY (layer, feature)
) WITHOUT ROWID;
CREATE INDEX by_density ON features (layer, fired);
CREATE TABLE examples (
    layer INTEGER NOT NULL, feature INTEGER NOT NULL, kind TEXT NOT NULL, rank INTEGER NOT NULL,
    clip INTEGER NOT NULL REFERENCES clips, peak REAL NOT NULL, at REAL NOT NULL, scale REAL NOT NULL,
    curve BLOB NOT NULL, PRIMARY KEY (layer, feature, kind, rank)
) WITHOUT ROWID;
CREATE TABLE neighbours (
    layer INTEGER NOT NULL, feature INTEGER NOT NULL, kind TEXT NOT NULL, rank INTEGER NOT NULL,
    other INTEGER NOT NULL, value REAL NOT NULL, PRIMARY KEY (layer, feature, kind, rank)
) WITHOUT ROWID;
CREATE TABLE labels (
    layer INTEGER NOT NULL, feature INTEGER NOT NULL, rank INTEGER NOT NULL, label TEXT NOT NULL,
    clips INTEGER NOT NULL, fired INTEGER NOT NULL, lift REAL NOT NULL, low REAL NOT NULL, high REAL NOT NULL,
    PRIMARY KEY (layer, feature, rank)
) WITHOUT ROWID;
CREATE INDEX by_label ON labels (label, layer, lift);
CREATE TABLE effects (
    layer INTEGER NOT NULL, feature INTEGER NOT NULL, clip INTEGER NOT NULL REFERENCES clips, edit TEXT NOT NULL,
    effect TEXT NOT NULL, PRIMARY KEY (layer, feature, edit, clip)
) WITHOUT ROWID;
CREATE TABLE peaks (
    layer INTEGER NOT NULL, clip INTEGER NOT NULL REFERENCES clips, features BLOB NOT NULL, values_ BLOB NOT NULL,
    PRIMARY KEY (layer, clip)
) WITHOUT ROWID;
CREATE VIRTUAL TABLE words USING fts5 (text, kind UNINDEXED, layer UNINDEXED, feature UNINDEXED, clip UNINDEXED);
"""
"""
- meta: JSON values of `model` (name), `library`, `family`, `weights` (fingerprint), `made` (package version), `labels`
  (list of the classes), `sounds` (whether sound is kept), `seconds` (of all clips).
- layers.sae: JSON, as a recipe names the SAE (`steering/recipes/sae_source.py`); frames: those that are sound.
- features: fired frames, clips with any, highest activation, mean over fired frames, log histogram (`BINS` uint32) of
  fired frames, the label most enriched or ''; x, y: place on the map in [0, 1], NULL of those that never fire.
- examples: peak and its time in the clip in seconds; curve: one uint8 a frame, deflated, value = byte * scale / 255.
  Of `near`, the curve is of the pre-activation as far as it is positive, and `peak` its distance below the threshold.
- neighbours.kind: `cosine` (of decoder rows) or `together` (Jaccard of clips on which both fire).
- labels: enrichment of a class among the clips on which the feature fires: clips of the class, those of them with
  firing, lift and its 95 % interval (bootstrap over recordings).
- effects.edit: `ablated` or `set`; effect: JSON {"end": change of log p(end of text), "first": [token, change],
  "words": [[token, change], ...], "before": text, "after": text}, on the feature's own top clips.
- peaks: per clip, the features that fire (uint16, ascending) and their peaks (float16), both deflated.
- words.kind: `label` (of a feature), `transcript` (of a clip).
"""


def pack_curve(values: Samples) -> tuple[float, bytes]:
    """Scale and deflated bytes of an activation curve (frames,)."""
    scale = float(max(values.max(initial=0.0), 0.0))
    steps = np.zeros(len(values)) if scale <= 0 else np.clip(values, 0, None) / scale * CURVE_LEVELS
    return scale, zlib.compress(np.round(steps).astype(np.uint8).tobytes(), 6)


def unpack_curve(scale: float, packed: bytes) -> NDArray[np.float64]:
    """Activation curve (frames,) of its scale and deflated bytes, exact to scale / 510."""
    return np.frombuffer(zlib.decompress(packed), np.uint8).astype(np.float64) * (scale / CURVE_LEVELS)


def bin_of(values: Samples) -> NDArray[np.int64]:
    """Bin of the histogram of each activation above 0."""
    place = np.log2(np.maximum(values, 1e-30) / LOWEST) / np.log2(HIGHEST / LOWEST) * BINS
    return np.asarray(np.clip(np.floor(place), 0, BINS - 1), np.int64)
