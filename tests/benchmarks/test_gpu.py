"""The command for a GPU: it stops by itself, keeps what it measured, and says what is missing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def run(out: Path, *words: str) -> tuple[str, dict[str, Any]]:
    call = [sys.executable, str(BENCHMARKS / "gpu.py"), "--device", "cpu", "--shapes", "miniature", "--out", str(out)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(BENCHMARKS.parent), *sys.path])}
    done = subprocess.run([*call, *words], capture_output=True, text=True, env=environment, check=True)
    return done.stdout, json.loads(out.read_text())


def test_every_step_gives_figures(tmp_path: Path) -> None:
    said, found = run(tmp_path / "gpu.json")
    assert set(found["missing"]) == {"tests"}  # those need a GPU
    ways = {row["way"] for row in found["kernels"]["rows"]}
    assert ways == {"delta", "full, topk, error kept"}
    assert all(row["share_of_copy"] > 0 and row["over_product"] > 0 for row in found["kernels"]["rows"])
    for part, arms in (("encoder", 4), ("decode step", 5)):
        measured = found[part]["miniature"]["eager"]
        assert len(measured) == arms
        assert all(row["low"] <= row["added"] <= row["high"] and row["rounds"] >= 3 for row in measured.values())
        assert measured["unsteered"]["added"] == 0
    assert {row["verdict"] for row in found["promises"]} == {"not measured"}  # which a processor says nothing about
    assert said.rstrip().splitlines()[-1].startswith(f"wrote {tmp_path / 'gpu.json'}")
    assert {path.name for path in tmp_path.iterdir()} == {"gpu.json"}


def test_out_of_time_it_says_what_is_missing(tmp_path: Path) -> None:
    said, found = run(tmp_path / "gpu.json", "--minutes", "0")
    assert {"tests", "kernels", "encoder, miniature", "decode step, miniature"} == set(found["missing"])
    assert "missing: kernels: 0 s were left" in said
    assert all(row["measured"] is None for row in found["promises"])


def test_models_are_steered_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from arms import models_of
    from whisper_shapes import SHAPES, decode_step

    shape = SHAPES["miniature"]
    arms = models_of(decode_step, shape, torch.float32, torch.device("cpu"), every=True)
    x = torch.randn(1, 1, shape.d, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        outputs = {name: arm.model(x) for name, arm in arms.items()}
    assert torch.equal(outputs["unsteered"], outputs["unsteered again"])
    paths = {name: arm.steering.path for name, arm in arms.items() if arm.steering is not None}
    assert paths == {"delta": "delta", "full": "full", "delta, every layer": "delta, delta"}
    for arm in arms.values():
        arm.close()
