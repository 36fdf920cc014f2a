"""Figures of the pages in docs/analyse, on the SAEs that ship for tiny.en and on real sound.

    python benchmarks/analyses.py emotion ASSETS --cache CACHE --layer 4

ASSETS is a folder with `speech`, `esc10`, `nonspeech`, `music`, and in `analysis` the folders `emodb` and
`espeak-phones`. The first argument is one of the names in `ANALYSES`. What the analysis prints is printed; the results,
as `audiosae-steer analyse` writes them but without what they have of each feature, are in
`benchmarks/results/analyse-NAME.json`, beside those of other layers that are in it already. Settings are in the
results. Residuals are kept in CACHE, and so are the SAEs that `stability` trains.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from audiosae_steer import SAE, Site, load_model, load_sae
from audiosae_steer.analyse import (
    DomainSettings,
    ErasureSettings,
    Excerpt,
    Excerpts,
    LabelSettings,
    Outcome,
    ProbeCurve,
    ProbeSettings,
    Residuals,
    StabilitySettings,
    compare,
    domains,
    erasure,
    excerpts_of,
    excerpts_of_domains,
    label_search,
    probe,
    read_residuals,
    stability,
)
from audiosae_steer.data.activations.shards import open_shards
from audiosae_steer.training.settings import TrainOptions, TrainSettings
from audiosae_steer.training.train import train, train_sae

RESULTS = Path(__file__).parent / "results"
OF_EACH_FEATURE = ("frame_frequency", "clip_frequency", "frame_log_ratio", "clip_log_ratio", "strength")
RANKED = 50
"""Features of a ranking that are kept in the results."""
LETTERS = ("A", "E", "I", "O", "U")
SOUNDS_OF_LETTERS = ("eɪ", "eː", "i", "aɪ", "ʌɪ", "oʊ", "əʊ", "oː", "u", "ʉ")
"""Beginnings of phones that a letter may be heard in: a background has none of them."""
NOT_MUSIC = ("rain", "ocean", "glacier-bay-humpback", "456440__inspectorj__bird-whistling-robin-single-13")
"""Files in `music` that are sounds of nature."""
TRAINED = {"a": (0, 600), "b": (1, 600), "half": (0, 300)}
"""Seed and steps of the SAEs whose stability is measured."""
SPEEDY = ProbeSettings(
    pool="mean", penalties=(0.01, 0.1, 1.0), unpenalised=False, ks=(1, 2, 5, 10, 20, 50, 100, 200), random_orders=10
)
"""Settings of probes: no fit without a penalty, which is the slow one, and up to 200 features."""


@dataclass(frozen=True)
class Run:
    """Data, place and cache of a run."""

    assets: Path
    cache: Path
    layers: tuple[int, ...]
    model: Any

    def read(self, clips: Excerpts, layer: int) -> Residuals:
        """Residuals of clips at a layer."""
        return read_residuals(self.model, Site(layer), clips, cache=self.cache, progress=said)


def said(what: str, done: int, of: int) -> None:
    """Say now and then how far it is."""
    if done == of or done % 64 == 0:
        print(f"{what}: {done} of {of}", flush=True)


def shipped(layer: int) -> SAE:
    """The SAE that ships for a layer."""
    return load_sae("tiny.en", layer=layer).float()


def rows_of(path: Path) -> list[dict[str, str]]:
    """Rows of a table."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def labelled(root: Path, rows: list[dict[str, str]], label: str, group: str) -> Excerpts:
    """Whole clips with a column as their label and another as their group."""
    items = excerpts_of([root / row["file"] for row in rows]).items
    assert len(items) == len(rows)  # none is longer than 30 s
    named = [item._replace(label=row[label], group=row[group]) for item, row in zip(items, rows, strict=True)]
    return Excerpts(tuple(named), grouped=True)


def emodb(run: Run, label: str) -> Excerpts:
    """Every second clip of EmoDB, grouped by speaker."""
    root = run.assets / "analysis" / "emodb"
    return labelled(root / "audio", rows_of(root / "labels.tsv")[::2], label, "speaker")


def gender(run: Run) -> Iterator[tuple[str, Outcome]]:
    """Gender in EmoDB, 7 speakers of whom 2 are women, by speaker."""
    clips = emodb(run, "gender")
    for layer in run.layers:
        yield f"layer {layer}", probe(shipped(layer), run.read(clips, layer), settings=SPEEDY, progress=said)


def emotion(run: Run) -> Iterator[tuple[str, Outcome]]:
    """Six emotions in EmoDB, by speaker; with disgust, which some speakers lack, folds could not choose a penalty."""
    clips = emodb(run, "emotion")
    rows = [row for row, label in enumerate(clips.labels) if label != "disgust"]
    for layer in run.layers:
        yield f"layer {layer}", probe(shipped(layer), run.read(clips, layer).pick(rows), settings=SPEEDY, progress=said)


def gender_many(run: Run) -> Iterator[tuple[str, Outcome]]:
    """Gender in speechocean762, adult speakers, every second clip, by speaker."""
    root = run.assets / "speech" / "speechocean762"
    clips = labelled(root, rows_of(root / "text.tsv")[::2], "gender", "speaker")
    for layer in run.layers:
        yield f"layer {layer}", probe(shipped(layer), run.read(clips, layer), settings=SPEEDY, progress=said)


def letters(run: Run, seconds: float = 0.3) -> Excerpts:
    """Five letters by six synthetic voices in five accents, and stretches of sentences without the letters' vowels."""
    root = run.assets / "analysis" / "espeak-phones"
    rows = rows_of(root / "labels.tsv")
    spoken = [row for row in rows if row["file"].startswith("vowels/") and row["file"].endswith("_0.flac")]
    clips = labelled(root, spoken, "label", "voice").items
    phones: dict[str, list[dict[str, str]]] = {}
    for row in rows_of(root / "phones.tsv"):
        phones.setdefault(row["file"], []).append(row)
    behind: list[Excerpt] = []
    for row in rows:
        if row["file"].startswith("sentences/"):
            starts = free_stretches(phones[row["file"]], seconds)
            behind += [Excerpt(root / row["file"], start, seconds, "none", row["voice"]) for start in starts]
    return Excerpts((*clips, *behind[::8]), grouped=True)


def free_stretches(phones: list[dict[str, str]], seconds: float) -> list[float]:
    """Where stretches of sound begin that hold none of the letters' vowels, one after another."""
    found: list[float] = []
    begin = float(phones[0]["start"])
    for phone in phones:
        end = float(phone["end"])
        if phone["phone"].lstrip("ˈˌ").startswith(SOUNDS_OF_LETTERS):
            begin = end
        while end - begin >= seconds:
            found.append(round(begin, 3))
            begin += seconds
    return found


def vowels(run: Run) -> Iterator[tuple[str, Outcome]]:
    """Erasure of each of five letters, by voice."""
    clips = letters(run)
    for layer in run.layers:
        residuals = run.read(clips, layer)
        for letter in LETTERS:
            others = tuple(each for each in LETTERS if each != letter)
            settings = ErasureSettings(
                concepts=others, background=("none",), controls=("dense", "random"), random_orders=3
            )
            yield (
                f"layer {layer}, {letter}",
                erasure(shipped(layer), residuals, letter, settings=settings, progress=said),
            )


def vowels_closed(run: Run) -> Iterator[tuple[str, Outcome]]:
    """The paper's way: one regression for the five letters, without a background."""
    clips = letters(run)
    settings = ErasureSettings(mode="closed", controls=("dense", "random"), random_orders=3, penalties=(0.01, 0.1, 1.0))
    for layer in run.layers:
        residuals = run.read(clips, layer)
        rows = [row for row, label in enumerate(residuals.labels) if label != "none"]
        for letter in LETTERS:
            own = replace(settings, concepts=tuple(each for each in LETTERS if each != letter))
            yield (
                f"layer {layer}, {letter}",
                erasure(shipped(layer), residuals.pick(rows), letter, settings=own, progress=said),
            )


def labels(run: Run) -> Iterator[tuple[str, Outcome]]:
    """The ten classes of ESC-10, every second clip, by recording."""
    found = excerpts_of([run.assets / "esc10"])
    clips = Excerpts(tuple(item._replace(label=item.path.parent.name) for item in found.items[::2]), grouped=True)
    for layer in run.layers:
        yield (
            f"layer {layer}",
            label_search(shipped(layer), run.read(clips, layer), settings=LabelSettings(), progress=said),
        )


def domain_lists(run: Run, folder: Path) -> dict[str, list[str | Path]]:
    """Lists of files of three domains, each of two sources, about as much of each."""
    speech, music = run.assets / "speech", sorted((run.assets / "music").iterdir())
    sets = {
        ("speech", "speechocean762"): sorted((speech / "speechocean762").glob("*.flac"))[::6],
        ("speech", "librispeech"): sorted((speech / "librispeech-248spk").rglob("*.ogg"))[::4],
        ("music", "sms-tools"): [path for path in music if path.suffix == ".flac" and path.stem not in NOT_MUSIC],
        ("music", "librosa"): [path for path in music if path.suffix == ".ogg" and path.stem not in NOT_MUSIC],
        ("sounds", "esc10"): sorted((run.assets / "esc10").rglob("*.ogg"))[1::8],
        ("sounds", "nonspeech"): sorted((run.assets / "nonspeech").rglob("*.ogg"))[::14],
    }
    lists: dict[str, list[str | Path]] = {}
    for (domain, source), files in sets.items():
        path = folder / f"{source}.txt"
        path.write_text("".join(f"{file.resolve()}\n" for file in files), encoding="utf-8")
        lists.setdefault(domain, []).append(path)
    return lists


def by_speaker(run: Run, clips: Excerpts) -> Excerpts:
    """The clips, those of speechocean762 grouped by speaker; each of `librispeech-248spk` is by another."""
    speakers = {row["file"]: row["speaker"] for row in rows_of(run.assets / "speech" / "speechocean762" / "text.tsv")}
    named = [item._replace(group=speakers.get(item.path.name, item.group)) for item in clips.items]
    return replace(clips, items=tuple(named), grouped=True)


def three_domains(run: Run) -> Iterator[tuple[str, Outcome]]:
    """Speech, music and other sounds, two sources each."""
    with tempfile.TemporaryDirectory() as folder:
        clips, sources = excerpts_of_domains(domain_lists(run, Path(folder)))
    clips = by_speaker(run, clips)
    for layer in run.layers:
        residuals = run.read(clips, layer)
        yield (
            f"layer {layer}",
            domains(shipped(layer), residuals, sources=sources, settings=DomainSettings(), progress=said),
        )


def training_files(run: Run) -> list[Path]:
    """Sound to train on: every second clip of `librispeech-3spk` and of ESC-10."""
    speech = sorted((run.assets / "speech" / "librispeech-3spk").glob("*.flac"))
    return [*speech[::2], *sorted((run.assets / "esc10").rglob("*.ogg"))[::2]]


def trained(run: Run, name: str) -> SAE:
    """A small SAE of layer 4, trained if it is not in the cache, all on the frames that the first one collects."""
    path, folder = run.cache / f"sae-{name}.safetensors", run.cache / "train"
    seed, steps = TRAINED[name]
    settings = TrainSettings(n_features=1024, k=32, steps=steps, seed=seed)
    if not path.is_file() and name == "a":
        train(run.model, 4, training_files(run), path, settings=settings, options=TrainOptions(cache=folder))
    elif not path.is_file():
        train_sae(open_shards(folder / "activations", Site(4)), settings).half().save(path)
    return load_sae(path).float()


def two_seeds(run: Run) -> Iterator[tuple[str, Outcome]]:
    """SAEs of two seeds, and one of the first seed with half of its steps, on sound that none was trained on."""
    first = trained(run, "a")
    with tempfile.TemporaryDirectory() as folder:
        clips, _ = excerpts_of_domains(domain_lists(run, Path(folder)))
    residuals = run.read(by_speaker(run, clips), 4)
    for name in ("half", "b"):
        other = trained(run, name)
        yield f"a, {name}", stability(first, other, residuals, settings=StabilitySettings(), progress=said)


def over_layers(run: Run) -> Iterator[tuple[str, Outcome]]:
    """The probes of emotion and gender of all layers, side by side."""
    for name in ("emotion", "gender", "gender-many"):
        saved = json.loads((RESULTS / f"analyse-{name}.json").read_text(encoding="utf-8"))
        yield name, compare({layer: ProbeCurve.from_json(json.dumps(found)) for layer, found in saved.items()})


ANALYSES: dict[str, Callable[[Run], Iterator[tuple[str, Outcome]]]] = {
    "emotion": emotion,
    "gender": gender,
    "gender-many": gender_many,
    "vowels": vowels,
    "vowels-closed": vowels_closed,
    "labels": labels,
    "domains": three_domains,
    "stability": two_seeds,
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
    parser.add_argument("--layer", type=int, action="append", help="layer, 3 or 4; repeatable; default: 4")
    parser.add_argument("--pages", type=Path, help="folder for a page of each result")
    parser.add_argument("--png", action="store_true", help="draw the last result as well")
    given = parser.parse_args()
    run = Run(given.assets, given.cache, tuple(given.layer or (4,)), load_model("tiny.en"))
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
