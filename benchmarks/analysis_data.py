"""Sound with labels and groups that the figures of docs/analyse are of, and the SAEs that they are measured on.

ASSETS of `benchmarks/analyses.py` is read here; see there.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from audiosae_steer import SAE, Site, load_sae
from audiosae_steer.analyse import Excerpt, Excerpts, Residuals, excerpts_of, read_residuals
from audiosae_steer.data.activations.shards import open_shards
from audiosae_steer.training.settings import TrainOptions, TrainSettings
from audiosae_steer.training.train import train, train_sae

LETTERS = ("A", "E", "I", "O", "U")
SOUNDS_OF_LETTERS = ("eɪ", "eː", "i", "aɪ", "ʌɪ", "oʊ", "əʊ", "oː", "u", "ʉ")
"""Beginnings of phones that a letter may be heard in: a background has none of them."""
NOT_MUSIC = ("rain", "ocean", "glacier-bay-humpback", "456440__inspectorj__bird-whistling-robin-single-13")
"""Files in `music` that are sounds of nature."""
TRAINED = {"a": (0, 600), "b": (1, 600), "half": (0, 300)}
"""Seed and steps of the SAEs whose stability is measured."""
LAYERS = (1, 2, 3, 4)
"""Encoder layers of tiny.en."""
SMALL = TrainSettings(n_features=1024, k=32, steps=300)
"""Settings of the SAEs that are trained for each layer, since none ships for the first two."""


@dataclass(frozen=True)
class Run:
    """Data, place and cache of a run."""

    assets: Path
    cache: Path
    layers: tuple[int, ...]
    model: Any
    small: bool = False
    """Measure the small SAEs that are trained for each layer, in place of those that ship."""

    def read(self, clips: Excerpts, layer: int) -> Residuals:
        """Residuals of clips at a layer; one pass writes those of all layers to the cache."""
        also = [Site(each) for each in LAYERS]
        return read_residuals(self.model, Site(layer), clips, cache=self.cache, also=also, progress=said)

    def saes(self) -> Iterator[tuple[str, int, SAE]]:
        """Name, layer and SAE of each layer of the run."""
        for layer in self.layers:
            yield (
                (f"layer {layer}, small", layer, small(self, layer))
                if self.small
                else (f"layer {layer}", layer, shipped(layer))
            )


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


def speakers(run: Run) -> Excerpts:
    """Every second clip of the adult speakers of speechocean762, with their gender, grouped by speaker."""
    root = run.assets / "speech" / "speechocean762"
    return labelled(root, rows_of(root / "text.tsv")[::2], "gender", "speaker")


def ten_sounds(run: Run) -> Excerpts:
    """Every second clip of ESC-10, with its class, grouped by recording."""
    found = excerpts_of([run.assets / "esc10"])
    return Excerpts(tuple(item._replace(label=item.path.parent.name) for item in found.items[::2]), grouped=True)


def emodb(run: Run, label: str) -> Excerpts:
    """Every second clip of EmoDB, grouped by speaker."""
    root = run.assets / "analysis" / "emodb"
    return labelled(root / "audio", rows_of(root / "labels.tsv")[::2], label, "speaker")


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


def small(run: Run, layer: int) -> SAE:
    """A small SAE of a layer, trained if it is not in the cache; those of all layers are trained on the same frames."""
    path = run.cache / f"small-{layer}.safetensors"
    if not path.is_file():
        options = TrainOptions(cache=run.cache / "train-layers", collect_layers=LAYERS)
        train(run.model, layer, training_files(run), path, settings=SMALL, options=options)
    return load_sae(path).float()
