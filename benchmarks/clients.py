"""Client × decoding × recipe: text on noise and changed texts of speech, on the clips that ship with the package.

    python benchmarks/clients.py --model tiny.en --cache CACHE
    sh benchmarks/clients_env.sh FOLDER   # the clients that are no extras of this package
    FOLDER/bin/python benchmarks/clients.py --cache CACHE --only stable-ts --only whisper-timestamped
    python benchmarks/clients.py --docs   # writes the table into docs/clients.md

Eight clips without speech and four with, each client called as its users call it, and with Whisper's own filters off
where it has any. What the unsteered model writes for noise is cut off after 48 tokens. Interrupted, it resumes. Cells
are added to `benchmarks/results/clients-MODEL.json`, which keeps those of other runs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from machine import machine
from pages import fill

from audiosae_steer import Recipe, load_audio, load_processor, load_recipe, load_whisper, steer
from audiosae_steer.cli.bench import beam_engines
from audiosae_steer.cli.console import progress
from audiosae_steer.evaluate.benchmark.arms import Steered
from audiosae_steer.evaluate.metrics.rates import wrote
from audiosae_steer.io.files import write_atomic
from audiosae_steer.steering.bake import bakes
from audiosae_steer.steering.recipes.load import checkpoints_dir

RESULTS = Path(__file__).parent / "results"
NOISE = ("clicks", "door-knocks", "engine", "fan", "footsteps", "keyboard", "rain", "siren")
SPEECH = ("speech-01", "speech-02", "speech-03", "speech-04")
RECIPES = ("no-false-speech", "no-false-speech-ungated", "no-false-speech-constant")
UNSTEERED = "unsteered"
TOKENS = 48
"""Limit of the unsteered model's texts on noise."""
LONG = 40
"""Seconds of recordings that take more than one window: the clip again and again."""
RATE = 16_000

Write = Callable[[Any, Sequence[Any], int | None], list[str]]
"""Texts of clips by a model, with a limit on their tokens or without."""


class Row(NamedTuple):
    """One way to call one client."""

    client: str
    how: str
    """Call, as the table shows it."""
    write: Write
    library: str = "openai"
    """Library of the model that is steered; `baked` for weights without hooks."""


def one_by_one(write: Callable[..., str], **options: Any) -> Write:
    """Clips each on its own, with a seed, since fallback samples."""

    def texts(model: Any, clips: Sequence[Any], limit: int | None) -> list[str]:
        found = []
        for clip in clips:
            torch.manual_seed(0)
            found.append(write(model, clip, limit, **options).strip())
        return found

    return texts


FILTERS_OFF = {"no_speech_threshold": None, "logprob_threshold": None}


def transcribe(model: Any, clip: Any, limit: int | None, **options: Any) -> str:
    """openai-whisper's method of the model."""
    return str(model.transcribe(clip, language="en", fp16=False, sample_len=limit, **options)["text"])


def decode(model: Any, clip: Any, limit: int | None, *, function: bool = False, **options: Any) -> str:
    """openai-whisper's decoding of one window, as a method of the model or as a function."""
    import whisper

    mel = whisper.log_mel_spectrogram(whisper.pad_or_trim(clip), model.dims.n_mels)
    asked = whisper.DecodingOptions(language="en", fp16=False, sample_len=limit, **options)
    found = whisper.decode(model, mel, asked) if function else model.decode(mel, asked)
    return str(found.text)


@cache
def processor(name: str) -> Any:
    """Of the model, once."""
    return load_processor(name)


def generate(name: str, model: Any, clips: Sequence[Any], limit: int | None, **options: Any) -> list[str]:
    """transformers' `generate` on clips in one batch."""
    reader = processor(name)
    long = max(map(len, clips)) > 30 * RATE
    padding = {"truncation": False, "padding": "longest"} if long else {}
    inputs = reader(list(clips), sampling_rate=RATE, return_tensors="pt", return_attention_mask=True, **padding)
    if limit is not None:
        options["max_new_tokens"] = limit
    if not name.endswith(".en"):
        options["language"] = "en"
    with torch.no_grad():
        found = model.generate(**inputs, return_timestamps=long, **options)
    return [str(text).strip() for text in reader.batch_decode(found, skip_special_tokens=True)]


def alone(name: str, model: Any, clip: Any, limit: int | None, *, long: bool = False, **options: Any) -> str:
    """The same on one clip."""
    return generate(name, model, [repeated(clip) if long else clip], limit, **options)[0]


def assisted(name: str, model: Any, clip: Any, limit: int | None) -> str:
    """Speculative decoding; the draft is by a second model of the same weights, which is not steered."""
    return generate(name, model, [clip], limit, assistant_model=draft(name), num_beams=1)[0]


@cache
def draft(name: str) -> Any:
    """The model that drafts."""
    return load_whisper(name, library="transformers")


def pipeline(
    name: str, model: Any, clips: Sequence[Any], limit: int | None, *, long: bool = False, **options: Any
) -> list[str]:
    """transformers' pipeline, all clips given at once."""
    from transformers import pipeline as make

    reader = processor(name)
    pipe: Any = make(
        "automatic-speech-recognition", model=model, tokenizer=reader.tokenizer,
        feature_extractor=reader.feature_extractor,
    )  # fmt: skip
    more: dict[str, Any] = {} if name.endswith(".en") else {"language": "en"}
    if limit is not None:
        more["max_new_tokens"] = limit
    sounds = [{"raw": repeated(clip) if long else clip, "sampling_rate": RATE} for clip in clips]
    return [str(found["text"]).strip() for found in pipe(sounds, generate_kwargs=more, **options)]


def repeated(clip: Any) -> Any:
    """A clip again and again, for more than one window."""
    return np.tile(clip, -(-LONG * RATE // len(clip)))[: LONG * RATE]


def faster(model: Any, clip: Any, limit: int | None, **options: Any) -> str:
    """faster-whisper on weights that a recipe is baked into."""
    segments, _ = model.transcribe(
        clip, language="en", max_new_tokens=limit, no_speech_threshold=None, log_prob_threshold=None, **options
    )
    return "".join(segment.text for segment in segments)


def stable_ts(model: Any, clip: Any, limit: int | None, **options: Any) -> str:
    """stable-ts, which gives the model methods of its own."""
    import stable_whisper

    found = stable_whisper.whisper_word_level.original_whisper.transcribe_stable(
        model, clip, language="en", fp16=False, verbose=None, sample_len=limit, **FILTERS_OFF, **options
    )
    return str(found.text)


def timestamped(model: Any, clip: Any, limit: int | None, **options: Any) -> str:
    """whisper-timestamped, which hooks the decoding for the times of words."""
    import whisper_timestamped

    found = whisper_timestamped.transcribe(
        model, clip, language="en", fp16=False, verbose=None, sample_len=limit, **FILTERS_OFF, **options
    )
    return str(found["text"])


def rows(name: str) -> list[Row]:
    """Every way, in the order of the table."""
    openai, hf = "openai-whisper", "transformers"
    each, plain = one_by_one, {"temperature": 0.0, **FILTERS_OFF}
    by_generate = partial(alone, name)
    return [
        Row(openai, "`model.transcribe`, greedy", each(transcribe, **plain)),
        Row(openai, "`model.transcribe`, `beam_size=5`", each(transcribe, **plain, beam_size=5)),
        Row(
            openai, "`model.transcribe`, `beam_size=5`, `patience=2`, `length_penalty=1`",
            each(transcribe, **plain, beam_size=5, patience=2.0, length_penalty=1.0),
        ),
        Row(openai, "`model.transcribe`, `temperature=0.5`, `best_of=5`",
            each(transcribe, **{**plain, "temperature": 0.5}, best_of=5)),
        Row(openai, "`model.transcribe` as it comes: fallback temperatures, filters on", each(transcribe)),
        Row(openai, "`model.decode`, greedy", each(decode)),
        Row(openai, "`model.decode`, greedy, `without_timestamps`", each(decode, without_timestamps=True)),
        Row(openai, "`whisper.decode`, greedy", each(decode, function=True)),
        Row(openai, "`whisper.decode`, `beam_size=5`", each(decode, function=True, beam_size=5)),
        Row(hf, "`generate`, greedy", each(by_generate, num_beams=1), hf),
        Row(hf, "`generate`, `num_beams=5`", each(by_generate, num_beams=5), hf),
        Row(hf, f"`generate`, {LONG} s, timestamps", each(by_generate, num_beams=1, long=True), hf),
        Row(hf, "`generate`, all clips in one batch", partial(generate, name, num_beams=1), hf),
        Row(hf, "`generate`, assistant model", each(partial(assisted, name)), hf),
        Row(hf, '`generate`, `cache_implementation="static"`',
            each(by_generate, num_beams=1, cache_implementation="static"), hf),
        Row(hf, "pipeline as it comes (5 beams)", partial(pipeline, name), hf),
        Row(hf, f"pipeline, {LONG} s, `chunk_length_s=15`, `batch_size=4`",
            partial(pipeline, name, long=True, chunk_length_s=15, batch_size=4), hf),
        Row("faster-whisper", "baked, `beam_size=1`, `temperature=0`",
            each(faster, beam_size=1, temperature=0.0), "baked"),
        Row("faster-whisper", "baked, as it comes (5 beams, fallback), filters off", each(faster), "baked"),
        Row("stable-ts", "`transcribe`, greedy", each(stable_ts, temperature=0.0)),
        Row("stable-ts", "`transcribe`, `beam_size=5`", each(stable_ts, temperature=0.0, beam_size=5)),
        Row("whisper-timestamped", "`transcribe`, greedy", each(timestamped, temperature=0.0)),
        Row("whisper-timestamped", "`transcribe`, `beam_size=5`", each(timestamped, temperature=0.0, beam_size=5)),
    ]  # fmt: skip


PACKAGES = {"openai-whisper": "openai-whisper", "transformers": "transformers", "faster-whisper": "faster-whisper",
            "stable-ts": "stable-ts", "whisper-timestamped": "whisper-timestamped"}  # fmt: skip


def installed(client: str) -> str | None:
    """Its version, or None."""
    try:
        return version(PACKAGES[client])
    except PackageNotFoundError:
        return None


def cell(
    row: Row, name: str, recipe: Recipe | None, clips: dict[str, Any], engines: Any, folder: Path
) -> dict[str, Any]:
    """Texts of one cell by clip; of one that the client refuses, the error."""
    own = "plain" if recipe is None else Steered("", "learned", recipe=recipe).key
    called = hashlib.sha256(f"{row.client} {row.how} {own} {installed(row.client)}".encode()).hexdigest()[:16]
    path = folder / f"{called}.json"
    if path.is_file():
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found
    texts: dict[str, str] = {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if row.library == "baked":
                import faster_whisper

                stored = str(engines.ctranslate2(recipe, "int8"))
                model, steering = faster_whisper.WhisperModel(stored, device="cpu", compute_type="int8"), nullcontext()
            else:
                model = engines.openai if row.library == "openai" else engines.loaded[0]
                steering = nullcontext() if recipe is None else steer(model, recipe)
            with steering:
                for names, limit in ((NOISE, TOKENS if recipe is None else None), (SPEECH, None)):
                    found = row.write(model, [clips[each] for each in names], limit)
                    texts |= dict(zip(names, found, strict=True))
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}
    write_atomic(path, json.dumps({"texts": texts}, indent=0, ensure_ascii=False) + "\n")
    return {"texts": texts}


def figures(found: dict[str, Any], plain: dict[str, Any]) -> dict[str, Any]:
    """Of a cell, beside the unsteered one of its row."""
    if "error" in found:
        return found
    texts, before = found["texts"], plain.get("texts", {})
    pairs = [(before.get(each), texts[each]) for each in SPEECH]
    return {
        "noises with text": sum(wrote(texts[each]) for each in NOISE),
        "speech written otherwise": sum(was != now for was, now in pairs),
        "speech lost": sum(wrote(was or "") and not wrote(now) for was, now in pairs),
    }


def table(content: dict[str, Any]) -> str:
    """The page's table: noises with text, and utterances that are written otherwise."""
    columns = (UNSTEERED, *RECIPES)
    lines = [
        "| client | decoding | " + " | ".join(name if name == UNSTEERED else f"`{name}`" for name in columns) + " |",
        "|---|---|" + "---|" * len(columns),
    ]
    for row in content["rows"]:
        cells = []
        for name in columns:
            found = row["cells"].get(name)
            if found is None:
                cells.append("–")
            elif "error" in found:
                cells.append(found["error"].split(":")[0])
            elif name == UNSTEERED:
                cells.append(f"{found['noises with text']} of {len(NOISE)}")
            else:
                lost = f", {found['speech lost']} lost" if found["speech lost"] else ""
                otherwise = f"{found['speech written otherwise']} of {len(SPEECH)}{lost}"
                cells.append(f"{found['noises with text']} of {len(NOISE)}; {otherwise}")
        lines.append(f"| {row['client']} {row['version']} | {row['decoding']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def page() -> str:
    """The table of docs/clients.md, of the committed results."""
    path = RESULTS / "clients-tiny.en.json"
    return table(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else "Not measured yet."


def main() -> None:
    """Measure what is installed, and keep what others measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny.en")
    parser.add_argument("--only", action="append", help="client, repeatable; default: all that are installed")
    parser.add_argument("--cache", type=Path, help="folder for texts and folders of weights")
    parser.add_argument(
        "--docs", action="store_true", help="write the table of tiny.en into docs/clients.md, and no more"
    )
    parser.add_argument("--out", type=Path, help="JSON; default: benchmarks/results/clients-MODEL.json")
    given = parser.parse_args()
    out = given.out or RESULTS / f"clients-{given.model}.json"
    if given.docs:
        fill("clients.md", "clients.py", page())
        return
    if given.cache is None:
        parser.error("--cache says where texts are kept")
    unknown = set(given.only or ()) - set(PACKAGES)
    if unknown:
        parser.error(f"there is no client {sorted(unknown)[0]!r}; expected some of {', '.join(PACKAGES)}")
    model = load_whisper(given.model)
    engines = beam_engines(given.model, model, given.cache)
    recipes: dict[str, Recipe | None] = {UNSTEERED: None, **{name: load_recipe(name, model) for name in RECIPES}}
    clips = {name: load_audio(checkpoints_dir() / "clips" / f"{name}.flac") for name in (*NOISE, *SPEECH)}
    every = rows(given.model)
    old = json.loads(out.read_text(encoding="utf-8"))["rows"] if out.is_file() else []
    measured = {(row["client"], row["decoding"]): row for row in old}
    chosen = [row for row in every if row.client in (given.only or PACKAGES) and installed(row.client)]
    with progress() as tell:
        for number, row in enumerate(chosen):
            tell("rows", number, len(chosen))
            found: dict[str, Any] = {}
            for name, recipe in recipes.items():
                if row.library == "baked" and recipe is not None and not bakes(recipe):
                    continue
                found[name] = cell(row, given.model, recipe, clips, engines, given.cache / "clients" / given.model)
                tell(f"{row.client}: {row.how}", len(found), len(recipes))
            measured[row.client, row.how] = {
                "client": row.client, "version": installed(row.client), "decoding": row.how,
                "cells": {name: figures(each, found[UNSTEERED]) for name, each in found.items()},
            }  # fmt: skip
            content = {
                "machine": machine(), "model": given.model, "noises": NOISE, "speech": SPEECH,
                "tokens of the unsteered model on noise": TOKENS,
                "rows": [measured[key] for key in ((each.client, each.how) for each in every) if key in measured],
            }  # fmt: skip
            write_atomic(out, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        tell("rows", len(chosen), len(chosen))
    print(table(json.loads(out.read_text(encoding="utf-8"))))


if __name__ == "__main__":
    main()
