"""Settings of an index, and the digest of all that its content depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ...errors import SteeringError

FORMAT = 1
"""Version of the partial indices' files."""
CHUNK = 32
"""Clips after which a build is saved."""


@dataclass(frozen=True, kw_only=True)
class IndexSettings:
    """Settings of an index.

    Raises:
        SteeringError: a number is below what makes sense.
    """

    top: int = 20
    """Best clips of a feature that are kept."""
    each: int = 5
    """Clips of a feature of every other kind: at 90, 75 and 50 % of its peak, just above the threshold, near misses."""
    sounds: bool = True
    """Keep the clips' sound in the index; without, pictures and timings alone."""
    transcribe: bool = False
    """Let the model write a transcript of clips that have none."""
    neighbours: int = 16
    """Neighbours of each kind of a feature."""
    effects: int = 0
    """Features of a layer whose effect on the text is measured, those that fire most often first."""
    effect_clips: int = 2
    """Top clips of a feature that its effect is measured on."""

    def __post_init__(self) -> None:
        least = {"top": 1, "each": 0, "neighbours": 0, "effects": 0, "effect_clips": 1}
        for name, value in least.items():
            if getattr(self, name) < value:
                raise SteeringError(f"{name} is {getattr(self, name)}; expected {value} or more")

    @property
    def of_parts(self) -> dict[str, Any]:
        """The settings that partial indices depend on; the others are of what is found at the end."""
        return {name: getattr(self, name) for name in ("top", "each", "sounds", "transcribe")}


@dataclass(frozen=True, kw_only=True)
class LayerFacts:
    """A layer of an index."""

    layer: int
    """Its number in the index: the layer's, counted from 1."""
    site: str
    """The site, in words."""
    sae: dict[str, Any]
    """Its SAE, as a recipe names it."""
    sae_sha256: str
    """sha256 of the SAE's file."""
    features: int
    """Number of features."""
    width: int
    """d_model."""
    rate: float
    """Frames per second."""


@dataclass(frozen=True, kw_only=True)
class IndexFacts:
    """Origin of an index: partial indices merge if they have the same."""

    model: str
    """The model's name, as it was given."""
    library: str
    """Whose model it is: openai, or transformers."""
    family: str
    """Its family."""
    weights: str
    """Fingerprint of its weights; empty where there is none."""
    layers: tuple[LayerFacts, ...]
    """Layers, by number."""
    settings: dict[str, Any]
    """Settings that partial indices depend on."""

    def __post_init__(self) -> None:
        numbers = [each.layer for each in self.layers]
        if not numbers or len(set(numbers)) < len(numbers):
            raise SteeringError(f"an index needs one SAE for each of its layers, at least one, and has {numbers}")
        large = [each for each in self.layers if each.features > 65536]
        if large:
            raise SteeringError(
                f"the SAE of layer {large[0].layer} has {large[0].features} features; an index takes up to 65,536"
            )

    def to_json(self) -> dict[str, Any]:
        """The facts as plain JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> IndexFacts:
        """Facts from JSON. TypeError, KeyError: it is of another kind."""
        layers = tuple(LayerFacts(**each) for each in content["layers"])
        return cls(**{**content, "layers": layers})


def digest_of(facts: IndexFacts, marks: Sequence[str]) -> str:
    """sha256, in hex, of what the partial indices of a build depend on.

    Args:
        facts: the index's.
        marks: digest of every clip, in order.
    """
    content = json.dumps([FORMAT, facts.to_json(), list(marks)], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(content.encode()).hexdigest()
