"""Commands run in this process, and what they say."""

from __future__ import annotations

import re
from typing import Any

from typer.testing import CliRunner, Result

from audiosae_steer.cli.app import app
from audiosae_steer.steering.recipes.load import checkpoints_dir

CLIPS = checkpoints_dir() / "clips"


def run(*words: Any) -> Result:
    colourless = {"FORCE_COLOR": None, "NO_COLOR": "1"}
    return CliRunner().invoke(app, [str(word) for word in words], env=colourless)


def help_of(*words: str) -> str:
    result = run(*words, "--help")
    assert result.exit_code == 0
    return re.sub(r"\x1b\[[\d;]*m", "", result.stdout)  # typer colours its help on some services for CI regardless


def failed(result: Result) -> str:
    """What a failed command said, once it is known to have said it in words."""
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert "Traceback" not in result.stderr
    return result.stderr.removeprefix("error: ").rstrip("\n")
