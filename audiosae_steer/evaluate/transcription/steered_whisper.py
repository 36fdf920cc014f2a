"""A Whisper that is loaded and steered to transcribe with, on one machine or on many."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from ...errors import SteeringError
from .languages import check_model_language


class SteeredWhisper(NamedTuple):
    """A Whisper, ready to transcribe."""

    model: Any
    """Of either library, steered unless that was not wanted."""
    processor: Any
    """transformers' `WhisperProcessor`; None for models of openai-whisper."""
    recipe: Any
    """The recipe that steers it; None without."""


def load_steered(
    model: str,
    library: Literal["openai", "transformers"] = "openai",
    device: str = "cpu",
    *,
    recipe: str | None = None,
    strength: float | None = None,
    threshold: float | None = None,
    language: str | None = None,
    drops_unheard: bool = False,
) -> SteeredWhisper:
    """Load a Whisper and steer it.

    Args:
        model: as of `load_whisper`.
        library: whose model to load.
        device: where to put it.
        recipe: as of `steer`; None: unsteered.
        strength: of the recipe; None: its own.
        threshold: of its gate; None: its own.
        language: that it has to know; None: any.
        drops_unheard: it has to tell where somebody speaks.

    Raises:
        SteeringError: the model does not know the language, or the recipe does not hear where somebody speaks, though
            it has to.
        ModelError, RecipeError: it cannot be loaded.
    """
    from ...models.load import load_processor, load_whisper
    from ...steering.steering import steer

    loaded = load_whisper(model, library=library, device=device)
    check_model_language(loaded, language)
    processor = load_processor(model) if library == "transformers" else None
    found = None
    if recipe is not None:
        found = steer(loaded, recipe, strength=strength, threshold=threshold).recipe
        if drops_unheard and not (found and (found.timestamp_gate or found.frame_gate)):
            raise SteeringError(
                f"--drop-unheard needs a recipe with a timestamp gate, which {recipe} has not; add --recipe "
                "no-false-speech"
            )
    return SteeredWhisper(loaded, processor, found)
