"""Features of an SAE and of its controls beside responses of the brain: fills a `Trf`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...errors import SteeringError
from ...io.progress import Tell
from ...sae.autoencoder import SAE
from ..frame.codes import Dictionary
from ..frame.control_dictionaries import control
from ..frame.excerpts import Excerpts
from ..frame.parts import Parts, parts_of
from ..frame.provenance import SAEFacts, SiteFacts, provenance
from ..frame.residual_clips import Residuals
from .brain_response import Trf
from .response_files import Responses
from .response_preparation import chosen_features, stimuli_of
from .response_tests import counted, trf_of_stimuli
from .trf_records import TrfSettings


def trf(
    sae: SAE,
    residuals: Residuals,
    responses: Responses,
    *,
    settings: TrfSettings | None = None,
    progress: Tell | None = None,
) -> Trf:
    """Measure how responses of the brain to sounds follow an SAE's features, and what they add to the sound itself.

    AudioSAE (arXiv 2602.05027), section on EEG: temporal response functions of single features, with tests of their
    peaks. Beside that: prediction of responses to other sounds above shifts, and the gain over envelope and onsets.

    Args:
        sae: the SAE.
        residuals: frames of the sounds at the SAE's site, read of files; see `read_residuals`.
        responses: responses to these sounds; see `Responses.read`.
        settings: rate, band, lags, choice of features, shifts, controls and seed.
        progress: called with what is being done, how many are done, and how many there are.

    Raises:
        SiteError: the SAE does not fit the residuals.
        SteeringError: sounds and responses do not fit, or are too few; no feature fires often enough.
        MissingExtraError: mtrf or scipy is not installed.
    """
    settings = settings or TrfSettings()
    if residuals.excerpts is None:
        raise SteeringError("envelopes take the sound: give residuals that read_residuals() read of files")
    parts = _parts(residuals.excerpts, settings)
    found, l0 = _of_dictionary(sae, residuals, responses, parts, settings, progress)
    made = [found.dictionaries[0]]
    for name in settings.controls:
        other = control(name, sae, residuals, seed=settings.seed + 1)
        theirs, _ = _of_dictionary(other, residuals, responses, parts, replace(settings, features=()), progress)
        made.append(theirs.dictionaries[0]._replace(name=name))
    origin = provenance(
        sites=[SiteFacts.of(residuals)], saes=[SAEFacts.of(sae, l0)],
        settings={**found.provenance.settings, "responses": responses.digest()}, seed=settings.seed,
        warnings=(*parts.warnings, *found.provenance.warnings),
    )  # fmt: skip
    return replace(found, dictionaries=tuple(made), provenance=origin)


def _of_dictionary(
    dictionary: Dictionary, residuals: Residuals, responses: Responses, parts: Parts, settings: TrfSettings,
    progress: Tell | None,
) -> tuple[Trf, float]:  # fmt: skip
    """Features of one dictionary, and how many fire on a frame."""
    both = (parts.find, parts.report)
    often, density = chosen_features(residuals, dictionary, both, settings.per_second)
    features = _wanted(often, dictionary, settings)
    stimuli = stimuli_of(residuals, dictionary, features, settings.rate, [density[i] for i in features], progress)
    items = residuals.excerpts.items if residuals.excerpts is not None else ()
    report = tuple(dict.fromkeys(items[i].path.stem for i in parts.report))
    found = trf_of_stimuli(stimuli, responses, report=report, settings=settings, progress=progress)
    count = counted("SAE", found.features, len(often), settings)
    return replace(found, dictionaries=(count,)), float(density.sum() / (residuals.rate or 1))


def _parts(excerpts: Excerpts, settings: TrfSettings) -> Parts:
    """Parts by sound: whoever listens hears each but once, and so a file is a trial, whoever speaks in it.

    Raises:
        SteeringError: there is one sound only.
    """
    if not excerpts.grouped:
        items = tuple(item._replace(group=item.path.stem) for item in excerpts.items)
        excerpts = replace(excerpts, items=items, grouped=True)
    parts = parts_of(excerpts, share=settings.share, seed=settings.seed)
    if parts.in_sample:
        raise SteeringError("there is one sound only, so there is none to report on; give several")
    return parts


def _wanted(often: Any, dictionary: Dictionary, settings: TrfSettings) -> Sequence[int]:
    """Features that are named, or a random choice of those that fire often enough."""
    if settings.features:
        wrong = [each for each in settings.features if not 0 <= each < dictionary.n_features]
        if wrong:
            raise SteeringError(f"there is no feature {wrong[0]}; this SAE has 0 to {dictionary.n_features - 1}")
        return tuple(dict.fromkeys(settings.features))
    if not len(often):
        raise SteeringError(
            f"no feature fires on {settings.per_second:g} frames a second in both parts; give more sound, or ask "
            "for less"
        )
    rng = np.random.default_rng([settings.seed, 3])
    chosen = np.sort(rng.permutation(often)[: settings.most])
    return [int(each) for each in chosen]
