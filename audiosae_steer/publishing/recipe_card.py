"""The model card of a recipe that is published: from what the recipe itself says, and no more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..data.datasets import parse
from ..errors import HubError
from ..evaluate.benchmark.report import MODES
from ..evaluate.metrics.rates import Share, share
from ..evaluate.metrics.wer import Difference
from ..models.load import NAMES
from ..steering.recipes.schema import Recipe
from .card import LEARNED, ON_TEST, MeasuredRow, data_and_licences, dealt_table, edited, front, limits, measured_table

TAG = "audiosae-steer"
"""On everything of ours on the Hub."""
PIPELINES = {
    "whisper": "automatic-speech-recognition",
    "ast": "audio-classification",
    "encodec": "audio-to-audio",
    "diffrhythm": "text-to-audio",
}
"""The Hub's name for what a family does; the others only give features."""
Rows = list[tuple[tuple[str, ...], dict[str, Any]]]


def recipe_card(recipe: Recipe, repo: str, *, base: str | None, licence: str) -> str:
    """The card's text, front matter first.

    Args:
        recipe: as it is published.
        repo: where: "user/repo".
        base: the model's id on the Hub.
        licence: of the recipe and the SAEs beside it, as the Hub names it.
    """
    sources = sources_of(recipe.provenance)
    tags = [TAG, recipe.model.family, recipe.model.name, "recipe", "steering"]
    if recipe.saes:
        tags.append("sparse-autoencoder")
    head = front(
        base,
        sources,
        tags=dict.fromkeys(tags),
        pipeline_tag=PIPELINES.get(recipe.model.family, "feature-extraction"),
        license=licence,
    )
    parts = [
        head,
        f"# {recipe.name} for {recipe.model.name}",
        f"{recipe.description or 'A steering recipe.'}\n\nA recipe of "
        "[audiosae-steer](https://pypi.org/project/audiosae-steer/), which steers audio models while they run.",
        "## Use it\n\n" + _use(recipe, repo, base),
        "## What it does\n\n" + _what(recipe),
        "## How it was found\n\n" + _how(recipe),
        "## Measured\n\n" + _measured(recipe),
        "## Limits\n\n" + _limits(recipe),
        "## Data and licences\n\n" + _data(recipe, sources, licence),
    ]
    return "\n\n".join(parts) + "\n"


def sources_of(provenance: Mapping[str, Any]) -> list[str]:
    """Where the clips came from, wherever in a recipe's provenance that is said, each once."""
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
        return False  # it begins like a data set's name and is none
    return True


def _use(recipe: Recipe, repo: str, base: str | None) -> str:
    known = recipe.model.name if recipe.model.name in NAMES else base
    whisper = recipe.model.family == "whisper"
    load = "load_whisper" if whisper else "load_model"
    after = "  # model.transcribe() works as before" if whisper else ""
    lines = [
        "```python",
        "import audiosae_steer",
        "",
        f'model = audiosae_steer.{load}("{known}")' if known else f"model = ...  # {recipe.model.name}, as you have it",
        f'audiosae_steer.steer(model, "{repo}"){after}',
        "```",
    ]
    return "\n".join(lines)


def _what(recipe: Recipe) -> str:
    lines = [f"{edited_in_words(recipe)}."]
    if recipe.gate is not None:
        lines.append(
            f"A clip gate on {len(recipe.gate.features)} features of {recipe.gate.side} layer {recipe.gate.layer} "
            "decides for each clip whether they apply."
        )
    if recipe.frame_gate is not None:
        lines.append(
            f"A frame gate on {len(recipe.frame_gate.features)} features of encoder layer {recipe.frame_gate.layer} "
            "decides so for each frame."
        )
    if recipe.allow_empty:
        lines.append("The model may then write an empty text, which Whisper's decoding forbids in some modes.")
    lines.append(f"Strength {recipe.strength:g}.")
    rows = [f"| `{name}` | {_origin(spec)} | `{spec.sha256 or 'not recorded'}` |" for name, spec in recipe.saes.items()]
    table = ["", "| SAE | where | sha256 |", "|---|---|---|", *rows] if rows else []
    return " ".join(lines) + "\n".join(["", *table] if table else [])


def edited_in_words(recipe: Recipe) -> str:
    """What a recipe edits: in the words of those that are learned, or site by site."""
    if "learned" in recipe.provenance:
        return edited(recipe)
    parts = []
    for site in recipe.sites:
        kinds: dict[str, int] = {}
        for edit in site.edits:
            kinds[str(edit["kind"])] = kinds.get(str(edit["kind"]), 0) + len(edit.get("features", ()))
        said = ", ".join(f"`{kind}`" + (f" of {count} features" if count else "") for kind, count in kinds.items())
        parts.append(f"{said} at {site.side} layer {site.layer}")
    return "Edits: " + "; ".join(parts)


def _origin(spec: Any) -> str:
    if spec.file is not None:
        return f"`{spec.file}` beside the recipe"
    layer = "" if spec.layer is None else f", layer {spec.layer}"
    repo = "/".join(str(spec.repo).split("/")[:2])  # without the folder in it
    return f"[{spec.repo}](https://huggingface.co/{repo}) at commit `{spec.revision}`{layer}"


def _how(recipe: Recipe) -> str:
    found = recipe.provenance
    if not found:
        return "The recipe does not say: it was written by hand."
    parts = []
    if isinstance(found.get("command"), str):
        parts.append(f"```sh\n{_one_line(found['command'])}\n```")
    if "learned" in found:
        parts.append(f"The amounts were {LEARNED}")
    dealt = found.get("dealt")
    if isinstance(dealt, Mapping):
        try:
            parts.append("\n".join(dealt_table(dealt)))
        except (KeyError, TypeError, AttributeError):
            dealt = None  # it says something else by that name, and is listed with the rest
    rest = {key: value for key, value in found.items() if key != "command" and not (key == "dealt" and dealt)}
    lines = [f"{' '.join(path)}: {_value(row)}".removeprefix(": ") for path, row in _rows(rest)]
    if lines:
        parts.append("As the recipe records it:\n\n```\n" + "\n".join(lines).replace("```", "'''") + "\n```")
    return "\n\n".join(parts)


def _measured(recipe: Recipe) -> str:
    if not recipe.measured:
        return "Nothing was measured. Try it on clips of your own before you rely on it: `audiosae-steer bench --help`."
    parts = []
    rest = dict(recipe.measured)
    tested = _as_benchmark(rest.get("test"))
    if tested is not None:
        del rest["test"]
        bare = "the edits without gates"
        parts += [ON_TEST, *(measured_table(mode, rows, recipe, bare) for mode, rows in tested.items())]
    return "\n\n".join([*parts, *(_table(key, _rows({key: value})) for key, value in rest.items())])


def _as_benchmark(tested: Any) -> dict[str, dict[str, MeasuredRow]] | None:
    """What `make` records of its test, by mode and arm, in the form in which the benchmark gives it; None if it is not
    that."""
    if not isinstance(tested, Mapping) or not tested or not set(tested) <= set(MODES):
        return None
    try:
        return {mode: {arm: _benchmark_row(row) for arm, row in rows.items()} for mode, rows in tested.items()}
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _benchmark_row(row: Mapping[str, Any]) -> MeasuredRow:
    def shared(hits: int, clips: int) -> Share:
        if not 0 <= hits <= clips < 10_000_000:
            raise ValueError("no share")
        return share([True] * hits + [False] * (clips - hits))

    wer, change = None, None
    if "wer" in row:
        value, low, high = (float(number) / 100 for number in row["wer_change"])
        wer, change = float(row["wer"]) / 100, Difference(value, low, high)
    new, clips = row["blanked"]
    text, filtered = shared(*row["text"]), shared(*row["text_filters_on"])
    return MeasuredRow(text, filtered, wer, change, int(new), int(clips))


def _limits(recipe: Recipe) -> str:
    if recipe.model.family == "whisper" and recipe.allow_empty:
        return limits(recipe)
    lines = [
        f"- It holds for the weights of {recipe.model.name} alone. On a fine-tune of them it steers with a warning."
    ]
    if recipe.measured:
        lines.append("- The figures hold for clips like those that were measured. Try it on clips of your own.")
    return "\n".join(lines)


def _data(recipe: Recipe, sources: Sequence[str], licence: str) -> str:
    said = recipe.provenance.get("data")
    parts = [f"The recipe and the files beside it: `{licence}`."]
    if isinstance(said, str):
        parts.append(f"Found on: {_one_line(said)}.")
    if sources:
        parts.append("Found on these clips:\n\n" + data_and_licences(sources))
    else:
        silent = "" if isinstance(said, str) else " The recipe does not say which clips it was found on."
        parts.append(f"No audio is part of these files.{silent}")
    return "\n\n".join(parts)


def _rows(content: Mapping[str, Any], path: tuple[str, ...] = ()) -> Rows:
    """The innermost mappings of nested ones, each with the way to it."""
    plain = {str(key): value for key, value in content.items() if not isinstance(value, Mapping)}
    rows: Rows = [(path, plain)] if plain else []
    for key, value in content.items():
        if isinstance(value, Mapping):
            rows += _rows(value, (*path, str(key)))
    return rows


def _table(title: str, rows: Rows) -> str:
    """Figures as they are recorded, in a table for each set of columns."""
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
    """A value; a share or another figure with its interval, as the benchmark writes them, in those words."""
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
