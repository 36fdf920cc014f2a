"""The 88 functionals of eGeMAPSv02 by openSMILE, which is not free for commercial use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..frame.excerpts import Excerpts
from ..frame.extra import import_extra

LICENCE = (
    "openSMILE is licensed for research and private use only; commercial use needs a licence from audEERING "
    "(https://github.com/audeering/opensmile-python/blob/main/LICENSE)"
)
FAMILIES = (
    ("F0", "pitch"), ("Voiced", "rhythm"), ("Unvoiced", "rhythm"), ("loudnessPeaks", "rhythm"),
    ("loudness", "loudness"),
    ("equivalentSound", "loudness"), ("jitter", "quality"), ("shimmer", "quality"), ("HNR", "quality"),
    ("logRelF0", "quality"), ("mfcc", "mfcc"), ("F1", "formants"), ("F2", "formants"), ("F3", "formants"),
)  # fmt: skip
"""Beginning of a functional's name, and its family; the others are of the spectrum."""


def egemaps(excerpts: Excerpts) -> tuple[tuple[str, ...], Iterator[NDArray[np.float64]]]:
    """Names of the functionals, and their values (88,) clip by clip.

    Raises:
        MissingExtraError: openSMILE is not installed; the message states its licence.
        AudioError: a clip cannot be read.
    """
    smile = _smile()
    return tuple(smile.feature_names), (_values(smile, item.read()) for item in excerpts.items)


def family_of_functional(name: str) -> str:
    """Family of a functional."""
    return next((family for start, family in FAMILIES if name.startswith(start)), "spectrum")


def _values(smile: Any, samples: Any) -> NDArray[np.float64]:
    from ...data.audio import SAMPLE_RATE

    found: NDArray[np.float64] = smile.process_signal(samples, SAMPLE_RATE).to_numpy(np.float64)[0]
    return found


def _smile() -> Any:
    from ...errors import MissingExtraError

    try:
        opensmile = import_extra("opensmile", "egemaps")
    except MissingExtraError as error:
        raise MissingExtraError(f"{error}. Mind that {LICENCE}") from error
    return opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals)
