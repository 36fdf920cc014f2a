"""Sounds and the responses to them, cut to one length each."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import SteeringError
from .response_files import Responses, matched
from .response_preparation import Stimuli, prepared
from .trf_records import TrfSettings

Numbers = NDArray[np.float64]
APART = 1.0
"""Seconds by which a sound and its response may differ in length before it is said."""


class Aligned(NamedTuple):
    """Sounds that all subjects heard, with the responses."""

    names: tuple[str, ...]
    features: list[NDArray[np.float32]]
    """(n, F) of each sound."""
    sound: list[Numbers]
    """(n, 2), scaled to a maximum of 1."""
    y: list[Numbers]
    """(n, subjects · channels), the channels of a subject next to each other."""
    subjects: tuple[str, ...]
    channels: tuple[str, ...]
    warnings: tuple[str, ...]


def aligned_responses(stimuli: Stimuli, responses: Responses, settings: TrfSettings) -> Aligned:
    """Sounds that all subjects heard, and the prepared responses to them, cut to the shorter of both.

    Raises:
        SteeringError: no sound has the responses of all subjects, or a channel is not there.
        MissingExtraError: scipy is not installed.
    """
    chosen = _channels(responses, settings)
    pairs = matched(stimuli.names, [each.stimulus for each in responses.items])
    subjects = responses.subjects
    by_pair = {(each.subject, each.stimulus): each.samples for each in responses.items}
    names = [name for name in stimuli.names if name in pairs and all((s, pairs[name]) in by_pair for s in subjects)]
    warnings = []
    if not names:
        raise SteeringError(
            f"no sound was heard by all {len(subjects)} subjects; leave out those that heard others, or run them apart"
        )
    if len(names) < len(stimuli.names):
        warnings.append(f"{len(stimuli.names) - len(names)} sounds lack the response of a subject, and were left out")
    features, sound, y = [], [], []
    band = (settings.high_pass, settings.low_pass)
    apart = 0
    for name in names:
        at = stimuli.names.index(name)
        own = [prepared(by_pair[s, pairs[name]][:, chosen], responses.rate, settings.rate, band) for s in subjects]
        length = min(len(stimuli.features[at]), *map(len, own))
        apart += max(len(stimuli.features[at]), *map(len, own)) - length > APART * settings.rate
        if length <= (settings.lags[1] - settings.lags[0]) * settings.rate * 4:
            raise SteeringError(f"{name} and its responses have {length} samples in common, too few for these lags")
        features.append(stimuli.features[at][:length])
        sound.append(np.asarray(stimuli.sound[at], float)[:length])
        y.append(np.concatenate([each[:length] for each in own], 1))
    if apart:
        warnings.append(
            f"{apart} of {len(names)} sounds differ from their responses by more than {APART:g} s in length; they were "
            "cut, as if both began together"
        )
    if len(subjects) == 1:
        warnings.append("there is one subject: tests and intervals are over sounds, and say nothing of other people")
    scale = np.maximum(np.max([np.abs(each).max(0) for each in sound], 0), 1e-12)
    return Aligned(
        tuple(names), features, [each / scale for each in sound], y, subjects,
        tuple(responses.channels[i] for i in chosen), tuple(warnings),
    )  # fmt: skip


def _channels(responses: Responses, settings: TrfSettings) -> list[int]:
    if not settings.channels:
        return list(range(len(responses.channels)))
    missing = [each for each in settings.channels if each not in responses.channels]
    if missing:
        raise SteeringError(
            f"there is no channel {missing[0]!r}; the responses have {', '.join(responses.channels[:12])}"
        )
    return [responses.channels.index(each) for each in settings.channels]
