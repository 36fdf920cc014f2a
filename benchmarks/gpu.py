"""What was promised for a GPU, measured in one command that stops by itself.

    python benchmarks/gpu.py                                   # at most 8 minutes; results/gpu-<name of the GPU>.json
    python benchmarks/gpu.py --minutes 4 --out figures.json
    python benchmarks/gpu.py --device cpu --shapes miniature   # tries the script itself, where there is no GPU

Needs torch, triton and this package; the tests also need pytest and hypothesis. In turn: the tests marked `gpu`; the
kernels against a copy and a product measured beside them; encoders and decode steps of Whisper's shape with random
weights, steered and not, as they are, under torch.compile and in CUDA graphs; then `kernels.py`, for as long as there
is time. Figures and promises are written after every step, so that what was measured is kept whatever happens; a step
that fails, or for which no time is left, is said to be missing. A step that hangs is ended, with the process, a minute
after the time is out.

A model's arms run in shuffled turns on copies of it; a figure is the median over rounds of (an arm's time / the
unsteered copy's in that round) − 1 with a 95 % bootstrap interval. `unsteered again`, one more copy, shows the noise.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from arms import Arm, in_turns, models_of
from kernels import Clock, ceilings
from machine import accelerator, machine, slug
from others import random_sae
from torch import Tensor
from whisper_shapes import SHAPES, Shape, decode_step, encoder

from audiosae_steer import Ablate
from audiosae_steer.ops.dispatch import products_for
from audiosae_steer.steering.plan import Plan

HERE = Path(__file__).resolve().parent
WIDTHS = {"cuda": ((768, 6144), (1280, 10240)), "cpu": ((64, 512),)}
FRAMES = {"cuda": (1500, 12000, 48000), "cpu": (64,)}
EDITED = (8, 50, 100)
PLAIN = ("eager", "torch.compile")
MODES = {"cuda": (*PLAIN, "cuda graph"), "cpu": ("eager",)}
MARGIN = 60.0
"""Seconds after the deadline at which the process is ended: steps stop by themselves, unless they hang."""
HUNG = 3
"""Exit status of a run that was ended so."""


class Promise(NamedTuple):
    """A figure that was promised, and how it is told from what was measured."""

    what: str
    bound: float
    at_least: bool
    of: Callable[[dict[str, Any]], list[float]]
    """Every figure that the promise is about; the worst of them counts. KeyError: it was not measured."""


def _deltas(found: dict[str, Any]) -> list[float]:
    large = [row for row in found["kernels"]["rows"] if row["frames"] >= 12000]
    return [row["share_of_copy"] for row in large if row["way"] == "delta"]


def _fulls(found: dict[str, Any]) -> list[float]:
    return [row["over_product"] for row in found["kernels"]["rows"] if row["way"] == "full, topk, error kept"]


def _added(part: str, arm: str, *modes: str) -> Callable[[dict[str, Any]], list[float]]:
    return lambda found: [found[part]["large-v3"][mode][arm]["added"] for mode in modes]


PROMISES = (
    Promise("delta, share of copy bandwidth at 12,000 frames and more", 0.75, True, _deltas),
    Promise("full topk, times the bare encode product", 1.35, False, _fulls),
    Promise("delta of 100 at one layer, added to large-v3's encoder", 0.005, False, _added("encoder", "delta", *PLAIN)),
    Promise("full topk at one layer, added to large-v3's encoder", 0.03, False, _added("encoder", "full", *PLAIN)),
    Promise(
        "delta of 100 at one layer, added to large-v3's decode step in a CUDA graph", 0.01, False,
        _added("decode step", "delta", "cuda graph"),
    ),
    Promise(
        "delta of 100 at every layer, added to large-v3's decode step in a CUDA graph", 0.01, False,
        _added("decode step", "delta, every layer", "cuda graph"),
    ),
)  # fmt: skip


class Run:
    """One run: the deadline, and figures that are written after every step."""

    def __init__(
        self, out: Path, minutes: float, device: torch.device, shapes: tuple[str, ...], margin: float = MARGIN
    ) -> None:
        self.out, self.device, self.shapes = out, device, shapes
        self.began = time.monotonic()
        self.deadline = self.began + 60 * minutes
        self.found: dict[str, Any] = {
            "machine": {**machine(), **accelerator(device)}, "minutes": minutes, "missing": {},
        }  # fmt: skip
        self.dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
        self._writing = threading.Lock()
        self._at = "the start"
        self._written = ""
        self.save()
        self._watchdog = threading.Timer(60 * minutes + margin, self._end)
        self._watchdog.daemon = True
        self._watchdog.start()
        # a step that holds the interpreter keeps the timer's thread from running, but not this one of C
        faulthandler.dump_traceback_later(60 * minutes + 2 * margin, exit=True)

    @property
    def left(self) -> float:
        """Seconds until the deadline."""
        return max(0.0, self.deadline - time.monotonic())

    def save(self) -> None:
        """Write what is known by now, and what it says of the promises."""
        self.found["seconds"] = round(time.monotonic() - self.began, 1)
        self.found["promises"] = verdicts(self.found)
        self._write(json.dumps(self.found, indent=1) + "\n")

    def _write(self, text: str) -> None:
        with self._writing:
            part = self.out.with_name(f".{self.out.name}.part")
            part.write_text(text, encoding="utf-8")
            os.replace(part, self.out)
            self._written = text

    def _end(self) -> None:
        """End the process at a step that hangs, with what was written before and a word on that step."""
        found = json.loads(self._written)  # a copy: the step may be changing `found`
        found["missing"][self._at] = "it did not stop by itself, and was ended after the time was out"
        self._write(json.dumps(found, indent=1) + "\n")
        print(f"ended at {self._at}, which hung; wrote {self.out}", file=sys.stderr, flush=True)
        os._exit(HUNG)

    def close(self) -> None:
        """Call the watchdogs off."""
        self._watchdog.cancel()
        faulthandler.cancel_dump_traceback_later()

    def step(self, name: str, needs: float, do: Callable[[], None]) -> None:
        """Run a step if its seconds are left, and keep its figures, also of a part of it."""
        if self.left < needs:
            self.found["missing"][name] = f"{self.left:.0f} s were left, and it takes about {needs:.0f}"
        else:
            self._at = name
            print(f"\n## {name} ({self.left:.0f} s left)", flush=True)
            try:
                do()
            except Exception as error:  # one step that fails must not cost the others
                self.found["missing"][name] = f"{type(error).__name__}: {error}"
                traceback.print_exc()
        self.save()


def run_tests(run: Run) -> None:
    """The tests marked `gpu`, in a process of their own."""
    files = [str(path) for path in (HERE.parent / "tests").rglob("test_*.py") if "mark.gpu" in path.read_text("utf-8")]
    if run.device.type != "cuda":
        run.found["missing"]["tests"] = "they need a CUDA device"
        return
    call = [sys.executable, "-m", "pytest", "-m", "gpu", "-q", "-p", "no:cacheprovider", *sorted(files)]
    try:
        done = subprocess.run(call, cwd=HERE.parent, capture_output=True, text=True, timeout=min(180.0, run.left - 60))
    except subprocess.TimeoutExpired:
        run.found["missing"]["tests"] = "they did not finish in time"
        return
    lines = done.stdout.strip().splitlines()
    run.found["tests"] = {"exit": done.returncode, "says": lines[-1] if lines else done.stderr[-2000:]}
    if done.returncode:
        run.found["tests"]["output"] = done.stdout[-8000:]
    print(run.found["tests"]["says"])


def run_kernels(run: Run) -> None:
    """`delta` beside a copy, and `full` beside the product that it cannot do without."""
    device, dtype = run.device, run.dtype
    clock = Clock(device, 30 if device.type == "cuda" else 3)
    top = ceilings(device, dtype, clock)
    rows: list[dict[str, Any]] = []
    run.found["kernels"] = {"dtype": str(dtype), "ceilings": top, "rows": rows}
    one = torch.ones((), device=device)
    products = products_for(dtype, device)
    for d, width in WIDTHS[device.type]:
        sae, topk = random_sae(d, width), random_sae(d, width, "topk")
        W = topk.W_enc.to(device, dtype)
        for frames in FRAMES[device.type]:
            inputs = [torch.randn(1, frames, d, device=device).to(dtype) for _ in range(4)]
            with torch.no_grad():
                product = clock(lambda x, W=W: x @ W.T, inputs)["median"]
                for edited in EDITED:
                    for way, which in (("delta", sae), ("full, topk, error kept", topk)):
                        plan = Plan([[Ablate(list(range(edited)))]], which, d, products=products).to(device)
                        taken = clock(lambda x, plan=plan: plan(x, one), inputs)
                        moved = 2 * frames * d * dtype.itemsize
                        row = {"d": d, "F": width, "frames": frames, "E": edited, "way": way, **taken}
                        row["share_of_copy"] = moved / taken["median"] / top["bytes_per_second"]
                        row["over_product"] = taken["median"] / product
                        rows.append(row)
                        print(
                            f"{way}, d = {d}, {frames} frames, E = {edited}: {1e6 * taken['median']:,.0f} µs, "
                            f"{row['share_of_copy']:.0%} of a copy, {row['over_product']:.2f} × the product",
                            flush=True,
                        )
            run.save()
            if run.left < 30:
                run.found["missing"]["kernels"] = f"time was out after d = {d}, {frames} frames"
                return


def run_models(run: Run, part: str, name: str) -> None:
    """One model's arms in every mode: a dictionary for each mode, written as it comes."""
    shape = SHAPES[name]
    length = shape.frames if part == "encoder" else 1
    x = torch.randn(1, length, shape.d, generator=torch.Generator().manual_seed(1)).to(run.device, run.dtype)
    kept = run.found.setdefault(part, {}).setdefault(name, {})
    missing, compiles = run.found["missing"], True
    for mode in MODES[run.device.type]:
        if run.left < 30:
            missing[f"{part}, {name}, {mode}"] = "no time was left"
            continue
        try:
            kept[mode] = run_mode(run, part, shape, mode, x, compiles)
        except Exception as error:  # one mode that fails must not cost the others
            missing[f"{part}, {name}, {mode}"] = f"{type(error).__name__}: {error}"
            traceback.print_exc()
            compiles = compiles and mode != "torch.compile"
        else:
            if mode == "cuda graph" and not compiles:
                missing[f"{part}, {name}, {mode} of compiled blocks"] = "they do not compile: captured as eager ones"
        run.save()


def run_mode(run: Run, part: str, shape: Shape, mode: str, x: Tensor, compiles: bool) -> dict[str, dict[str, float]]:
    """The arms of a model in one mode; CUDA graphs are of eager blocks where those do not compile."""
    build = encoder if part == "encoder" else decode_step
    arms: dict[str, Arm] = models_of(build, shape, run.dtype, run.device, every=part != "encoder")
    try:
        rows = in_turns(
            {arm: each.prepared(mode, x, compiles=compiles) for arm, each in arms.items()},
            x,
            seconds=min(12.0 if run.device.type == "cuda" else 1.0, run.left / 3),
            clock=Clock(run.device, 1),
        )
    finally:
        for each in arms.values():
            each.close()
    for arm, row in rows.items():
        print(f"{mode}, {arm}: {1e3 * row['seconds']:.3f} ms, {row['added']:+.2%} "
              f"[{row['low']:+.2%}, {row['high']:+.2%}]", flush=True)  # fmt: skip
    return rows


def run_rest(run: Run) -> None:
    """`kernels.py`, which writes a file of its own."""
    out = run.out.with_name(run.out.stem + "-kernels.json")
    call = [sys.executable, str(HERE / "kernels.py"), "--device", run.device.type, "--json", str(out)]
    try:
        subprocess.run(call, check=True, timeout=run.left - 5, stdout=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        run.found["missing"]["kernels.py"] = f"time was out; {out.name} holds the shapes that were measured until then"


def verdicts(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Each promise beside the worst figure that was measured of it."""
    rows, on_gpu = [], "gpu" in found["machine"]
    for promise in PROMISES:
        try:
            figures = promise.of(found)
        except KeyError:
            figures = []
        worst = (min if promise.at_least else max)(figures, default=None)
        kept = worst is not None and (worst >= promise.bound if promise.at_least else worst <= promise.bound)
        rows.append(
            {"promise": promise.what, "bound": promise.bound, "at_least": promise.at_least, "measured": worst,
             "verdict": "not measured" if worst is None or not on_gpu else "kept" if kept else "missed"}
        )  # fmt: skip
    return rows


def print_table(run: Run) -> None:
    """What was promised, and what was measured."""
    print("\n| promised | bound | measured | |\n|---|---|---|---|")
    for row in run.found["promises"]:
        sign = "≥" if row["at_least"] else "≤"
        shown = "" if row["measured"] is None else f"{row['measured']:.4g}"
        print(f"| {row['promise']} | {sign} {row['bound']:g} | {shown} | {row['verdict']} |")
    for what, why in run.found["missing"].items():
        print(f"missing: {what}: {why}")
    print(f"\nwrote {run.out} after {run.found['seconds']:.0f} s")


def main() -> None:
    """Measure until all is done or the time is out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else None)
    parser.add_argument("--minutes", type=float, default=8.0, help="after which it stops by itself")
    parser.add_argument("--shapes", default="tiny.en,large-v3", help="of " + ", ".join(SHAPES))
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.device is None:
        parser.exit(2, "error: there is no CUDA device; to try the script itself: --device cpu --shapes miniature\n")
    device = torch.device(given.device)
    name = slug(accelerator(device).get("gpu", device.type))
    out = given.out or HERE / "results" / f"gpu-{name}.json"
    run = Run(out, given.minutes, device, tuple(given.shapes.split(",")))
    short = 60.0 if device.type == "cuda" else 5.0
    run.step("tests", short, lambda: run_tests(run))
    run.step("kernels", short, lambda: run_kernels(run))
    for shape in reversed(run.shapes):  # the promises are about the large one
        for part in ("encoder", "decode step"):
            run.step(f"{part}, {shape}", short, lambda part=part, shape=shape: run_models(run, part, shape))
    if device.type == "cuda":
        run.step("kernels.py", short, lambda: run_rest(run))
    run.close()
    print_table(run)


if __name__ == "__main__":
    main()
