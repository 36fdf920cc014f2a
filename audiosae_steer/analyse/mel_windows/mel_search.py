"""Mel patterns of features: activations read, windows averaged; fills `MelPatterns`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ...errors import SteeringError
from ...io.progress import Tell
from ...sae.autoencoder import SAE
from ..frame.codes import Dictionary
from ..frame.control_dictionaries import control
from ..frame.excerpts import Excerpts
from ..frame.presented import Moment
from ..frame.provenance import SAEFacts, SiteFacts, provenance
from ..frame.residual_clips import Residuals, check_fits
from .activation_peaks import peaks_of
from .mel_findings import MelPatterns
from .mel_records import MelPattern, MelSettings
from .window_means import Spectra, pattern_of

EXAMPLES = 3
"""Windows to hear of a feature."""


def mel_patterns(
    sae: SAE,
    residuals: Residuals,
    features: Sequence[int],
    *,
    settings: MelSettings | None = None,
    progress: Tell | None = None,
) -> MelPatterns:
    """The mean spectrogram around the peaks of features, beside windows at random frames of the same clips.

    Args:
        sae: the SAE.
        residuals: clips of files; see `read_residuals`.
        features: numbers of the features.
        settings: windows, peaks, draws, controls and seed.
        progress: called with what is being done, how many are done, and how many there are.

    Raises:
        SiteError: the SAE does not fit the residuals.
        SteeringError: there are no features or no files, frames have no time, or no feature has enough peaks.
    """
    settings = settings or MelSettings()
    excerpts, rate = checked(sae, residuals, features)
    if settings.shuffles < 10:
        raise SteeringError(f"{settings.shuffles} random draws give no spread; take at least 10, such as 200")
    spectra = Spectra.of([item.read() for item in excerpts.items], settings.seconds)
    found: dict[str, list[MelPattern]] = {}
    moments: list[Moment] = []
    for name in ("SAE", *settings.controls):
        made: Dictionary = sae if name == "SAE" else control(name, sae, residuals, seed=settings.seed)
        read = activations_of(made, residuals, features, progress=progress)
        for place, feature in enumerate(features):
            if progress is not None:
                progress(f"averaging windows of {name}", place, len(features))
            pattern = pattern_of(feature, read[place], spectra, rate, settings, name)
            found.setdefault(name, []).extend([] if pattern is None else [pattern])
            if name == "SAE":
                moments += _moments(feature, read[place], excerpts, rate, settings)
    patterns = found["SAE"]
    if not patterns:
        raise SteeringError(
            f"none of these {len(features)} features has {settings.least} peaks in {len(excerpts)} clips; give more "
            "audio, or other features"
        )
    with_pattern = {each.feature for each in patterns}
    return MelPatterns(
        provenance=provenance(
            sites=[SiteFacts.of(residuals)], saes=[SAEFacts.of(sae)], settings=settings, seed=settings.seed
        ),
        patterns=tuple(patterns),
        controls=tuple(each for name in settings.controls for each in found[name]),
        without=tuple(each for each in features if each not in with_pattern),
        seconds=settings.seconds,
        examples=tuple(moments),
    )  # fmt: skip


def checked(sae: SAE, residuals: Residuals, features: Sequence[int]) -> tuple[Excerpts, float]:
    """The clips' files and the frame rate. SteeringError, SiteError: there are none, or the features do not fit."""
    check_fits(sae, residuals)
    wrong = [each for each in features if not 0 <= each < sae.n_features]
    if wrong or not features:
        raise SteeringError(
            f"{wrong[0] if wrong else 'no feature'} is no feature of this SAE; give numbers from 0 to "
            f"{sae.n_features - 1}"
        )
    if residuals.excerpts is None or residuals.rate is None:
        raise SteeringError(
            "sound is looked at around frames: give residuals of files, at a site whose frames have time"
        )
    return residuals.excerpts, residuals.rate


def activations_of(
    dictionary: Dictionary, residuals: Residuals, features: Sequence[int], *, progress: Tell | None = None
) -> list[list[NDArray[np.float32]]]:
    """Activations (frames,) of each clip, of each of some features."""
    found: list[list[NDArray[np.float32]]] = [[] for _ in features]
    for number, x in enumerate(residuals):
        if progress is not None:
            progress("reading activations", number, len(residuals))
        with torch.no_grad():
            f = dictionary.encode(x)[:, list(features)].float() if len(x) else torch.zeros(0, len(features))
        for place, own in enumerate(f.T.contiguous().numpy()):
            found[place].append(own)
    return found


def _moments(
    feature: int, activations: Sequence[NDArray[np.float32]], excerpts: Excerpts, rate: float, settings: MelSettings
) -> list[Moment]:
    """Windows around the highest peaks, one a clip."""
    moments = []
    for peak in peaks_of(activations, rate, per_clip=1, most=EXAMPLES):
        item = excerpts.items[peak.clip]
        middle = (peak.frame + 0.5) / rate
        start = max(middle - settings.seconds / 2, 0.0)
        length = min(middle + settings.seconds / 2, item.seconds) - start
        moments.append(
            Moment(
                clip=peak.clip, name=item.name, start=round(start, 3), seconds=round(length, 3),
                says=f"Feature {feature} peaks at {peak.activation:.3g} {middle - start:.2f} s into this",
            )
        )  # fmt: skip
    return moments
