"""What steering costs: the encoder with each kind of steering, beside what people would write or use instead.

    python benchmarks/overhead.py                 # Whisper-small's shape with random weights, and tiny.en as released
    python benchmarks/overhead.py --rounds 5      # quicker, wider intervals

Every round runs every arm once, in a shuffled order, on the same model and the same input; an arm's figure is the
median over rounds of (its time / the unsteered time of that round) − 1, with a 95 % bootstrap interval. Differences far
below 1 % drown in a machine's noise, so the steering's own work is also timed by itself, many times, and given as a
share of the encoder's time ("own work"). Needs the extra `[bench]` for SAELens and nnsight; without them those arms are
left out, and said to be.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from false_speech import machine
from torch import Tensor

from audiosae_steer import SAE, Ablate, Add, Edit, Gate, Site, load_whisper, steer
from audiosae_steer.sites import block_at, family_of

RESULTS = Path(__file__).parent / "results"
Run = Callable[[], Any]


def random_whisper(d: int, layers: int, heads: int) -> Any:
    """An openai-whisper model of a given shape, with random weights: right for time, useless for text."""
    from whisper.model import ModelDimensions, Whisper

    torch.manual_seed(0)
    return Whisper(ModelDimensions(80, 1500, d, heads, layers, 51865, 448, d, heads, 1)).eval().requires_grad_(False)


def random_sae(d: int, features: int, kind: str = "batchtopk") -> SAE:
    """A random SAE; `batchtopk` has a threshold, `topk` needs the whole selection."""
    g = torch.Generator().manual_seed(0)
    W = torch.randn(features, d, generator=g) / d**0.5
    threshold = torch.tensor(2.0) if kind == "batchtopk" else None
    gate = Gate("batchtopk" if kind == "batchtopk" else "topk", 50)
    return SAE(W, torch.zeros(features), W.clone(), torch.zeros(d), gate=gate, threshold=threshold)


def naive_hook(sae: SAE, features: list[int]) -> Callable[[Any, Any, Tensor], Tensor]:
    """What one writes first: encode all, decode twice, keep the error."""

    def hook(module: Any, args: Any, x: Tensor) -> Tensor:
        f = sae.encode(x)
        error = x - sae.decode(f)
        f[..., features] = 0
        return sae.decode(f) + error

    return hook


def saelens_hook(sae: SAE, features: list[int]) -> Callable[[Any, Any, Tensor], Tensor]:
    """SAELens' own path: its SAE with `use_error_term`, and a hook on its activations."""
    from sae_lens import JumpReLUSAE, JumpReLUSAEConfig

    theirs = JumpReLUSAE(JumpReLUSAEConfig(d_in=sae.d_model, d_sae=sae.n_features), use_error_term=True)
    with torch.no_grad():
        theirs.W_enc.copy_(sae.W_enc.T)
        theirs.W_dec.copy_(sae.W_dec)
        theirs.b_enc.copy_(sae.b_enc)
        theirs.b_dec.copy_(sae.b_dec)
        theirs.threshold.fill_(2.0)

    def ablate(f: Tensor, hook: Any) -> Tensor:
        f[..., features] = 0
        return f

    theirs.add_hook("hook_sae_acts_post", ablate)
    return lambda module, args, x: theirs(x)


def arms_of(model: Any, layer: int, d: int, features: int, mel: Tensor) -> tuple[dict[str, Run], list[str]]:
    """Every arm as a function without arguments; hooks go in and out inside it, outside the timed part of a pass."""
    sae, topk = random_sae(d, features), random_sae(d, features, "topk")
    block = block_at(model, family_of(model), Site(layer))
    hundred = list(range(100))

    def steered(edits: list[Edit], which: SAE = sae, error: Any = "keep") -> Run:
        def run() -> float:
            with steer(model, sae=which, layer=layer, edits=edits, error=error):
                return timed(lambda: model.encoder(mel))

        return run

    def hooked(hook: Any) -> Run:
        def run() -> float:
            handle = block.register_forward_hook(hook)
            try:
                return timed(lambda: model.encoder(mel))
            finally:
                handle.remove()

        return run

    arms: dict[str, Run] = {
        "unsteered": lambda: timed(lambda: model.encoder(mel)),
        "unsteered again": lambda: timed(lambda: model.encoder(mel)),
        "add": steered([Add(hundred, 0.1)]),
        "delta, 10 features": steered([Ablate(hundred[:10])]),
        "delta, 100 features": steered([Ablate(hundred)]),
        "delta, 1000 features": steered([Ablate(list(range(1000)))]),
        "full, topk, error kept": steered([Ablate(hundred)], topk),
        "full, error dropped": steered([Ablate(hundred)], sae, "drop"),
        "naive error-term hook": hooked(naive_hook(sae, hundred)),
    }
    missing = []
    try:
        arms["SAELens, use_error_term"] = hooked(saelens_hook(sae, hundred))
    except ImportError:
        missing.append("SAELens")
    try:
        arms["nnsight trace, same edit"] = nnsight_arm(model, layer, sae, hundred, mel)
    except ImportError:
        missing.append("nnsight")
    return arms, missing


def nnsight_arm(model: Any, layer: int, sae: SAE, features: list[int], mel: Tensor) -> Run:
    """The delta edit inside an nnsight trace of the encoder."""
    from nnsight import NNsight

    from audiosae_steer.plan import Plan

    traced = NNsight(model.encoder)
    plan, one = Plan([[Ablate(features)]], sae, sae.d_model), torch.ones(())

    def trace() -> None:
        with traced.trace(mel):
            traced.blocks[layer - 1].output = plan(traced.blocks[layer - 1].output, one)

    return lambda: timed(trace)


def timed(run: Run) -> float:
    """Seconds."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def own_work(model: Any, layer: int, d: int, features: int, repeats: int) -> dict[str, float]:
    """Median seconds of the steering's module alone, on a residual of the encoder's shape."""
    sae, topk = random_sae(d, features), random_sae(d, features, "topk")
    x = torch.randn(1, 1500, d, generator=torch.Generator().manual_seed(1))
    cases: dict[str, tuple[SAE, list[Edit]]] = {
        "add": (sae, [Add(list(range(100)), 0.1)]),
        "delta, 10 features": (sae, [Ablate(list(range(10)))]),
        "delta, 100 features": (sae, [Ablate(list(range(100)))]),
        "delta, 1000 features": (sae, [Ablate(list(range(1000)))]),
        "full, topk, error kept": (topk, [Ablate(list(range(100)))]),
    }
    found = {}
    for name, (which, edits) in cases.items():
        with steer(model, sae=which, layer=layer, edits=edits) as steering:
            hook = steering.hooks[Site(layer)]
            hook(x)
            count = max(repeats // 10, 3) if name.startswith("full") else repeats
            found[name] = statistics.median(timed(lambda hook=hook: hook(x)) for _ in range(count))
    return found


def measure(name: str, model: Any, layer: int, d: int, features: int, rounds: int) -> dict[str, Any]:
    """All arms, in turns."""
    mel = torch.randn(1, 80, 3000, generator=torch.Generator().manual_seed(0))
    arms, missing = arms_of(model, layer, d, features, mel)
    times: dict[str, list[float]] = {arm: [] for arm in arms}
    rng = random.Random(0)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for arm in arms.values():
            arm()
        for _ in range(rounds):
            for arm in rng.sample(list(arms), len(arms)):
                times[arm].append(arms[arm]())
        own = own_work(model, layer, d, features, 50)
    base = np.array(times["unsteered"])
    encoder = float(np.median(base))
    print(f"\n{name}: layer {layer}, d = {d}, F = {features}; encoder {encoder:.3f} s, {rounds} rounds")
    if missing:
        print(f"left out, not installed: {', '.join(missing)} (pip install 'audiosae-steer[bench]')")
    print("| arm | added time, in turns | own work |\n|---|---|---|")
    rows = {}
    draws = np.random.default_rng(0).integers(rounds, size=(2000, rounds))
    for arm, taken in times.items():
        ratios = np.array(taken) / base - 1
        medians = np.median(ratios[draws], axis=1)
        low, high = np.quantile(medians, [0.025, 0.975])
        share = own[arm] / encoder if arm in own else None
        rows[arm] = {"added": float(np.median(ratios)), "low": float(low), "high": float(high), "own": share}
        alone = "" if share is None else f"{share:.3%}"
        if arm != "unsteered":
            print(f"| {arm} | {np.median(ratios):+.2%} [{low:+.2%}, {high:+.2%}] | {alone} |")
    return {"encoder_seconds": encoder, "rounds": rounds, "arms": rows, "left_out": missing}


def main() -> None:
    """Measure both models."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS / "overhead-cpu.json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    found = {"machine": {**machine(), "threads": options.threads}}
    small = random_whisper(768, 12, 12)
    found["whisper-small, random weights"] = measure("Whisper-small's shape", small, 8, 768, 6144, options.rounds)
    del small
    found["tiny.en"] = measure("tiny.en", load_whisper("tiny.en"), 4, 384, 3072, options.rounds)
    options.out.parent.mkdir(exist_ok=True)
    options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"\nwrote {options.out}")


if __name__ == "__main__":
    main()
