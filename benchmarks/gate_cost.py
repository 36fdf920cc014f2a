"""What gates cost: their share of a pass of the encoder, and the mask of timestamps' share of a step of the decoder.

    python benchmarks/gate_cost.py                     # tiny.en and base as released, with `no-false-speech`

Each part is timed by itself, in turns with the pass that it is a share of; medians of the rounds, and their quartiles.
The hook is all of them at their layer with what is kept of the decisions, on a window of speech, where the clip gate
stays shut. Writes `benchmarks/results/gate-cost-cpu.json`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from machine import machine

from audiosae_steer import load_audio, load_recipe, load_whisper, steer
from audiosae_steer.data.activations.capture import residuals
from audiosae_steer.io.files import write_atomic
from audiosae_steer.models.families.timestamps import TimestampMask
from audiosae_steer.models.families.whisper_mel import mel
from audiosae_steer.models.sites import TIMESTAMPS
from audiosae_steer.steering.recipes.load import checkpoints_dir

OUT = Path(__file__).parent / "results" / "gate-cost-cpu.json"
CLIP = "speech-01"
TOKENS = 12
"""Written so far, at the step that is timed."""


def shares(whole: Callable[[], Any], parts: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Median and quartiles of each part's time as a share of the whole's in the same round."""
    found: dict[str, list[float]] = {name: [] for name in parts}
    for number in range(rounds + 1):
        took = taken(whole)
        for name, part in parts.items():
            share = taken(part) / took
            if number:  # the first warms up
                found[name].append(share)
    return {name: statistics.quantiles(each, n=4) for name, each in found.items()}


def taken(work: Callable[[], Any]) -> float:
    """Seconds."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(name: str, rounds: int) -> dict[str, Any]:
    """Shares of the encoder's pass and of the decoder's step."""
    model = load_whisper(name)
    recipe = load_recipe("no-false-speech", model)
    samples = load_audio(checkpoints_dir() / "clips" / f"{CLIP}.flac")
    assert recipe.gate is not None
    x, spectrum = residuals(model, [samples], [recipe.gate.layer])[recipe.gate.layer], mel(model, [samples])
    with torch.no_grad():
        features = model.encoder(spectrum)
        with steer(model, recipe) as steering:
            hook = next(hook for hook in steering._hooks.values() if hook.timestamp_probe is not None)
            parts = {"clip gate": lambda: hook.probe(x), "timestamp gate": lambda: hook.timestamp_probe(x)}
            parts["the hook"] = lambda: hook(x)
            encoder = shares(lambda: model.encoder(spectrum), parts, rounds)
            model.decoder(torch.tensor([[50257]]), model.encoder(spectrum))  # whose decision the mask asks for
            decoder = _steps(model, features, rounds)
    return {
        "encoder": encoder,
        "decoder": decoder,
        "features": [len(recipe.gate.features), len(hook.timestamp_probe.features)],
    }


def _steps(model: Any, features: torch.Tensor, rounds: int) -> dict[str, list[float]]:
    """Shares of a step of the decoder with its cache; the window's mask is made at its first step alone."""
    size = model.dims.n_vocab
    first, end = size - TIMESTAMPS, 50256 if model.is_multilingual is False else 50257
    cache, hooks = model.install_kv_cache_hooks()
    prompt = torch.full((1, 3 + TOKENS), 1000)
    model.decoder(prompt, features, kv_cache=cache)
    kept = {module: value.clone() for module, value in cache.items()}
    scores, mask = torch.zeros(1, size), TimestampMask(model, first, end, 50)

    def step() -> None:
        cache.update(kept)
        model.decoder(prompt[:, -1:], features, kv_cache=cache)

    mask.fill(scores, prompt[:, :3], 3)
    found = shares(
        step,
        {
            "mask, first step of a window": lambda: mask.fill(scores, prompt[:, :3], 3),
            "mask, each other step": lambda: mask.fill(scores, prompt, 3),
        },
        4 * rounds,
    )
    for hook in hooks:
        hook.remove()
    return found


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="tiny.en,base")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    found: dict[str, Any] = {"machine": {**machine(), "threads": given.threads}, "rounds": given.rounds}
    for name in given.models.split(","):
        found[name] = measure(name, given.rounds)
        for whole, of in (("encoder", "a pass of the encoder"), ("decoder", "a step of the decoder")):
            for part, (low, middle, high) in found[name][whole].items():
                print(f"{name}: {part}: {middle:.2%} [{low:.2%}, {high:.2%}] of {of}")
    write_atomic(OUT, json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
