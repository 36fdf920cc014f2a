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


def test_a_mode_that_fails_costs_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import gpu
    from arms import Arm

    captured = []

    def prepared(self: Arm, mode: str, x: Any, *, compiles: bool) -> Any:
        if mode == "torch.compile":
            raise RuntimeError("no compiler")
        if mode == "cuda graph":
            captured.append(compiles)
        return self.model

    monkeypatch.setattr(Arm, "prepared", prepared)
    monkeypatch.setitem(gpu.MODES, "cpu", gpu.MODES["cuda"])
    run = gpu.Run(tmp_path / "gpu.json", 5.0, torch.device("cpu"), ("miniature",))
    run.step("encoder, miniature", 0.0, lambda: gpu.run_models(run, "encoder", "miniature"))
    run.close()
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert set(found["encoder"]["miniature"]) == {"eager", "cuda graph"}
    assert found["missing"]["encoder, miniature, torch.compile"] == "RuntimeError: no compiler"
    assert "encoder, miniature, cuda graph of compiled blocks" in found["missing"]
    assert captured == [False] * 4


def test_promises_are_written_with_every_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import gpu

    run = gpu.Run(tmp_path / "gpu.json", 5.0, torch.device("cpu"), ())
    run.close()
    run.found["machine"]["gpu"] = "made up"

    def measure() -> None:
        run.found["kernels"] = {
            "rows": [{"frames": 12000, "way": "delta", "share_of_copy": share} for share in (0.9, 0.8)]
        }

    run.step("kernels", 0.0, measure)
    first, *others = json.loads((tmp_path / "gpu.json").read_text())["promises"]
    assert (first["measured"], first["verdict"]) == (0.8, "kept")
    assert {each["verdict"] for each in others} == {"not measured"}


@pytest.mark.parametrize(
    ("hangs", "status", "said"),
    [
        ("time.sleep(120)", 3, {"before": "RuntimeError: failed", "hangs": "it did not stop by itself"}),
        ("re.match('(a*)*b', 40 * 'a')", 1, {"before": "RuntimeError: failed"}),  # with the interpreter in its hands
    ],
)
def test_a_step_that_hangs_is_ended_with_what_was_kept(
    hangs: str, status: int, said: dict[str, str], tmp_path: Path
) -> None:
    code = f"""
import re, time, torch, gpu
from pathlib import Path
run = gpu.Run(Path("gpu.json"), 0.0, torch.device("cpu"), (), margin=1.0)
def fails():
    run.found["figure"] = 7
    raise RuntimeError("failed")
run.step("before", 0.0, fails)
run.step("hangs", 0.0, lambda: {hangs})
"""
    path = os.pathsep.join([str(BENCHMARKS), str(BENCHMARKS.parent), *sys.path])
    call = [sys.executable, "-c", code]
    done = subprocess.run(
        call, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, timeout=60, check=False, capture_output=True
    )
    assert done.returncode == status
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert found["figure"] == 7
    assert {name: why.split(",")[0] for name, why in found["missing"].items()} == said
    assert found["promises"]


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
