"""The table's column *refuses hostile*: every fixture, and everything that `hostile` makes of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fixtures import FIXTURES
from hostile import sources

MADE = ("native-jumprelu", "native-batchtopk-threshold", "audiosae-made", "audiosae-long-ago")


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """What came of each variant, in a process that may take 2 GB more and 30 s of processor time for each."""
    if os.name != "posix":
        pytest.skip("limits of memory and time as on Unix")
    work = tmp_path_factory.mktemp("hostile")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(Path(__file__).parents[2] / "helpers" / "hostile.py"), str(work)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    assert run.returncode == 0, f"ended by {run.returncode} after {lines[-1:]}: {run.stderr[-2000:]}"
    found: dict[str, list[dict[str, Any]]] = {}
    for begun, ended in zip(lines[::2], lines[1::2], strict=True):
        found.setdefault(begun["fixture"], []).append({**begun, **ended})
    return found


@pytest.mark.parametrize("name", [*FIXTURES, *MADE])
def test_a_stranger_s_file_is_read_or_refused(name: str, outcomes: dict[str, list[dict[str, Any]]]) -> None:
    ours = outcomes[name]
    assert ours[0]["outcome"] == "read"
    assert len(ours) > 3
    escaped = [each for each in ours if each["outcome"] != "read" and not each["outcome"].startswith("refused: ")]
    assert escaped == []
    taken = [each["variant"] for each in ours if each["refused"] and each["outcome"] == "read"]
    assert taken == []


def test_every_fixture_is_there(tmp_path: Path) -> None:
    assert set(sources(tmp_path)) == {*FIXTURES, *MADE}
