"""What steering costs: a model with each kind of steering at one layer, beside what people would write or use instead.

    python benchmarks/overhead.py                          # all models below
    python benchmarks/overhead.py --models tiny.en,base    # some of them
    python benchmarks/overhead.py --rounds 5               # quicker, wider intervals

Every round runs every arm once, in a shuffled order, on the same model and the same input; an arm's figure is the
median over rounds of (its time / the unsteered time of that round) − 1, with a 95 % bootstrap interval. Differences far
below 1 % drown in a machine's noise, so each arm's edit is also timed by itself, many times, and given as a share of
the pass ("own work"); and the memory that it takes at its peak, in a process of its own. tiny.en and base are as
released; the others have random weights, which is right for time. The extra `[bench]` brings SAELens and nnsight,
`pip install eai-sparsify` its encoder and decoder; without them those arms are left out, and said to be.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import random
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import machine
from others import Way, instead, random_sae
from subjects import SUBJECTS, Subject

from audiosae_steer import SAE, Ablate, Add, Edit
from audiosae_steer.steering.plan import Plan

RESULTS = Path(__file__).parent / "results"
HUNDRED = list(range(100))
Run = Callable[[], float]


def edits_of(d: int, width: int) -> tuple[dict[str, Way], list[str]]:
    """Every edit as a function of a residual, ours and others', and what had to be left out."""
    sae, topk = random_sae(d, width), random_sae(d, width, "topk")
    one = torch.ones(())

    def planned(edits: list[Edit], which: SAE = sae, error: Any = "keep") -> Way:
        plan = Plan([edits], which, d, error=error)
        return lambda x: plan(x, one)

    others, missing = instead(sae, topk, HUNDRED)
    return {
        "add": planned([Add(HUNDRED, 0.1)]),
        "delta, 10 features": planned([Ablate(HUNDRED[:10])]),
        "delta, 100 features": planned([Ablate(HUNDRED)]),
        "delta, 1000 features": planned([Ablate(list(range(1000)))]),
        "full, topk, error kept": planned([Ablate(HUNDRED)], topk),
        "full, topk, error dropped": planned([Ablate(HUNDRED)], topk, "drop"),
        **others,
    }, missing


def timed(run: Callable[[], Any]) -> float:
    """Seconds."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def arms_of(subject: Subject, edits: dict[str, Way]) -> tuple[dict[str, Run], list[str]]:
    """Every arm as a function that gives the seconds of one pass; hooks go in and out outside the timed part."""

    def hooked(way: Way | None) -> Run:
        def run() -> float:
            if way is None:
                return timed(subject.run)
            handle = subject.hook(way)
            try:
                return timed(subject.run)
            finally:
                handle.remove()

        return run

    arms = {"unsteered": hooked(None), "unsteered again": hooked(None)}
    arms |= {name: hooked(way) for name, way in edits.items()}
    if not subject.traced:
        return arms, []
    try:
        from nnsight import NNsight
    except ImportError:
        return arms, ["nnsight"]
    traced = NNsight(subject.block)
    x, way = torch.randn(1, subject.frames, subject.d), edits["delta, 100 features"]

    def trace() -> None:
        with traced.trace(x):
            traced.output = way(traced.output)

    plain = hooked(None)

    def within() -> float:  # a trace of the one block, and the rest of the model as it is
        return plain() + timed(trace) - timed(lambda: subject.block(x))

    arms["nnsight trace of the block, the delta edit of 100"] = within
    return arms, []


def peak(arm: str, d: int, width: int, frames: int) -> int:
    """Bytes by which one call of an arm raises the most that a process of its own ever held."""
    call = [sys.executable, __file__, "--peak", arm, str(d), str(width), str(frames)]
    # what is freed goes back to the system, so that what is taken again is seen
    given = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    return int(subprocess.run(call, check=True, capture_output=True, text=True, env=given).stdout)


def report_peak(arm: str, d: int, width: int, frames: int) -> None:
    """Print that number."""
    way = edits_of(d, width)[0][arm]
    with torch.inference_mode():
        way(torch.randn(1, 8, d))
        x = torch.randn(1, frames, d)
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak counts from here
        before = held("VmRSS")
        way(x)
    print(held("VmHWM") - before)


def held(what: str) -> int:
    """Bytes that this process holds (VmRSS), or held at most (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(what))


def measure(subject: Subject, rounds: int) -> dict[str, Any]:
    """All arms, in turns."""
    d, width = subject.d, 8 * subject.d
    edits, missing = edits_of(d, width)
    if subject.few:
        edits = {name: way for name, way in edits.items() if name in subject.few}
    arms, untraced = arms_of(subject, edits)
    missing += untraced
    times: dict[str, list[float]] = {arm: [] for arm in arms}
    rng = random.Random(0)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for arm in list(arms.values())[: 1 if subject.few else None]:
            arm()
        for _ in range(rounds):
            for name in rng.sample(list(arms), len(arms)):
                times[name].append(arms[name]())
        x = torch.randn(1, subject.frames, d, generator=torch.Generator().manual_seed(1))
        own: dict[str, list[float]] = {name: [] for name in edits}
        for _ in range(18):
            for name, way in edits.items():
                own[name].append(timed(lambda way=way: way(x)))
    base = np.array(times["unsteered"])
    whole = float(np.median(base))
    print(f"\n{subject.name}: d = {d}, F = {width}, {subject.frames} frames; a pass {whole:.3f} s, {rounds} rounds")
    if missing:
        print(f"left out, not installed: {', '.join(missing)}")
    print("| arm | added time, in turns | own work | at its peak |\n|---|---|---|---|")
    rows = {}
    draws = np.random.default_rng(0).integers(rounds, size=(2000, rounds))
    for arm, taken in times.items():
        ratios = np.array(taken) / base - 1
        low, high = np.quantile(np.median(ratios[draws], axis=1), [0.025, 0.975])
        alone = statistics.median(own[arm][3:]) if arm in own else None
        most = peak(arm, d, width, subject.frames) if arm in own and subject.weighed else None
        rows[arm] = {
            "added": float(np.median(ratios)), "low": float(low), "high": float(high), "own_seconds": alone,
            "own": None if alone is None else alone / whole, "peak_bytes": most,
        }  # fmt: skip
        if arm != "unsteered":
            share = "" if alone is None else f"{alone / whole:.3%}"
            extra = "" if most is None else f"{most / 1e6:.0f} MB"
            print(f"| {arm} | {np.median(ratios):+.2%} [{low:+.2%}, {high:+.2%}] | {share} | {extra} |", flush=True)
    return {"seconds": whole, "rounds": rounds, "arms": rows, "left_out": missing}


def draw(found: dict[str, Any], path: Path) -> None:
    """Each edit's own work as a share of the model's pass, model by model."""
    from matplotlib.figure import Figure

    models = [name for name in SUBJECTS if name in found]
    figure = Figure(figsize=(10, 0.6 + 2.1 * ((len(models) + 1) // 2)), layout="constrained")
    for axes, name in zip(figure.subplots((len(models) + 1) // 2, 2, squeeze=False).flat, models, strict=False):
        arms = {arm: row["own"] for arm, row in found[name]["arms"].items() if row["own"] is not None}
        ours = [arm.startswith(("add", "delta", "full")) for arm in arms]
        axes.barh(list(arms), [100 * share for share in arms.values()], color=["C0" if own else "0.7" for own in ours])
        axes.invert_yaxis()
        axes.set_xscale("log")
        axes.set_title(f"{name}: a pass of {found[name]['seconds']:.2f} s", fontsize=9)
        axes.set_xlabel("own work, % of the pass", fontsize=8)
        axes.tick_params(labelsize=7)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Measure the models, and keep what was measured of others."""
    if sys.argv[1:2] == ["--peak"]:
        report_peak(sys.argv[2], *map(int, sys.argv[3:]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join(SUBJECTS), help="of " + ", ".join(SUBJECTS))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS / "overhead-cpu.json")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    found = json.loads(given.out.read_text()) if given.out.exists() else {}
    found["machine"] = {**machine(), "threads": given.threads}
    for name in given.models.split(","):
        subject = SUBJECTS[name]()
        found[name] = measure(subject, max(1, given.rounds // 4) if subject.few else given.rounds)
        given.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    picture = given.out.with_suffix(".png")
    draw(found, picture)
    print(f"\nwrote {given.out} and {picture}")


if __name__ == "__main__":
    main()
