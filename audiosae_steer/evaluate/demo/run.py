"""Demo runs: clips transcribed without and with steering, and the change."""

from __future__ import annotations

import csv
import json
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ...data.audio import SUFFIXES, Samples, audio_files, load_audio
from ...errors import AudioError, AudioSAESteerWarning
from ...io.progress import Tell
from ...io.shipped import checkpoints_dir
from ...models.load import Library, load_processor, load_whisper
from ...steering.recipes.load import load_recipe
from ...steering.recipes.schema import Recipe
from ...steering.steering import steer
from ..latency import Latency, measure_latency
from ..metrics.rates import Reduction, reduction, wrote
from ..metrics.wer import Difference, WordErrors, rate_difference, word_errors
from ..transcription.transcribe import Transcript, transcribe

SHOWN = 10
"""Files that are left out of which the warning gives the reason."""
KINDS = {"speech": "speech", "nonspeech": "nonspeech", "non-speech": "nonspeech"}


class DemoClip(NamedTuple):
    """A recording, with its kind and transcript where they are known."""

    path: Path
    label: str
    """For the table."""
    kind: str | None = None
    """`speech`, `nonspeech`, or None if it is not known."""
    text: str | None = None
    """Its transcript."""


class Skipped(NamedTuple):
    """A file of the folder that is left out."""

    path: Path
    reason: str


class Result(NamedTuple):
    """One clip, without and with steering."""

    clip: DemoClip
    samples: Samples
    """Mono, 16 kHz."""
    before: Transcript
    after: Transcript


class Demo(NamedTuple):
    """Results of the demo."""

    results: tuple[Result, ...]
    recipe: Recipe
    text: Reduction | None
    """Non-speech clips with text, without and with steering; None if no clip is known to be without speech."""
    wer: tuple[WordErrors, WordErrors, Difference] | None
    """Without and with steering, and the difference; None if no clip has a text."""
    latency: Latency
    skipped: tuple[Skipped, ...] = ()
    """Files that were left out."""


def run_demo(
    model: str | Path = "tiny.en",
    recipe: str | Path = "no-false-speech",
    audio: str | Path | None = None,
    *,
    library: Library = "openai",
    strength: float | None = None,
    threshold: float | None = None,
    filters: bool = False,
    progress: Tell | None = None,
) -> tuple[Demo, Any]:
    """Transcribe every clip without and with steering.

    Args:
        model: as `load_whisper` takes it.
        recipe: as `steer` takes it.
        audio: a folder of clips; None takes those that ship with the package.
        library: which library's model to load.
        strength: None takes the recipe's.
        threshold: of the recipe's gate; None takes its own.
        filters: Whisper's own filters on; off by default, so that the table shows what the model itself writes.
        progress: called with what is being done, how many are done, and how many there are.

    Returns:
        What was found, and the model, for pictures.

    Raises:
        AudioError: the folder holds no audio, or its list of clips cannot be used.
        RecipeNotFoundError: no such recipe for this model.
    """
    folder = Path(audio) if audio is not None else checkpoints_dir() / "clips"
    listed = read_clips(folder)
    tell = progress or (lambda what, done, total: None)
    tell("loading", 0, 2)
    clips, recordings, unreadable = _load(listed)
    skipped = [*_unlisted(folder, listed), *unreadable]
    if skipped:
        _warn(skipped)
    tell("loading", 1, 2)
    loaded = load_whisper(model, library=library)
    processor = load_processor(model) if library == "transformers" else None
    _check(loaded, chosen := load_recipe(recipe, loaded), strength, threshold)
    tell("loading", 2, 2)

    def write(what: str) -> list[Transcript]:
        texts = []
        for number, samples in enumerate(recordings):
            tell(what, number, len(recordings))
            texts.append(transcribe(loaded, samples, processor=processor, filters=filters))
        tell(what, len(recordings), len(recordings))
        return texts

    before = write("transcribing unsteered")
    with steer(loaded, chosen, strength=strength, threshold=threshold) as steering:
        after = write("transcribing steered")
        latency = measure_latency(loaded, steering, recordings[0], lambda n, of: tell("timing the encoder", n, of))
    results = tuple(Result(*row) for row in zip(clips, recordings, before, after, strict=True))
    silent = [result for result in results if result.clip.kind == "nonspeech"]
    text = reduction([wrote(r.before.text) for r in silent], [wrote(r.after.text) for r in silent]) if silent else None
    return Demo(results, chosen, text, _wer(results), latency, tuple(skipped)), loaded


def _check(model: Any, recipe: Recipe, strength: float | None, threshold: float | None) -> None:
    """Refuse what cannot be steered with before the first clip is transcribed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AudioSAESteerWarning)
        steer(model, recipe, strength=strength, threshold=threshold).remove()


def read_clips(folder: Path) -> list[DemoClip]:
    """The clips of a folder.

    What is in them is told by a `clips.json` in it (a list of objects with `file`, and if known `kind`, `label` and
    `text`); else by a `text.tsv` beside the files (columns `file` and `text`: those are speech), or by a folder called
    `speech` or `nonspeech` that they lie in; else it is not known. Files of the same name are told apart by their
    folders or endings.

    Raises:
        AudioError: no such folder, no audio in it, or a list that cannot be read.
    """
    files = audio_files(folder)
    described = folder / "clips.json"
    try:
        if described.is_file():
            entries = json.loads(described.read_text(encoding="utf-8"))
            if not entries:
                raise ValueError("it lists no clips")
            return _told_apart([_described(folder, entry) for entry in entries], folder)
        said = _texts(dict.fromkeys(file.parent for file in files))
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise AudioError(
            f"the list of clips in {folder} cannot be read ({error!r:.200}). A clips.json is a list of objects with "
            "`file`, and `kind`, `label`, `text` if known; a text.tsv has the columns `file` and `text`, divided by "
            "tabs"
        ) from error
    clips = [
        DemoClip(file, file.stem, "speech" if file in said else _kind(file, folder), said.get(file)) for file in files
    ]
    return _told_apart(clips, folder)


def _told_apart(clips: Sequence[DemoClip], folder: Path) -> list[DemoClip]:
    """The clips, those of one label with as much of the path as it takes to tell them apart."""
    same: dict[str, list[Path]] = {}
    for clip in clips:
        same.setdefault(clip.label, []).append(clip.path)

    def below(path: Path) -> Path:
        return path.relative_to(folder) if path.is_relative_to(folder) else path

    forms: tuple[Callable[[Path], str], ...] = (
        lambda path: path.name,
        lambda path: below(path).with_suffix("").as_posix(),
        lambda path: below(path).as_posix(),
    )

    def distinct(clip: DemoClip) -> str:
        paths = same[clip.label]
        if len(paths) == 1:
            return clip.label
        form = next((form for form in forms if len({form(path) for path in paths}) == len(paths)), forms[-1])
        return form(clip.path) if clip.label == clip.path.stem else f"{clip.label} ({form(clip.path)})"

    return [clip._replace(label=distinct(clip)) for clip in clips]


def _unlisted(folder: Path, clips: Sequence[DemoClip]) -> list[Skipped]:
    """Files with sound that are not among the clips, and texts of files that are not there."""
    taken = {clip.path.resolve() for clip in clips}
    found = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.resolve() not in taken]
    left = [Skipped(path, f"{path}: clips.json does not list it") for path in found if path.suffix.lower() in SUFFIXES]
    if not (folder / "clips.json").is_file():
        spoken = _texts(dict.fromkeys(clip.path.parent for clip in clips))
        left += [
            Skipped(path, f"{path}: text.tsv has it, and there is no such file")
            for path in spoken
            if not path.is_file()
        ]
    return left


def _warn(skipped: Sequence[Skipped]) -> None:
    listed = "".join(f"\n  {each.reason}" for each in skipped[:SHOWN])
    more = f"\n  and {len(skipped) - SHOWN} more" if len(skipped) > SHOWN else ""
    warnings.warn(f"left out of the demo:{listed}{more}", AudioSAESteerWarning, stacklevel=3)


def _described(folder: Path, entry: dict[str, Any]) -> DemoClip:
    file = entry["file"]
    label, kind, text = (entry.get(key) for key in ("label", "kind", "text"))
    if not all(value is None or isinstance(value, str) for value in (label, kind, text)):
        raise TypeError(f"what is said of {file} is no text: {entry}")
    if kind is not None and kind.lower() not in KINDS:
        raise ValueError(f"kind {kind!r} of {file} is unknown; expected one of {', '.join(KINDS)}, or none")
    return DemoClip(folder / file, label or file, KINDS[kind.lower()] if kind else None, text)


def _texts(folders: Iterable[Path]) -> dict[Path, str]:
    said: dict[Path, str] = {}
    for folder in folders:
        if (folder / "text.tsv").is_file():
            with (folder / "text.tsv").open(encoding="utf-8-sig", newline="") as file:
                rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
            said |= {folder / row["file"]: row["text"] for row in rows}
    return said


def shortened(text: str, width: int = 70) -> str:
    """A text cut for display, between words where it has any."""
    text = " ".join(text.split())
    if len(text) <= width:
        return text
    cut = text.rfind(" ", width // 2, width - 1)
    return text[: cut if cut > 0 else width - 2].rstrip() + " …"


def _kind(file: Path, folder: Path) -> str | None:
    """The kind that the nearest folder with a telling name says, of those below `folder` and `folder` itself."""
    names = [*reversed(file.relative_to(folder).parent.parts), folder.resolve().name]
    return next((KINDS[name.lower()] for name in names if name.lower() in KINDS), None)


def _load(clips: Sequence[DemoClip]) -> tuple[list[DemoClip], list[Samples], list[Skipped]]:
    """The clips that are audio, their samples, and the others."""
    good, recordings, bad = [], [], []
    for clip in clips:
        try:
            recordings.append(load_audio(clip.path))
            good.append(clip)
        except AudioError as error:
            bad.append(Skipped(clip.path, str(error)))
    if bad and not good:
        raise AudioError(f"none of the {len(bad)} clips can be read; the first: {bad[0].reason}")
    return good, recordings, bad


def _wer(results: Sequence[Result]) -> tuple[WordErrors, WordErrors, Difference] | None:
    spoken = [result for result in results if result.clip.text]
    if not spoken:
        return None
    said = [str(result.clip.text) for result in spoken]
    before = word_errors(said, [result.before.text for result in spoken])
    after = word_errors(said, [result.after.text for result in spoken])
    return before, after, rate_difference(before, after)
