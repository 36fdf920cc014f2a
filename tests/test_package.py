"""The front door: what is exported, what importing it costs and pulls in, and which way imports point."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import audiosae_steer
from audiosae_steer import errors

PACKAGE = Path(audiosae_steer.__file__).parent
HEAVY = (
    "transformers",
    "whisper",
    "nnsight",
    "triton",
    "sae_lens",
    "sklearn",
    "matplotlib",
    "jiwer",
    "soundfile",
    "pyarrow",
)

FLOORS = (
    ("places", "printable", "strict_json"),
    ("errors",),
    ("files", "paths"),
    ("ops",),
    ("sae", "edits", "clip_gate", "frame_gate"),
    ("stages", "plan", "quality"),
    ("formats", "hub", "models"),
    ("recipe_checks", "sae_spec"),
    ("sites", "recipes"),
    ("hook", "parts", "build", "bake", "steering"),
    ("listing", "nnsight", "sound", "export"),
    ("discover", "evaluate", "training"),
    ("convert", "publishing", "catalogue"),
    ("cli_shared",),
    ("cli_bake", "cli_bench", "cli_discover", "cli_formats", "cli_hub", "cli_train"),
    ("cli", "__main__"),
)
"""DESIGN's layers from the ground up: a module may import its own floor and those below."""

ALLOWED = {"sae": {"formats"}}
"""`sae.save(path)` is on the front door; it hands over to the format when it is called."""


def test_all_is_sorted_and_complete():
    public = {
        name
        for name, value in vars(audiosae_steer).items()
        if not name.startswith("_") and not isinstance(value, ModuleType) and name != "annotations"
    }
    assert set(audiosae_steer.__all__) == public | set(audiosae_steer._LATER)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = audiosae_steer.nonsense
    assert len(set(audiosae_steer.__all__)) == len(audiosae_steer.__all__)


def test_every_error_of_ours_is_exported_and_under_one_roof():
    ours = {
        name: value
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, Exception) and value.__module__ == errors.__name__
    }
    assert set(ours) <= set(audiosae_steer.__all__)
    for name, error in ours.items():
        roof = errors.AudioSAESteerWarning if issubclass(error, Warning) else errors.AudioSAESteerError
        assert issubclass(error, roof), name
        assert name in str(errors.__doc__), f"{name} is missing from the tree in the docstring"


def test_everything_exported_is_documented():
    undocumented = [name for name in audiosae_steer.__all__ if not getattr(audiosae_steer, name).__doc__]
    assert undocumented == []


@pytest.mark.parametrize("module", ["audiosae_steer", "audiosae_steer.cli"])
def test_importing_pulls_in_nothing_heavy(module):
    program = f"import json, sys, torch; import {module}; print(json.dumps(sorted(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in json.loads(found.stdout)}
    assert "audiosae_steer" in loaded
    assert loaded.isdisjoint(HEAVY)


def test_typed():
    assert (PACKAGE / "py.typed").is_file()


def _imports(path: Path) -> set[str]:
    """First-level modules of ours that a file imports, wherever in the file."""
    here = ["audiosae_steer", *path.relative_to(PACKAGE).parent.parts]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = here[: len(here) - node.level + 1]
            names = [node.module] if node.module else [alias.name for alias in node.names]
            found |= {".".join([*base, name]) for name in names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    parts = [name.split(".") for name in found]
    return {part[1] for part in parts if part[0] == "audiosae_steer" and len(part) > 1}


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.relative_to(PACKAGE).with_suffix("").as_posix()
)
def test_imports_point_down(path):
    floors = {module: floor for floor, modules in enumerate(FLOORS) for module in modules}
    own = path.relative_to(PACKAGE).with_suffix("").parts[0]
    if own == "__init__":
        return
    above = {module for module in _imports(path) if floors[module] > floors[own]} - ALLOWED.get(own, set())
    assert not above, f"{own} is on floor {floors[own]} and may not import {above}"
