"""`audiosae-steer bench false-speech` on this project's own data split: tested on `test`, fitted on `calibrate`.

    python benchmarks/bench_false_speech.py --model tiny.en --cache CACHE --out benchmarks/results/tiny.en
    python benchmarks/bench_false_speech.py --cache CACHE --out PART --parts clips --arms learned,clip-gated

Needs the real audio beside the repository. Interrupted, it continues; several processes may share the cache, each with
its own `--parts`, `--arms` and `--out`, and the same command without them then puts everything together. `--part`
takes another part of the split for testing, to try things on.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import corpus

from audiosae_steer import load_audio
from audiosae_steer.cli.bench import NamedRecipes, run
from audiosae_steer.evaluate.benchmark.bench_clips import BenchClip, audible, spread
from audiosae_steer.evaluate.benchmark.long_recordings import LongFile, assemble, synthetic_fillers
from audiosae_steer.evaluate.benchmark.settings import PARTS, BenchData, BenchSettings

WORDLESS = "librispeech-248spk"
"""Has no exact text."""
CLEAR = ("ljspeech", "librivox", "librivox-sonnets", "cmu-arctic", "jfk")
"""Native speakers who read aloud, or give a speech, without noise."""
LONGEST = 28
"""Seconds that an utterance of a long recording may last."""


def sounds(items: Sequence[corpus.Item], most: int | None = None) -> list[BenchClip]:
    """The split's items; evenly spread ones, if there are more than so many."""
    found = [
        BenchClip(
            item.path.relative_to(corpus.assets()).as_posix(), item.source, partial(load_audio, item.path), item.text
        )
        for item in items
    ]
    return found if most is None else spread(found, most)


def recordings(absent: Sequence[BenchClip], present: Sequence[BenchClip], count: int, minutes: float) -> list[LongFile]:
    """Long recordings made of the part's own clips: those at hand are of speakers that the edits were found on.

    Of speech that a small model transcribes well: its errors on strong accents and noise, wherever it puts them, are
    told from words inserted in a gap only by guessing. The gaps of each recording are its own.
    """
    clear = [(s.samples(), s.text) for s in present if s.source in CLEAR and s.text and s.seconds <= LONGEST]
    loud = audible(absent)
    return [
        assemble(
            clear,
            {"noise": [s.samples() for s in loud[n::count]], **synthetic_fillers(n)},
            n,
            minutes,
            name=f"assembled {n + 1}",
        )
        for n in range(count)
    ]


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny.en")
    parser.add_argument("--recipe", default="no-false-speech")
    for name in ("ungated", "contrast", "dense", "sae"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--layer", type=int)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--part", default="test", choices=("test", "calibrate"))
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--modes", default="timed,untimed")
    parser.add_argument("--arms", default="")
    parser.add_argument("--language", default="en", help="or auto")
    parser.add_argument("--budget", type=float, default=0.005)
    parser.add_argument("--clips", type=int, help="of each kind, evenly spread; default: all")
    parser.add_argument("--find-clips", type=int, default=200, help="of each kind, for fits and thresholds")
    parser.add_argument("--utterances", type=int, default=100)
    parser.add_argument("--random-clips", type=int, default=64)
    parser.add_argument("--draws", type=int, default=20, help="of random features")
    parser.add_argument("--noise-tokens", type=int, help="most tokens of a text of a clip without speech")
    parser.add_argument("--long-files", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--pipeline-files", type=int, help="of the long ones, for transformers' pipeline; default: all")
    given = parser.parse_args()

    absent, present = (
        sounds(items, given.clips) for items in (corpus.nonspeech(given.part), corpus.speech(given.part))
    )
    fit = "calibrate" if given.part == "test" else "find"
    data = BenchData(
        absent=absent,
        present=present,
        find_absent=sounds(corpus.nonspeech(fit), given.find_clips),
        find_present=sounds([item for item in corpus.speech(fit) if item.source != WORDLESS], given.find_clips),
        digits=sounds(corpus.apart("digits"), given.clips),
        long=recordings(absent, sounds(corpus.speech(given.part)), given.long_files, given.minutes)
        if "long" in given.parts.split(",")
        else (),
    )
    settings = BenchSettings(
        parts=tuple(given.parts.split(",")),
        modes=tuple(given.modes.split(",")),
        arms=tuple(name for name in given.arms.split(",") if name),
        language=None if given.language == "auto" else given.language,
        budget=given.budget,
        random_clips=given.random_clips,
        draws=given.draws,
        noise_tokens=given.noise_tokens,
        utterances=given.utterances,
        long_count=given.long_files,
        long_minutes=given.minutes,
        pipeline_files=given.pipeline_files,
    )
    named = NamedRecipes(
        recipe=given.recipe, ungated=given.ungated, contrast=given.contrast, dense=given.dense, sae=given.sae,
        layer=given.layer,
    )  # fmt: skip
    run(given.model, named, data, settings, given.cache, given.out)


if __name__ == "__main__":
    main()
