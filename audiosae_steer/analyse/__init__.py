"""The papers' analyses, each beside its null and its controls; `audiosae-steer analyse` on the command line."""

from __future__ import annotations

from .coverage import Coverage
from .coverage_records import StabilitySettings
from .feature_stability import compare_patterns, stability
from .frame.codes import ClipCodes, Patterns, patterns_of, pool_codes
from .frame.control_dictionaries import Dense, control
from .frame.excerpts import Excerpt, Excerpts, excerpts_from_csv, excerpts_of
from .frame.intervals import Interval
from .frame.outcome import Outcome
from .frame.parts import Parts, parts_of, split_parts
from .frame.residual_clips import Residuals, read_residuals

__all__ = [
    "ClipCodes",
    "Coverage",
    "Dense",
    "Excerpt",
    "Excerpts",
    "Interval",
    "Outcome",
    "Parts",
    "Patterns",
    "Residuals",
    "StabilitySettings",
    "compare_patterns",
    "control",
    "excerpts_from_csv",
    "excerpts_of",
    "parts_of",
    "patterns_of",
    "pool_codes",
    "read_residuals",
    "split_parts",
    "stability",
]
