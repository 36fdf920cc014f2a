"""Limits on an untrusted recipe: its texts, its numbers, and the files beside it."""

from __future__ import annotations

import math
import re
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import AfterValidator

from ...errors import RecipeError, is_one_line, printable
from ...io.files import stays_inside
from ..edits import features_of, from_spec

MAX_SAES, MAX_SITES, MAX_EDITS = 64, 128, 256
MAX_MAPS = 4_000_000
"""Edits of a site times the features they name: the plan's memory is in proportion."""


def _line(text: str) -> str:
    if len(text) > 200 or not is_one_line(text):
        raise ValueError("expected one line of at most 200 characters, none of them a control character")
    return text


def _text(text: str) -> str:
    if printable(text, None) != text:
        raise ValueError("expected text without control characters")
    return text


def _buildable(spec: dict[str, Any]) -> dict[str, Any]:
    from_spec(spec)
    return spec


def _inside(file: str) -> str:
    path = PurePosixPath(file)
    if path.is_absolute() or ".." in path.parts or set(file) & set("\\:"):
        raise ValueError(f"{file!r} leaves the recipe's folder; name a file beside it")
    return file


def _on_hub(name: str) -> str:
    # the Hub's client makes paths in its cache of repositories and of revisions
    if ".." in name or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_./-]*", name):
        raise ValueError(f"{name!r} is no name on the Hub; expected user/repo, or a branch, tag or commit")
    return name


Line = Annotated[str, AfterValidator(_line)]
Text = Annotated[str, AfterValidator(_text)]
FileName = Annotated[str, AfterValidator(_line), AfterValidator(_inside)]
"""Of a file in the recipe's folder, or below it, on any system."""
HubName = Annotated[str, AfterValidator(_line), AfterValidator(_on_hub)]
"""Of a repository, or of a branch, tag or commit."""
EditSpec = Annotated[dict[str, Any], AfterValidator(_buildable)]


def check_edits(specs: list[dict[str, Any]]) -> None:
    """Refuse edits that are small to write and large to run.

    Raises:
        ValueError: says how many there are.
    """
    edits = [from_spec(spec) for spec in specs]
    named = features_of(edits)
    if len(named) * len(edits) > MAX_MAPS:
        raise ValueError(f"{len(edits)} edits of {len(named)} features are too many; name fewer in each")


def beside(folder: Path, name: str, recipe: str) -> Path:
    """The file `name` in a recipe's folder.

    Raises:
        RecipeError: it is not there, or is a link to somewhere else.
    """
    path = folder / name
    try:
        if not path.is_file():
            raise RecipeError(f"recipe {recipe!r} needs {path}, which is not there; copy the SAE beside the recipe")
        if not stays_inside(folder, path):
            raise RecipeError(f"{path} is a link that leaves the recipe's folder; put the SAE itself there")
    except (OSError, RuntimeError) as error:
        raise RecipeError(f"recipe {recipe!r} names {name!r}, which cannot be read ({error})") from error
    return path


def finite(content: Any) -> Any:
    """`content`, to be written as JSON, with None for numbers that are not finite: JSON has no others."""
    if isinstance(content, dict):
        return {key: finite(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
