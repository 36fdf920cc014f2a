"""Recipes that discovery writes: file, names, cache and provenance."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import SteeringError
from ..models.load import load_whisper


@dataclass(frozen=True, kw_only=True)
class RecipeOutput:
    """Recipe to write.

    Raises:
        SteeringError: the path does not end in .json.
    """

    path: Path
    """Recipe to write, .json; the SAE and other files come beside it."""
    name: str | None = None
    """Name of the recipe; None takes that of the file."""
    model_name: str | None = None
    """Name of the model in the recipe; None takes that of the folder or file that the model is loaded from."""
    cache: Path | None = None
    """Folder for what can be used again, so that an interrupted run resumes; None takes one beside the recipe."""
    command: str | None = None
    """Command line, for the recipe's provenance."""

    def __post_init__(self) -> None:
        if self.path.suffix != ".json":
            raise SteeringError(f"{self.path.name} does not end in .json; give the recipe's file, such as recipe.json")

    @classmethod
    def of(cls, out: str | Path | RecipeOutput) -> RecipeOutput:
        """The output itself, or that of a path alone."""
        return out if isinstance(out, RecipeOutput) else cls(path=Path(out))

    @property
    def title(self) -> str:
        """Name of the recipe."""
        return self.name or self.path.stem

    @property
    def cache_folder(self) -> Path:
        """Folder for what can be used again."""
        return self.path.parent / f"{self.path.stem}-cache" if self.cache is None else self.cache

    def load_model(self, model: Any) -> tuple[Any, RecipeOutput]:
        """The model, loaded if it is given by name or path, and this output with the model's name."""
        if not isinstance(model, (str, Path)):
            return model, self
        return load_whisper(model), replace(self, model_name=self.model_name or Path(model).name)
