"""Property maps: the class of a frame's pitch, loudness and centroid as a softmax over weighted features.

arXiv 2510.23802, on codecs' latents: p = softmax(W·f + b), contribution of feature j to class k W_kj·f_j.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from ...errors import SteeringError
from ...steering.edit_arguments import Window
from ...steering.edits import FeatureEdit
from ..frame.outcome import Outcome
from ..frame.presented import Figure, Picture, Table
from .mapped_property import MappedProperty
from .property_bins import PROPERTIES, UNITS
from .property_edits import Asked, edits_by, edits_towards
from .property_pictures import pictures_of
from .property_records import MapScore

Matrix = NDArray[np.float64]
BEST = 5
"""Features that a table names."""


@dataclass(frozen=True, kw_only=True)
class PropertyMap(Outcome):
    """Maps of frame properties from an SAE's features."""

    TITLE: ClassVar[str] = "Properties: pitch, loudness and centroid from features"
    CLAIM: ClassVar[str] = (
        "A softmax over weighted features tells the class of a frame's property. It is fitted on one part of the "
        "groups and scored on frames of the other, beside the commonest class, labels of other clips, and the same map "
        "from the dense residual and from a random dictionary that fires as often: an SAE is credited only with what "
        "it has beyond them. Neighbouring frames repeat each other, which the class of the frame before shows."
    )

    n_features: int
    """Features of the SAE."""
    features: tuple[int, ...]
    """Those with support, in the order of the maps' columns."""
    typical_norm: float
    """Mean norm of a frame's activations of these features: the unit of `alpha` in `edit`."""
    frames: tuple[int, int]
    """Frames to fit on, and held-out frames."""
    groups: tuple[int, int]
    """Their groups."""
    properties: tuple[MappedProperty, ...]

    def of(self, name: str) -> MappedProperty:
        """The map of a property. SteeringError: it was not mapped."""
        known = {each.name: each for each in self.properties}
        if name not in known:
            raise SteeringError(f"there is no map of {name!r} here; expected one of {', '.join(known) or PROPERTIES}")
        return known[name]

    def logits(self, name: str, f: Any) -> Matrix:
        """Logits (..., classes) of activations (..., F) of all features."""
        own = self.of(name).map
        found: Matrix = self._seen(f) @ np.asarray(own.weights).T + np.asarray(own.bias)
        return found

    def contributions(self, name: str, f: Any) -> Matrix:
        """Contributions (..., classes, F) of each feature to each logit, W_kj·f_j; over all features they sum to the
        logits less the bias."""
        activations = self._seen(f)
        found = np.zeros((*activations.shape[:-1], len(self.of(name).map.classes), self.n_features))
        found[..., list(self.features)] = activations[..., None, :] * np.asarray(self.of(name).map.weights)
        return found

    def heads(self) -> dict[str, tuple[Matrix, Matrix]]:
        """W (classes, F) and b (classes,) of each property, as `LinearReader` takes them beside the SAE."""
        found = {}
        for each in self.properties:
            weights = np.zeros((len(each.map.classes), self.n_features))
            weights[:, list(self.features)] = each.map.weights
            found[each.name] = (weights, np.asarray(each.map.bias))
        return found

    def told(self, name: str, f: Any) -> NDArray[np.int64]:
        """Class (...) of activations (..., F), a number of a bin."""
        found: NDArray[np.int64] = np.asarray(self.of(name).map.classes)[self.logits(name, f).argmax(-1)]
        return found

    def value(self, name: str, f: Any) -> Matrix:
        """Value (...) on the bins' axis that ridge regression gives to activations (..., F)."""
        own = self.of(name).map
        found: Matrix = self._seen(f) @ np.asarray(own.slopes) + own.intercept
        return found

    def edit(
        self,
        name: str,
        target: float,
        alpha: float = 1.0,
        *,
        norm: Literal["unit", "raw"] = "unit",
        keep: Literal["rms"] | None = None,
        mode: Literal["add", "toward"] = "add",
        margin: float = 1.0,
        window: Window | None = None,
    ) -> list[FeatureEdit]:
        """Edits that move a property to a class, for `steer`, `edit_audio` and `steer_latents`.

        The direction is the class's weights less their mean over classes. With `norm="unit"` it has the norm of a
        typical frame's activations, so that `alpha` means the same for each SAE. `keep=None` adds constants (path
        `add`, which can be baked). `keep="rms"` adds, cuts below 0 and scales these features to the RMS that they had
        (`Turn`). `mode="toward"` takes for each frame the least amount with which the class leads all others by
        `margin` logits (`Toward`); alpha is then the most.

        Args:
            name: pitch, loudness or centroid.
            target: a value within the class: a MIDI note, dB re the loud end of the clips, Hz.
            alpha: amount.
            norm: scale of the direction.
            keep: what of the features is kept.
            mode: a constant amount, or as much as it takes.
            margin: logits, with `toward`.
            window: (start, end) in seconds.

        Raises:
            SteeringError: there is no such class.
            EditError: alpha or the margin is no number, or `toward` is to keep the RMS.
        """
        asked = Asked(alpha, norm, keep, mode, margin, window)
        own = self.of(name)
        return edits_towards(own.map, own.bins, self.features, self.typical_norm, target, asked)

    def edit_by(
        self,
        name: str,
        by: float,
        *,
        along: Literal["pattern", "slopes"] = "pattern",
        keep: Literal["rms"] | None = None,
        window: Window | None = None,
    ) -> list[FeatureEdit]:
        """Edits that move a property by an amount: semitones, dB, or of the centroid octaves (Hz with linear bins).

        Along `pattern`, each feature changes as it does on average where the property is so much higher; along
        `slopes`, by the least change that moves the ridge regression so far. Both are promises of the map: measure the
        sound with `control_report`.

        Raises:
            SteeringError: the property was not mapped, or loudness was mapped on a linear scale.
        """
        own = self.of(name)
        return edits_by(own.map, own.bins, self.features, by, along, Asked(1.0, "raw", keep, "add", 0.0, window))

    def figures(self) -> Sequence[Figure]:
        """Accuracy of each property beside what stands against it."""
        found = []
        for each in self.properties:
            against = ", ".join(f"{other.name} {other.accuracy:.3f}" for other in each.scores[1:])
            around = "" if each.score.interval is None else f" {each.score.interval}"
            found.append(
                Figure(
                    f"{each.score.accuracy:.3f}",
                    f"of frames have their class of {each.name} told{around}; commonest class {each.majority:.3f}"
                    + (f", {against}" if against else ""),
                )
            )
        return found

    def tables(self) -> Sequence[Table]:
        """Scores by property and dictionary, and the features that weigh most."""
        rows = []
        for each in self.properties:
            rows += [(each.name if at == 0 else "", *_cells(score)) for at, score in enumerate(each.scores)]
            rows.append(("", "commonest class", "", f"{each.majority:.3f}", *[""] * 8))
            rows.append(("", "frame before", "", f"{each.persistence:.3f}", *[""] * 8))
        header = ("property", "map from", "features", "accuracy", "95 %", "permuted clips", "p", "shifted",
                  "within one", "rank", "R²", "SAE's lead")  # fmt: skip
        note = (
            f"{self.frames[0]} frames of {self.groups[0]} groups to fit on; scores are of {self.frames[1]} frames of "
            f"{self.groups[1]} others. R² is of ridge regression on the value."
        )
        lines = [
            (
                each.name, str(len(each.map.classes)), f"{each.missing:.1%}", f"{each.unseen:.1%}",
                f"{each.bins.natural(each.bins.edges[0]):.4g} to {each.bins.natural(each.bins.edges[-1]):.4g} "
                f"{UNITS[each.name]}", ", ".join(map(str, self._best(each))),
            )
            for each in self.properties
        ]  # fmt: skip
        header_ = ("property", "classes", "frames without", "of unseen class", "range", "features that weigh most")
        words = f"{self.n_features - len(self.features)} of {self.n_features} features are unseen."
        return [Table("Maps", header, tuple(rows), note), Table("Classes", header_, tuple(lines), words)]

    def pictures(self) -> Sequence[Picture]:
        """Accuracies beside controls and baselines, and weights."""
        return pictures_of(self.properties)

    def _best(self, own: MappedProperty) -> list[int]:
        weight = np.abs(np.asarray(own.map.weights)).max(0) * np.asarray(own.map.spread)
        return [self.features[i] for i in np.argsort(-weight, kind="stable")[:BEST]]

    def _seen(self, f: Any) -> Matrix:
        given = np.asarray(f, np.float64)
        if not given.ndim or given.shape[-1] != self.n_features:
            raise SteeringError(f"activations are {given.shape}; expected (..., {self.n_features}), all features")
        found: Matrix = given[..., list(self.features)]
        return found


def _cells(score: MapScore) -> tuple[str, ...]:
    lead = "" if score.lead is None else f"{score.lead:+.3f}"
    if score.lead_interval is not None:
        lead += f" {score.lead_interval}"
    return (
        score.name, str(score.features), f"{score.accuracy:.3f}", "" if score.interval is None else str(score.interval),
        str(score.null), f"{score.p:.3g}", f"{score.shifted:.3f}", f"{score.within_one:.3f}",
        "" if score.rank_corr is None else f"{score.rank_corr:.3f}", f"{score.r2:.3f}", lead,
    )  # fmt: skip
