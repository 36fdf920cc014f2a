"""Thresholds of clip gates, placed on the scores of all clips, and the clips they open for; nothing is decoded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from torch import Tensor

from ...errors import SteeringError
from ...evaluate.metrics.logistic_regression import Matrix
from ...evaluate.metrics.rates import Share, share
from ...sae.autoencoder import SAE
from ...steering.gates import ClipGate, gate_features
from ...steering.recipes.schema import GateSpec, Recipe, site_of
from ..gates.probe import score, set_threshold
from .settings import Mode

Kind = Literal["absent", "present"]
KINDS: tuple[Kind, Kind] = ("absent", "present")
FOLDS = 5
"""Folds of the cross-validated shares."""


class GateThresholds:
    """Thresholds of recipes' clip gates, placed on the scores of all clips in all modes.

    Args:
        recipes: recipes with the gates.
        saes: SAEs of each recipe, by name.
        modes: decoding modes, which differ in how clips are padded.
        rows: from a layer, a mode and a kind to the residuals (frames, d_model) of all clips of that kind.
    """

    def __init__(
        self,
        recipes: Sequence[Recipe],
        saes: Sequence[dict[str, SAE]],
        modes: Sequence[Mode],
        rows: Callable[[int, Mode, Kind], list[Tensor]],
    ) -> None:
        self._recipes, self._saes, self._modes, self._rows = recipes, saes, tuple(modes), rows
        self._features: dict[tuple[int, Mode, Kind], Matrix] = {}
        self._placed: dict[tuple[int, float, int | None], GateSpec] = {}

    def place(self, recipe: int, margin: float | None, without: int | None = None) -> GateSpec:
        """A recipe's clip gate with its threshold placed anew, on all clips or on those of all folds but one.

        Args:
            recipe: index of the recipe.
            margin: position, from the highest score of speech (0) to the median score of non-speech (1); None keeps
                the recipe's own threshold.
            without: fold to leave out.

        Raises:
            SteeringError: the recipe has no clip gate, or one that reads the decoder.
            GateError: the margin is not in [0, 1].
            MissingExtraError: scikit-learn is not installed.
        """
        if margin is None:
            return self._spec(recipe)
        key = (recipe, margin, without)
        if key not in self._placed:
            spec = self._spec(recipe)
            sides = []
            for kind in KINDS:
                parts = [self.features(recipe, mode, kind) for mode in self._modes]
                sides.append(np.concatenate([part[_outside(len(part), without)] for part in parts]))
            placed = set_threshold(_local(spec), sides[0], sides[1], margin=margin)
            self._placed[key] = spec.model_copy(
                update={"threshold": placed.threshold, "calibration": placed.calibration}
            )
        return self._placed[key]

    def opened(self, recipe: int, margin: float | None, mode: Mode, kind: Kind) -> list[bool]:
        """Flags of the clips of a kind for which the gate opens."""
        spec = self.place(recipe, margin)
        return [bool(value > spec.threshold) for value in self._scores(recipe, mode, kind)]

    def opened_unseen(self, recipe: int, margin: float | None) -> tuple[Share, Share] | None:
        """Cross-validated shares of the clips without and with speech for which the gate opens.

        Five folds, all modes; each clip meets a threshold that was placed on the others. None for fewer than five
        clips of a kind.
        """
        shares = []
        if any(len(self.features(recipe, self._modes[0], kind)) < FOLDS for kind in KINDS):
            return None
        for kind in KINDS:
            flags: list[bool] = []
            for fold in range(FOLDS):
                spec = self.place(recipe, margin, fold)
                for mode in self._modes:
                    scores = self._scores(recipe, mode, kind)
                    seen = set(_outside(len(scores), fold))
                    flags += [bool(value > spec.threshold) for i, value in enumerate(scores) if i not in seen]
            shares.append(share(flags))
        return shares[0], shares[1]

    def features(self, recipe: int, mode: Mode, kind: Kind) -> Matrix:
        """Pooled activations that the gate reads, of every clip of a kind: (clips, features of the gate)."""
        key = (recipe, mode, kind)
        if key not in self._features:
            spec = self._spec(recipe)
            sae = self._saes[recipe][spec.sae]
            pooled = [
                gate_features(sae, row[None].float().to(sae.W_enc.device), spec.features, spec.pool)[0]
                for row in self._rows(spec.layer, mode, kind)
            ]
            self._features[key] = np.stack([row.double().cpu().numpy() for row in pooled])
        return self._features[key]

    def _scores(self, recipe: int, mode: Mode, kind: Kind) -> Matrix:
        return score(_local(self._spec(recipe)), self.features(recipe, mode, kind))

    def _spec(self, recipe: int) -> GateSpec:
        spec = self._recipes[recipe].gate
        if spec is None:
            raise SteeringError(f"{self._recipes[recipe]} has no clip gate to place")
        if spec.side != "encoder":
            raise SteeringError(
                f"the clip gate of {self._recipes[recipe]} reads {site_of(spec)}; only gates that read the encoder are "
                "calibrated: leave it out with --gates none"
            )
        return spec


def _local(spec: GateSpec) -> ClipGate:
    """The gate, renumbered for a matrix that holds its own features only."""
    return ClipGate(tuple(range(len(spec.features))), tuple(spec.weights), spec.bias, 0.0, spec.pool)


def _outside(clips: int, fold: int | None) -> list[int]:
    # folds of neighbours, which are often pieces of one recording, or of one speaker
    return [i for i in range(clips) if fold is None or i * FOLDS // clips != fold]
