"""The README's table: text on non-speech and word error rate, without and with steering, on the `test` part.

    python benchmarks/false_speech.py                       # needs the real audio beside the repository
    python benchmarks/false_speech.py --recipe no-false-speech-ungated

`whisper.transcribe` in its default mode (timestamps), greedy, each clip on its own. Whisper's own filters are off for
"filters off"; for "filters on" the same decoding is filtered by Whisper's rule, which is exact for clips of up to 30 s
(`tests/evaluate/test_transcribe.py` checks it against a run with the filters on). Interrupted, it goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import corpus
import torch
from rich.progress import track

from audiosae_steer import load_audio, load_whisper, steer
from audiosae_steer.evaluate.false_speech import Share, share, wrote
from audiosae_steer.evaluate.transcribe import Segment, Transcript, transcribe
from audiosae_steer.evaluate.wer import rate_difference, word_errors
from audiosae_steer.recipes import load_recipe
from audiosae_steer.steering import Steering

RESULTS = Path(__file__).parent / "results"
PARTS = ("nonspeech", "speech", "nonverbal", "digits")


def items_of(part: str) -> list[corpus.Item]:
    """The clips of a part of the table."""
    if part in ("nonspeech", "speech"):
        return corpus.nonspeech("test") if part == "nonspeech" else corpus.speech("test")
    return corpus.apart(part)


def transcripts(
    model: Any, arm: str, items: Sequence[corpus.Item], cache: Path, steering: Steering | None
) -> list[Transcript]:
    """What an arm writes for each clip, kept in a file as it goes."""
    cache.parent.mkdir(parents=True, exist_ok=True)
    done: dict[str, Any] = {}
    if cache.is_file():
        done = {row["file"]: row for row in map(json.loads, cache.read_text(encoding="utf-8").splitlines())}
    with cache.open("a", encoding="utf-8") as file:
        for item in track(items, description=arm):
            name = str(item.path.relative_to(corpus.assets()))
            if name in done:
                continue
            said = transcribe(model, load_audio(item.path))
            opened = steering is not None and steering.opened is not None and bool(steering.opened.all())
            done[name] = {"file": name, "text": said.text, "segments": said.segments, "opened": opened}
            file.write(json.dumps(done[name]) + "\n")
            file.flush()
    rows = [done[str(item.path.relative_to(corpus.assets()))] for item in items]
    return [Transcript(row["text"], tuple(Segment(*segment) for segment in row["segments"])) for row in rows]


def rarer(before: Share, after: Share) -> str:
    """By how much text became rarer."""
    return "–" if not before.with_text else f"{1 - after.value / before.value:.1%}"


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        model = names[0] if names else model
    return {"cpu": model, "cores": os.cpu_count(), "torch": torch.__version__, "python": platform.python_version()}


def compare(found: dict[str, dict[str, list[Transcript]]], arms: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """Rows of the table, and the same as data."""
    lines = ["| | unsteered | steered | change |", "|---|---|---|---|"]
    data: dict[str, Any] = {}

    def shares(label: str, key: str, items: Sequence[int], part: str, filters: bool) -> None:
        pair = []
        for arm in arms:
            said = [found[part][arm][i] for i in items]
            pair.append(share([wrote((t.filtered() if filters else t).text) for t in said]))
        data[key] = {arm: [s.with_text, s.clips, s.low, s.high] for arm, s in zip(arms, pair, strict=True)}
        lines.append(f"| {label} (n = {len(items)}) | {pair[0]} | **{pair[1]}** | {rarer(*pair)} rarer |")

    for filters in (False, True):
        mode = "on" if filters else "off"
        silent = items_of("nonspeech")
        shares(f"text on non-speech, filters {mode}", f"nonspeech.{mode}", range(len(silent)), "nonspeech", filters)
        for source in dict.fromkeys(item.source for item in silent):
            chosen = [i for i, item in enumerate(silent) if item.source == source]
            shares(f"&nbsp;&nbsp;{source}, filters {mode}", f"{source}.{mode}", chosen, "nonspeech", filters)
        shares(
            f"human sounds without words, filters {mode}",
            f"nonverbal.{mode}",
            range(len(items_of("nonverbal"))),
            "nonverbal",
            filters,
        )
    spoken = items_of("speech")
    for filters in (False, True):
        mode = "on" if filters else "off"
        for source in ("all", *dict.fromkeys(item.source for item in spoken)):
            if filters and source != "all":
                continue
            chosen = [i for i, item in enumerate(spoken) if item.text and source in ("all", item.source)]
            errors = []
            for arm in arms:
                said = [found["speech"][arm][i] for i in chosen]
                texts = [(t.filtered() if filters else t).text for t in said]
                errors.append(word_errors([str(spoken[i].text) for i in chosen], texts))
            change = rate_difference(errors[0], errors[1])
            data[f"wer.{source}.{mode}"] = {arm: e.rate for arm, e in zip(arms, errors, strict=True)} | {
                "change": change
            }
            label = f"word error rate, filters {mode}" if source == "all" else f"&nbsp;&nbsp;{source}"
            lines.append(
                f"| {label} (n = {len(chosen)}) | {errors[0].rate:.2%} | **{errors[1].rate:.2%}** | "
                f"{100 * change.value:+.2f} points [{100 * change.low:+.2f}, {100 * change.high:+.2f}] |"
            )
    for part, label in (("speech", "utterances left without text"), ("digits", "single digits left without text")):
        blank = [share([not wrote(t.text) for t in found[part][arm]]) for arm in arms]
        data[f"blanked.{part}"] = {arm: [s.with_text, s.clips] for arm, s in zip(arms, blank, strict=True)}
        lines.append(f"| {label} (n = {blank[0].clips}) | {blank[0].with_text} | **{blank[1].with_text}** | |")
    return lines, data


def main() -> None:
    """Run both arms and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny.en")
    parser.add_argument("--recipe", default="no-false-speech")
    parser.add_argument("--cache", type=Path, default=Path("false-speech.cache"), help="folder for the transcripts")
    parser.add_argument(
        "--out", type=Path, help="JSON to write; default: benchmarks/results/false-speech-MODEL-RECIPE.json"
    )
    parser.add_argument("--only", choices=["unsteered", "steered"], help="transcribe one arm, to run both at once")
    options = parser.parse_args()
    model = load_whisper(options.model)
    recipe = load_recipe(options.recipe, model)
    arms = ["unsteered", recipe.name]
    found: dict[str, dict[str, list[Transcript]]] = {part: {} for part in PARTS}
    for arm in arms:
        if options.only and (options.only == "unsteered") != (arm == "unsteered"):
            continue
        steering = None if arm == "unsteered" else steer(model, recipe)
        for part in PARTS:
            cache = options.cache / f"{options.model}-{arm}-{part}.jsonl"
            found[part][arm] = transcripts(model, f"{arm}: {part}", items_of(part), cache, steering)
        if steering is not None:
            steering.remove()
    if options.only:
        return
    lines, data = compare(found, arms)
    print("\n".join(lines))
    RESULTS.mkdir(exist_ok=True)
    out = options.out or RESULTS / f"false-speech-{options.model}-{recipe.name}.json"
    content = {
        "machine": machine(),
        "recipe": recipe.name,
        "strength": recipe.strength,
        "figures": data,
        "table": lines,
    }
    out.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"wrote {out}")


if __name__ == "__main__":
    main()
