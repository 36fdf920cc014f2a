"""Command `analyse reconstruction`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ...analyse.code_quality.reconstruction_records import ReconstructionSettings
from ...errors import SteeringError
from ..console import ModelOption, progress, say
from ..options import Options, with_settings
from .common import SAEOption, Written, finish, read_sae


@dataclass(frozen=True, kw_only=True)
class Spoken:
    """Speech with transcripts."""

    audio: tuple[str, ...] = ()
    """Folder of clips with a table of transcripts beside them, as for make; or a data set of the Hub; repeatable."""
    most: int | None = None
    """Most clips to take of each source."""
    cache: Path | None = None
    """Folder for activations, about 1 MB a clip; default: none is kept."""


@with_settings(
    Options(defaults=Spoken(), parameter="spoken"),
    Options(defaults=ReconstructionSettings(), names={"thresholds": "threshold"}),
    Options(defaults=Written(), parameter="written"),
)
def reconstruction(
    sae: SAEOption,
    layer: Annotated[int, typer.Option(help="encoder layer, counted from 1")],
    spoken: Spoken,
    settings: ReconstructionSettings,
    written: Written,
    model: ModelOption = "tiny.en",
) -> None:
    """Measure the word error rate with every frame at a layer replaced by the SAE's reconstruction."""
    from ...analyse.code_quality.reconstructing import reconstruction_wer
    from ...data.clips import load_clips
    from ...models.load import load_whisper

    if not spoken.audio:
        raise SteeringError("say which speech to transcribe: --audio FOLDER, with a table of transcripts in it")
    clips = load_clips(spoken.audio, most=spoken.most, seed=settings.seed)
    chosen = [i for i, text in enumerate(clips.texts) if text]
    if not chosen:
        raise SteeringError(
            f"none of the {len(clips.clips)} clips has a transcript; put a table with the columns file and text, such "
            "as text.tsv, into the folder"
        )
    if len(chosen) < len(clips.clips):
        say(f"{len(clips.clips) - len(chosen)} clips without a transcript are left out", stderr=True)
    opened = read_sae(sae, layer)
    loaded = load_whisper(model)
    with progress() as tell:
        found = reconstruction_wer(
            loaded, opened, layer, [clips.samples[i] for i in chosen], [str(clips.texts[i]) for i in chosen],
            settings=settings, cache=spoken.cache, progress=tell,
        )  # fmt: skip
    finish(found, written)
