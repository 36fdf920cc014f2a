"""Candidates of calibration: variants of recipes by kind of edit and number of features, at strengths, behind gates."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...errors import SteeringError
from ...io.tensors.digest import sha256_of_tensors
from ...sae.autoencoder import SAE
from ...steering.edits import Add, FeatureEdit, Push
from ...steering.recipes.schema import Recipe, SiteSpec
from .settings import EDIT_KINDS, GATE_MARGINS, GATINGS, SHARES, STRENGTHS, Gating

CLAMPED_TO = 0.5
"""Typical activations that `clamp` leaves of a feature."""
LISTS = ("amount", "factor", "low", "high", "value")
"""Parameters of edits that may hold one value for each feature."""


class Variant(NamedTuple):
    """A recipe's edits, rewritten."""

    recipe: int
    """Index of the recipe."""
    kind: str
    """One of `EDIT_KINDS`."""
    features: int
    """Number of features edited, over all sites."""
    sites: tuple[SiteSpec, ...]
    """Sites with their edits."""
    key: str
    """Digest of the edits and of the SAEs."""


class Candidate(NamedTuple):
    """A variant at a strength, behind a gate."""

    variant: Variant
    strength: float
    gate: Gating
    margin: float | None = None
    """Position of the clip gate's threshold, from the highest score of speech (0) to the median score of non-speech
    (1); None keeps the recipe's own."""

    @property
    def group(self) -> tuple[int, str, int, str, float | None]:
        """Key that all strengths of the same variant and gate share."""
        return self.variant.recipe, self.variant.kind, self.variant.features, self.gate, self.margin

    def describe(self, recipes: Sequence[Recipe]) -> str:
        """Description in words, for recipes and messages."""
        layers = ", ".join(f"{site.side} {site.layer}" for site in self.variant.sites)
        placed = "" if self.margin is None else f", margin {self.margin}"
        gate = {
            "none": "ungated",
            "clip": f"clip gate{placed}",
            "frame": "frame gate",
            "clip+frame": f"both gates{placed}",
        }[self.gate]
        name = f"{recipes[self.variant.recipe].name}: " if len(recipes) > 1 else ""
        features = f", {self.variant.features} features" if self.variant.features else ""
        return f"{name}{self.variant.kind}{features} at {layers}, strength {self.strength:g}, {gate}"


def variants(
    number: int,
    recipe: Recipe,
    saes: Mapping[str, SAE],
    kinds: Sequence[str] = EDIT_KINDS,
    shares: Sequence[float] = SHARES,
) -> list[Variant]:
    """Distinct variants of one recipe; the recipe as written comes first if it is among the kinds.

    Args:
        number: index of the recipe.
        recipe: the recipe.
        saes: its SAEs, by name.
        kinds: `as written`; `typical` (one typical activation up or down); `ablate` and `clamp` (features that the
            recipe lowers); `push` (the change of all edits to typical activations, as one dense vector; left out where
            the recipe's own edits are such a constant already). Kinds that a recipe or its SAE has no numbers for are
            left out.
        shares: shares of each site's features to keep, those with the largest |amount| × decoder norm.

    Raises:
        SteeringError: a kind is unknown, or a share is not in (0, 1].
    """
    unknown = [kind for kind in kinds if kind not in EDIT_KINDS]
    if unknown:
        raise SteeringError(f"kind {unknown[0]!r} is unknown; expected some of {', '.join(EDIT_KINDS)}")
    if not shares or not all(0 < share <= 1 for share in shares):
        raise SteeringError(f"shares of features are {list(shares)}; expected numbers above 0, up to 1")
    names = {name: _identity(sae) for name, sae in saes.items()}
    found: dict[str, Variant] = {}
    for kind in kinds:
        for share in sorted(shares, reverse=True):
            sites = [_site(spec, saes, kind, share) for spec in recipe.sites]
            kept = tuple(site for site in sites if site is not None)
            if not kept:
                continue
            count = sum(_count(site, spec, saes, share) for spec, site in zip(recipe.sites, sites, strict=True) if site)
            described = [[site.model_dump(), names[site.sae] if site.sae else None] for site in kept]
            key = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:24]
            found.setdefault(key, Variant(number, kind, count, kept, key))
    return list(found.values())


def candidates(
    found: Sequence[Variant],
    recipes: Sequence[Recipe],
    strengths: Sequence[float] = STRENGTHS,
    margins: Sequence[float | None] = GATE_MARGINS,
    gates: Sequence[Gating] = GATINGS,
) -> list[Candidate]:
    """Every variant at every strength, behind every gate that its recipe has.

    Raises:
        SteeringError: a strength is not above 0, a margin is not in [0, 1], or no recipe has any of the gates.
    """
    if not strengths or not all(math.isfinite(s) and s > 0 for s in strengths):
        raise SteeringError(f"strengths are {list(strengths)}; expected numbers above 0")
    if not margins or not all(margin is None or 0 <= margin <= 1 for margin in margins):
        raise SteeringError(f"margins of the clip gate are {list(margins)}; expected shares, from 0 to 1")
    made = []
    for variant in found:
        own = gates_of(recipes[variant.recipe])
        for gate in (gate for gate in gates if gate in own):
            for margin in margins if "clip" in gate else (None,):
                made += [Candidate(variant, float(s), gate, margin) for s in sorted(set(strengths))]
    if not made:
        raise SteeringError(f"there is nothing to try: no recipe has a gate of the kinds {', '.join(gates)}")
    return made


def gates_of(recipe: Recipe) -> list[Gating]:
    """Gates that a recipe allows."""
    own: list[Gating] = ["none"]
    if recipe.gate is not None:
        own.append("clip")
    if recipe.frame_gate is not None and all(site.side == "encoder" for site in recipe.sites):
        own += ["frame", "clip+frame"] if recipe.gate is not None else ["frame"]
    return own


def changes(spec: SiteSpec, saes: Mapping[str, SAE]) -> dict[int, float]:
    """Change of each edited feature's typical activation by the edits of a site, in the SAE's units.

    Without typical activations in the SAE, they count as 1.
    """
    found: dict[int, float] = {}
    if spec.sae is None:
        return found
    sae = saes[spec.sae]
    for edit in spec.build():
        if isinstance(edit, FeatureEdit):
            typical = _typical(sae, edit.features)
            moved = edit.affine(typical)
            change = moved.b if isinstance(edit, Add) else moved(typical) - typical
            for feature, amount in zip(edit.features, change.tolist(), strict=True):
                found[feature] = found.get(feature, 0.0) + amount
    return found


def _ranked(spec: SiteSpec, saes: Mapping[str, SAE], share: float) -> list[int]:
    """Features of a site to keep, by falling |amount| × decoder norm."""
    amounts = changes(spec, saes)
    if not amounts or spec.sae is None:
        return []
    features = list(amounts)
    norms = saes[spec.sae].weights(torch.float64, torch.device("cpu")).W_dec[features].norm(dim=1).tolist()
    size = {feature: abs(amounts[feature]) * norm for feature, norm in zip(features, norms, strict=True)}
    return sorted(features, key=lambda feature: -size[feature])[: _kept(amounts, share)]


def _count(site: SiteSpec, spec: SiteSpec, saes: Mapping[str, SAE], share: float) -> int:
    """Number of features that a rewritten site edits; of a push, the number that is summed in it."""
    named = {feature for edit in site.build() if isinstance(edit, FeatureEdit) for feature in edit.features}
    return len(named) or _kept(changes(spec, saes), share)


def _identity(sae: SAE) -> str:
    tensors = (sae.W_enc, sae.b_enc, sae.W_dec, sae.b_dec, sae.threshold, sae.typical)
    return sha256_of_tensors(tensors, repr((sae.gate, sae.normalisation)))


def _kept(amounts: Mapping[int, float], share: float) -> int:
    return math.ceil(len(amounts) * share)


def _site(spec: SiteSpec, saes: Mapping[str, SAE], kind: str, share: float) -> SiteSpec | None:
    """The site with its edits rewritten; None if no edit is left."""
    kept = _ranked(spec, saes, share)
    if kind == "as written":
        edits = [cut for cut in (_cut(edit, kept, share) for edit in spec.edits) if cut is not None]
        return spec.model_copy(update={"edits": edits}) if edits else None
    built = spec.build()
    if spec.sae is None or not kept or any(edit.window is not None for edit in built):
        return None
    sae, amounts = saes[spec.sae], changes(spec, saes)
    lowered = [feature for feature in kept if amounts[feature] < 0]
    edit: dict[str, Any]
    if kind == "push":
        constant = all(isinstance(each, (Add, Push)) for each in built)
        if constant and spec.error == "keep" and sae.normalisation.kind != "unit_norm":
            return None
        edit = {"kind": "push", "vector": _vector(sae, {feature: amounts[feature] for feature in kept})}
    elif kind == "ablate":
        if not lowered:
            return None
        edit = {"kind": "ablate", "features": lowered}
    elif sae.typical is None:
        return None
    elif kind == "typical":
        signs = [math.copysign(1.0, amounts[feature]) for feature in kept]
        edit = {"kind": "add", "features": kept, "amount": signs, "units": "typical"}
    else:
        if not lowered:
            return None
        high = [round(CLAMPED_TO * value, 6) for value in _typical(sae, lowered).tolist()]
        edit = {"kind": "clamp", "features": lowered, "high": high}
    pushed = [own for own, each in zip(spec.edits, built, strict=True) if isinstance(each, Push) and share == 1]
    return spec.model_copy(update={"edits": [edit, *pushed]})


def _cut(edit: dict[str, Any], kept: Sequence[int], share: float) -> dict[str, Any] | None:
    """The edit with only the kept features; a push is unchanged, or left out where fewer features are wanted."""
    if "features" not in edit:
        return edit if share == 1 else None
    given = edit["features"]
    features = list(given) if isinstance(given, Sequence) else [given]
    chosen = [i for i, feature in enumerate(features) if feature in set(kept)]
    if not chosen:
        return None
    lists = {key: [edit[key][i] for i in chosen] for key in LISTS if isinstance(edit.get(key), Sequence)}
    return {**edit, **lists, "features": [features[i] for i in chosen]}


def _vector(sae: SAE, amounts: Mapping[int, float]) -> list[float]:
    w = sae.weights(torch.float64, torch.device("cpu"))
    vector = torch.tensor(list(amounts.values()), dtype=torch.float64) @ w.W_dec[list(amounts)]
    return [float(f"{value:.7g}") for value in (vector / (w.scale if w.norm == "scalar" else 1.0)).tolist()]


def _typical(sae: SAE, features: Sequence[int]) -> Tensor:
    if sae.typical is None:
        return torch.ones(len(features), dtype=torch.float64)
    return sae.typical.cpu().double()[list(features)]
