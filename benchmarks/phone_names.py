"""Phones that the SAE which ships for tiny.en fires on, on three corpora, beside nulls and controls.

    python benchmarks/phone_names.py ASSETS --out benchmarks/results/phone-names.json

ASSETS is a folder with `speech/ljspeech`, and in `analysis` the folders `espeak-phones`, `ljspeech-phones` and `emodb`.
Of each corpus the command prints what `audiosae-steer analyse phones` prints, and keeps the figures of the table
"Scores" in the JSON, beside those of other corpora that are in it already. All voices of `espeak-phones` say the same
sentences: `espeak-phones` keeps voices apart, so that the same sentences are in both parts; `espeak-phones-texts` keeps
sentences apart, so that the same voices are. Of `emodb` every second clip is taken.
"""

from __future__ import annotations

import argparse
import csv
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from audiosae_steer import Site, load_model, load_sae
from audiosae_steer.analyse import (
    Excerpts,
    Phones,
    PhoneSettings,
    excerpts_of,
    phones,
    read_alignments,
    read_residuals,
)


def espeak(assets: Path, column: str = "voice") -> tuple[Excerpts, Path, PhoneSettings]:
    """Sentences by a synthesiser, grouped by voice or text; IPA, exact to the sample."""
    root = assets / "analysis" / "espeak-phones"
    with (root / "labels.tsv").open(encoding="utf-8", newline="") as file:
        groups = {row["file"]: row[column] for row in csv.DictReader(file, delimiter="\t")}
    clips = excerpts_of([root / "sentences"])
    return by_group(clips, lambda path: groups[f"sentences/{path.name}"]), root / "phones.tsv", PhoneSettings(
        phone_set="ipa"
    )  # fmt: skip


def ljspeech(assets: Path) -> tuple[Excerpts, Path, PhoneSettings]:
    """Twenty clips of one reader, each a group; ARPAbet, by the Montreal Forced Aligner."""
    aligned = assets / "analysis" / "ljspeech-phones"
    files = [assets / "speech" / "ljspeech" / f"{path.stem}.flac" for path in sorted(aligned.glob("*.TextGrid"))]
    return by_group(excerpts_of(files), lambda path: path.stem), aligned, PhoneSettings(phone_set="arpabet")


def emodb(assets: Path) -> tuple[Excerpts, Path, PhoneSettings]:
    """Emotional German by seven actors, grouped by actor; SAMPA by hand."""
    root = assets / "analysis" / "emodb"
    clips = excerpts_of(sorted((root / "audio").glob("*.flac"))[::2])
    return by_group(clips, lambda path: path.stem[:2]), root / "phones", PhoneSettings(phone_set="sampa")


CORPORA = {
    "espeak-phones": espeak,
    "espeak-phones-texts": lambda assets: espeak(assets, "text"),
    "ljspeech-phones": ljspeech,
    "emodb": emodb,
}


def by_group(clips: Excerpts, group: Any) -> Excerpts:
    """The clips in groups by their files."""
    return replace(clips, items=tuple(item._replace(group=group(item.path)) for item in clips.items), grouped=True)


def figures(found: Phones) -> dict[str, Any]:
    """Numbers of a result that the documentation shows."""
    return {
        "features": found.features,
        "seen": found.seen,
        "named": len(found.named),
        "hold": found.held,
        "named_by_chance": found.named_by_chance,
        "scores": None if found.scores is None else found.scores._asdict(),
        "majority": found.majority,
        "probe": None if found.probe is None else found.probe._asdict(),
        "controls": {
            each.name: each._asdict() | {"scores": None if each.scores is None else each.scores._asdict()}
            for each in found.controls
        },
        "boundary": [
            len(found.boundary), sum((each.report_ratio or 0) >= 2 for each in found.boundary)
        ],
        "provenance": asdict(found.provenance),
    }  # fmt: skip


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("assets", type=Path)
    parser.add_argument("--layer", type=int, default=4)
    parser.add_argument("--corpus", choices=CORPORA, action="append")
    parser.add_argument("--cache", type=Path, help="folder for activations")
    parser.add_argument("--pages", type=Path, help="folder for a page of each corpus")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    model, sae = load_model("tiny.en"), load_sae("tiny.en", layer=given.layer).float()
    results = json.loads(given.out.read_text(encoding="utf-8")) if given.out is not None and given.out.is_file() else {}
    for name in given.corpus or CORPORA:
        clips, alignments, settings = CORPORA[name](given.assets)
        residuals = read_residuals(model, Site(given.layer), clips, cache=given.cache)
        found = phones(sae, residuals, read_alignments(alignments), settings=settings)
        print(f"## {name}\n\n{found.table()}", flush=True)
        results[name] = figures(found)
        if given.pages is not None:
            given.pages.mkdir(parents=True, exist_ok=True)
            found.report(given.pages / f"{name}.html", clips)
        if given.out is not None:
            given.out.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
