"""Recipes: one JSON file that says what to edit where, in which model, and how that was found and measured."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr, ValidationError, model_validator

from . import strict_json
from .clip_gate import ClipGate
from .edits import Edit, from_spec
from .errors import RecipeError, RecipeNotFoundError, UnpinnedWarning
from .files import write_whole
from .frame_gate import LONGEST, FrameGate
from .paths import local
from .recipe_checks import (
    MAX_EDITS,
    MAX_SAES,
    MAX_SITES,
    EditSpec,
    Line,
    Text,
    check_edits,
    finite,
)
from .sae import SAE
from .sae_spec import SAESpec, Strict
from .sites import Dims, Site, family_of, fingerprint, unwrap

MAX_BYTES = 8_000_000
Features = Annotated[list[int], Field(min_length=1)]


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


class GateSpec(Strict):
    """The clip gate, and the site whose features it reads."""

    layer: int = Field(ge=1)
    side: Literal["encoder", "decoder"] = "encoder"
    sae: Line
    features: Features
    weights: list[float]
    bias: float = 0.0
    threshold: float = 0.0
    pool: Literal["max", "mean", "nonzero_mean"] = "max"
    calibration: dict[str, Any] = Field(default_factory=dict)

    def build(self) -> ClipGate:
        """The gate."""
        return ClipGate(
            tuple(self.features), tuple(self.weights), self.bias, self.threshold, self.pool, self.calibration
        )


class FrameGateSpec(Strict):
    """The frame gate, and the encoder layer whose features it reads."""

    layer: int = Field(ge=1)
    side: Literal["encoder"] = "encoder"
    sae: Line
    features: Features
    weights: list[float]
    bias: float = 0.0
    threshold: float = 0.0
    reach: float = Field(0.5, ge=0, le=LONGEST)
    calibration: dict[str, Any] = Field(default_factory=dict)

    def build(self) -> FrameGate:
        """The gate."""
        return FrameGate(
            tuple(self.features), tuple(self.weights), self.bias, self.threshold, self.reach, self.calibration
        )


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
        """What a recipe for `model` says of it."""
        inner = unwrap(model)
        family = family_of(inner)
        dims = family.dims(inner)
        known_as = name or f"{family.name} of width {dims.d_model}"
        return cls(family=family.name, name=known_as, **dims._asdict(), fingerprint=fingerprint(inner))


class Recipe(Strict):
    """What to edit where, in which model, and how it was found and measured. Read one with `load_recipe`."""

    schema_version: Literal[1] = Field(1, alias="schema")
    name: Line = Field(min_length=1)
    description: Text = ""
    model: ModelSpec
    saes: dict[Line, SAESpec] = Field(default_factory=dict, max_length=MAX_SAES)
    sites: list[SiteSpec] = Field(min_length=1, max_length=MAX_SITES)
    gate: GateSpec | None = None
    frame_gate: FrameGateSpec | None = None
    allow_empty: bool = False
    strength: float = 1.0
    provenance: dict[str, Any] = Field(default_factory=dict)
    measured: dict[str, Any] = Field(default_factory=dict)
    _folder: Path | None = PrivateAttr(None)

    @model_validator(mode="after")
    def _known_saes(self) -> Recipe:
        gates = [gate for gate in (self.gate, self.frame_gate) if gate is not None]
        used = {spec.sae for spec in (*self.sites, *gates) if spec.sae}
        missing = sorted(used - set(self.saes))
        if missing:
            raise ValueError(f"the SAE {missing[0]!r} is used but not described under 'saes'")
        return self

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
        """Why this recipe cannot steer `model`, or None if it can."""
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
        """Write the JSON; whole or not at all. NaN and infinite numbers among what was measured become null.

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
        write_whole(path, text, RecipeError)

    def __str__(self) -> str:
        return f"recipe {self.name} for {self.model.name}"

    def __repr__(self) -> str:  # thousands of numbers otherwise
        return f"<{self}>"


def checkpoints_dir() -> Path:
    """The folder that ships with the package: inside it in a wheel, beside it in a source tree."""
    inside = Path(__file__).parent / "checkpoints"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "checkpoints"


def shipped() -> Iterator[Recipe]:
    """Every recipe that ships with the package."""
    for path in sorted(checkpoints_dir().glob("*/*.json")):
        if path.name != "clips.json":
            yield _read(path)


def recipes(model: Any) -> list[Recipe]:
    """The shipped recipes that fit `model`."""
    return [recipe for recipe in shipped() if recipe.misfit(model) is None]


def load_recipe(source: str | Path | Recipe, model: Any = None, *, revision: str | None = None) -> Recipe:
    """A recipe by path, by name, or from the Hub.

    Args:
        source: a path to a JSON file or a folder with `recipe.json`; the name of a shipped recipe; "user/repo" on the
            Hub; or "user/repo@revision".
        model: with a name, the model it has to fit. Without one the name must belong to a single model.
        revision: branch, tag or commit of a repository on the Hub.

    Raises:
        RecipeNotFoundError: there is no such recipe for this model; says which exist and how to make one.
        RecipeError: the file is not a recipe, or cannot be read.
    """
    if isinstance(source, Recipe):
        return source
    path = local(source, RecipeError)
    if path.is_dir():
        path = local(path / "recipe.json", RecipeError)
    if path.is_file():
        return _read(path)
    name = str(source)
    if isinstance(source, Path) or name.endswith(".json"):
        raise RecipeNotFoundError(f"there is no recipe file at {source}; check the path")
    if on_hub := re.fullmatch(r"([^/@\s]+/[^/@\s]+)(?:@(\S+))?", name):
        if revision is not None and on_hub[2] not in (None, revision):
            raise RecipeError(f"{name} names one revision and revision={revision!r} another; name one")
        return _from_hub(on_hub[1], revision or on_hub[2])
    named = [recipe for recipe in shipped() if recipe.name == name]
    fitting = named if model is None else [recipe for recipe in named if recipe.misfit(model) is None]
    if len(fitting) == 1:
        return fitting[0]
    raise RecipeNotFoundError(_advice(name, model, fitting))


def _advice(name: str, model: Any, fitting: list[Recipe]) -> str:
    known = [f"{recipe.name} for {recipe.model.name}" for recipe in shipped()]
    listed = "\n".join(f"  {line}" for line in known) or "  (none)"
    if len(fitting) > 1:
        return f"several recipes are called {name!r}; say for which model:\n{listed}"
    what = f"no recipe {name!r}"
    if model is not None:
        inner = unwrap(model)
        dims = family_of(inner).dims(inner)
        sizes = ", ".join(f"{field} {value}" for field, value in zip(Dims._fields, dims, strict=True))
        what += f" fits this {type(inner).__name__} ({sizes})"
    return (
        f"{what}. Recipes that ship with the package:\n{listed}\n"
        "A recipe holds for one model only. To make one for yours, from clips with and without speech:\n"
        "  audiosae-steer make no-false-speech --model M --absent DIR --present DIR --out OUT\n"
        "Then pass its path, or a Hub id, in place of the name."
    )


def _from_hub(repo: str, revision: str | None) -> Recipe:
    from .errors import HubError
    from .formats.sharded import parts_of
    from .hub import Listing, fetch

    found = fetch(repo, ["recipe.json"], revision, limit=MAX_BYTES)
    recipe = _read(found.folder / "recipe.json")
    # of the rest only what it names: a repository may hold much else
    files = [spec.file for spec in recipe.saes.values() if spec.file is not None]

    def named(listed: Listing) -> list[str]:
        missing = [file for file in files if file not in listed.files]
        if missing:
            where = "it does not hold" if listed.online else "is not in this machine's cache; connect once to fetch it"
            raise HubError(f"the recipe of {repo} needs {missing[0]}, which {where}")
        return [*files, *(part for file in files for part in parts_of(file, listed.files))]

    if files:
        fetch(repo, named, found.commit)
    return recipe


def _read(path: Path) -> Recipe:
    if not path.is_file():
        raise RecipeNotFoundError(f"there is no recipe file at {path}; a recipe's folder holds recipe.json")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise RecipeError(
                f"{path} is larger than {MAX_BYTES / 1e6:.0f} MB, which no recipe is; is it the right file?"
            )
        recipe = Recipe.model_validate(strict_json.parse(path.read_bytes()))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise RecipeError(f"{path} is not a recipe of schema 1: {where}: {first['msg']}") from error
    except (OSError, ValueError) as error:
        raise RecipeError(f"{path} is not a recipe: it does not hold valid JSON ({error})") from error
    recipe._folder = path.parent
    return recipe


def site_of(spec: SiteSpec | GateSpec | FrameGateSpec) -> Site:
    """The site that a part of a recipe names."""
    return Site(spec.layer, spec.side)
