"""What steering adds to a whole transcription: `model.transcribe` with and without a recipe, in turns.

    python benchmarks/transcription_cost.py                # tiny.en and base as released, the shipped speech clips

Three ways: no steering; the recipe that ships; and ablating 100 features after every decoder layer, which runs at each
token. Only passes with the same text as unsteered are compared: other text takes another time. (The features ablated
are of a random SAE at a strength of 1e-6: the work of an edit, and no other text.) The clips are speech: the recipe's
gate reads them and stays shut, which is what speech costs.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import machine
from others import random_sae

from audiosae_steer import Ablate, Site, SiteEdits, load_whisper, steer
from audiosae_steer.data.audio import load_audio

ROOT = Path(__file__).parents[1]


def measure(name: str, rounds: int) -> dict[str, Any]:
    """Seconds added, as a share of the unsteered time of the same clip in the same round."""
    model = load_whisper(name)
    sae = random_sae(model.dims.n_text_state, 8 * model.dims.n_text_state)
    layers = range(1, model.dims.n_text_layer + 1)
    each = [SiteEdits(Site(layer, "decoder"), sae, [Ablate(list(range(100)))]) for layer in layers]
    arms = {"unsteered": None, "unsteered again": None, "no-false-speech": "no-false-speech", "every step": each}
    clips = sorted((ROOT / "checkpoints" / "clips").glob("speech-*.flac"))
    rng, added = random.Random(0), {arm: [] for arm in arms}
    same, steps = dict.fromkeys(arms, 0), []
    for clip in clips * rounds:
        taken, texts = {}, {}
        for arm in rng.sample(list(arms), len(arms)):
            steering = arms[arm] and steer(model, arms[arm], strength=1e-6 if arm == "every step" else 1.0)
            start = time.perf_counter()
            texts[arm] = model.transcribe(load_audio(clip), temperature=0.0, fp16=False)["text"]
            taken[arm] = time.perf_counter() - start
            if steering:
                steering.remove()
        steps.append(taken["unsteered"])
        for arm in arms:
            if texts[arm] == texts["unsteered"]:
                same[arm] += 1
                added[arm].append(taken[arm] / taken["unsteered"] - 1)
    print(f"\n{name}: {len(clips)} clips, {rounds} rounds, {statistics.median(steps):.2f} s a clip")
    print("| arm | added time | same text |\n|---|---|---|")
    found = {}
    for arm, ratios in added.items():
        draws = np.random.default_rng(0).choice(ratios, size=(2000, len(ratios)))
        low, high = np.quantile(np.median(draws, axis=1), [0.025, 0.975])
        found[arm] = {"added": statistics.median(ratios), "low": low, "high": high, "same_text": same[arm]}
        print(f"| {arm} | {statistics.median(ratios):+.2%} [{low:+.2%}, {high:+.2%}] | {same[arm]}/{len(steps)} |")
    return {"clips": len(clips), "rounds": rounds, "seconds": statistics.median(steps), "arms": found}


def main() -> None:
    """Measure both released models."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="tiny.en,base")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "transcription-cpu.json")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    found: dict[str, Any] = {"machine": {**machine(), "threads": given.threads}}
    for name in given.models.split(","):
        found[name] = measure(name, given.rounds)
    given.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"\nwrote {given.out}")


if __name__ == "__main__":
    main()
