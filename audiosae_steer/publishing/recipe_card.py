"""Card of a recipe that is published, written from the recipe's own content alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..data.datasets import parse
from ..errors import HubError
from ..models.load import NAMES
from ..steering.recipes.load import succeeded
from ..steering.recipes.sae_source import SAESpec
from ..steering.recipes.schema import Recipe
from .card import LEARNED, TAG, dataset_ids, edits_in_words, false_speech_limits, licence_lines, partition_table, render
from .measured_table import ON_TEST, measured_table, recorded_rows

PIPELINES = {
    "whisper": "automatic-speech-recognition",
    "ast": "audio-classification",
    "encodec": "audio-to-audio",
    "wavtokenizer": "audio-to-audio",
    "diffrhythm": "text-to-audio",
}
"""The Hub's name for the task of a family; the others only give features."""
Rows = list[tuple[tuple[str, ...], dict[str, Any]]]
"""Innermost mappings of a record, each with its path."""


def recipe_card(recipe: Recipe, repo: str, *, base: str | None, licence: str) -> str:
    """The card's text, front matter first.

    Args:
        recipe: the recipe in its published form.
        repo: repository on the Hub, "user/repo".
        base: the model's id on the Hub.
        licence: licence of the recipe and the SAEs beside it, as the Hub names it.

    Raises:
        HubError: the Hub's client would not read the front matter back.
    """
    sources = sources_of(recipe.provenance)
    tags = [TAG, recipe.model.family, recipe.model.name, "recipe", "steering"]
    if recipe.saes:
        tags.append("sparse-autoencoder")
    header = {
        "library_name": TAG,
        "pipeline_tag": PIPELINES.get(recipe.model.family, "feature-extraction"),
        "license": licence,
        "base_model": base,
        "tags": list(dict.fromkeys(tags)),
        "datasets": dataset_ids(sources),
    }
    false_speech = recipe.model.family == "whisper" and recipe.allow_empty
    data = recipe.provenance.get("data")
    return render(
        "recipe_card",
        header,
        recipe=recipe,
        repo=repo,
        load="load_whisper" if recipe.model.family == "whisper" else "load_model",
        known=recipe.model.name if recipe.model.name in NAMES else base,
        edits=_edits(recipe),
        saes=[
            f"| `{name}` | {_origin(spec)} | `{spec.sha256 or 'not recorded'}` |" for name, spec in recipe.saes.items()
        ],
        origin=_provenance(recipe.provenance),
        measured=_measured(recipe),
        limits=false_speech_limits(recipe) if false_speech else None,
        licence=licence,
        data=_one_line(data) if isinstance(data, str) else None,
        licences=licence_lines(sources),
    )


def sources_of(provenance: Mapping[str, Any]) -> list[str]:
    """Sources of clips anywhere in a recipe's provenance, each once."""
    found: dict[str, None] = {}
    for _, row in _rows(provenance):
        names = row.get("sources")
        for name in names if isinstance(names, (list, tuple)) else ():
            if isinstance(name, str) and _readable(name):
                found[name] = None
    return list(found)


def _readable(source: str) -> bool:
    try:
        parse(source)
    except HubError:
        return False  # begins like a data set's name, and is not a valid one
    return True


def _edits(recipe: Recipe) -> str:
    """Edits of a recipe as a sentence without its full stop: learned constants in words, others site by site."""
    if "learned" in recipe.provenance:
        return edits_in_words(recipe)
    parts = []
    for site in recipe.sites:
        kinds: dict[str, int] = {}
        for edit in site.edits:
            kinds[str(edit["kind"])] = kinds.get(str(edit["kind"]), 0) + len(edit.get("features", ()))
        words = ", ".join(f"`{kind}`" + (f" of {count} features" if count else "") for kind, count in kinds.items())
        parts.append(f"{words} at {site.side} layer {site.layer}")
    return "Edits: " + "; ".join(parts)


def _origin(spec: SAESpec) -> str:
    if spec.file is not None:
        return f"`{spec.file}` beside the recipe"
    layer = "" if spec.layer is None else f", layer {spec.layer}"
    repo = "/".join(str(spec.repo).split("/")[:2])  # without the folder in it
    return f"[{spec.repo}](https://huggingface.co/{repo}) at commit `{spec.revision}`{layer}"


def _provenance(found: Mapping[str, Any]) -> str:
    """Provenance of a recipe: its command, its clips, and the rest as a listing."""
    if not found:
        return "The recipe does not say: it was written by hand."
    parts = []
    if isinstance(found.get("command"), str):
        parts.append(f"```sh\n{_one_line(found['command'])}\n```")
        if note := succeeded(found):
            parts.append(f"{note}.")
    if "learned" in found:
        parts.append(f"The amounts were {LEARNED}")
    dealt = found.get("dealt")
    if isinstance(dealt, Mapping):
        try:
            parts.append(partition_table(dealt))
        except (KeyError, TypeError, AttributeError):
            dealt = None  # another thing of that name, listed with the rest
    rest = {key: value for key, value in found.items() if key != "command" and not (key == "dealt" and dealt)}
    lines = [f"{' '.join(path)}: {_value(row)}".removeprefix(": ") for path, row in _rows(rest)]
    if lines:
        parts.append("As the recipe records it:\n\n```\n" + "\n".join(lines).replace("```", "'''") + "\n```")
    return "\n\n".join(parts)


def _measured(recipe: Recipe) -> str:
    """Figures of a recipe, as tables; those of `make`'s test as in its own card."""
    if not recipe.measured:
        return "Nothing was measured. Try it on clips of your own before you rely on it: `audiosae-steer bench --help`."
    parts = []
    rest = dict(recipe.measured)
    tested = recorded_rows(rest.get("test"))
    if tested is not None:
        del rest["test"]
        bare = "the edits without gates"
        parts += [ON_TEST, *(measured_table(mode, rows, recipe, bare) for mode, rows in tested.items())]
    return "\n\n".join([*parts, *(_table(key, _rows({key: value})) for key, value in rest.items())])


def _rows(content: Mapping[str, Any], path: tuple[str, ...] = ()) -> Rows:
    """Innermost mappings of nested ones, each with its path."""
    plain = {str(key): value for key, value in content.items() if not isinstance(value, Mapping)}
    rows: Rows = [(path, plain)] if plain else []
    for key, value in content.items():
        if isinstance(value, Mapping):
            rows += _rows(value, (*path, str(key)))
    return rows


def _table(title: str, rows: Rows) -> str:
    """Figures of a record, in a table for each set of columns."""
    groups: dict[tuple[str, ...], Rows] = {}
    for path, row in rows:
        groups.setdefault(tuple(row), []).append((path, row))
    parts = [f"As the recipe records it under `{_one_line(title)}`:"]
    for columns, group in groups.items():
        lines = ["| | " + " | ".join(_cell(column.replace("_", " ")) for column in columns) + " |"]
        lines.append("|---" * (len(columns) + 1) + "|")
        for path, row in group:
            cells = [", ".join(path[1:]), *(_figure(row[column]) for column in columns)]
            lines.append("| " + " | ".join(map(_cell, cells)) + " |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _figure(value: Any) -> str:
    """A value in words; a share or a figure with its interval is recognised by the form in which records have it."""
    numbers = isinstance(value, (list, tuple)) and all(isinstance(part, (int, float)) for part in value)
    if numbers and len(value) == 4 and value[0] <= value[1] and 0 <= value[2] <= value[3] <= 1:
        return f"{value[0]} of {value[1]} [{value[2]:.1%}, {value[3]:.1%}]"
    if numbers and len(value) == 3 and value[1] <= value[0] <= value[2]:
        return f"{_value(value[0])} [{_value(value[1])}, {_value(value[2])}]"
    return _value(value)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_value(part)}" for key, part in value.items())
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_value, value[:8])) + (", …" if len(value) > 8 else "") + "]"
    return _one_line(str(value))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
