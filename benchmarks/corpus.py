"""The stated split of the real audio: what may be used for finding, for calibrating, and for reporting only.

    python benchmarks/corpus.py find > find.txt      # a part's files, for `audiosae-steer train --audio`
    python benchmarks/corpus.py find 400 > find.txt  # with so many of the 1,200 utterances of its largest corpus
    python benchmarks/corpus.py find nonspeech > find-nonspeech.txt  # one kind alone, without the music,
    python benchmarks/corpus.py find speech 400 > find-speech.txt    # for `audiosae-steer make`

Non-speech parts differ in source, and in recording within ESC-10; speech parts in speaker and mostly in corpus. The
audio lies beside the repository, in `../shared/assets`; where it is absent, nothing here works, and says so.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import NamedTuple

ASSETS = Path(__file__).resolve().parents[2] / "shared" / "assets"

FIND_SOURCES = (
    "blanket",
    "cytopia",
    "dynamic-surroundings",
    "freedoom",
    "minetest-game",
    "sonic-pi",
    "audiomentations",
    "wbot",
    "unknown-horizons",
)
CALIBRATE_SOURCES = ("openrct2", "mechvibes")
TEST_SOURCES = ("red-eclipse", "voxelibre", "speech-commands-noise")
TEST_SPEECH = ("speechocean762", "ljspeech", "librivox", "noisy-librispeech", "cmu-arctic", "librivox-sonnets")
JFK = "And so my fellow Americans, ask not what your country can do for you, ask what you can do for your country."


class Item(NamedTuple):
    """One clip."""

    path: Path
    kind: str
    """`speech` or `nonspeech`."""
    source: str
    """Corpus, or collection of sounds."""
    text: str | None = None
    """What is said, where it is known exactly."""


def assets() -> Path:
    """The folder of real audio, or an error that says what is missing."""
    if not ASSETS.is_dir():
        raise SystemExit("the real audio is not here: expected ../shared/assets beside the repository")
    return ASSETS


def nonspeech(part: str) -> list[Item]:
    """Non-speech clips of `find`, `calibrate` or `test`."""
    folds, sources = {
        "find": ("12", FIND_SOURCES),
        "calibrate": ("3", CALIBRATE_SOURCES),
        "test": ("4", TEST_SOURCES),
    }[part]
    items = [Item(path, "nonspeech", "esc10") for path in _audio(assets() / "esc10") if path.name[0] in folds]
    for source in sources:
        items += [Item(path, "nonspeech", source) for path in _audio(assets() / "nonspeech" / source)]
    return items


def speech(part: str) -> list[Item]:
    """Utterances of `find`, `calibrate` or `test`. Those of `librispeech-248spk` have no exact text."""
    if part == "test":
        items = [item for corpus in TEST_SPEECH for item in _corpus(corpus)]
        return [*items, Item(assets() / "speech" / "jfk.flac", "speech", "jfk", JFK)]
    calibrate = part == "calibrate"
    train = _corpus("speechocean762-train")
    speakers = sorted({row["speaker"] for row in _rows("speechocean762-train")})
    late = {row["file"] for row in _rows("speechocean762-train") if row["speaker"] in speakers[-25:]}
    items = [item for item in train if (item.path.name in late) == calibrate]
    readers = {"27", "60"} if calibrate else {"19", "26"}
    items += [item for item in _corpus("librispeech-3spk") if item.path.name.split("-")[0] in readers]
    for corpus, cut in (("librispeech-248spk", 90), ("wakewords", 60)):
        files = sorted(_audio(assets() / "speech" / corpus))
        texts = {item.path: item.text for item in _corpus(corpus)} if corpus == "wakewords" else {}
        chosen = files[cut:] if calibrate else files[:cut]
        items += [Item(path, "speech", corpus, texts.get(path)) for path in chosen]
    return items


def apart(part: str) -> list[Item]:
    """What is reported beside the test split: `nonverbal` sounds, and single spoken `digits`."""
    if part == "nonverbal":
        return [Item(path, "nonspeech", "nonverbal") for path in _audio(assets() / "nonverbal")]
    return [Item(path, "speech", "digits", path.name.split("_")[0]) for path in _audio(assets() / "digits")]


def _corpus(corpus: str) -> list[Item]:
    folder = assets() / "speech" / corpus
    return [Item(folder / row["file"], "speech", corpus, row["text"]) for row in _rows(corpus)]


def _rows(corpus: str) -> list[dict[str, str]]:
    with (assets() / "speech" / corpus / "text.tsv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def _audio(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix in (".ogg", ".flac", ".wav"))


def listed(part: str, kind: str | None = None, most: int | None = None) -> list[Path]:
    """A part's files, or those of one kind; with about `most` of the utterances of its largest corpus."""
    chosen = [] if kind == "speech" else nonspeech(part)
    if kind != "nonspeech":
        spoken = speech(part)
        large = [item for item in spoken if item.source == "speechocean762-train"]
        left_out = set(large) - set(large[:: 1 if most is None else max(len(large) // most, 1)])
        chosen += [item for item in spoken if item not in left_out]
    if part == "find" and kind is None:  # music is for training SAEs only
        chosen += [Item(path, "nonspeech", "music") for path in _audio(assets() / "music")]
    return [item.path for item in chosen]


if __name__ == "__main__":
    words = sys.argv[1:]
    if words in (["-h"], ["--help"]):
        print(__doc__)
        raise SystemExit(0)
    kinds = [word for word in words[1:2] if word in ("nonspeech", "speech")]
    numbers = words[1 + len(kinds) :]
    if words[:1] not in (["find"], ["calibrate"], ["test"]) or len(numbers) > 1 or not all(map(str.isdigit, numbers)):
        raise SystemExit(
            f"usage: {sys.argv[0]} find|calibrate|test [nonspeech|speech] [utterances of speechocean762-train]"
        )
    print("\n".join(map(str, listed(words[0], *(kinds or [None]), *map(int, numbers)))))
