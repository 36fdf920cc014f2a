"""Erasure of a concept: features that have to go until it can no longer be told, and what others lose by it.

AudioSAE (arXiv 2602.05027), section on concept erasure, which removes features one after another and looks whether one
regression for all concepts still tells this one. Here the concept is told from a background that has none of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ...errors import SteeringError
from ..frame.outcome import Outcome
from ..frame.presented import Figure, Picture, Table
from .ablation_recipes import Ablation
from .erasure_pictures import picture_of
from .erasure_records import ControlErasure, ErasurePoint, InputScore, RandomRemoval, Scored
from .error_term import ERROR

if TYPE_CHECKING:
    from ...sae.autoencoder import SAE
    from ...steering.recipes.schema import GateSpec, Recipe


@dataclass(frozen=True, kw_only=True)
class Erasure(Outcome):
    """Information on a concept as the features that tell it best are removed."""

    TITLE: ClassVar[str] = "Erasure: what has to go until a concept can no longer be told"
    CLAIM: ClassVar[str] = (
        "Features are ranked by Fisher's score and removed, the best first, and each time a probe is fitted anew on "
        "what is left; every score is of other speakers or recordings. In open mode it is the area under the ROC curve "
        "of the concept against a background without any concept, .5 by chance. A linear probe that fails is no proof, "
        "so nonlinear ones try again; and what the SAE cannot express, its error term, is probed alone, since ablating "
        "features leaves it in the model."
    )

    concept: str
    """Label of the concept."""
    others: tuple[str, ...]
    """Labels of the other concepts."""
    background: tuple[str, ...]
    """Labels of the background; none in closed mode."""
    mode: str
    """`open` or `closed`."""
    clips: tuple[int, int]
    """Clips of concept and background to rank and fit on, and that the scores are of."""
    groups: tuple[int, int]
    """Their speakers or recordings."""
    features: int
    """Features of the SAE."""
    seen: int
    """Those with support where features are ranked; the others have no part in anything."""
    chance: float
    """.5; in closed mode, of MCC, 0."""
    bound: float
    """Upper end of an interval up to which the concept counts as gone: chance and the margin."""
    points: tuple[ErasurePoint, ...]
    """Scores by number of removed features."""
    erased_k: int | None
    """Smallest k at which a linear probe's interval lies below the bound, and its score stays there; None: never."""
    selectivity: float | None
    """Mean of the others' score above chance at `erased_k`, over that with nothing removed; None without others."""
    random_order: tuple[RandomRemoval, ...]
    """The same in random order."""
    random_erased_k: int | None
    """Smallest k from which on their mean lies below the bound."""
    controls: tuple[ControlErasure, ...]
    """The same of controls."""
    nonlinear: tuple[InputScore, ...]
    """Nonlinear probes on the features that are left at `erased_k`."""
    inputs: tuple[InputScore, ...]
    """Linear probes on the error term, on the residual, and on the residual with the features ablated."""
    ranking: tuple[int, ...]
    """Seen features, the best first."""

    @property
    def erased(self) -> bool:
        """The concept is gone from the features at `erased_k`, for nonlinear probes as well."""
        return self.erased_k is not None and all(each.scored.upper <= self.bound for each in self.nonlinear)

    @property
    def error_auc(self) -> float | None:
        """Area under the ROC curve from the error term alone; None in closed mode."""
        return next((each.scored.score for each in self.inputs if each.name == ERROR), None)

    def recipe(
        self,
        k: int | None,
        model: Any,
        sae: SAE | str | Path,
        out: str | Path,
        *,
        gate: GateSpec | None = None,
        strength: float = 1.0,
    ) -> Recipe:
        """Write a recipe that ablates the k best features and keeps the error, and return it; the SAE comes beside it.

        Args:
            k: number of features; None takes `erased_k`.
            model: the model that the residuals were read from.
            sae: the SAE, or its file or source.
            out: the recipe to write, .json.
            gate: gate of the recipe, which reads the SAE `sae`.
            strength: 1 ablates them, 0 does nothing.

        Raises:
            SteeringError: there are no such features, or model, SAE or site are others than those of this result.
            RecipeError: the recipe cannot be written.
        """
        count = self.erased_k if k is None else k
        if count is None or not 0 < count <= len(self.ranking):
            raise SteeringError(
                f"{self.concept!r} is erased at {_text(self.erased_k)} of {self.seen} features; say how many to take, "
                f"from 1 to {len(self.ranking)}"
            )
        found = Ablation(
            self.ranking[:count],
            self.provenance,
            f"Ablates the {count} features that tell {self.concept} best. A linear probe on the features that are left "
            f"{'fails' if self.erased_k is not None and count >= self.erased_k else 'still tells it'}; what the model "
            "does with the rest, and with the error, which is kept, is to be measured.",
            {"erased_k": self.erased_k, "selectivity": self.selectivity, "error_auc": self.error_auc},
        )
        return found.recipe(model, sae, Path(out), gate=gate, strength=strength)

    def figures(self) -> Sequence[Figure]:
        """Score, erased k, selectivity, nonlinear probes and the error term."""
        first = self.points[0].concept
        what = "area under the ROC curve" if self.mode == "open" else "MCC"
        found = [Figure(f"{first.score:.3f}", f"{what} of {self.concept} with nothing removed{_around(first)}")]
        by_chance = _text(self.random_erased_k) if self.random_order else "not tried"
        gone = "never" if self.erased_k is None else f"{self.erased_k}"
        says = f"of {self.seen} features removed until a linear probe is at chance; in random order {by_chance}"
        found.append(Figure(gone, says))
        if self.erased_k is not None and self.nonlinear:
            best = max(self.nonlinear, key=lambda each: each.scored.score)
            verdict = "gone" if self.erased else "not shown to be erased"
            says = f"by a nonlinear probe there ({best.name}){_around(best.scored)}: {verdict}"
            found.append(Figure(f"{best.scored.score:.3f}", says))
        if self.selectivity is not None:
            says = f"of the score of {', '.join(self.others)} above chance is left where {self.concept} is gone"
            found.append(Figure(f"{self.selectivity:.3f}", says))
        found += [Figure(f"{each.scored.score:.3f}", f"from the {each.name}{_around(each.scored)}")
                  for each in self.inputs]  # fmt: skip
        return found

    def tables(self) -> Sequence[Table]:
        """The curve, controls, and what else was probed."""
        random = {each.k: f"{each.score:.3f}" for each in self.random_order}
        rows = [
            (str(point.k), *_cells(point.concept), *(f"{each:.3f}" for each in point.others), random.get(point.k, ""))
            for point in self.points
        ]
        header = ("removed", self.concept, "95 %", "permuted", *self.others, "random order")
        behind = ", ".join(self.background) or "none"
        note = (
            f"{'Area under the ROC curve' if self.mode == 'open' else 'MCC'} on {self.clips[1]} clips of "
            f"{self.groups[1]} speakers or recordings, {self.clips[0]} to fit on. Background: {behind}. Erased is "
            f"what has its interval below {self.bound:.3f}, and its score stays there."
        )
        lines = [("SAE", str(self.seen), _text(self.erased_k), f"{self.points[0].concept.score:.3f}")]
        lines += [(each.name, str(each.seen), _text(each.erased_k), f"{each.points[0].concept.score:.3f}")
                  for each in self.controls]  # fmt: skip
        if self.random_order:
            lines.append(("SAE, random order", str(self.seen), _text(self.random_erased_k), ""))
        ranked = ", ".join(map(str, self.ranking[:12]))
        told = f"Best features: {ranked}. {self.features - self.seen} of {self.features} features are unseen."
        tables = [
            Table("Without the best features", header, tuple(rows), note),
            Table("Dictionaries", ("", "seen", "erased at", "score of all"), tuple(lines), told),
        ]
        probed = [(f"{each.name}, features left", *_cells(each.scored)) for each in self.nonlinear]
        probed += [(each.name, *_cells(each.scored)) for each in self.inputs]
        if probed:
            note = "Features ablated: as the recipe does it, the error kept, read at the same site."
            tables.append(Table("Other probes", ("", "score", "95 %", "permuted"), tuple(probed), note))
        return tables

    def pictures(self) -> Sequence[Picture]:
        """The curve, with the other concepts, controls and random order."""
        return [picture_of(self.concept, self.others, self.points, self.controls, self.random_order, self.chance)]


def _around(scored: Scored) -> str:
    return "" if scored.interval is None else f", 95 %: {scored.interval}"


def _cells(scored: Scored) -> tuple[str, str, str]:
    interval, null = ("" if each is None else str(each) for each in (scored.interval, scored.null))
    return f"{scored.score:.3f}", interval, null


def _text(k: int | None) -> str:
    return "never" if k is None else str(k)
