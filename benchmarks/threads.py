"""One steered transformers model called by many threads: every text is the one that a single thread gets.

    python benchmarks/threads.py --model tiny.en              # 8 threads × 200 requests, and in asyncio
    python benchmarks/threads.py --model base --dtype bfloat16 --beam-requests 5

Requests are the clips that ship with the package, in random order, to `generate` with the gated recipe and with the one
whose edits are in the decoder. Each thread makes as many requests as are asked for. The same through
`asyncio.to_thread`, with `num_beams=5`, and with openai-whisper under `steer(..., lock=True)`. Writes
`benchmarks/results/threads-MODEL.json` after each; rows of other runs with as many requests are kept.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import random
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from machine import machine

from audiosae_steer import load_audio, load_processor, load_recipe, load_whisper, steer
from audiosae_steer.cli.console import progress
from audiosae_steer.io.files import write_atomic
from audiosae_steer.io.progress import Tell
from audiosae_steer.steering.recipes.load import checkpoints_dir

RESULTS = Path(__file__).parent / "results"
CLIPS = (
    "footsteps", "speech-01", "rain", "speech-02", "engine", "speech-03", "siren", "speech-04", "clicks", "keyboard",
)  # fmt: skip
RECIPES = ("no-false-speech", "no-false-speech-ungated")
TOKENS = 24
"""Limit of each text, so that the unsteered loops of noise do not take the time."""

Request = Callable[[str], str]


def transformers_request(name: str, model: Any, beams: int) -> Request:
    """The text of a clip by `generate`; its features are made beforehand."""
    processor = load_processor(name)
    inputs = {
        clip: processor(samples(clip), sampling_rate=16_000, return_tensors="pt").input_features.to(model.dtype)
        for clip in CLIPS
    }
    more: dict[str, Any] = {} if name.endswith(".en") else {"language": "en"}

    def request(clip: str) -> str:
        with torch.no_grad():
            found = model.generate(inputs[clip], max_new_tokens=TOKENS, num_beams=beams, **more)
        return str(processor.batch_decode(found, skip_special_tokens=True)[0])

    return request


def openai_request(model: Any) -> Request:
    """The text of a clip by openai-whisper's `transcribe`."""
    sounds = {clip: samples(clip) for clip in CLIPS}

    def request(clip: str) -> str:
        return str(
            model.transcribe(sounds[clip], language="en", temperature=0.0, fp16=False, sample_len=TOKENS)["text"]
        )

    return request


def samples(clip: str) -> Any:
    """Of a shipped clip."""
    return load_audio(checkpoints_dir() / "clips" / f"{clip}.flac")


def count(request: Request, threads: int, requests: int, how: str, tell: Callable[[int, int], None]) -> dict[str, Any]:
    """Requests that went wrong, by threads or by tasks of asyncio."""
    alone = {clip: request(clip) for clip in CLIPS}
    asked = [random.Random(number).choices(CLIPS, k=requests) for number in range(threads)]
    wrong: list[dict[str, str]] = []
    done = 0

    def one(clip: str) -> None:
        nonlocal done
        try:
            got = request(clip)
        except Exception as error:
            wrong.append({"clip": clip, "error": f"{type(error).__name__}: {error}"})
        else:
            if got != alone[clip]:
                wrong.append({"clip": clip, "expected": alone[clip], "got": got})
        done += 1
        tell(done, threads * requests)

    async def task(clips: list[str]) -> None:
        for clip in clips:
            await asyncio.to_thread(one, clip)

    async def serve() -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(threads))
        await asyncio.gather(*map(task, asked))

    start = time.perf_counter()
    if how == "asyncio":
        asyncio.run(serve())
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda clips: [one(clip) for clip in clips], asked))
    errors = sum("error" in each for each in wrong)
    return {
        "requests": threads * requests, "errors": errors, "other texts": len(wrong) - errors, "examples": wrong[:5],
        "seconds": round(time.perf_counter() - start, 1),
        "clips with text": sum(bool(text.strip()) for text in alone.values()),
    }  # fmt: skip


def measure(name: str, row: dict[str, Any], threads: int, requests: int, tell: Tell) -> dict[str, Any]:
    """One row: a library, a recipe, a number of beams, and threads or asyncio."""
    library, label = row["library"], row["recipe"]
    model = load_whisper(name, library="openai" if library == "openai-whisper" else "transformers")
    if library == "transformers" and row.get("dtype"):
        model.to(getattr(torch, row["dtype"]))
    recipe = load_recipe(label, model) if label != "unsteered" else None
    with nullcontext() if recipe is None else steer(model, recipe, lock=library == "openai-whisper"):
        request = (
            openai_request(model) if library == "openai-whisper" else transformers_request(name, model, row["beams"])
        )
        what = f"{library}, {label}, {row['beams']} beams, {row['by']}"
        return {**row, **count(request, threads, requests, row["by"], lambda n, of: tell(what, n, of))}


def wanted(dtype: str | None) -> list[dict[str, Any]]:
    """The rows, as far as they are known beforehand; openai-whisper stays in float32."""
    precise = {"dtype": dtype} if dtype else {}
    hf = [
        {"library": "transformers", "recipe": recipe, "beams": beams, "by": by, **precise}
        for beams in (1, 5)
        for recipe in RECIPES
        for by in ("threads", "asyncio")
    ]
    return [*hf, *({"library": "openai-whisper, lock=True", "recipe": r, "beams": 1, "by": "threads"} for r in RECIPES)]


def main() -> None:
    """Measure, and write after each row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny.en")
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--requests", type=int, default=200, help="of each thread")
    parser.add_argument(
        "--beam-requests", type=int, default=20, help="of each thread, with five beams and under the lock"
    )
    parser.add_argument("--dtype", choices=("bfloat16", "float16"), help="of transformers' models; default: float32")
    parser.add_argument("--out", type=Path, help="JSON; default: benchmarks/results/threads-MODEL.json")
    given = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("transformers").setLevel(logging.ERROR)  # says with each request that two limits are set
    warnings.simplefilter("ignore")
    out = given.out or RESULTS / f"threads-{given.model}.json"
    content = {"machine": machine(), "model": given.model, "threads": given.threads, "clips": CLIPS, "tokens": TOKENS}
    old = json.loads(out.read_text(encoding="utf-8"))["rows"] if out.is_file() else []
    found: list[dict[str, Any]] = []
    with progress() as tell:
        for row in wanted(given.dtype):
            plain = row["beams"] == 1 and row["library"] == "transformers"
            requests = given.requests if plain else min(given.requests, given.beam_requests)
            known = [o for o in old if row.items() <= o.items() and o["requests"] == given.threads * requests]
            library = row["library"].split(",")[0]
            found.append(
                known[0]
                if known
                else {**measure(given.model, {**row, "library": library}, given.threads, requests, tell), **row}
            )
            write_atomic(out, json.dumps({**content, "rows": found}, indent=1, ensure_ascii=False) + "\n")
    for row in found:
        print(
            f"{row['library']}, {row['recipe']}, {row['beams']} beams, {row['by']}: {row['requests']} requests, "
            f"{row['errors']} errors, {row['other texts']} other texts"
        )
    raise SystemExit(int(any(row["errors"] or row["other texts"] for row in found)))


if __name__ == "__main__":
    main()
