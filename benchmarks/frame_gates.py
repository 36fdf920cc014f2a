"""How well frames with speech are told from frames without: the shipped timestamp gate, and controls, by condition.

    python benchmarks/frame_gates.py --cache CACHE                  # tiny.en, 24 windows of 30 s of each condition
    python benchmarks/frame_gates.py --cache CACHE --model base
    python benchmarks/frame_gates.py --docs                         # writes the tables into docs/results.md

The gate of the recipe as it ships, beside a dense probe on the residual of the same layer, as many random features of
the same norms that fire as often, and Silero VAD. The probe and the random features are fitted on the very frames of
the `find` part that the gate was fitted on, and their thresholds placed on the same `calibrate` windows with the same
budget. Then the gate itself with other sizes, reaches, budgets and rules, on `calibrate`. Only the encoder runs.
Interrupted, it goes on from the cache. Needs the real audio beside the repository.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from frame_conditions import conditions, labelled, single_words
from frame_scorers import (
    FINER,
    SETTINGS,
    Flags,
    Frames,
    Scorer,
    Scores,
    Seen,
    dense_probe,
    frames_of,
    gate_scorer,
    placed_at,
    random_sae,
    seen,
    silero,
    sparse_gates,
)  # fmt: skip
from machine import machine
from mixed import files
from numpy.typing import NDArray
from pages import fill

from audiosae_steer import SAE, TimestampGate, load_recipe, load_whisper
from audiosae_steer.discover.gates.reader import LayerReader
from audiosae_steer.evaluate.benchmark.long_recordings import LongFile
from audiosae_steer.evaluate.metrics.feature_ranking import auc
from audiosae_steer.io.files import write_atomic

RESULTS = Path(__file__).parent / "results"
REACHES = (0.0, 0.1, 0.2, 0.5)
SIZES = (8, 16, 32, 64)
BUDGETS = (0.005, 0.02, 0.05, 0.1, 0.2)
LEAST_SPEECH = (0.0, 0.25, 0.5, 1.0)
LEAST_GAP = (0.0, 0.5, 1.0, 2.0)
DRAWS = 2000
"""Resamples of windows for an interval."""
BINS = 512
"""Of scores, by which an AUC is resampled."""


def measured(windows: Sequence[Seen], scorer: Scorer, draws: int = DRAWS) -> dict[str, Any]:
    """AUC and the two error rates of a scorer, with 95 % intervals (bootstrap over windows)."""
    scores = [scorer.score(window) for window in windows]
    kinds = [(window.labels == 0, window.labels == 1) for window in windows]
    found: dict[str, Any] = {"auc": area(scores, kinds, draws)}
    raw = [each > scorer.threshold for each in scores]
    decided = [scorer.decide(*each) for each in zip(windows, scores, strict=True)]
    for name, opened in (("raw", raw), ("decided", decided)):
        missed = [
            (int((own & speech).sum()), int(speech.sum())) for own, (_, speech) in zip(opened, kinds, strict=True)
        ]
        false = [(int((~own & gap).sum()), int(gap.sum())) for own, (gap, _) in zip(opened, kinds, strict=True)]
        found[name] = {"missed": share(missed, draws), "false": share(false, draws)}
    return found


def share(counts: Sequence[tuple[int, int]], draws: int = DRAWS) -> list[float]:
    """A share of frames of (hits, frames) by window, and the ends of its 95 % interval."""
    table = np.array(counts, np.float64)
    sums = resampled(len(table), draws) @ table
    low, high = np.percentile(sums[:, 0] / np.maximum(sums[:, 1], 1), [2.5, 97.5])
    return [round(float(x), 5) for x in (table[:, 0].sum() / table[:, 1].sum(), low, high)]


def area(scores: Sequence[Scores], kinds: Sequence[tuple[Flags, Flags]], draws: int = DRAWS) -> list[float]:
    """The AUC of scores by window against (without, with speech), and its 95 % interval, which scores in bins give."""
    known = [gap | speech for gap, speech in kinds]
    pooled = np.concatenate([each[own] for each, own in zip(scores, known, strict=True)])
    labels = np.concatenate([gap[own] for (gap, _), own in zip(kinds, known, strict=True)])
    edges = np.unique(np.quantile(pooled, np.linspace(0, 1, BINS + 1)[1:-1]))
    histograms = [
        np.array([np.bincount(np.searchsorted(edges, own[mask], "right"), minlength=len(edges) + 1) for mask in both])
        for own, both in zip(scores, kinds, strict=True)
    ]
    times = resampled(len(scores), draws)
    gap, speech = (times @ np.array([each[kind] for each in histograms], np.float64) for kind in (0, 1))
    below = np.cumsum(speech, 1) - speech / 2
    areas = (gap * below).sum(1) / np.maximum(gap.sum(1) * speech.sum(1), 1)
    return [round(float(x), 5) for x in (auc(pooled, labels), *np.percentile(areas, [2.5, 97.5]))]


def resampled(windows: int, draws: int, seed: int = 0) -> NDArray[np.float64]:
    """How often each window is in each resample: (draws, windows)."""
    return np.random.default_rng(seed).multinomial(windows, np.full(windows, 1 / windows), draws).astype(np.float64)


def ablation(
    shipped: TimestampGate, sae: SAE, frames: Frames, place: Sequence[Seen], words: Sequence[Seen]
) -> list[dict[str, Any]]:
    """The gate fitted with other reaches and sizes, and as it ships with other budgets and rules, on `calibrate`.

    Args:
        shipped: the gate.
        sae: that it reads.
        frames: that it was fitted on.
        place: windows on which thresholds are placed, and all is measured.
        words: windows of single words, on which what is decided in the end is measured as well.
    """
    rows: list[dict[str, Any]] = []

    def add(what: str, value: float, gate: TimestampGate, budget: float = SETTINGS.budget) -> None:
        own = placed_at(gate_scorer("gate", gate, sae), place, budget, gate)
        found = {**measured(place, own), "words": measured(words, own)["decided"]}
        rows.append({"what": what, "value": value, "features": len(gate.features), **found})

    for reach in REACHES:
        sizes = SIZES if reach == SETTINGS.reach else (SETTINGS.max_features,)
        gates = sparse_gates(frames.features[reach], frames.absent, sizes, reach)
        if reach == SETTINGS.reach:
            for size in sorted(gates):
                add("most features", size, gates[size])
        add("reach, s", reach, gates[SETTINGS.max_features])
        print(f"ablation: reach {reach:g} s", flush=True)
    for budget in BUDGETS:
        add("budget", budget, shipped, budget)
    for least in LEAST_SPEECH:
        add("least speech, s", least, replace(shipped, least_speech=least))
    for least in LEAST_GAP:
        add("least gap, s", least, replace(shipped, least_gap=least))
    order = ["most features", "reach, s", "budget", "least speech, s", "least gap, s"]
    return sorted(rows, key=lambda row: order.index(row["what"]))


def tables(content: dict[str, Any]) -> str:
    """All figures of one model, in Markdown."""
    rows, names = content["conditions"], list(content["gates"])

    def by_gate(cell: Callable[[dict[str, Any]], str], kind: str = "") -> str:
        counts = [[f"{row['frames'][kind]:,}"] if kind else [] for row in rows]
        cells = [[cell(row["gates"][name]) for name in names] for row in rows]
        lines = [[row["condition"], *n, *own] for row, n, own in zip(rows, counts, cells, strict=True)]
        return table(["", *(["frames"] if kind else []), *names], lines)

    return "\n\n".join(
        [
            f"Encoder layer {content['layer']} of {content['model']}, {content['windows']} windows of 30 s of each "
            f"condition; controls fitted on {content['frames fitted on']:,} frames.",
            "\n".join(f"- {name}: {about}" for name, about in content["gates"].items()),
            "Frames of speech that are taken for a gap in the end [95 %, over windows]:",
            by_gate(lambda own: ranged(own["decided"]["missed"]), "speech"),
            "Frames of gaps that are taken for speech in the end:",
            by_gate(lambda own: ranged(own["decided"]["false"]), "gap"),
            "Area under the ROC curve of the scores, in %:",
            by_gate(lambda own: ranged(own["auc"], "")),
            "Speech taken for a gap, and gaps taken for speech, by scores against the threshold alone:",
            by_gate(lambda own: both(own["raw"])),
            f"The gate with one thing changed, on {content['calibrate windows']} windows of `calibrate`, on which its "
            "threshold is placed; the last two columns: on windows of single words of `calibrate`:",
            changes(content["ablation"]),
        ]
    )


def changes(rows: Sequence[dict[str, Any]]) -> str:
    """The table of the ablation."""
    sides = ("speech missed", "gaps heard")
    head = ["", "", "features", "AUC", *(f"{side}, threshold alone" for side in sides), *sides]
    head += ["words missed", "gaps heard"]
    lines = []
    for row in rows:
        shares = [row["raw"], row["decided"], row["words"]]
        cells = [f"{each[kind][0]:.1%}" for each in shares for kind in ("missed", "false")]
        lines.append([row["what"], f"{row['value']:g}", str(row["features"]), f"{row['auc'][0]:.2%}", *cells])
    return table(head, lines)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def ranged(value: Sequence[float], unit: str = "%") -> str:
    """A share in %, with its interval."""
    middle, low, high = (100 * each for each in value)
    return f"{middle:.1f}{unit} [{low:.1f}, {high:.1f}]"


def both(shares: dict[str, Sequence[float]]) -> str:
    """Both error rates."""
    return f"{shares['missed'][0]:.1%}, {shares['false'][0]:.1%}"


def page() -> str:
    """The tables of docs/results.md, of the committed results."""
    found = []
    for path in sorted(RESULTS.glob("frame-gates-*.json"), reverse=True):  # tiny.en before base
        content = json.loads(path.read_text(encoding="utf-8"))
        names = list(content["gates"])
        rows = [
            [row["condition"], *(f"{row['gates'][n]['auc'][0]:.1%}; {both(row['gates'][n]['decided'])}" for n in names)]
            for row in content["conditions"]
        ]
        found.append(
            f"{content['model']}, {content['windows']} windows of 30 s of each condition ([all figures, with "
            f"intervals](../benchmarks/results/{path.with_suffix('.md').name})):\n\n{table(['', *names], rows)}"
        )
    return "\n\n".join(found) or "Figures are not in yet."


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """Fit the controls, and measure them and the gate in all conditions."""
    model = load_whisper(given.model, library="openai")
    recipe = load_recipe(given.recipe, model)
    spec = recipe.timestamp_gate
    if spec is None:
        raise SystemExit(f"{recipe.name} has no timestamp gate to measure")
    gate, sae = spec.build(), recipe.load_saes()[spec.sae].float()
    reader = LayerReader(model=model, sae=sae, layer=spec.layer, cache=given.cache)
    fit = [each.mixed for each in files("find", given.fit_windows)]
    place = list(seen(reader, [labelled(each.mixed) for each in files("calibrate", max(given.fit_windows // 3, 1))]))
    frames = frames_of(reader, fit, REACHES)
    print(f"{len(frames.absent)} frames to fit on", flush=True)
    arms = [
        gate_scorer("the gate", gate, sae),
        dense_probe(frames, place, SETTINGS.budget, gate),
        random_control(reader, gate, fit, frames, place),
        *silero(given.cache, place, SETTINGS.budget, gate),
    ]
    print("\n".join(f"{arm.name}: {arm.about}" for arm in arms), flush=True)
    changed = ablation(gate, sae, frames, place, list(seen(reader, single_words(max(given.windows // 2, 1)))))
    rows = []
    for name, windows in conditions(given.windows):
        own = list(seen(reader, windows))
        counts = {kind: int(sum((w.labels == label).sum() for w in own)) for kind, label in (("gap", 0), ("speech", 1))}
        rows.append({"condition": name, "frames": counts, "gates": {arm.name: measured(own, arm) for arm in arms}})
        print(f"{name}: {both(rows[-1]['gates']['the gate']['decided'])}", flush=True)
    return {
        "machine": machine(),
        "model": given.model,
        "recipe": recipe.name,
        "layer": spec.layer,
        "windows": given.windows,
        "calibrate windows": len(place),
        "frames fitted on": len(frames.absent),
        "gates": {arm.name: arm.about for arm in arms},
        "conditions": rows,
        "ablation": changed,
    }


def random_control(
    reader: LayerReader, gate: TimestampGate, fit: Sequence[LongFile], frames: Frames, place: Sequence[Seen]
) -> Scorer:
    """As many features as the gate reads, of an SAE with random rows, fitted and placed as it is."""
    random = random_sae(reader.sae, frames.residuals)
    own = frames_of(replace(reader, sae=random), fit, (gate.reach,))
    count = len(gate.features)
    fitted = sparse_gates(own.features[gate.reach], own.absent, [count], gate.reach, FINER)[count]
    fitted = replace(fitted, least_speech=gate.least_speech, least_gap=gate.least_gap)
    return placed_at(gate_scorer("random features", fitted, random), place, SETTINGS.budget, fitted)


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny.en")
    parser.add_argument("--recipe", default="no-false-speech")
    parser.add_argument("--windows", type=int, default=24, help="of each condition")
    parser.add_argument(
        "--fit-windows", type=int, default=150, help="to fit controls on; a third as many to place them"
    )
    parser.add_argument("--cache", type=Path, help="folder for encoded windows")
    parser.add_argument("--docs", action="store_true", help="write the tables into docs/results.md, and no more")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="without its ending; default: benchmarks/results/frame-gates-MODEL")
    given = parser.parse_args()
    if given.docs:
        fill("results.md", "frame_gates.py", page())
        return
    if given.cache is None:
        parser.error("--cache says where encoded windows are kept")
    torch.set_num_threads(given.threads)
    content = measure(given)
    out = given.out or RESULTS / f"frame-gates-{given.model}"
    write_atomic(out.with_name(f"{out.name}.json"), json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    write_atomic(out.with_name(f"{out.name}.md"), tables(content) + "\n")
    print(tables(content))


if __name__ == "__main__":
    main()
