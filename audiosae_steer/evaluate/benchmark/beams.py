"""Text on noise and its cost on speech by number of beams: recipes in each way to decode, clip by clip."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from ...errors import SteeringError
from ...io.files import write_atomic
from ...io.progress import Tell
from ...models.registry import fingerprint
from ...steering.bake import bakes
from ...steering.recipes.schema import Recipe
from ..metrics.rates import share, wrote
from ..metrics.wer import word_errors
from .arms import Steered
from .bench_clips import BenchClip
from .decodings import Decoding, Engines, Write, decodings, writer
from .measures import rate
from .results import BeamRow
from .settings import Recipes

BEAMS = (1, 5)
"""Numbers of beams that are measured unless others are asked for."""
UNSTEERED = "unsteered"


def measure_beams(
    engines: Engines,
    recipes: Mapping[str, Recipe],
    absent: Sequence[BenchClip],
    present: Sequence[BenchClip],
    cache: Path,
    *,
    beams: Sequence[int] = BEAMS,
    noise_tokens: int | None = None,
    progress: Tell | None = None,
) -> list[BeamRow]:
    """Measure recipes with each number of beams, and in the libraries as they come. Interrupted, it resumes.

    Args:
        engines: the model in each library.
        recipes: by the name that tables give them; hooks run all, faster-whisper those that can be baked.
        absent: clips without speech, of which the first 30 s are decoded.
        present: clips with speech.
        cache: folder for texts.
        beams: numbers of them.
        noise_tokens: most tokens that the unsteered model writes for a clip without speech, where it loops for minutes
            with beams; None leaves it to each library. Steered texts are whole, since a limit can decide whether a
            beam search ends without text.
        progress: called with what is being done, how many are done, and how many there are.

    Raises:
        SteeringError: a number of beams is below 1, or clips of one kind are missing.
    """
    return [
        row
        for decoding in decodings(engines, beams)
        for row in measure_decoding(
            engines, decoding, recipes, absent, present, cache, noise_tokens=noise_tokens, progress=progress
        )
    ]


def measure_decoding(
    engines: Engines,
    decoding: Decoding,
    recipes: Mapping[str, Recipe],
    absent: Sequence[BenchClip],
    present: Sequence[BenchClip],
    cache: Path,
    *,
    noise_tokens: int | None = None,
    progress: Tell | None = None,
) -> list[BeamRow]:
    """Rows of one way to decode, the unsteered model's first; the arguments are those of `measure_beams`."""
    if not absent or not present:
        raise SteeringError("beams are measured on clips without speech and on clips with speech; one kind is missing")
    chosen: dict[str, Recipe | None] = {UNSTEERED: None}
    chosen |= {name: recipe for name, recipe in recipes.items() if decoding.engine != "faster-whisper" or bakes(recipe)}
    folder = Path(cache) / (fingerprint(engines.openai) or "unknown")[:12] / "beams"
    found: list[BeamRow] = []
    before: list[str] = []
    for name, recipe in chosen.items():
        texts = []
        for kind, clips in (("noise", absent), ("speech", present)):
            limit = noise_tokens if recipe is None and kind == "noise" else None
            path = folder / f"{_slug(decoding.label)}.{_slug(name)}.{kind}.{_key(recipe, engines.language, limit)}.json"
            tell = partial(progress, f"{decoding.label}, {name}: {kind}") if progress is not None else _quiet
            with ExitStack() as stack:
                start = partial(stack.enter_context, writer(engines, decoding, recipe, limit))
                texts.append(_texts(start, clips, path, tell))
        before = before or texts[1]
        found.append(_row(decoding, name, texts[0], before, texts[1], present))
    return found


def beam_recipes(recipes: Recipes) -> dict[str, Recipe]:
    """The gated recipe, the one without gates, and that of constants if there is one, by name."""
    main = recipes.main
    bare = {"gate": None, "frame_gate": None, "timestamp_gate": None, "name": f"{main.name}, without its gates"}
    ungated = recipes.ungated or main.model_copy(update=bare)
    return {each.name: each for each in (main, ungated, recipes.constant) if each is not None}


def beam_table(rows: Sequence[BeamRow]) -> str:
    """The rows as a Markdown table."""
    lines = ["| decoding | recipe | text on noise | WER | change | lost |", "|---|---|---:|---:|---:|---:|"]
    for row in rows:
        hits, clips, low, high = row.text
        text = f"{hits / clips:.1%} [{low:.1%}, {high:.1%}]"
        own = row.recipe != UNSTEERED
        wer = "–" if row.wer is None else f"{row.wer.capped:.2%}"
        change = "–"
        if own and row.wer is not None:
            change = "{:+.2f} [{:+.2f}, {:+.2f}]".format(*(100 * value for value in row.wer.capped_change))
        name, lost = (f"`{row.recipe}`", row.lost) if own else (row.recipe, "–")
        lines.append(f"| {row.decoding} | {name} | {text} | {wer} | {change} | {lost} |")
    return "\n".join(lines)


def _texts(
    start: Callable[[], Write], clips: Sequence[BenchClip], path: Path, tell: Callable[[int, int], None]
) -> list[str]:
    """The text of each clip, from the cache where it is there; the cache is written whole after each clip."""
    done = _read(path)
    todo = [clip for clip in clips if clip.key not in done]
    if todo:
        write = start()
        for number, clip in enumerate(todo, len(clips) - len(todo)):
            tell(number, len(clips))
            done[clip.key] = write(clip.samples())
            write_atomic(path, json.dumps(done, indent=0, ensure_ascii=False) + "\n")
    tell(len(clips), len(clips))
    return [done[clip.key] for clip in clips]


def _quiet(done: int, total: int) -> None:
    """Tell nobody."""


def _read(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SteeringError(
            f"{path} is no cache of texts ({error}); delete it, and its texts are made again"
        ) from error
    return {str(key): str(text) for key, text in found.items()}


def _row(
    decoding: Decoding,
    name: str,
    noise: Sequence[str],
    before: Sequence[str],
    after: Sequence[str],
    present: Sequence[BenchClip],
) -> BeamRow:
    spoken = [i for i, clip in enumerate(present) if clip.text]
    said = [str(present[i].text) for i in spoken]
    wer = None
    if said:
        wer = rate(*(word_errors(said, [texts[i] for i in spoken]) for texts in (before, after)))
    pairs = list(zip(before, after, strict=True))
    return BeamRow(
        decoding=decoding.label,
        engine=decoding.engine,
        beams=decoding.beams,
        recipe=name,
        text=share([wrote(text) for text in noise]),
        wer=wer,
        lost=sum(wrote(was) and not wrote(now) for was, now in pairs),
        changed=sum(was != now for was, now in pairs),
        utterances=len(present),
    )


def _key(recipe: Recipe | None, language: str | None, limit: int | None) -> str:
    own = "plain" if recipe is None else Steered("", "learned", recipe=recipe).key
    return hashlib.sha256(f"{own} {language} {limit}".encode()).hexdigest()[:12]


def _slug(name: str) -> str:
    return "-".join("".join(letter if letter.isalnum() or letter in ".-" else " " for letter in name).split())
