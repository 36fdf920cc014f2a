"""Text on noise and what it costs on speech, greedy and with beams: the gated, the ungated and the constant recipe.

    python benchmarks/beams.py --model tiny.en --cache CACHE                      # 100 + 100 clips of the `test` part
    python benchmarks/beams.py --model base --clips 40 --cache CACHE
    python benchmarks/beams.py --docs                         # writes the tables into docs/results.md
    python benchmarks/beams.py --cache CACHE --only "transformers' pipeline"      # part of it; other rows are kept

openai-whisper's `transcribe`, greedy and with `beam_size=5`; transformers' pipeline with `num_beams=1` and as it comes,
with five; faster-whisper as it comes, with five, for the recipe that is baked in. Whisper's own filters are off and
nothing falls back; the first 30 s of each clip. What the unsteered model writes for noise is cut off after 48 tokens.

Interrupted, it resumes; several processes may share a cache. The results are written after each way to decode, into
`benchmarks/results/beams-MODEL.json` and `.md`; with `--only` rows of other ways to decode stay there as they were, if
they are of the same clips. Needs the real audio beside the repository.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import corpus
import torch
from bench_false_speech import sounds
from machine import machine
from pages import fill
from pydantic import TypeAdapter

from audiosae_steer import load_recipe, load_whisper
from audiosae_steer.cli.bench import beam_engines
from audiosae_steer.cli.console import progress
from audiosae_steer.evaluate.benchmark.beams import BEAMS, beam_table, measure_decoding
from audiosae_steer.evaluate.benchmark.decodings import decodings
from audiosae_steer.evaluate.benchmark.results import BeamRow, as_plain
from audiosae_steer.io.files import write_atomic

RESULTS = Path(__file__).parent / "results"
ENGINES = ("openai", "pipeline", "faster-whisper")
"""Libraries in the order of the tables."""
RECIPES = ("no-false-speech", "no-false-speech-ungated", "no-false-speech-constant")


def page() -> str:
    """The tables of docs/results.md, of the committed results."""
    found = []
    for path in sorted(RESULTS.glob("beams-*.json"), reverse=True):  # tiny.en before base
        content = json.loads(path.read_text(encoding="utf-8"))
        clips, tokens = content["clips"], content["noise tokens of the unsteered model"]
        found.append(
            f"{content['model']}, {clips['absent']} clips without speech and {clips['present']} utterances of the "
            f"`{content['part']}` part ({content['mode']}; the unsteered model's texts on noise cut off after {tokens} "
            f"tokens):\n\n{path.with_suffix('.md').read_text(encoding='utf-8').strip()}"
        )
    return "\n\n".join(found) or "Figures on the test recordings are not in yet."


def earlier(out: Path, given: argparse.Namespace, absent: int, present: int) -> list[BeamRow]:
    """Rows of a run before, of the same model and clips, that `--only` leaves as they are; none without it."""
    path = out.with_name(f"{out.name}.json")
    if not (given.only and path.is_file()):
        return []
    content = json.loads(path.read_text(encoding="utf-8"))
    same = (given.model, given.part, {"absent": absent, "present": present}, given.noise_tokens)
    if same != tuple(content[key] for key in ("model", "part", "clips", "noise tokens of the unsteered model")):
        raise SystemExit(f"{path} is of other clips; give another --out, or measure all without --only")
    rows = TypeAdapter(list[BeamRow]).validate_python(content["rows"])
    return [row for row in rows if not row.decoding.startswith(given.only)]


def _place(row: BeamRow) -> tuple[int, float]:
    """Order of rows: by library, greedy first, and as they come last."""
    return ENGINES.index(row.engine), math.inf if row.beams is None else row.beams


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny.en")
    parser.add_argument("--recipe", action="append", help=f"repeatable; default: {', '.join(RECIPES)}")
    parser.add_argument("--beams", type=int, action="append", help=f"repeatable; default: {BEAMS}")
    parser.add_argument("--clips", type=int, default=100, help="of each kind, evenly spread")
    parser.add_argument("--noise-tokens", type=int, default=48, help="of the unsteered model's texts on noise")
    parser.add_argument("--part", default="test", choices=("test", "calibrate"))
    parser.add_argument("--only", help="ways to decode whose name begins so; rows of others are kept")
    parser.add_argument("--cache", type=Path, help="folder for texts and folders of weights")
    parser.add_argument("--docs", action="store_true", help="write the tables into docs/results.md, and no more")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="without its ending; default: benchmarks/results/beams-MODEL")
    given = parser.parse_args()
    if given.docs:
        fill("results.md", "beams.py", page())
        return
    if given.cache is None:
        parser.error("--cache says where texts are kept")
    torch.set_num_threads(given.threads)

    model = load_whisper(given.model)
    recipes = {recipe.name: recipe for recipe in (load_recipe(name, model) for name in given.recipe or RECIPES)}
    absent = sounds(corpus.nonspeech(given.part), given.clips)
    present = sounds([item for item in corpus.speech(given.part) if item.text], given.clips)
    engines = beam_engines(given.model, model, given.cache)
    out = given.out or RESULTS / f"beams-{given.model}"
    kept = earlier(out, given, len(absent), len(present))
    rows = []
    with progress() as tell:
        for decoding in decodings(engines, given.beams or BEAMS):
            if not decoding.label.startswith(given.only or ""):
                continue
            rows += measure_decoding(
                engines, decoding, recipes, absent, present, given.cache, noise_tokens=given.noise_tokens, progress=tell
            )
            shown = sorted([*kept, *rows], key=_place)
            content = {
                "machine": {**machine(), "threads": given.threads},
                "model": given.model,
                "part": given.part,
                "clips": {"absent": len(absent), "present": len(present)},
                "noise tokens of the unsteered model": given.noise_tokens,
                "mode": "temperature 0, no fallback, Whisper's own filters off, the first 30 s of each clip",
                "rows": as_plain(shown),
            }
            write_atomic(out.with_name(f"{out.name}.json"), json.dumps(content, indent=1, ensure_ascii=False) + "\n")
            write_atomic(out.with_name(f"{out.name}.md"), beam_table(shown) + "\n")
    print(beam_table(rows))


if __name__ == "__main__":
    main()
