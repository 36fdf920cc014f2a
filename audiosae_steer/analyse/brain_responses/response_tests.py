"""Tests of features in time beside responses to the same sounds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import SteeringError
from ...io.progress import Tell
from ..frame.intervals import Interval, group_counts, interval_of
from ..frame.nulls import benjamini_hochberg, p_value
from ..frame.parts import split_parts
from ..frame.provenance import finite, provenance, rounded
from .aligned_responses import Aligned, aligned_responses
from .brain_response import Trf
from .response_files import Responses
from .response_functions import Fitted, centred, correlations, fit
from .response_peaks import Weighed, extrema, peak_tests, weighed
from .response_preparation import Stimuli
from .shifted_gains import Heard, draw_shifts, gains, shifted_correlations, without_sound
from .trf_records import DictionaryResponses, FeatureResponse, ShiftTest, TrfSettings

Numbers = NDArray[np.float64]


class _Base(NamedTuple):
    """Envelope and onsets beside the responses, and what all features share."""

    find: list[int]
    report: list[int]
    model: Fitted
    heard: list[Heard]
    shifts: NDArray[np.int64]
    """(shifts + 1, sounds), the first row zeros."""
    lags: NDArray[np.int64]
    """(lags,) in samples."""


class _Figures(NamedTuple):
    """Figures of one feature, and its draws."""

    r: Numbers
    """(sounds of report, columns)."""
    null_r: Numbers
    """(shifts,)."""
    gain: Numbers
    null_gain: Numbers
    weights: Numbers
    """(lags,)."""
    peaks: Weighed


def trf_of_stimuli(
    stimuli: Stimuli,
    responses: Responses,
    *,
    report: Sequence[str] | None = None,
    settings: TrfSettings | None = None,
    progress: Tell | None = None,
) -> Trf:
    """Measure how responses follow features in time: a `Trf` without an SAE and its controls.

    Args:
        stimuli: features (n, F), envelope and onsets of each sound, at the settings' rate.
        responses: responses to these sounds.
        report: sounds that the numbers are of; None: half of them, by chance.
        settings: rate, band, lags, shifts and seed.
        progress: called with what is being done, how many are done, and how many there are.

    Raises:
        SteeringError: sounds and responses do not fit, or are too few.
        MissingExtraError: mtrf or scipy is not installed.
    """
    settings = settings or TrfSettings()
    _check(stimuli, settings)
    aligned = aligned_responses(stimuli, responses, settings)
    base, warnings = _based(aligned, report, settings)
    residual = without_sound(
        [np.asarray(each, float) for each in aligned.features], aligned.sound, base.find,
        int(base.lags[-1] - base.lags[0]),
    )  # fmt: skip
    found = []
    numbers = stimuli.numbers
    for column in range(len(numbers)):
        if progress is not None:
            progress("response functions", column, len(numbers))
        found.append(_feature(column, residual, aligned, base, settings))
    if progress is not None:
        progress("response functions", len(numbers), len(numbers))
    base_r = _base_r(aligned, base)
    rows = _rows(found, aligned, base, stimuli, settings)
    return Trf(
        provenance=provenance(settings=settings, seed=settings.seed, warnings=(*aligned.warnings, *warnings)),
        subjects=aligned.subjects,
        channels=aligned.channels,
        fitted_on=tuple(aligned.names[i] for i in base.find),
        reported_on=tuple(aligned.names[i] for i in base.report),
        seconds=finite(sum(len(y) for y in aligned.y) / settings.rate, 6),
        lags=tuple(finite(each, 6) for each in base.model.lags),
        sound_r=finite(base_r.mean(), 6),
        sound_interval=_interval(base_r, aligned, settings),
        sound_by_channel=_by_channel(base_r, aligned),
        sound_weights=tuple(tuple(finite(w, 6) for w in row.mean(1)) for row in base.model.weights),
        features=rows,
        dictionaries=(counted("SAE", rows, len(rows), settings),),
    )


def counted(name: str, rows: Sequence[FeatureResponse], often: int, settings: TrfSettings) -> DictionaryResponses:
    """Counts of one dictionary's features."""
    level = settings.level
    gain = [each.gain.value for each in rows]
    return DictionaryResponses(
        name,
        len(rows),
        often,
        sum(min(each.highest.holm, each.lowest.holm) < level for each in rows),
        sum(each.prediction.q < level for each in rows),
        sum(each.gain.q < level for each in rows),
        sum(each.gain.family < level for each in rows),
        finite(np.mean([each.prediction.value for each in rows]), 6),
        finite(np.mean(gain), 6),
        finite(np.mean([each.gain.null for each in rows]), 6),
        finite(max(gain), 6),
    )


def _check(stimuli: Stimuli, settings: TrfSettings) -> None:
    if len(settings.lags) != 2 or len(settings.window) != 2 or not settings.penalties:
        raise SteeringError("lags and window take two numbers each, in seconds, and penalties one at least")
    low, high = settings.lags
    if not low <= settings.window[0] < settings.window[1] <= high or settings.shifts < 1 or settings.least_shift <= 0:
        raise SteeringError(
            f"lags {low:g} to {high:g} s, the window {settings.window[0]:g} to {settings.window[1]:g} s, "
            f"{settings.shifts} shifts of at least {settings.least_shift:g} s cannot be used; expected the window "
            "within the lags, a shift at least, and its size above 0"
        )
    if abs(stimuli.rate - settings.rate) > 1e-9:
        raise SteeringError(
            f"the stimuli are at {stimuli.rate:g} Hz, and rate is {settings.rate:g}; make them the same"
        )
    if not stimuli.numbers:
        raise SteeringError("there is no feature to test; give one at least")


def _based(aligned: Aligned, report: Sequence[str] | None, settings: TrfSettings) -> tuple[_Base, list[str]]:
    names = aligned.names
    if report is None:
        parts = split_parts(names, share=settings.share, seed=settings.seed)
        find, reported = parts.find.tolist(), parts.report.tolist()
    else:
        reported = [i for i, name in enumerate(names) if name in set(report)]
        find = [i for i in range(len(names)) if i not in set(reported)]
    if len(find) < 2 or not reported:
        raise SteeringError(
            f"{len(find)} sounds are to fit on and {len(reported)} to report on, of {len(names)} with responses; "
            "leaving one out takes two at least to fit on: give more sounds, or cut long ones"
        )
    y = aligned.y
    pick = [aligned.sound[i] for i in find], [y[i] for i in find]
    model = fit(*pick, settings.rate, settings.lags, settings.penalties)
    heard = [Heard(centred(own), centred(p)) for own, p in zip(y, model.predict(aligned.sound), strict=True)]
    drawn, short = draw_shifts(
        [len(each) for each in y], settings.rate, settings.least_shift, settings.shifts, settings.seed
    )
    lags = np.round(model.lags * settings.rate).astype(np.int64)
    said = []
    if short:
        said.append(
            f"{short} of {len(y)} sounds are shorter than two shifts of {settings.least_shift:g} s; they shift by at "
            "least a quarter"
        )
    return _Base(find, reported, model, heard, np.concatenate([np.zeros_like(drawn[:1]), drawn]), lags), said


def _feature(
    column: int, residual: Sequence[Numbers], aligned: Aligned, base: _Base, settings: TrfSettings
) -> _Figures:
    """Response function, prediction and gain of one feature."""
    highest = max(float(np.abs(aligned.features[i][:, column]).max()) for i in base.find)
    x = [np.asarray(each[:, [column]], float) / max(highest, 1e-12) for each in aligned.features]
    fitted = fit(
        [x[i] for i in base.find], [aligned.y[i] for i in base.find], settings.rate, settings.lags, settings.penalties
    )
    mean = fitted.weights[0].mean(1)
    at = extrema(mean, fitted.lags, settings.window)
    reported = [x[i] for i in base.report]
    theirs = [aligned.y[i] for i in base.report]
    peaks = weighed(
        at, fitted.lags, reported, theirs, len(aligned.subjects), (settings.rate, settings.lags, fitted.penalty)
    )
    predicted = fitted.predict(reported)
    r = np.stack([correlations(y, p) for y, p in zip(theirs, predicted, strict=True)])
    null = np.mean(
        [
            shifted_correlations(p, y, base.shifts[1:, i]).mean(1)
            for i, y, p in zip(base.report, theirs, predicted, strict=True)
        ],
        axis=0,
    )
    gain = gains([each[:, column] for each in residual], base.heard, base.find, base.report, base.lags, base.shifts)
    return _Figures(r, null, gain[0], gain[1:].mean((1, 2)), mean, peaks)


def _rows(
    found: Sequence[_Figures], aligned: Aligned, base: _Base, stimuli: Stimuli, settings: TrfSettings
) -> tuple[FeatureResponse, ...]:
    peaks = peak_tests([each.peaks for each in found], settings.test)
    predictions = _tests([each.r for each in found], [each.null_r for each in found], aligned, settings)
    added = _tests([each.gain for each in found], [each.null_gain for each in found], aligned, settings)
    density = stimuli.per_second or (float("nan"),) * len(found)
    return tuple(
        FeatureResponse(
            number, rounded(density[i], 6), *peaks[i], predictions[i], added[i], _by_channel(each.r, aligned),
            tuple(finite(w, 6) for w in each.weights),
        )
        for i, (number, each) in enumerate(zip(stimuli.numbers, found, strict=True))
    )  # fmt: skip


def _tests(
    values: Sequence[Numbers], nulls: Sequence[Numbers], aligned: Aligned, settings: TrfSettings
) -> list[ShiftTest]:
    """Figures beside their shifts, corrected for the number of features in two ways."""
    seen, null = np.array([each.mean() for each in values]), np.stack(nulls, 1)
    p = p_value(seen, null)
    q = benjamini_hochberg(p)
    centre, spread = null.mean(0), np.maximum(null.std(0), 1e-12)
    family = [float(p_value(z, ((null - centre) / spread).max(1))) for z in (seen - centre) / spread]
    high = np.quantile(null, 0.975, axis=0)
    return [
        ShiftTest(
            finite(seen[i], 6), _interval(values[i], aligned, settings),
            *(finite(each[i], 6) for each in (centre, high, p, q, family)),
        )
        for i in range(len(seen))
    ]  # fmt: skip


def _base_r(aligned: Aligned, base: _Base) -> Numbers:
    return np.stack([correlations(base.heard[i].y, base.heard[i].base) for i in base.report])


def _by_channel(values: Numbers, aligned: Aligned) -> tuple[float, ...]:
    """Mean over sounds and subjects of (sounds, subjects · channels)."""
    own = values.mean(0).reshape(len(aligned.subjects), -1).mean(0)
    return tuple(finite(each, 6) for each in own)


def _interval(values: Numbers, aligned: Aligned, settings: TrfSettings) -> Interval | None:
    """Interval of the mean of (sounds, subjects · channels): subjects are drawn, or of a single one sounds."""
    by_subject = values.reshape(len(values), len(aligned.subjects), -1).mean(2)
    units = by_subject.mean(0) if len(aligned.subjects) > 1 else by_subject[:, 0]
    if len(units) < 2:
        return None
    found = interval_of(group_counts(len(units), draws=settings.draws, seed=settings.seed) @ units / len(units))
    return found and Interval(finite(found.low, 6), finite(found.high, 6))
