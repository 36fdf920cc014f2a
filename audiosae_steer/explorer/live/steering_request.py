"""A request to steer, read from untrusted JSON: a clip, edits of features, recipes with their strengths."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from ...errors import EditError, SteeringError
from ...io import strict_json
from ...steering.edits import Edit, from_spec

MOST_EDITS = 64
MOST_RECIPES = 8
MOST_CLIPS = 500
LARGEST = 1e6
"""Of any number in a request."""
LARGEST_NUMBER = 1 << 31
"""Of a clip, layer or feature."""
KINDS: dict[str, tuple[str, ...]] = {
    "ablate": (),
    "scale": ("factor",),
    "clamp": ("low", "high"),
    "set": ("value",),
    "add": ("amount",),
}
"""Edits that can be asked for, each with its numbers."""
RATINGS = ("better", "same", "worse")
Verdict = Literal["better", "same", "worse", ""]


class ClipRef(NamedTuple):
    """A clip of the index by its number, or one of the user's own by its name in the store."""

    number: int | None = None
    own: str | None = None

    @property
    def key(self) -> str:
        """Different for different clips."""
        return f"clip {self.number}" if self.own is None else f"own {self.own}"


class FeatureWish(NamedTuple):
    """One edit of one feature."""

    layer: int
    spec: Mapping[str, Any]
    """As a recipe writes it."""

    @property
    def edit(self) -> Edit:
        """The edit."""
        return from_spec(dict(self.spec))


class RecipeWish(NamedTuple):
    """A shipped recipe at a strength."""

    name: str
    strength: float


class JudgedClip(NamedTuple):
    """A clip that edits were judged on, by name."""

    name: str
    rating: Verdict


class SteeringRequest(NamedTuple):
    """Everything that is to be done to a clip."""

    clip: ClipRef
    edits: tuple[FeatureWish, ...] = ()
    recipes: tuple[RecipeWish, ...] = ()
    strength: float = 1.0
    """Of the edits."""
    gate_of: str | None = None
    """Recipe whose gates open and shut the edits."""
    allow_empty: bool = False
    timestamps: bool = True


def parse_content(body: bytes) -> dict[str, Any]:
    """A JSON object. SteeringError: it is none."""
    try:
        content = strict_json.parse(body)
    except (ValueError, RecursionError) as error:
        raise SteeringError(f"the request is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise SteeringError("the request is not a JSON object")
    return content


def session_of(content: Mapping[str, Any]) -> str:
    """Name of the page that asks, which newer requests share. SteeringError: it has none."""
    session = content.get("session")
    if not isinstance(session, str) or not re.fullmatch(r"[A-Za-z0-9_-]{8,64}", session):
        raise SteeringError("the request does not say which page it comes from: session takes 8 to 64 letters")
    return session


def clip_of(content: Mapping[str, Any]) -> ClipRef:
    """The clip that a request names.

    Raises:
        SteeringError: it names none, or both kinds.
    """
    number, own = content.get("clip"), content.get("own")
    if own is None and isinstance(number, int) and not isinstance(number, bool) and 0 <= number <= LARGEST_NUMBER:
        return ClipRef(number=number)
    if number is None and isinstance(own, str) and re.fullmatch(r"[A-Za-z0-9_-]{1,64}", own):
        return ClipRef(own=own)
    raise SteeringError("the request names no clip: expected a clip of the index, by number, or an own one")


def request_of(content: Mapping[str, Any], clip: ClipRef | None = None) -> SteeringRequest:
    """The request that untrusted JSON makes.

    Raises:
        SteeringError, EditError: it makes none; says what is wrong with which part.
    """
    gate = content.get("gate")
    if gate is not None and not isinstance(gate, str):
        raise SteeringError("gate is the name of a recipe, or nothing")
    return SteeringRequest(
        clip=clip_of(content) if clip is None else clip,
        edits=tuple(_wish(each) for each in _listed(content, "edits", MOST_EDITS)),
        recipes=tuple(_recipe(each) for each in _listed(content, "recipes", MOST_RECIPES)),
        strength=_number(content.get("strength", 1.0), "strength"),
        gate_of=gate or None,
        allow_empty=_flag(content, "allow_empty", False),
        timestamps=_flag(content, "timestamps", True),
    )


def judged_of(content: Mapping[str, Any]) -> tuple[JudgedClip, ...]:
    """The clips that edits were judged on.

    Raises:
        SteeringError: they are not names with ratings.
    """
    found = []
    for each in _listed(content, "judged", MOST_CLIPS):
        name: Any = each.get("name")
        rating: Any = each.get("rating") or ""
        if not isinstance(name, str) or not name.strip() or rating not in (*RATINGS, ""):
            raise SteeringError(f"a clip that was judged has a name, and a rating of {', '.join(RATINGS)}")
        found.append(JudgedClip(" ".join(name.split())[:120], rating))
    return tuple(found)


def _listed(content: Mapping[str, Any], name: str, most: int) -> Sequence[Mapping[str, Any]]:
    given = content.get(name, [])
    if not isinstance(given, list) or not all(isinstance(each, dict) for each in given):
        raise SteeringError(f"{name} is a list of objects")
    if len(given) > most:
        raise SteeringError(f"{len(given)} {name} are more than the {most} that can be asked for at once")
    return given


def _wish(given: Mapping[str, Any]) -> FeatureWish:
    kind, layer, feature = given.get("kind"), given.get("layer"), given.get("feature")
    if not isinstance(kind, str) or kind not in KINDS:
        raise EditError(f"edit kind {kind!r} is unknown; expected one of {', '.join(KINDS)}")
    for name, value in (("layer", layer), ("feature", feature)):
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LARGEST_NUMBER:
            raise EditError(f"{kind}: {name} is a whole number, 0 or more, not {value!r}")
    spec: dict[str, Any] = {"kind": kind, "features": [feature]}
    for name in KINDS[kind]:
        if given.get(name) is not None:
            spec[name] = _number(given[name], f"{kind} of feature {feature}: {name}")
    if kind not in ("ablate", "clamp") and not set(KINDS[kind]) <= set(spec):
        raise EditError(f"{kind} of feature {feature} needs its {KINDS[kind][0]}")
    if kind == "set" and _flag(given, "only_active", False):
        spec["only_active"] = True
    if kind == "add":
        units = given.get("units", "raw")
        spec["units"] = units
    window = given.get("window")
    if window is not None:
        if not isinstance(window, list) or len(window) != 2:
            raise EditError(f"{kind} of feature {feature}: a window is two numbers, in seconds")
        spec["window"] = [_number(edge, "window") for edge in window]
    from_spec(dict(spec))
    assert isinstance(layer, int)
    return FeatureWish(layer, spec)


def _recipe(given: Mapping[str, Any]) -> RecipeWish:
    name = given.get("name")
    if not isinstance(name, str) or not name or len(name) > 200:
        raise SteeringError("a recipe is asked for by its name")
    return RecipeWish(name, _number(given.get("strength", 1.0), f"strength of {name}"))


def _number(value: Any, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise EditError(f"{what} is {value!r}; expected a number")
    if not math.isfinite(value) or abs(value) > LARGEST:
        raise EditError(f"{what} is {value}; expected a number from −{LARGEST:g} to {LARGEST:g}")
    return float(value)


def _flag(content: Mapping[str, Any], name: str, usual: bool) -> bool:
    value = content.get(name, usual)
    if not isinstance(value, bool):
        raise SteeringError(f"{name} is true or false, not {value!r}")
    return value
