"""What steering costs in two checkouts of this package, in turns in one run: a change must not make it dearer.

    git worktree add ../before COMMIT
    python benchmarks/overhead_versions.py --before ../before          # writes results/overhead-versions-MODEL.json

Each round starts a process for each checkout, in random order, which times an encoder's passes and a text of fixed
length by `generate`, unsteered and steered in turns. A figure is the median over rounds of a process's own median of
(steered / unsteered) − 1, with its range.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
from pathlib import Path

from machine import machine
from rich.progress import track

from audiosae_steer.io.files import write_atomic

ROOT = Path(__file__).parents[1]
CHILD = """
import json, logging, statistics, sys, time, torch
from audiosae_steer import load_whisper, steer
torch.set_num_threads(1)
logging.getLogger("transformers").setLevel(logging.ERROR)
model, repeats = load_whisper(sys.argv[1], library="transformers"), int(sys.argv[2])
mel = torch.randn(1, 80, 3000, generator=torch.Generator().manual_seed(0))
ways = {
    "encoder": lambda: model.get_encoder()(mel),
    "generate, 24 tokens": lambda: model.generate(mel, min_new_tokens=24, max_new_tokens=24, num_beams=1),
}
found = {}
for recipe in ("no-false-speech", "no-false-speech-ungated"):
    steering = steer(model, recipe)
    for name, run in ways.items():
        ratios = []
        for number in range(repeats + 1):
            taken = {}
            for on in (number % 2 == 0, number % 2 == 1):
                steering.enabled = on
                start = time.perf_counter()
                with torch.no_grad():
                    run()
                taken[on] = time.perf_counter() - start
            ratios.append(taken[True] / taken[False] - 1)
        found[f"{recipe}: {name}"] = statistics.median(ratios[1:])  # the first warms up
    steering.remove()
print(json.dumps(found))
"""


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, required=True, help="checkout of the older commit")
    parser.add_argument("--model", default="tiny.en")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=10, help="of each pass in a round")
    parser.add_argument("--out", type=Path, help="JSON; default: benchmarks/results/overhead-versions-MODEL.json")
    given = parser.parse_args()
    checkouts = {"before": given.before.resolve(), "after": ROOT}
    for name, path in checkouts.items():
        if not (path / "audiosae_steer").is_dir():
            parser.error(f"{path} ({name}) is no checkout of this package")
    rng, found = random.Random(0), {name: [] for name in checkouts}
    for name in track([n for _ in range(given.rounds) for n in rng.sample(list(checkouts), 2)], description="rounds"):
        done = subprocess.run(
            [sys.executable, "-c", CHILD, given.model, str(given.repeats)], capture_output=True, text=True, check=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(checkouts[name]), os.environ.get("PYTHONPATH", "")])},
            cwd=checkouts[name],
        )  # fmt: skip
        found[name].append(json.loads(done.stdout.splitlines()[-1]))
    rows = {
        what: {
            name: [statistics.median(values), min(values), max(values)]
            for name, values in ((name, [each[what] for each in runs]) for name, runs in found.items())
        }
        for what in found["after"][0]
    }
    content = {"machine": {**machine(), "threads": 1}, "model": given.model, "rounds": given.rounds, "added": rows}
    out = given.out or ROOT / "benchmarks" / "results" / f"overhead-versions-{given.model}.json"
    write_atomic(out, json.dumps(content, indent=1) + "\n")
    for what, versions in rows.items():
        print(what + ": " + ", ".join(f"{n} {m:+.2%} [{lo:+.2%}, {hi:+.2%}]" for n, (m, lo, hi) in versions.items()))


if __name__ == "__main__":
    main()
