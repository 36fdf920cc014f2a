"""Records in words: what was measured, or how something was made, as SAEs and recipes keep it."""

from __future__ import annotations

import json
import re
from typing import Any


def plain(content: dict[str, Any], indent: str = "  ") -> list[str]:
    """Content of a record, line by line."""
    lines = []
    for key, value in content.items():
        title = name(key)
        if isinstance(value, dict) and any(isinstance(part, dict) for part in value.values()):
            lines += [f"{indent}{title}:", *plain(value, indent + "  ")]
        elif isinstance(value, dict):
            lines.append(f"{indent}{title}: " + ", ".join(f"{name(k)} {words(k, v)}" for k, v in value.items()))
        else:
            lines.append(f"{indent}{title}: {words(key, value)}")
    return lines


def name(key: str) -> str:
    """A key in words: `text.nonspeech.filters-off` is "text, nonspeech, filters off"."""
    return re.sub(r"\.(?=[^\W\d])", ", ", key.replace("_", " ").replace("-", " "))


def words(key: str, value: Any) -> str:
    """A value in words: shares with their counts, numbers with their intervals, lists with commas."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "not known"}[value]
    if isinstance(value, (int, float)):
        return f"{value:.4g}" if isinstance(value, float) else f"{value:,}"
    if isinstance(value, list):
        return _list(key, value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _list(key: str, values: list[Any]) -> str:
    shown = [words(key, value) for value in values]
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        if len(values) == 2 and key.endswith("95"):
            return f"{shown[0]} to {shown[1]}"
        if len(values) == 3 and values[1] <= values[0] <= values[2]:
            return f"{shown[0]} ({shown[1]} to {shown[2]})"
        if len(values) == 4 and all(isinstance(value, int) for value in values[:2]):
            return f"{shown[0]} of {shown[1]} ({shown[2]} to {shown[3]})"
    return " and ".join(part for part in (", ".join(shown[:-1]), *shown[-1:]) if part) or "none"


def sentences(content: dict[str, Any], front: str = "") -> list[str]:
    """Content of a record, a sentence for each of its groups; `front` names the group that it is."""
    groups = {key: value for key, value in content.items() if isinstance(value, dict)}
    said = ", ".join(f"{name(key)} {words(key, value)}" for key, value in content.items() if key not in groups)
    found = [f"{front}: {said}." if front else f"{said[:1].upper()}{said[1:]}."] if said else []
    for key, group in groups.items():
        found += sentences(group, f"{front}, {name(key)}" if front else name(key).capitalize())
    return found
