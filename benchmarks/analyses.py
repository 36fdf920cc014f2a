"""Figures of the pages in docs/analyse, on the SAEs that ship for tiny.en and on real sound.

    python benchmarks/analyses.py emotion ASSETS --cache CACHE --layer 4

ASSETS is a folder with `speech`, `esc10`, `nonspeech`, `music`, and in `analysis` the folders `emodb` and
`espeak-phones`. The first argument is one of the names in `ANALYSES`. What the analysis prints is printed; the results,
as `audiosae-steer analyse` writes them but without what they have of each feature, are in
`benchmarks/results/analyse-NAME.json`, beside those of other layers that are in it already. Settings are in the
results. Residuals are kept in CACHE, and so are the SAEs that `stability` and `--small` train: SAEs ship for layers 3
and 4 alone, and `--small` measures one of each layer, all trained alike, in their place.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from analysis_data import (
    LAYERS,
    LETTERS,
    Run,
    by_speaker,
    domain_lists,
    emodb,
    letters,
    said,
    speakers,
    ten_sounds,
    trained,
)

from audiosae_steer import load_model
from audiosae_steer.analyse import (
    DomainSettings,
    ErasureSettings,
    LabelSettings,
    LocaliseSettings,
    Outcome,
    ProbeCurve,
    ProbeSettings,
    Quality,
    QualitySettings,
    RetrievalSettings,
    StabilitySettings,
    compare,
    domains,
    erasure,
    excerpts_of_domains,
    label_search,
    localise,
    probe,
    quality,
    retrieval,
    stability,
)

RESULTS = Path(__file__).parent / "results"
OF_EACH_FEATURE = ("frame_frequency", "clip_frequency", "frame_log_ratio", "clip_log_ratio", "strength")
Found = Iterator[tuple[str, Outcome]]
"""Names of results, and the results."""
RANKED = 50
"""Features of a ranking that are kept in the results."""
SPEEDY = ProbeSettings(
    pool="mean", penalties=(0.01, 0.1, 1.0), unpenalised=False, ks=(1, 2, 5, 10, 20, 50, 100, 200), random_orders=10
)
"""Settings of probes: no fit without a penalty, which is the slow one, and up to 200 features."""


def gender(run: Run) -> Found:
    """Gender in EmoDB, 7 speakers of whom 2 are women, by speaker."""
    clips = emodb(run, "gender")
    for name, layer, sae in run.saes():
        yield name, probe(sae, run.read(clips, layer), settings=SPEEDY, progress=said)


def emotion(run: Run) -> Found:
    """Six emotions in EmoDB, by speaker; with disgust, which some speakers lack, folds could not choose a penalty."""
    clips = emodb(run, "emotion")
    rows = [row for row, label in enumerate(clips.labels) if label != "disgust"]
    for name, layer, sae in run.saes():
        yield name, probe(sae, run.read(clips, layer).pick(rows), settings=SPEEDY, progress=said)


def gender_many(run: Run) -> Found:
    """Gender in speechocean762, 41 adult speakers, by speaker."""
    clips = speakers(run)
    for name, layer, sae in run.saes():
        yield name, probe(sae, run.read(clips, layer), settings=SPEEDY, progress=said)


def vowels(run: Run) -> Found:
    """Erasure of each of five letters, by voice."""
    clips = letters(run)
    for name, layer, sae in run.saes():
        residuals = run.read(clips, layer)
        for letter in LETTERS:
            others = tuple(each for each in LETTERS if each != letter)
            settings = ErasureSettings(
                concepts=others, background=("none",), controls=("dense", "random"), random_orders=3
            )
            yield f"{name}, {letter}", erasure(sae, residuals, letter, settings=settings, progress=said)


def vowels_closed(run: Run) -> Found:
    """The paper's way: one regression for the five letters, without a background."""
    clips = letters(run)
    settings = ErasureSettings(mode="closed", controls=("dense", "random"), random_orders=3, penalties=(0.01, 0.1, 1.0))
    for name, layer, sae in run.saes():
        residuals = run.read(clips, layer)
        spoken = residuals.pick([row for row, label in enumerate(residuals.labels) if label != "none"])
        for letter in LETTERS:
            own = replace(settings, concepts=tuple(each for each in LETTERS if each != letter))
            yield f"{name}, {letter}", erasure(sae, spoken, letter, settings=own, progress=said)


def labels(run: Run) -> Found:
    """The ten classes of ESC-10, by recording."""
    clips = ten_sounds(run)
    for name, layer, sae in run.saes():
        yield name, label_search(sae, run.read(clips, layer), settings=LabelSettings(), progress=said)


def sounds_found(run: Run) -> Found:
    """The ten classes of ESC-10 as queries, named on half of the recordings, by recording."""
    clips = ten_sounds(run)
    for name, layer, sae in run.saes():
        yield name, retrieval(sae, run.read(clips, layer), settings=RetrievalSettings(), progress=said)


def left_over(run: Run) -> Found:
    """Quality on speech that no SAE was trained on, by speaker."""
    clips = speakers(run)
    for name, layer, sae in run.saes():
        yield name, quality(sae, run.read(clips, layer), settings=QualitySettings(), progress=said)


def patched(run: Run) -> Found:
    """Gender in speechocean762: each layer's update patched from women to men, read at the last layer."""
    settings = LocaliseSettings(pairs=12)
    found = localise(run.model, speakers(run), "m", "f", LAYERS, read=LAYERS[-1], settings=settings, progress=said)
    yield "m to f", found


def three_domains(run: Run) -> Found:
    """Speech, music and other sounds, two sources each."""
    with tempfile.TemporaryDirectory() as folder:
        clips, sources = excerpts_of_domains(domain_lists(run, Path(folder)))
    clips = by_speaker(run, clips)
    for name, layer, sae in run.saes():
        residuals = run.read(clips, layer)
        yield name, domains(sae, residuals, sources=sources, settings=DomainSettings(), progress=said)


def two_seeds(run: Run) -> Found:
    """SAEs of two seeds, and one of the first seed with half of its steps, on sound that none was trained on."""
    first = trained(run, "a")
    with tempfile.TemporaryDirectory() as folder:
        clips, _ = excerpts_of_domains(domain_lists(run, Path(folder)))
    residuals = run.read(by_speaker(run, clips), 4)
    for name in ("half", "b"):
        other = trained(run, name)
        yield f"a, {name}", stability(first, other, residuals, settings=StabilitySettings(), progress=said)


def over_layers(run: Run) -> Found:
    """Probes and quality of all layers and SAEs that are measured, side by side."""
    kinds: dict[str, type[Outcome]] = {
        "emotion": ProbeCurve, "gender": ProbeCurve, "gender-many": ProbeCurve, "quality": Quality
    }  # fmt: skip
    for name, kind in kinds.items():
        saved = json.loads((RESULTS / f"analyse-{name}.json").read_text(encoding="utf-8"))
        if len(saved) > 1:
            yield name, compare({layer: kind.from_json(json.dumps(saved[layer])) for layer in sorted(saved)})


ANALYSES: dict[str, Callable[[Run], Found]] = {
    "emotion": emotion,
    "gender": gender,
    "gender-many": gender_many,
    "vowels": vowels,
    "vowels-closed": vowels_closed,
    "labels": labels,
    "domains": three_domains,
    "stability": two_seeds,
    "retrieval": sounds_found,
    "quality": left_over,
    "localise": patched,
    "compare": over_layers,
}


def kept(found: Outcome) -> dict[str, Any]:
    """A result without what it has of each feature, its ranking cut."""
    record: dict[str, Any] = json.loads(found.to_json())
    record = {key: value for key, value in record.items() if key not in OF_EACH_FEATURE}
    if "ranking" in record:
        record["ranking"] = record["ranking"][:RANKED]
    return record


def main() -> None:
    """Run one analysis."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("analysis", choices=ANALYSES)
    parser.add_argument("assets", type=Path)
    parser.add_argument("--cache", type=Path, required=True, help="folder for residuals and trained SAEs")
    parser.add_argument("--layer", type=int, action="append", help="encoder layer; repeatable; default: 4")
    parser.add_argument("--small", action="store_true", help="small SAEs, trained here, in place of those that ship")
    parser.add_argument("--pages", type=Path, help="folder for a page of each result")
    parser.add_argument("--png", action="store_true", help="draw the last result as well")
    given = parser.parse_args()
    run = Run(given.assets, given.cache, tuple(given.layer or (4,)), load_model("tiny.en"), given.small)
    out = RESULTS / f"analyse-{given.analysis}.json"
    results = json.loads(out.read_text(encoding="utf-8")) if out.is_file() else {}
    for name, found in ANALYSES[given.analysis](run):
        print(f"## {given.analysis}, {name}\n\n{found.table()}", flush=True)
        results[name] = kept(found)
        out.write_text(json.dumps(results, ensure_ascii=False) + "\n", encoding="utf-8")
        if given.pages is not None:
            given.pages.mkdir(parents=True, exist_ok=True)
            found.report(given.pages / f"{given.analysis}-{name}.html")
        if given.png:
            found.png(out.with_suffix(".png"))


if __name__ == "__main__":
    main()
