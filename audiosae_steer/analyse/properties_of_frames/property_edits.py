"""Edits that move a property, from its map."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import EditError, SteeringError
from ...steering.edit_arguments import Window
from ...steering.edits import Add, FeatureEdit
from ...steering.joint_edits import Toward, Turn
from .property_bins import Bins
from .property_records import ClassWeights

Matrix = NDArray[np.float64]


class Asked(NamedTuple):
    """Amount and kind of an edit."""

    alpha: float
    norm: Literal["unit", "raw"]
    keep: Literal["rms"] | None
    mode: Literal["add", "toward"]
    margin: float
    window: Window | None

    def check(self) -> None:
        """Refuse what is no edit. EditError: says what."""
        if not math.isfinite(self.alpha) or not math.isfinite(self.margin):
            raise EditError(f"alpha is {self.alpha} and the margin {self.margin}; expected finite numbers")
        for name, value, known in (
            ("norm", self.norm, ("unit", "raw")), ("keep", self.keep, ("rms", None)),
            ("mode", self.mode, ("add", "toward")),
        ):  # fmt: skip
            if value not in known:
                raise EditError(f"{name} is {value!r}; expected one of {', '.join(map(repr, known))}")
        if self.mode == "toward" and self.keep is not None:
            raise EditError(
                'mode="toward" counts on logits that are linear in alpha, which keep="rms" is not: take one'
            )
        if self.mode == "toward" and self.alpha < 0:
            raise EditError(f"alpha is {self.alpha}; with mode='toward' it is the most, 0 or more")


def edits_towards(
    own: ClassWeights, bins: Bins, features: Sequence[int], typical: float, target: float, asked: Asked
) -> list[FeatureEdit]:
    """Edits towards the class that has the target.

    Raises:
        SteeringError: the map has no such class.
        EditError: see `Asked.check`.
    """
    asked.check()
    kind = bins.class_at(target)
    if kind not in own.classes:
        known = ", ".join(f"{bins.middle(each):.4g}" for each in own.classes if each < len(bins.edges) - 1)
        raise SteeringError(
            f"the map has no class at {bins.name} {target:g}, of which no clip was fitted; it has {known}"
        )
    place = own.classes.index(kind)
    weights, bias = np.asarray(own.weights), np.asarray(own.bias)
    direction = direction_of(weights, place, typical if asked.norm == "unit" else None)
    if asked.mode == "toward":
        others = [i for i in range(len(weights)) if i != place]
        return [
            Toward(
                list(features), direction.tolist(), (weights[place] - weights[others]).tolist(),
                (bias[place] - bias[others]).tolist(), margin=asked.margin, most=asked.alpha, window=asked.window,
            )
        ]  # fmt: skip
    return added(features, asked.alpha * direction, asked)


def edits_by(
    own: ClassWeights, bins: Bins, features: Sequence[int], by: float, along: str, asked: Asked
) -> list[FeatureEdit]:
    """Edits that move the value by so much on its axis.

    Raises:
        SteeringError: the amount is no number, the axis is amplitude, or the features do not tell the property.
        EditError: see `Asked.check`.
    """
    asked.check()
    if bins.name == "loudness" and bins.linear:
        raise SteeringError("loudness was mapped as amplitude, in which an amount of dB is no step; map it in dB")
    if along not in ("pattern", "slopes"):
        raise SteeringError(f"along is {along!r}; expected 'pattern' or 'slopes'")
    if not math.isfinite(by):
        raise SteeringError(f"the amount is {by}; expected a finite number")
    if along == "pattern":
        return added(features, by * np.asarray(own.pattern), asked)
    slopes = np.asarray(own.slopes)
    steep = float(slopes @ slopes)
    if not steep:
        raise SteeringError(f"no feature tells {bins.name}: its slopes are all 0; take another SAE or more clips")
    return added(features, by * slopes / steep, asked)


def direction_of(weights: Matrix, place: int, norm: float | None) -> Matrix:
    """Direction (features,) of a class: its weights less their mean over classes, to which softmax is blind.

    Args:
        weights: (classes, features).
        place: row of the class.
        norm: norm that it is given; None: its own.
    """
    centred: Matrix = weights[place] - weights.mean(0)
    length = float(np.linalg.norm(centred))
    return centred if norm is None or not length else centred * (norm / length)


def added(features: Sequence[int], amounts: Matrix, asked: Asked) -> list[FeatureEdit]:
    """The edit that adds amounts (features,) to them, as it was asked for."""
    kind = Turn if asked.keep == "rms" else Add
    return [kind(list(features), amounts.tolist(), window=asked.window)]
