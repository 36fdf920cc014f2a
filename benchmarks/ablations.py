"""What each ingredient of an ungated recipe is worth: its features, their number, the error, the decoder's vectors.

    python benchmarks/ablations.py --recipe no-false-speech-ungated --cache CACHE --out benchmarks/results/tiny.en
    python benchmarks/ablations.py --also dense.json --also layer-3.json --cache CACHE --out OUT

On clips of the `test` part of the split. Nothing is learned again: with fewer features, those are taken that come
nearest to the recipe's own vector (matching pursuit), so that what fewer can do is bounded from below. Other recipes of
the same model, such as a dense one or one for another layer, are set beside it by `--also`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import corpus
import torch
from bench_false_speech import sounds
from rich.progress import Progress

from audiosae_steer import Recipe, load_recipe, load_whisper
from audiosae_steer.discover.calibration.candidates import Candidate, Variant, changes, variants
from audiosae_steer.discover.calibration.evaluator import CalibrationClips, Evaluator, Figures
from audiosae_steer.discover.calibration.settings import CalibrateSettings, CalibrationOutput
from audiosae_steer.discover.learning.matching_pursuit import nearest
from audiosae_steer.steering.recipes.schema import SiteSpec

COUNTS = (8, 16, 32, 64)


def rewritten(recipe: Recipe, saes: dict[str, Any]) -> Iterator[tuple[str, Variant]]:
    """What is left of a recipe when one ingredient is taken out or changed, and a name for each."""
    (as_written,) = variants(0, recipe, saes, ["as written"], [1.0])
    yield "as written", as_written
    encoder, decoder = ([site for site in recipe.sites if site.side == side] for side in ("encoder", "decoder"))
    if encoder and decoder:
        yield "encoder alone", made(encoder)
        yield "decoder alone", made(decoder)
    if len(decoder) > 1:
        for site in decoder:
            yield f"without decoder layer {site.layer}", made([*encoder, *(own for own in decoder if own is not site)])
    if len(encoder) != 1 or encoder[0].sae is None:
        return
    (first,) = encoder
    yield "error dropped", made([first.model_copy(update={"error": "drop"}), *decoder])
    for kind in ("typical", "ablate"):
        for variant in variants(0, recipe, saes, [kind], [1.0]):
            yield {"typical": "one typical activation each", "ablate": "lowered ones ablated"}[kind], variant
    sae = saes[first.sae]
    amounts = changes(first, saes)
    rows = sae.rows(range(sae.n_features), torch.float32).W_dec
    norms = rows.norm(dim=-1)
    vector = torch.tensor(list(amounts.values())) @ rows[list(amounts)]
    for count in COUNTS:
        if count < len(amounts):
            chosen, weights = nearest(vector, rows / norms[:, None], count)
            left = float((vector - weights @ (rows / norms[:, None])[chosen]).norm() / vector.norm())
            edit = {"kind": "add", "features": chosen.tolist(), "amount": (weights / norms[chosen]).tolist()}
            site = first.model_copy(update={"edits": [edit]})
            yield f"{count} features, {left:.0%} of the vector left over", made([site, *decoder])


def made(sites: list[SiteSpec]) -> Variant:
    """These sites."""
    text = json.dumps([site.model_dump() for site in sites], sort_keys=True)
    return Variant(0, "ablation", 0, tuple(sites), hashlib.sha256(text.encode()).hexdigest()[:24])


def plain(figures: Figures) -> dict[str, Any]:
    """For the JSON: shares as (hits, of), rates in percent."""
    return {
        "text": [figures.text.hits, figures.text.clips],
        "wer": round(100 * figures.wer, 2),
        "wer_change": [round(100 * value, 2) for value in figures.change],
        "blanked": [figures.blanked.hits, figures.blanked.clips],
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny.en")
    parser.add_argument("--recipe", default="no-false-speech-ungated")
    parser.add_argument("--also", action="append", default=[], help="another recipe; repeatable")
    parser.add_argument("--mode", default="timed", choices=("timed", "untimed"))
    parser.add_argument("--clips", type=int, default=120, help="of each kind, evenly spread")
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    model = load_whisper(given.model)
    absent = sounds(corpus.nonspeech("test"), given.clips)
    present = [sound for sound in sounds(corpus.speech("test"), given.clips) if sound.text]
    clips = CalibrationClips([s.samples() for s in absent], [s.samples() for s in present], [s.text for s in present])
    every = range(len(absent)), range(len(present))
    found: dict[str, Any] = {}
    with Progress() as bars:
        task = bars.add_task("")

        def tell(what: str, done: int, total: int) -> None:
            bars.update(task, description=what, completed=done, total=total)

        for number, name in enumerate([given.recipe, *given.also]):
            recipe = load_recipe(name, model).model_copy(update={"gate": None, "frame_gate": None})
            saes = recipe.load_saes()
            settings = CalibrateSettings(modes=(given.mode,))
            output = CalibrationOutput(cache=given.cache, progress=tell)
            arms = Evaluator(model, [recipe], [saes], clips, settings, output)
            if not number:
                found["unsteered"] = plain(arms.figures(None, given.mode, *every))
            for what, variant in rewritten(recipe, saes) if not number else [next(rewritten(recipe, saes))]:
                label = what if not number else recipe.name
                chosen = Candidate(variant, recipe.strength, "none")
                found[label] = plain(arms.figures(chosen, given.mode, *every))
    rows = ["| | text on non-speech | WER | blanked |", "|---|---|---|---|"]
    for label, row in found.items():
        change = "" if label == "unsteered" else " ({:+.2f} [{:+.2f}, {:+.2f}])".format(*row["wer_change"])
        text, blanked = ("{} of {}".format(*row[key]) for key in ("text", "blanked"))
        rows.append(f"| {label} | {text} | {row['wer']:.2f} %{change} | {blanked} |")
    print("\n".join(rows))
    given.out.mkdir(parents=True, exist_ok=True)
    name = f"ablations-{load_recipe(given.recipe, model).name}"
    (given.out / f"{name}.md").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (given.out / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
