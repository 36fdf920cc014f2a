"""Where the threshold of a clip gate goes, and what it then opens for: no decoding, only scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from torch import Tensor

from ...errors import SteeringError
from ...evaluate.metrics.rates import Share, share
from ...sae.autoencoder import SAE
from ...steering.gates import ClipGate, gate_features
from ...steering.recipes.schema import GateSpec, Recipe, site_of
from ..gates.probe import Matrix, score, set_threshold

Mode = Literal["timed", "untimed"]
Kind = Literal["absent", "present"]
KINDS: tuple[Kind, Kind] = ("absent", "present")
FOLDS = 5


class Placing:
    """Places the thresholds of recipes' clip gates on the scores of all clips, in all modes.

    Args:
        recipes: those whose gates are placed.
        saes: their SAEs.
        modes: the modes in which the clips are heard.
        rows: from a layer, a mode and a kind to the residuals of all clips of that kind.
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

        With no margin it stays where the recipe has it.

        Raises:
            SteeringError: it has none, or one that reads the decoder.
            GateError: the margin is no share.
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
        """For which clips of a kind the gate opens."""
        spec = self.place(recipe, margin)
        return [bool(value > spec.threshold) for value in self._scores(recipe, mode, kind)]

    def opened_unseen(self, recipe: int, margin: float | None) -> tuple[Share, Share] | None:
        """The shares of clips without and with speech for which it opens, each clip with a threshold from others.

        Five folds, all modes. None of fewer than five clips of a kind.
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
        """What the gate sees of every clip of a kind: (clips, its features)."""
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
    """The gate over a matrix that holds its own features only."""
    return ClipGate(tuple(range(len(spec.features))), tuple(spec.weights), spec.bias, 0.0, spec.pool)


def _outside(clips: int, fold: int | None) -> list[int]:
    # folds of neighbours, which are often pieces of one recording, or of one speaker
    return [i for i in range(clips) if fold is None or i * FOLDS // clips != fold]
