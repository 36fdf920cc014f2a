"""The main job, end to end: transcribe clips without and with steering, and say what changed."""

from __future__ import annotations

import csv
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ..discover.collect import mel, residuals
from ..errors import AudioError
from ..models import audio_files, load_audio, load_processor, load_whisper
from ..models.load import Library
from ..recipes import Recipe, checkpoints_dir, load_recipe
from ..sites import unwrap
from ..steering import Steering, steer
from .false_speech import Share, share, wrote
from .transcribe import Transcript, transcribe
from .wer import Difference, WordErrors, rate_difference, word_errors


class Clip(NamedTuple):
    """A recording, and what is known of it."""

    path: Path
    label: str
    """For the table."""
    kind: str | None = None
    """`speech`, `nonspeech`, or None if it is not known."""
    text: str | None = None
    """What is said."""


class Result(NamedTuple):
    """One clip, without and with steering."""

    clip: Clip
    samples: NDArray[np.float32]
    """Mono, 16 kHz."""
    before: Transcript
    after: Transcript


class Latency(NamedTuple):
    """The steering's own time as a share of the encoder's, measured in turns."""

    share: float
    """Median."""
    low: float
    """Fastest of the repeats."""
    high: float
    """Slowest."""


class Demo(NamedTuple):
    """Everything that the demo found."""

    results: tuple[Result, ...]
    recipe: Recipe
    before: Share
    """Non-speech clips with text, unsteered."""
    after: Share
    """The same, steered."""
    wer: tuple[WordErrors, WordErrors, Difference] | None
    """Without and with steering, and the difference; None if no clip has a text."""
    latency: Latency


def run_demo(
    model: str | Path = "tiny.en",
    recipe: str | Path = "no-false-speech",
    audio: str | Path | None = None,
    *,
    library: Library = "openai",
    strength: float | None = None,
    filters: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[Demo, Any]:
    """Transcribe every clip without and with steering.

    Args:
        model: as `load_whisper` takes it.
        recipe: as `steer` takes it.
        audio: a folder of clips; None takes those that ship with the package.
        library: which library's model to load.
        strength: None takes the recipe's.
        filters: Whisper's own filters on; off by default, so that the table shows what the model itself writes.
        progress: called with what is being done, how many are done, and how many there are.

    Returns:
        What was found, and the model, for pictures.

    Raises:
        AudioError: the folder holds no audio.
        RecipeNotFoundError: no such recipe for this model.
    """
    clips = read_clips(Path(audio) if audio is not None else checkpoints_dir() / "clips")
    tell = progress or (lambda what, done, total: None)
    tell("loading the model", 0, 1)
    loaded = load_whisper(model, library=library)
    processor = load_processor(model) if library == "transformers" else None
    chosen = load_recipe(recipe, loaded)
    tell("loading the model", 1, 1)
    heard = [load_audio(clip.path) for clip in clips]
    arms: list[list[Transcript]] = []
    for what in ("unsteered", "steered"):
        steering = steer(loaded, chosen, strength=strength) if what == "steered" else None
        texts = []
        for number, samples in enumerate(heard):
            tell(f"transcribing {what}", number, len(heard))
            texts.append(transcribe(loaded, samples, processor=processor, filters=filters))
        tell(f"transcribing {what}", len(heard), len(heard))
        arms.append(texts)
        if steering is not None:
            latency = measure_latency(loaded, steering, heard[0], lambda n, of: tell("timing the encoder", n, of))
            steering.remove()
    rows = zip(clips, heard, *arms, strict=True)
    results = tuple(Result(clip, samples, before, after) for clip, samples, before, after in rows)
    silent = [result for result in results if result.clip.kind == "nonspeech"]
    demo = Demo(
        results,
        chosen,
        share([wrote(result.before.text) for result in silent]),
        share([wrote(result.after.text) for result in silent]),
        _wer(results),
        latency,
    )
    return demo, loaded


def read_clips(folder: Path) -> list[Clip]:
    """The clips of a folder.

    What is in them is told by a `clips.json` (a list of objects with `file`, `kind`, `label`, `text`), by a `text.tsv`
    (columns `file` and `text`), or by sub-folders called `speech` and `nonspeech`; else it is not known.

    Raises:
        AudioError: no such folder, no audio in it, or a list that cannot be read.
    """
    files = audio_files(folder)
    described, texts = folder / "clips.json", folder / "text.tsv"
    try:
        if described.is_file():
            entries = json.loads(described.read_text(encoding="utf-8"))
            return [Clip(folder / e["file"], e.get("label", e["file"]), e.get("kind"), e.get("text")) for e in entries]
        if texts.is_file():
            with texts.open(encoding="utf-8", newline="") as file:
                said = {r["file"]: r["text"] for r in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)}
            return [
                Clip(path, path.stem, "speech" if path.name in said else None, said.get(path.name)) for path in files
            ]
    except (ValueError, KeyError, TypeError) as error:
        raise AudioError(
            f"the list of clips in {folder} cannot be read ({error!r}); see `read_clips` for its form"
        ) from error
    kinds = {"speech", "nonspeech"}
    return [Clip(p, p.stem, next((part for part in p.parent.parts if part in kinds), None)) for p in files]


def measure_latency(
    model: Any, steering: Steering, samples: NDArray[np.float32], tell: Callable[[int, int], None], repeats: int = 9
) -> Latency:
    """How long the steering's own work takes, beside one pass of the encoder, in turns."""
    inner: Any = unwrap(model)
    sites = [site for site in steering.hooks if site.side == "encoder"]
    taken = residuals(inner, [samples], [site.layer for site in sites])
    spectrum = mel(inner, [samples])
    encoder = inner.encoder if hasattr(inner, "dims") else inner.get_encoder()
    ratios = []
    strength, steering.strength = steering.strength, 0.0  # what is timed is the same at any strength
    with torch.no_grad():
        for number in range(repeats):
            tell(number, repeats)
            start = time.perf_counter()
            encoder(spectrum)
            middle = time.perf_counter()
            for site in sites:
                steering.hooks[site](taken[site.layer])
            own = time.perf_counter() - middle
            ratios.append(own / max(middle - start - own, 1e-9))  # the pass was steered itself
    steering.strength = strength
    tell(repeats, repeats)
    return Latency(statistics.median(ratios), min(ratios), max(ratios))


def _wer(results: Sequence[Result]) -> tuple[WordErrors, WordErrors, Difference] | None:
    spoken = [result for result in results if result.clip.text]
    if not spoken:
        return None
    said = [str(result.clip.text) for result in spoken]
    before = word_errors(said, [result.before.text for result in spoken])
    after = word_errors(said, [result.after.text for result in spoken])
    return before, after, rate_difference(before, after)
