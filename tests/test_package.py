"""The front door: what is exported, and what importing it pulls in."""

from __future__ import annotations

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
    "av",
    "pyarrow",
)


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


@pytest.mark.parametrize("module", ["audiosae_steer", "audiosae_steer.cli.app"])
def test_importing_pulls_in_nothing_heavy(module):
    program = f"import json, sys, torch; import {module}; print(json.dumps(sorted(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in json.loads(found.stdout)}
    assert "audiosae_steer" in loaded
    assert loaded.isdisjoint(HEAVY)


def test_names_that_scripts_of_0_1_0_import_are_where_they_were():
    """And `audiosae_steer.recipes` is the function all the same."""
    program = (
        "from audiosae_steer.recipes import checkpoints_dir, load_recipe\n"
        "from audiosae_steer.models import load_processor, load_whisper\n"
        "import audiosae_steer.recipes\n"
        "assert checkpoints_dir().is_dir()\n"
        "assert load_whisper is audiosae_steer.load_whisper\n"
        "assert load_processor is audiosae_steer.load_processor\n"
        "assert [recipe.name for recipe in audiosae_steer.recipes()]\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    from audiosae_steer import models

    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = models.nonsense


def test_names_that_are_imported_later_are_listed():
    assert {"load_whisper", "collect", *audiosae_steer.__all__} <= set(dir(audiosae_steer))


def test_typed():
    assert (PACKAGE / "py.typed").is_file()
