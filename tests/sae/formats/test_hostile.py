"""The table's column *refuses hostile*: every fixture, and everything that `hostile` makes of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fixtures import FIXTURES
from hostile import sources

TIMEOUT = 3600
"""Seconds for all variants, which take one or two minutes: the process ends itself at a variant that takes too long."""
MADE = ("native-jumprelu", "native-batchtopk-threshold", "audiosae-made", "audiosae-long-ago")


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """What came of each variant, in a process that may take 2 GB more and 30 s of processor time for each."""
    if os.name != "posix":
        pytest.skip("limits of memory and time as on Unix")
    work = tmp_path_factory.mktemp("hostile")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(Path(__file__).parents[2] / "helpers" / "hostile.py"), str(work)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=TIMEOUT)
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    assert run.returncode == 0, f"ended by {run.returncode} after {lines[-1:]}: {run.stderr[-2000:]}"
    found: dict[str, list[dict[str, Any]]] = {}
    for begun, ended in zip(lines[::2], lines[1::2], strict=True):
        found.setdefault(begun["fixture"], []).append({**begun, **ended})
    return found


@pytest.mark.parametrize("name", [*FIXTURES, *MADE])
def test_an_untrusted_file_is_read_or_refused(name: str, outcomes: dict[str, list[dict[str, Any]]]) -> None:
    variants = outcomes[name]
    assert variants[0]["outcome"] == "read"
    assert len(variants) > 2
    escaped = [each for each in variants if each["outcome"] != "read" and not each["outcome"].startswith("refused: ")]
    assert escaped == []
    taken = [each["variant"] for each in variants if each["refused"] and each["outcome"] == "read"]
    assert taken == []


def test_every_fixture_is_there(tmp_path: Path) -> None:
    assert set(sources(tmp_path)) == {*FIXTURES, *MADE}


@pytest.mark.skipif(os.name != "posix", reason="limits of time as on Unix")
@pytest.mark.parametrize(
    ("limits", "reads", "ended"),
    [
        ("wall=0.2", "open('pipe', 'rb').read()", "SIGALRM"),  # no writer comes, and no processor time passes
        ("processor=0.2", "while True: pass", "SIGPROF"),
    ],
)
def test_a_reader_that_does_not_end_is_ended(limits: str, reads: str, ended: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    code = f"from hostile import limits\nwith limits({limits}):\n    {reads}"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, timeout=60, check=False)
    assert run.returncode == -getattr(signal, ended)
