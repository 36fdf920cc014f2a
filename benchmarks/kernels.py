"""What steering's kernels take by themselves, beside a roofline measured in the same run and what else one would use.

    python benchmarks/kernels.py                       # a GPU if there is one: the shapes below; else small ones
    python benchmarks/kernels.py --json out.json       # and where to put the figures
    python benchmarks/kernels.py --device cpu --threads 2

Also: at how many kept features a frame's sum over their rows is faster than the product with all rows.
For each shape (N frames of a residual of width d, an SAE of F features, E of them edited) and each way: median time
with the 10th and 90th percentile, bytes and operations that the edit needs at least (x read and written once, the
edited rows read once, 4·d·E operations a frame), and the time these would take at the ceilings measured here: a large
copy, and a large matrix product. Inputs of many frames rotate through more memory than the caches hold, single frames
do not. On a GPU a call is timed by itself, between two events: short ones then time the launch as well. The extra
`[bench]` brings SAELens, `pip install eai-sparsify` its encoder and decoder; without them those ways are left out, and
said to be.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import torch
from machine import machine
from others import THRESHOLD, Way, instead, random_sae
from torch import Tensor
from torch.nn import functional

from audiosae_steer import SAE, Ablate, Add, Edit
from audiosae_steer.ops.dispatch import products_for
from audiosae_steer.steering.plan import ErrorMode, Plan

RESULTS = Path(__file__).parent / "results"
SIZES = ((768, 6144), (1280, 10240))
FRAMES = {"cuda": (1, 1500, 12000, 48000), "cpu": (1, 1500)}
EDITED = {"cuda": (8, 50, 100, 1000), "cpu": (8, 100)}
CACHES = {"cuda": 256 << 20, "cpu": 64 << 20}
"""Bytes that inputs rotate through: several times what the last cache holds."""


class Clock:
    """Times a function on a device."""

    def __init__(self, device: torch.device, repeats: int) -> None:
        self.device, self.repeats = device, repeats

    def __call__(self, way: Way, inputs: list[Tensor]) -> dict[str, float]:
        """Seconds: median, and the 10th and 90th percentile."""
        turn = cycle(inputs)
        for _ in range(3):
            way(next(turn))
        times = [self.once(way, next(turn)) for _ in range(self.repeats)]
        low, *_, high = statistics.quantiles(times, n=10)
        return {"median": statistics.median(times), "p10": low, "p90": high}

    def once(self, way: Way, x: Tensor) -> float:
        """Seconds of one call."""
        if self.device.type == "cuda":
            start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            way(x)
            stop.record()
            stop.synchronize()
            return float(start.elapsed_time(stop)) / 1e3
        began = time.perf_counter()
        way(x)
        return time.perf_counter() - began


def ceilings(device: torch.device, dtype: torch.dtype, clock: Clock) -> dict[str, float]:
    """Bytes per second of a large copy, both ways counted, and operations per second of a large product."""
    count = (1 << 30 if device.type == "cuda" else 1 << 26) // dtype.itemsize
    source = torch.empty(count, dtype=dtype, device=device).normal_()
    target = torch.empty_like(source)
    copy = clock(lambda x: target.copy_(x), [source])["median"]
    side = 8192 if device.type == "cuda" else 1536
    a, b = (torch.randn(side, side, dtype=dtype, device=device) for _ in range(2))
    product = clock(lambda x: x @ b, [a])["median"]
    return {"bytes_per_second": 2 * count * dtype.itemsize / copy, "operations_per_second": 2 * side**3 / product}


def ways(
    sae: SAE, topk: SAE, edited: int, device: torch.device, dtype: torch.dtype
) -> tuple[dict[str, Way], list[str]]:
    """What is timed, by name, and what had to be left out."""
    torch._dynamo.reset()  # each shape compiles its own
    features = list(range(edited))
    one = torch.tensor(1.0, device=device)
    products = products_for(dtype, device)

    def planned(edits: list[Edit], which: SAE, error: ErrorMode = "keep") -> Way:
        plan = Plan([edits], which, which.d_model, products=products, error=error).to(device)
        return lambda x: plan(x, one)

    halved: list[Edit] = [Ablate(features)]
    rows = sae.to(device, dtype)
    W_enc, W_dec = rows.W_enc[features].contiguous(), rows.W_dec[features].contiguous()
    bias = (rows.b_enc[features] - rows.W_enc[features] @ rows.b_dec).contiguous()
    zero = torch.zeros((), dtype=dtype, device=device)

    def eager(x: Tensor) -> Tensor:
        pre = torch.addmm(bias, x[0], W_enc.T)
        return torch.addmm(x[0], torch.where(pre > THRESHOLD, -pre, zero), W_dec)

    others, missing = instead(rows, topk.to(device, dtype), features)
    return {
        "add": planned([Add(features, 0.1)], sae),
        "delta": planned(halved, sae),
        "delta, two products by hand": eager,
        "delta by hand, torch.compile": torch.compile(eager, dynamic=False),
        "full, topk, error kept": planned(halved, topk),
        "full, topk, error dropped": planned(halved, topk, "drop"),
        "bare encode product": lambda x: x @ rows.W_enc.T,
        **others,
    }, missing


def decoders(d: int, width: int, frames: int, device: torch.device, clock: Clock) -> list[dict[str, Any]]:
    """k activations a frame decoded as a product with all rows, and as a sum over theirs."""
    W, found = torch.randn(width, d, device=device), []
    for k in (8, 32, 50, 100, 200, 400, 800):
        top = torch.randn(frames, width, device=device).topk(k)
        f = torch.zeros(frames, width, device=device).scatter_(1, top.indices, top.values)
        dense = clock(lambda x: x @ W, [f])
        summed = clock(
            lambda x, top=top: functional.embedding_bag(top.indices, W, per_sample_weights=x, mode="sum"), [top.values]
        )
        found.append({"d": d, "F": width, "frames": frames, "k": k, "dense": dense, "sum": summed})
        print(
            f"| {d} | {width} | {k} | {1e3 * dense['median']:,.2f} ms | {1e3 * summed['median']:,.2f} ms |", flush=True
        )
    return found


def measure(
    device: torch.device, dtype: torch.dtype, clock: Clock, keep: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """All shapes; `keep` gets the figures so far after each, in case the time runs out."""
    top = ceilings(device, dtype, clock)
    name = str(dtype).removeprefix("torch.")
    print(
        f"\n{name}: copy {top['bytes_per_second'] / 1e9:,.0f} GB/s, product "
        f"{top['operations_per_second'] / 1e12:,.2f} TFLOP/s"
    )
    print("| d | F | frames | E | way | median | 10 % to 90 % | of the roofline |\n|---|---|---|---|---|---|---|---|")
    rows = []
    for d, width in SIZES:
        sae, topk = random_sae(d, width), random_sae(d, width, "topk")
        for frames in FRAMES[device.type]:
            count = max(2, min(64, CACHES[device.type] // (frames * d * dtype.itemsize)))
            inputs = [torch.randn(1, frames, d, device=device).to(dtype) for _ in range(count)]
            for edited in EDITED[device.type]:
                found, missing = ways(sae, topk, edited, device, dtype)
                moved = 2 * frames * d * dtype.itemsize + 2 * d * edited * dtype.itemsize
                operations = 4 * frames * d * edited
                floor = max(moved / top["bytes_per_second"], operations / top["operations_per_second"])
                for way, run in found.items():
                    with torch.no_grad():
                        taken = clock(run, inputs)
                    share = f"{floor / taken['median']:.0%}" if way.startswith("delta") and frames > 1 else ""
                    print(
                        f"| {d} | {width} | {frames} | {edited} | {way} | {1e6 * taken['median']:,.0f} µs | "
                        f"{1e6 * taken['p10']:,.0f} to {1e6 * taken['p90']:,.0f} | {share} |",
                        flush=True,
                    )
                    rows.append(
                        {"d": d, "F": width, "frames": frames, "E": edited, "way": way, **taken, "bytes": moved,
                         "operations": operations, "roofline_seconds": floor}
                    )  # fmt: skip
                keep({"ceilings": top, "rows": rows, "left_out": missing})
    if missing:
        print(f"left out, not installed: {', '.join(missing)}")
    return {"ceilings": top, "rows": rows, "left_out": missing}


def main() -> None:
    """Measure every dtype."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtypes", default="bfloat16,float32")
    parser.add_argument("--repeats", type=int, default=50 if torch.cuda.is_available() else 15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    device = torch.device(given.device)
    clock = Clock(device, given.repeats)
    described = {**machine(), "threads": given.threads}
    if device.type == "cuda":
        described["gpu"] = torch.cuda.get_device_name(device)
    found: dict[str, Any] = {"machine": described}
    out = given.json or RESULTS / f"kernels-{device.type}.json"

    def write() -> None:
        out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")

    def keep(name: str, figures: dict[str, Any]) -> None:
        found[name] = figures
        write()

    for name in given.dtypes.split(","):
        found[name] = measure(device, getattr(torch, name), clock, partial(keep, name))
    print("\n| d | F | k | decoded by a product | by a sum |\n|---|---|---|---|---|")
    found["decode"] = [row for d, width in SIZES for row in decoders(d, width, 1500, device, clock)]
    write()
    print(f"\nwrote {out}")


if __name__ == "__main__":
    main()
