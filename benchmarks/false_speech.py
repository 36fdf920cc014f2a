"""The README's table: text on non-speech and word error rate, without and with steering, on the `test` part.

    python benchmarks/false_speech.py                       # needs the real audio beside the repository
    python benchmarks/false_speech.py --recipe mine.json

`whisper.transcribe` with timestamps (its default mode), greedy, each clip on its own, without the text before as a
prompt. What "filters on" gives is derived from the same run without filters by Whisper's own rule, which is exact for
clips of up to 30 s; longer ones are run again with the filters on. Interrupted, it continues; `--only` and `--part` run
one arm and one part, so that several can run at once.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import corpus
from machine import machine
from rich.progress import track

from audiosae_steer import Recipe, load_audio, load_recipe, load_whisper, steer
from audiosae_steer.data.audio import WINDOW
from audiosae_steer.evaluate.metrics.rates import Reduction, reduction, share, wrote
from audiosae_steer.evaluate.metrics.wer import rate_difference, rate_interval, word_errors
from audiosae_steer.evaluate.transcription.transcribe import transcribe

RESULTS = Path(__file__).parent / "results"
PARTS = ("nonspeech", "nonverbal", "speech", "digits")


NOTES: Any = {"provenance": True, "measured": True, "description": True, "gate": {"calibration"}}
"""What a recipe says of itself, which changes no text."""


class Heard(NamedTuple):
    """What one arm writes for one clip."""

    off: str
    """Text with Whisper's filters off."""
    on: str
    """Text with them on."""
    no_speech_prob: float | None
    """Of the first window."""
    gate: bool | None
    """Whether the clip gate opened for the last window; None without one."""


def items_of(part: str) -> list[corpus.Item]:
    """The clips of a part of the table."""
    if part == "nonspeech":
        return corpus.nonspeech("test")
    return corpus.speech("test") if part == "speech" else corpus.apart(part)


def hear(model: Any, samples: Any, steering: Any = None) -> Heard:
    """One clip, filters off and on."""
    off = transcribe(model, samples)
    long = len(samples) > WINDOW
    on = transcribe(model, samples, filters=True) if long else off.filtered()
    opened = None if steering is None or steering.opened is None else bool(steering.opened.all())
    return Heard(off.text, on.text, off.windows[0].no_speech_prob if off.windows else None, opened)


def run_arm(model: Any, arm: str, items: Sequence[corpus.Item], cache: Path, steering: Any) -> list[Heard]:
    """What an arm writes for each clip, kept in a file as it goes."""
    cache.parent.mkdir(parents=True, exist_ok=True)
    done: dict[str, Heard] = {}
    if cache.is_file():
        for line in cache.read_text(encoding="utf-8").splitlines():
            if line.endswith("}"):  # a line cut short by an interruption is made again
                row = json.loads(line)
                name = row.pop("file")
                done[name] = Heard(**row)
    names = [item.path.relative_to(corpus.assets()).as_posix() for item in items]
    todo = [(name, item) for name, item in zip(names, items, strict=True) if name not in done]
    with cache.open("a", encoding="utf-8") as file:
        for name, item in track(todo, description=f"{arm}: {cache.stem} ({len(done)} done before)"):
            done[name] = hear(model, load_audio(item.path), steering)
            file.write(json.dumps({"file": name, **done[name]._asdict()}) + "\n")
            file.flush()
    return [done[name] for name in names]


def arm_key(model: str, recipe: Recipe | None) -> str:
    """A folder name for an arm's cache, which changes with everything that its texts depend on."""
    content: Any = [model]
    if recipe is not None:
        content.append(recipe.model_dump(mode="json", exclude=NOTES))
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
    return f"{'unsteered' if recipe is None else recipe.name}-{digest}"


class Table:
    """The Markdown rows, and the same as data."""

    def __init__(self, arms: Sequence[dict[str, list[Heard]]]) -> None:
        self.before, self.after = arms
        self.items = {part: items_of(part) for part in PARTS}
        self.lines = ["| | clips | unsteered | steered | change |", "|---|---|---|---|---|"]
        self.data: dict[str, Any] = {}

    def pick(self, part: str, source: str | None) -> list[int]:
        """Indices of a source's clips; None takes all."""
        return [i for i, item in enumerate(self.items[part]) if source in (None, item.source)]

    def sources(self, part: str) -> list[str]:
        """In the order of the split."""
        return list(dict.fromkeys(item.source for item in self.items[part]))

    def text(
        self, label: str, part: str, mode: str, source: str | None = None, *, of: Callable[[str], bool] = wrote
    ) -> None:
        """A row: how many clips have text, or something in it."""
        chosen = self.pick(part, source)
        found = reduction(*([of(getattr(arm[part][i], mode)) for i in chosen] for arm in (self.before, self.after)))
        self.data[f"{'text' if of is wrote else 'words'}.{source or part}.filters-{mode}"] = _plain(found)
        self.lines.append(f"| {label} | {len(chosen)} | {found.before} | **{found.after}** | {found} |")

    def probability(self, label: str, part: str) -> None:
        """A row: the papers' measure, no_speech_prob below one half."""
        before, after = (
            [h.no_speech_prob is not None and h.no_speech_prob < 0.5 for h in arm[part]]
            for arm in (self.before, self.after)
        )
        found = reduction(before, after)
        self.data[f"no_speech_prob.{part}"] = _plain(found)
        self.lines.append(f"| {label} | {len(before)} | {found.before} | {found.after} | {found} |")

    def wer(self, label: str, mode: str, source: str | None = None) -> None:
        """A row: word error rate."""
        chosen = [i for i in self.pick("speech", source) if self.items["speech"][i].text]
        said = [str(self.items["speech"][i].text) for i in chosen]
        before, after = (
            word_errors(said, [getattr(arm["speech"][i], mode) for i in chosen]) for arm in (self.before, self.after)
        )
        change = rate_difference(before, after)
        self.data[f"wer.{source or 'all'}.filters-{mode}"] = {
            "utterances": len(chosen),
            "words": sum(before.words),
            "before": [before.rate, *rate_interval(before)],
            "after": [after.rate, *rate_interval(after)],
            "change": list(change),
        }
        self.lines.append(
            f"| {label} | {len(chosen)} | {before.rate:.2%} | **{after.rate:.2%}** | "
            f"{100 * change.value:+.2f} points [{100 * change.low:+.2f}, {100 * change.high:+.2f}] |"
        )

    def blank(self, label: str, part: str, mode: str) -> None:
        """A row: utterances left without any text."""
        before, after = (share([not wrote(getattr(h, mode)) for h in arm[part]]) for arm in (self.before, self.after))
        self.data[f"blanked.{part}.filters-{mode}"] = {"before": before.hits, "after": after.hits, "of": before.clips}
        self.lines.append(
            f"| {label} | {before.clips} | {before.hits} | **{after.hits}** | {after.hits - before.hits:+d} |"
        )

    def gate(self) -> None:
        """Data only: how often the gate opened, by part."""
        for part in PARTS:
            flags = [h.gate for h in self.after[part] if h.gate is not None]
            if flags:
                self.data[f"gate-open.{part}"] = [sum(flags), len(flags)]

    def build(self) -> Table:
        """Every row."""
        for mode in ("off", "on"):
            self.text(f"text on non-speech, Whisper's filters {mode}", "nonspeech", mode)
            self.text("&nbsp;&nbsp;words, more than punctuation", "nonspeech", mode, of=_has_words)
            for source in self.sources("nonspeech"):
                self.text(f"&nbsp;&nbsp;{source}", "nonspeech", mode, source)
        for mode in ("off", "on"):
            self.text(f"text on human sounds without words, filters {mode}", "nonverbal", mode)
        self.probability("no_speech_prob < 0.5 on non-speech (the papers' measure)", "nonspeech")
        self.wer("word error rate, filters off", "off")
        for source in self.sources("speech"):
            self.wer(f"&nbsp;&nbsp;{source}", "off", source)
        self.wer("word error rate, filters on", "on")
        for mode in ("off", "on"):
            self.blank(f"utterances left without text, filters {mode}", "speech", mode)
            self.blank(f"single digits left without text, filters {mode}", "digits", mode)
        self.gate()
        return self


def _has_words(text: str) -> bool:
    return re.search(r"\w", text) is not None


def _plain(found: Reduction) -> dict[str, Any]:
    numbers = [found.value, found.low, found.high] if found.before.hits else None
    return {"before": list(found.before), "after": list(found.after), "new": found.new, "reduction": numbers}


def main() -> None:
    """Run both arms and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny.en")
    parser.add_argument("--recipe", default="no-false-speech")
    parser.add_argument("--cache", type=Path, default=Path("false-speech.cache"), help="folder for the transcripts")
    parser.add_argument("--out", type=Path, help="JSON; default: benchmarks/results/false-speech-MODEL-RECIPE.json")
    parser.add_argument("--only", choices=["unsteered", "steered"], help="transcribe one arm, to run both at once")
    parser.add_argument("--part", choices=PARTS, help="transcribe one part, to run several at once")
    options = parser.parse_args()
    model = load_whisper(options.model)
    recipe = None if options.only == "unsteered" else load_recipe(options.recipe, model)
    arms = []
    for chosen in (None, recipe):
        if options.only and (chosen is None) != (options.only == "unsteered"):
            continue
        steering = None if chosen is None else steer(model, chosen)
        folder = options.cache / arm_key(Path(options.model).name, chosen)
        name = "unsteered" if chosen is None else chosen.name
        parts = [part for part in PARTS if options.part in (None, part)]
        arms.append({p: run_arm(model, name, items_of(p), folder / f"{p}.jsonl", steering) for p in parts})
        if steering is not None:
            steering.remove()
    if options.only or options.part or recipe is None:
        return
    table = Table(arms).build()
    print("\n".join(table.lines))
    RESULTS.mkdir(exist_ok=True)
    out = options.out or RESULTS / f"false-speech-{Path(options.model).name}-{recipe.name}.json"
    content = {
        "machine": machine(),
        "model": Path(options.model).name,
        "recipe": {"name": recipe.name, "strength": recipe.strength, "key": arm_key(Path(options.model).name, recipe)},
        "mode": "whisper.transcribe, timestamps, greedy, no fallback, condition_on_previous_text off",
        "figures": table.data,
        "table": table.lines,
    }
    out.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"\nwrote {out}")


if __name__ == "__main__":
    main()
