"""What a baked recipe gains and costs in faster-whisper, beside the gated, hooked one and beside no steering.

    python benchmarks/baked.py --model tiny.en --cache CACHE --recipe mine.json     # 100 + 100 clips of the `test` part
    python benchmarks/baked.py --model tiny.en --cache CACHE --without-gate --strength 0.75 --clips 30

The second takes the gate off a recipe of constants, which can be baked then.

Text on non-speech, word error rate and lost utterances, greedy with timestamps and without Whisper's own filters, the
first 30 s of each clip: faster-whisper with weights in int8 and in float16 (which CPUs compute in float32), without a
VAD and with its `vad_filter=True`; openai-whisper for the recipes that need hooks. Then the time that a clip takes,
baked and not, in turns. Interrupted, it continues. Needs the real audio beside the repository.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import corpus
import numpy as np
import torch
from bench_false_speech import sounds
from false_speech import NOTES
from machine import machine
from rich.progress import track

from audiosae_steer import Recipe, load_audio, load_recipe, load_whisper, steer
from audiosae_steer.evaluate.benchmark.bench_clips import BenchClip
from audiosae_steer.evaluate.metrics.rates import share, wrote
from audiosae_steer.evaluate.metrics.wer import rate_difference, word_errors
from audiosae_steer.evaluate.transcription.transcribe import transcribe
from audiosae_steer.publishing.export import bake_to, export
from audiosae_steer.steering.recipes.load import checkpoints_dir

RESULTS = Path(__file__).parent / "results"
GATED = "no-false-speech"
STORED = {"int8": ("int8", "int8"), "float16": ("float16", "float32")}
"""How weights are stored, and what a CPU computes in."""

Write = Callable[[Any], str]


class Arm(NamedTuple):
    """One way to transcribe."""

    name: str
    engine: str
    """What it is compared within: each arm of an engine with the engine's unsteered one."""
    open: Callable[[], Write]
    """Loads what it needs."""
    key: str
    """Of its recipe."""


def arms_of(model: str, recipe: Recipe, gated: Recipe, folder: Path, threads: int) -> list[Arm]:
    """All of them, the unsteered one of each engine first."""
    arms = [
        Arm("unsteered", "openai-whisper", lambda: _hooked(model, None), "plain"),
        Arm(f"{GATED}, gated, hooks", "openai-whisper", lambda: _hooked(model, gated), _key(gated)),
        Arm(f"{recipe.name}, hooks", "openai-whisper", lambda: _hooked(model, recipe), _key(recipe)),
    ]
    for stored, (_, compute) in STORED.items():
        for vad in (False, True) if stored == "int8" else (False,):
            engine = f"faster-whisper, {stored}{', VAD' if vad else ''}"
            for name, baked in (("unsteered", None), (f"{recipe.name}, baked", recipe)):
                arms.append(
                    Arm(
                        name,
                        engine,
                        lambda s=stored, c=compute, b=baked, v=vad: _fast(_written(model, b, folder, s), c, v, threads),
                        "plain" if baked is None else _key(baked),
                    )
                )
    return arms


def _hooked(model: str, recipe: Recipe | None) -> Write:
    loaded = load_whisper(model)
    if recipe is not None:
        steer(loaded, recipe)
    return lambda samples: transcribe(loaded, samples, language="en").text


def _written(model: str, recipe: Recipe | None, folder: Path, stored: str) -> Path:
    """A CTranslate2 folder of the model, written once."""
    to = folder / f"{'unsteered' if recipe is None else recipe.name + '-' + _key(recipe)}-{stored}"
    if not to.is_dir():
        if recipe is None:
            export(load_whisper(model, "transformers"), to, "ctranslate2", dtype=stored, source=model)
        else:
            bake_to(model, recipe, to, "ctranslate2", dtype=stored)
    return to


def _fast(folder: Path, compute: str, vad: bool, threads: int) -> Write:
    import faster_whisper

    model = faster_whisper.WhisperModel(str(folder), device="cpu", compute_type=compute, cpu_threads=threads)

    def write(samples: Any) -> str:
        segments, _ = model.transcribe(
            samples, language="en", beam_size=1, temperature=0.0, condition_on_previous_text=False, vad_filter=vad,
            no_speech_threshold=None, log_prob_threshold=None, compression_ratio_threshold=None,
        )  # fmt: skip
        return "".join(segment.text for segment in segments).strip()

    return write


def _key(recipe: Recipe) -> str:
    content = recipe.model_dump(mode="json", exclude=NOTES)
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def run(arm: Arm, kind: str, clips: Sequence[BenchClip], cache: Path, key: str) -> list[str]:
    """What an arm writes for each clip, kept in a file as it goes; `key` is that of the recipe that is measured."""
    cache.mkdir(parents=True, exist_ok=True)
    path, older = (cache / _file(arm, of, kind) for of in (arm.key, key))
    if older.is_file() and not path.exists() and arm.key != "plain":  # once, all arms had the measured recipe's key
        older.rename(path)
    done: dict[str, str] = {}
    if path.is_file():
        whole = path.read_bytes()
        whole = whole[: whole.rfind(b"\n") + 1]
        os.truncate(path, len(whole))  # a line that was interrupted would be glued to the next
        done = {row["clip"]: row["text"] for row in map(json.loads, whole.splitlines())}
    todo = [clip for clip in clips if clip.name not in done]
    if todo:
        write = arm.open()
        with path.open("a", encoding="utf-8") as file:
            for clip in track(todo, description=f"{arm.engine}, {arm.name}: {kind}"):
                done[clip.name] = write(clip.samples())
                file.write(json.dumps({"clip": clip.name, "text": done[clip.name]}) + "\n")
                file.flush()
    return [done[clip.name] for clip in clips]


def _file(arm: Arm, key: str, kind: str) -> str:
    name = f"{arm.engine}-{arm.name}-{key}-{kind}".replace(" ", "_")
    return f"{name.replace(',', '')}.jsonl"


def figures(texts: dict[str, list[str]], plain: dict[str, list[str]], said: Sequence[str]) -> dict[str, Any]:
    """Of one arm, beside the engine's unsteered one."""
    before, after = word_errors(said, plain["speech"]), word_errors(said, texts["speech"])
    text = share([wrote(found) for found in texts["nonspeech"]])
    lost = sum(wrote(was) and not wrote(now) for was, now in zip(plain["speech"], texts["speech"], strict=True))
    return {
        "text": [text.hits, text.clips, text.low, text.high],
        "wer": after.rate,
        "wer change": list(rate_difference(before, after)),
        "wer, loops capped": after.capped.rate,
        "wer change, loops capped": list(rate_difference(before.capped, after.capped)),
        "lost": [lost, len(said)],
        "texts changed": sum(was != now for was, now in zip(plain["speech"], texts["speech"], strict=True)),
    }


def row(arm: Arm, found: dict[str, Any]) -> str:
    """Of the Markdown table."""
    hits, clips, low, high = found["text"]
    change, least, most = (100 * value for value in found["wer change, loops capped"])
    cost = "" if arm.name == "unsteered" else f"{change:+.2f} [{least:+.2f}, {most:+.2f}]"
    return (
        f"| {arm.engine} | {arm.name} | {hits / clips:.1%} [{low:.1%}, {high:.1%}] | {found['wer']:.2%} | "
        f"{found['wer, loops capped']:.2%} | {cost} | {found['lost'][0]} |"
    )


def cost(model: str, recipe: Recipe, folder: Path, rounds: int, threads: int) -> dict[str, Any]:
    """Seconds a clip, baked and not, in turns and in random order; only where both write the same text."""
    opened = {
        name: _fast(_written(model, baked, folder, "int8"), "int8", False, threads)
        for name, baked in (("unsteered", None), ("unsteered again", None), ("baked", recipe))
    }
    clips = [load_audio(path) for path in sorted((checkpoints_dir() / "clips").glob("speech-*.flac"))]
    rng, ratios, seconds = random.Random(0), {name: [] for name in opened}, []
    for clip in clips * rounds:
        taken, texts = {}, {}
        for name in rng.sample(list(opened), len(opened)):
            start = time.perf_counter()
            texts[name] = opened[name](clip)
            taken[name] = time.perf_counter() - start
        seconds.append(taken["unsteered"])
        for name in opened:
            if texts[name] == texts["unsteered"]:
                ratios[name].append(taken[name] / taken["unsteered"] - 1)
    found: dict[str, Any] = {"clips": len(clips), "rounds": rounds, "seconds a clip": statistics.median(seconds)}
    for name, values in ratios.items():
        draws = np.random.default_rng(0).choice(values, size=(2000, len(values)))
        low, high = np.quantile(np.median(draws, axis=1), [0.025, 0.975])
        found[name] = {"added": statistics.median(values), "low": low, "high": high, "compared": len(values)}
    return found


def main() -> None:
    """Measure one model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny.en")
    parser.add_argument("--recipe", default=GATED)
    parser.add_argument("--without-gate", action="store_true", help="take the recipe's gates off")
    parser.add_argument("--strength", type=float, help="default: the recipe's")
    parser.add_argument("--cache", type=Path, required=True, help="folder for texts and folders of weights")
    parser.add_argument("--clips", type=int, default=100, help="of each kind, evenly spread")
    parser.add_argument("--part", default="test", choices=("test", "calibrate"))
    parser.add_argument("--engine", help="only engines whose name begins so, to run several at once")
    parser.add_argument("--rounds", type=int, default=4, help="of the timing; 0: none")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="JSON; default: benchmarks/results/baked-MODEL.json")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    loaded = load_whisper(given.model)
    recipe, gated = load_recipe(given.recipe, loaded), load_recipe(GATED, loaded)
    if given.without_gate:
        ungated: dict[str, Any] = {"gate": None, "frame_gate": None, "name": f"{recipe.name}-without-its-gate"}
        recipe = recipe.model_copy(update=ungated)
    if given.strength is not None:
        recipe = recipe.model_copy(update={"strength": given.strength})
    material = {
        "nonspeech": sounds(corpus.nonspeech(given.part), given.clips),
        "speech": sounds([item for item in corpus.speech(given.part) if item.text], given.clips),
    }
    said = [str(clip.text) for clip in material["speech"]]
    folder, key = given.cache / "models" / given.model, _key(recipe)
    arms = [
        arm
        for arm in arms_of(given.model, recipe, gated, folder, given.threads)
        if arm.engine.startswith(given.engine or "")
    ]
    lines = [
        "| engine | arm | text on non-speech | WER | loops capped | change | lost |",
        "|---|---|---|---|---|---|---|",
    ]
    data: dict[str, Any] = {}
    plain: dict[str, dict[str, list[str]]] = {}
    for arm in arms:
        cache = given.cache / given.part / given.model
        texts = {kind: run(arm, kind, clips, cache, key) for kind, clips in material.items()}
        plain.setdefault(arm.engine, texts)
        found = figures(texts, plain[arm.engine], said)
        data.setdefault(arm.engine, {})[arm.name] = found
        lines.append(row(arm, found))
    print("\n".join(lines))
    if given.engine:
        return
    timing = cost(given.model, recipe, folder, given.rounds, given.threads) if given.rounds else None
    if timing is not None:
        print(f"\n{timing['seconds a clip']:.3f} s a clip in faster-whisper, int8, {given.threads} threads")
        for name in ("unsteered again", "baked"):
            print(f"{name}: {timing[name]['added']:+.2%} [{timing[name]['low']:+.2%}, {timing[name]['high']:+.2%}]")
    out = given.out or RESULTS / f"baked-{given.model}.json"
    content = {
        "machine": {**machine(), "threads": given.threads},
        "model": given.model,
        "recipe": {"name": recipe.name, "strength": recipe.strength, "key": key},
        "mode": "timestamps, greedy, no fallback, Whisper's own filters off, the first 30 s of each clip",
        "part": given.part,
        "figures": data,
        "time": timing,
        "table": lines,
    }
    out.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"\nwrote {out}")


if __name__ == "__main__":
    main()
