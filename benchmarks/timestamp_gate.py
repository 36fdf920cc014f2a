"""Fit the timestamp gate of a recipe on windows of the `find` part, place its threshold on `calibrate`, and write it.

    python benchmarks/timestamp_gate.py --model tiny.en --cache CACHE \
        --out checkpoints/whisper-tiny.en/no-false-speech.json

The recipe is named after the file; one that has such a gate gets another. Needs the real audio beside the repository.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from mixed import files

from audiosae_steer import load_recipe, load_whisper
from audiosae_steer.discover.gates.fit_timestamps import make_timestamp_gate
from audiosae_steer.discover.gates.settings import TimestampGateSettings
from audiosae_steer.steering.recipes.schema import TimestampGateSpec

DEFAULTS = TimestampGateSettings()
SPLIT = "benchmarks/corpus.py: fitted on windows of `find`, its threshold placed on windows of `calibrate`"


def main() -> None:
    """Read the arguments, fit and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny.en")
    parser.add_argument("--recipe", default="no-false-speech", help="that gets the gate, at its clip gate's layer")
    parser.add_argument("--windows", type=int, default=150, help="to fit on; a third as many to place the threshold")
    parser.add_argument("--reach", type=float, default=DEFAULTS.reach)
    parser.add_argument("--least-gap", type=float, default=DEFAULTS.least_gap)
    parser.add_argument("--budget", type=float, default=DEFAULTS.budget)
    parser.add_argument("--max-features", type=int, default=DEFAULTS.max_features)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    model = load_whisper(given.model, library="openai")
    recipe = load_recipe(given.recipe, model)
    if recipe.gate is None:
        parser.error(f"{recipe.name} has no clip gate, whose layer and SAE the timestamp gate would read")
    layer, name = recipe.gate.layer, recipe.gate.sae
    gate = make_timestamp_gate(
        model,
        recipe.load_saes()[name].float(),
        layer,
        [each.mixed for each in files("find", given.windows)],
        [each.mixed for each in files("calibrate", given.windows // 3)],
        settings=TimestampGateSettings(
            reach=given.reach, least_gap=given.least_gap, budget=given.budget, max_features=given.max_features
        ),
        cache=given.cache,
    )  # fmt: skip
    spec = TimestampGateSpec.of(gate, layer, name)
    command = f"python benchmarks/timestamp_gate.py --model {given.model} --cache CACHE --out {given.out.name}"
    made = {"command": command, "windows": [given.windows, given.windows // 3], "split": SPLIT}
    update = {
        "name": given.out.stem,
        "description": recipe.description
        if recipe.timestamp_gate
        else f"{recipe.description.rstrip('.')}; and timestamps only where somebody speaks.",
        "timestamp_gate": spec,
        "provenance": {**recipe.provenance, "timestamp_gate": made},
        "measured": {},  # of the recipe with another gate, or none
    }
    recipe.model_copy(update=update).save(given.out)
    print(f"{given.out}: {gate.calibration}")


if __name__ == "__main__":
    main()
