"""The schema of a recipe's JSON."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PrivateAttr, model_validator

from ...errors import RecipeError, UnpinnedWarning
from ...io.files import write_atomic
from ...models.registry import family_of, fingerprint, unwrap
from ...models.sites import Dims, Site
from ...sae.autoencoder import SAE
from ..edits import Edit, from_spec
from ..gates import LONGEST, ClipGate, FrameGate, TimestampGate
from .fields import MAX_EDITS, MAX_SAES, MAX_SITES, EditSpec, Line, Text, check_edits, finite
from .sae_source import SAESpec, Strict

Features = Annotated[list[int], Field(min_length=1)]
DIGITS = 6
"""Decimals of a fitted gate's numbers."""


class SiteSpec(Strict):
    """The edits at one site."""

    layer: int = Field(ge=1)
    side: Literal["encoder", "decoder"] = "encoder"
    sae: Line | None = None
    error: Literal["keep", "drop"] = "keep"
    steps: Literal["all", "first"] = "all"
    edits: list[EditSpec] = Field(min_length=1, max_length=MAX_EDITS)

    @model_validator(mode="after")
    def _fits_in_memory(self) -> SiteSpec:
        check_edits(self.edits)
        return self

    def build(self) -> list[Edit]:
        """The edits."""
        return [from_spec(spec) for spec in self.edits]


class ProbeSpec(Strict):
    """A gate as a recipe writes it, and the site whose features it reads."""

    layer: int = Field(ge=1)
    side: Literal["encoder", "decoder"] = "encoder"
    sae: Line
    features: Features
    weights: list[float]
    bias: float = 0.0
    threshold: float = 0.0
    calibration: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def of(cls, gate: ClipGate | FrameGate, layer: int, sae: str) -> Self:
        """Its fields from a fitted gate's of the same names, rounded; `sae` is the SAE's name in the recipe."""
        found = {name: value for name, value in vars(gate).items() if name in cls.model_fields}
        found |= {name: round(found[name], DIGITS) for name in ("bias", "threshold")}
        weights = [round(weight, DIGITS) for weight in gate.weights]
        seen = {k: round(v, DIGITS - 1) if isinstance(v, float) else v for k, v in gate.calibration.items()}
        return cls(**{**found, "layer": layer, "sae": sae, "weights": weights, "calibration": seen})

    def _given(self, *more: str) -> dict[str, Any]:
        """Arguments of the gate."""
        names = ("features", "weights", "bias", "threshold", "calibration", *more)
        return {name: getattr(self, name) for name in names}


class GateSpec(ProbeSpec):
    """The clip gate, and the site whose features it reads."""

    pool: Literal["max", "mean", "nonzero_mean"] = "max"

    def build(self) -> ClipGate:
        """The gate."""
        return ClipGate(**self._given("pool"))


class FrameGateSpec(ProbeSpec):
    """The frame gate, and the encoder layer whose features it reads."""

    side: Literal["encoder"] = "encoder"
    reach: float = Field(0.5, ge=0, le=LONGEST)

    def build(self) -> FrameGate:
        """The gate."""
        return FrameGate(**self._given("reach"))


class TimestampGateSpec(FrameGateSpec):
    """The gate whose open frames take no timestamps, and the encoder layer whose features it reads."""

    reach: float = Field(0.2, ge=0, le=LONGEST)
    least_speech: float = Field(0.5, ge=0, le=LONGEST)
    least_gap: float = Field(1.0, ge=0, le=LONGEST)

    def build(self) -> TimestampGate:
        """The gate."""
        return TimestampGate(**self._given("reach", "least_speech", "least_gap"))


class ModelSpec(Strict):
    """The model a recipe was made for."""

    family: Line
    name: Line
    d_model: int
    encoder_layers: int
    decoder_layers: int
    vocabulary: int
    fingerprint: str | None = Field(None, pattern="^[0-9a-f]{64}$")

    @property
    def dims(self) -> Dims:
        """Its sizes."""
        return Dims(self.d_model, self.encoder_layers, self.decoder_layers, self.vocabulary)

    @classmethod
    def of(cls, model: Any, name: str | None = None) -> ModelSpec:
        """Description of `model` for a recipe."""
        inner = unwrap(model)
        family = family_of(inner)
        dims = family.dims(inner)
        known_as = name or f"{family.name} of width {dims.d_model}"
        return cls(family=family.name, name=known_as, **dims._asdict(), fingerprint=fingerprint(inner))


class Recipe(Strict):
    """Edits by site, for one model, with how they were found and measured. Read one with `load_recipe`."""

    schema_version: Literal[1] = Field(1, alias="schema")
    name: Line = Field(min_length=1)
    description: Text = ""
    model: ModelSpec
    saes: dict[Line, SAESpec] = Field(default_factory=dict, max_length=MAX_SAES)
    sites: list[SiteSpec] = Field(min_length=1, max_length=MAX_SITES)
    gate: GateSpec | None = None
    frame_gate: FrameGateSpec | None = None
    timestamp_gate: TimestampGateSpec | None = None
    allow_empty: bool = False
    strength: float = 1.0
    provenance: dict[str, Any] = Field(default_factory=dict)
    measured: dict[str, Any] = Field(default_factory=dict)
    _folder: Path | None = PrivateAttr(None)
    _sha256: str | None = PrivateAttr(None)

    @model_validator(mode="after")
    def _known_saes(self) -> Recipe:
        used = {spec.sae for spec in (*self.sites, *self.gates) if spec.sae}
        missing = sorted(used - set(self.saes))
        if missing:
            raise ValueError(f"the SAE {missing[0]!r} is used but not described under 'saes'")
        return self

    @property
    def gates(self) -> list[GateSpec | FrameGateSpec]:
        """The gates that it has, of all kinds."""
        return [gate for gate in (self.gate, self.frame_gate, self.timestamp_gate) if gate is not None]

    @property
    def folder(self) -> Path | None:
        """The folder with the files that it names, which is where it was read from; None where it was not."""
        return self._folder

    @property
    def sha256(self) -> str | None:
        """Of the file that it was read from; None where it was not."""
        return self._sha256

    def __eq__(self, other: object) -> bool:
        """True of recipes that say the same and name files in the same folder; not of the bytes of their own files."""
        if not isinstance(other, Recipe):
            return NotImplemented
        return self._folder == other._folder and self.model_dump() == other.model_dump()

    def located(self, folder: Path | None, sha256: str | None = None) -> Recipe:
        """The same recipe, with the files that it names in `folder`, read from a file of this sha256."""
        moved = self.model_copy()
        moved._folder, moved._sha256 = folder, sha256
        return moved

    def load_saes(self) -> dict[str, SAE]:
        """Every SAE it uses, by its name in the recipe, checked against its sha256.

        Raises:
            RecipeError, CheckpointError, HubError: one is missing, damaged, another one, or not in the recipe's folder.
        """
        loaded: dict[SAESpec, SAE] = {}
        for spec in self.saes.values():
            if spec not in loaded:
                loaded[spec] = spec.load(self._folder, self.name)
        return {key: loaded[spec] for key, spec in self.saes.items()}

    def misfit(self, model: Any) -> str | None:
        """Reason why this recipe cannot steer `model`; None if it can."""
        inner = unwrap(model)
        family = family_of(inner)
        if family.name != self.model.family:
            return f"it is for the family {self.model.family}, and this model is {family.name}"
        dims = family.dims(inner)
        if dims != self.model.dims:
            pairs = zip(Dims._fields, self.model.dims, dims, strict=True)
            return "; ".join(f"{field} is {theirs}, it needs {own}" for field, own, theirs in pairs if own != theirs)
        return None

    def save(self, path: str | Path) -> None:
        """Write the JSON, atomically. NaN and infinite numbers among what was measured become null.

        Warns if an SAE on the Hub is not pinned to a commit.

        Raises:
            RecipeError: an edit holds such numbers, or it cannot be written there.
        """
        for spec in self.saes.values():
            if not spec.pinned:
                warnings.warn(
                    f"{path} takes an SAE from {spec.repo} at no fixed commit, and may steer otherwise once that "
                    "changes; write a whole commit as its `revision` (`audiosae-steer publish` does so by itself)",
                    UnpinnedWarning,
                    stacklevel=2,
                )
        content = self.model_dump(by_alias=True, exclude_none=True)
        content = {key: value if key == "sites" else finite(value) for key, value in content.items()}
        try:
            text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        except ValueError as error:
            raise RecipeError(f"{self} has edits with NaN or infinite numbers ({error}); JSON has none") from error
        # numbers one a line are no easier to read, and hundreds of them hide the rest; strings are stepped over
        text = re.sub(
            r'"(?:[^"\\]|\\.)*"|\[([^\[\]{}"]*)\]',
            lambda found: found[0] if found[1] is None else "[" + " ".join(found[1].split()) + "]",
            text,
        )
        write_atomic(path, text, RecipeError)

    def __str__(self) -> str:
        return f"recipe {self.name} for {self.model.name}"

    def __repr__(self) -> str:  # thousands of numbers otherwise
        return f"<{self}>"


def site_of(spec: SiteSpec | GateSpec | FrameGateSpec) -> Site:
    """The site that a part of a recipe names."""
    return Site(spec.layer, spec.side)
