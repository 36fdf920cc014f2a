"""Windows that hold speech and noise: what Whisper adds, loses and writes twice, and what helps.

    python benchmarks/mixed.py --cache CACHE                                # 60 windows of 30 s of the `test` part
    python benchmarks/mixed.py --cache CACHE --minutes 4 --files 6 --out benchmarks/results/mixed-long-tiny.en
    python benchmarks/mixed.py --cache CACHE --model base --beams 5
    python benchmarks/mixed.py --cache CACHE --library transformers        # its long form; or `pipeline`
    python benchmarks/mixed.py --docs                                      # writes the tables into docs/results.md

Utterances with exact times alternate with gaps of 1 to 15 s of silence, noise, music, laughter and breath, 20 dB below
to 5 dB above the speech, which go on 10 to 25 dB below the speech that follows. `whisper.transcribe` as it comes
(timestamps, filters, fallbacks), without the text before as a prompt. Needs the real audio beside the repository.
Interrupted, it resumes; several processes may share a cache, each with its own `--arms`. After a change of the package
take another cache.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import corpus
import torch
from machine import machine
from pages import fill

from audiosae_steer import load_audio, load_processor, load_recipe, load_whisper
from audiosae_steer.cli.console import progress
from audiosae_steer.data.audio import Samples
from audiosae_steer.evaluate.benchmark.bench_clips import spread
from audiosae_steer.evaluate.benchmark.mixed_arms import decoding_as_it_comes, mixed_arms
from audiosae_steer.evaluate.benchmark.mixed_recordings import MixedFile, mix
from audiosae_steer.evaluate.benchmark.mixed_run import mixed_table, run_mixed
from audiosae_steer.evaluate.benchmark.results import MixedRow, as_plain
from audiosae_steer.io.files import write_atomic

RESULTS = Path(__file__).parent / "results"
MUSIC = {
    "find": ("Hungarian_Dance", "orchestra", "organ", "cello", "Vibe_Ace", "flute", "bendir"),
    "calibrate": ("sax", "oboe", "vibraphone"),
    "test": ("Sugar_Plum", "piano", "trumpet", "violin", "mridangam"),
}
"""Instruments alone, by the beginning or a part of their names; the SAEs were trained on all of them."""
HUMAN = {
    "find": ("unknown-horizons", "dynamic-surroundings"),
    "calibrate": ("openrct2", "blanket"),
    "test": ("red-eclipse", "voxelibre", "speech-commands-noise"),
}
"""Sources of laughter, breath and crowds without words."""
ACCENTED, EVERY = 20, 400
"""Utterances of speechocean762, whose accents Whisper mishears for reasons of their own: most to measure on, a fifth of
all of `test`, unless others are asked for; and most to fit gates on."""
RECIPES = ("no-false-speech",)
FREE = "no-false-speech, timestamps anywhere"
"""The recipe without its timestamp gate."""
SECONDS = (1.0, 13.0)
"""Of an utterance."""
CALLS = {
    "openai": "`whisper.transcribe` as it comes",
    "transformers": "transformers' `generate` with timestamps and fallbacks",
    "pipeline": "transformers' pipeline with timestamps",
}
SEEDS = {"find": 1000, "calibrate": 5000, "test": 20_000}


def utterances(part: str, accents: int = EVERY) -> list[tuple[Samples, str]]:
    """Utterances with exact text."""
    items = [item for item in corpus.speech(part) if item.text]
    accented = [item for item in items if item.source.startswith("speechocean762")]
    kept = [item for item in items if item not in accented] + spread(accented, accents)
    found = [(load_audio(item.path), str(item.text)) for item in kept]
    return [(x, text) for x, text in found if SECONDS[0] <= len(x) / 16_000 <= SECONDS[1]]


def sounds(part: str) -> dict[str, list[Samples]]:
    """Sounds without speech, by source, music and human sounds among them."""
    found: dict[str, list[Samples]] = {}
    for item in corpus.nonspeech(part):
        found.setdefault(item.source, []).append(load_audio(item.path))
    folder = corpus.assets()
    music = [path for path in sorted((folder / "music").iterdir()) if any(name in path.name for name in MUSIC[part])]
    found["music"] = [load_audio(path) for path in music if path.suffix != ".txt"]
    human = [item for item in corpus.apart("nonverbal") if set(item.path.parts) & set(HUMAN[part])]
    found["human"] = [load_audio(item.path) for item in human]
    return {kind: loud for kind, each in found.items() if (loud := [x for x in each if float((x**2).mean()) > 1e-8])}


def files(part: str, count: int, seconds: float = 30.0, accents: int = EVERY) -> list[MixedFile]:
    """Mixed recordings of a part of the split; the first n of more are the same."""
    spoken, noise = utterances(part, accents), sounds(part)
    return [mix(spoken, noise, SEEDS[part] + n, seconds, name=f"{part} {n}") for n in range(count)]


def _place(content: dict[str, Any]) -> tuple[Any, ...]:
    """Order of tables: tiny.en before base, libraries as in CALLS, short recordings before long ones."""
    return content["model"] != "tiny.en", list(CALLS).index(content["library"]), content["seconds"], content["beams"]


def page() -> str:
    """The tables of docs/results.md, of the committed results."""
    found = []
    results = [(path, json.loads(path.read_text(encoding="utf-8"))) for path in RESULTS.glob("mixed-*.json")]
    for path, content in sorted(results, key=lambda each: _place(each[1])):
        length = "of 30 s" if content["seconds"] == 30 else f"of {content['seconds'] / 60:g} minutes"
        beams = "greedy" if content["beams"] == 1 else f"{content['beams']} beams"
        found.append(
            f"{content['model']}, {CALLS[content['library']]}, {beams}: {content['files']} recordings {length}, "
            f"{content['gap minutes']:.1f} minutes of gap; {content['accented']} of the utterances that are drawn from "
            f"have foreign accents.\n\n{path.with_suffix('.md').read_text(encoding='utf-8').strip()}"
        )
    return "\n\n".join(found)


def write_results(out: Path, recordings: Sequence[MixedFile], rows: Sequence[MixedRow], asked: dict[str, Any]) -> None:
    """Write rows beside what was asked for: JSON and its table, `out` without its ending."""
    minutes = sum(gap.end - gap.start for each in recordings for gap in each.mixed.gaps) / 60
    content = {**asked, "gap minutes": round(minutes, 2), "rows": as_plain(rows)}
    write_atomic(out.with_name(f"{out.name}.json"), json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    write_atomic(out.with_name(f"{out.name}.md"), mixed_table(rows) + "\n")


def record(recipe: Path) -> None:
    """Write what the committed results say of a shipped recipe under its `measured`."""
    given = load_recipe(recipe)
    path = RESULTS / f"mixed-{given.model.name}-openai-1.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    shares = ("wer", "inserted", "deleted", "substituted")
    arms = {"unsteered": "unsteered", "steered": given.name, "Silero VAD": "Silero VAD", "gaps silent": "gaps silent"}
    rows = {row["name"]: row for row in content["rows"]}
    mixed = {label: {share: round(rows[name][share], 4) for share in shares} for label, name in arms.items()}
    given.model_copy(update={"measured": {**given.measured, "mixed": {"windows": content["files"], **mixed}}}).save(
        recipe
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny.en")
    parser.add_argument(
        "--recipe", action="append", help=f"repeatable; default: {RECIPES[0]}, and it without its timestamp gate"
    )
    parser.add_argument("--files", type=int, default=60)
    parser.add_argument("--minutes", type=float, default=0.5)
    parser.add_argument("--accented", type=int, default=ACCENTED, help="utterances with accents to draw from")
    parser.add_argument("--library", default="openai", choices=("openai", "transformers", "pipeline"))
    parser.add_argument("--beams", type=int, default=1)
    parser.add_argument("--arms", help="names, divided by semicolons; default: all. Writes no results without --out")
    parser.add_argument("--part", default="test", choices=tuple(SEEDS))
    parser.add_argument("--cache", type=Path, help="folder for texts")
    parser.add_argument("--record", type=Path, help="shipped recipe to write its committed figures into, and no more")
    parser.add_argument("--docs", action="store_true", help="write the tables into docs/results.md, and no more")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--out", type=Path, help="without its ending; default: benchmarks/results/mixed-MODEL-LIBRARY-BEAMS"
    )
    given = parser.parse_args(arguments)
    if given.record:
        record(given.record)
        return
    if given.docs:
        fill("results.md", "mixed.py", page())
        return
    if given.cache is None:
        parser.error("--cache says where texts are kept")
    torch.set_num_threads(given.threads)

    hf = given.library != "openai"
    model = load_whisper(given.model, library="transformers" if hf else "openai")
    logging.getLogger("transformers").setLevel(logging.ERROR)
    recipes = [load_recipe(name, model) for name in given.recipe or RECIPES]
    if not given.recipe:
        recipes.insert(0, recipes[0].model_copy(update={"timestamp_gate": None, "name": FREE}))
    arms = mixed_arms(recipes, decoding_as_it_comes(beams=given.beams))
    if hf:  # which has no such filter; and a pipeline takes a recording whole
        arms = [arm for arm in arms if arm.decoding.silence_threshold is None]
        arms = [arm for arm in arms if not (arm.vad and given.library == "pipeline")]
    if given.arms:
        wanted = ["unsteered", *given.arms.split(";")]
        arms = [arm for arm in arms if arm.name in wanted]
    recordings = files(given.part, given.files, 60 * given.minutes, given.accented)
    with progress() as tell:
        processor = load_processor(given.model) if hf else None
        rows = run_mixed(
            model, recordings, arms, given.cache, processor=processor, pipeline=given.library == "pipeline", tell=tell
        )
    print(mixed_table(rows))
    if given.arms and given.out is None:
        return
    out = given.out or RESULTS / f"mixed-{given.model}-{given.library}-{given.beams}"
    asked = {"model": given.model, "library": given.library, "part": given.part, "files": len(recordings)}
    asked |= {"seconds": 60 * given.minutes, "accented": given.accented, "beams": given.beams}
    write_results(out, recordings, rows, {"machine": {**machine(), "threads": given.threads}, **asked})


if __name__ == "__main__":
    main()
