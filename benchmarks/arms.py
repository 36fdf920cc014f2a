"""Arms of `gpu.py`: copies of one model, each steered in its way, timed in shuffled turns."""

from __future__ import annotations

import copy
import random
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from kernels import Clock
from others import random_sae
from torch import Tensor, nn
from whisper_shapes import Shape, Stack

from audiosae_steer import Ablate, NeverCalledWarning, Site, SiteEdits, Steering, steer

HUNDRED = list(range(100))
MOST_ROUNDS = 200


@dataclass
class Arm:
    """A copy of the model, and what steers it."""

    model: Stack
    steering: Steering | None

    def prepared(self, mode: str, x: Tensor, *, compiles: bool = True) -> Callable[[Tensor], Any]:
        """The model in the form that is timed: eager, with compiled blocks, or replayed from a CUDA graph of those.

        Args:
            mode: one of these.
            x: what it is run on.
            compiles: False: a CUDA graph is of eager blocks.
        """
        if mode == "torch.compile" or (mode == "cuda graph" and compiles):
            for block in self.model.blocks:
                block.compile()  # alike blocks are compiled once
        if mode != "cuda graph":
            return self.model
        return captured(self.model, x)

    def close(self) -> None:
        """Take the hooks away."""
        if self.steering is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NeverCalledWarning)  # where the mode failed before the model ran
                self.steering.remove()


def captured(model: nn.Module, x: Tensor) -> Callable[[Tensor], Any]:
    """A replay of the model's pass over this very x."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.no_grad(), torch.cuda.stream(stream):
        for _ in range(3):
            model(x)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.no_grad(), torch.cuda.graph(graph):
        model(x)
    return lambda _: graph.replay()


def models_of(
    build: Callable[[Shape], Stack], shape: Shape, dtype: torch.dtype, device: torch.device, *, every: bool
) -> dict[str, Arm]:
    """Arms by name: unsteered twice, `delta` of 100 and `full` topk at the middle block, `delta` at every block.

    Args:
        build: makes the model.
        shape: its sizes.
        dtype: of weights and residuals.
        device: where it runs.
        every: there is an arm that edits after every block.
    """
    torch._dynamo.reset()
    width = 8 * shape.d
    sae, topk = (random_sae(shape.d, width, kind).to(device) for kind in ("batchtopk", "topk"))
    middle = [shape.layers // 2]
    wanted: dict[str, tuple[Any, list[int]] | None] = {
        "unsteered": None, "unsteered again": None, "delta": (sae, middle), "full": (topk, middle),
    }  # fmt: skip
    if every:
        wanted["delta, every layer"] = (sae, list(range(shape.layers)))
    first = build(shape).to(device, dtype)
    arms = {}
    for name, edits in wanted.items():
        model = copy.deepcopy(first)
        steering = None
        if edits is not None:
            which, layers = edits
            parts = [SiteEdits(Site(path=f"blocks.{layer}"), which, [Ablate(HUNDRED)]) for layer in layers]
            steering = steer(model, parts)
        arms[name] = Arm(model, steering)
    return arms


def in_turns(
    arms: dict[str, Callable[[Tensor], Any]], x: Tensor, *, seconds: float, clock: Clock
) -> dict[str, dict[str, float]]:
    """Every arm once a round, in shuffled order, for so many seconds; figures relative to `unsteered`."""
    rng = random.Random(0)
    times: dict[str, list[float]] = {name: [] for name in arms}
    with torch.no_grad():
        for way in arms.values():
            for _ in range(3):
                way(x)
        end = time.monotonic() + seconds
        while len(times["unsteered"]) < 3 or (time.monotonic() < end and len(times["unsteered"]) < MOST_ROUNDS):
            for name in rng.sample(list(arms), len(arms)):
                times[name].append(clock.once(arms[name], x))
    base = np.array(times["unsteered"])
    draws = np.random.default_rng(0).integers(len(base), size=(2000, len(base)))
    found = {}
    for name, taken in times.items():
        ratios = np.array(taken) / base - 1
        low, high = np.quantile(np.median(ratios[draws], axis=1), [0.025, 0.975])
        found[name] = {
            "seconds": float(np.median(taken)), "added": float(np.median(ratios)), "low": float(low),
            "high": float(high), "rounds": len(base),
        }  # fmt: skip
    return found
