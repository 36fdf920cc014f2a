"""Command that bakes a recipe into weights: `bake`."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from .console import StrengthOption, say


def bake(
    model: Annotated[
        str, typer.Argument(help="openai-whisper name or .pt, transformers id or folder, CTranslate2 folder")
    ],
    recipe: Annotated[str, typer.Option("--recipe", "-r", help="recipe of constants alone, by name, path or Hub id")],
    out: Annotated[Path, typer.Option("--out", "--to", help="folder to write")],
    format: Annotated[
        str, typer.Option(help="openai, transformers, ctranslate2 for faster-whisper, or vllm")
    ] = "ctranslate2",
    dtype: Annotated[
        str | None,
        typer.Option(
            "--dtype", "--quantization", help="float16, float32, int8, ...; default: float16, in transformers float32"
        ),
    ] = None,
    strength: StrengthOption = None,
) -> None:
    """Write a Whisper with a recipe in its weights, for openai-whisper, transformers, faster-whisper or vLLM."""
    from ..publishing.export import bake_to
    from ..steering.bake import described

    if format != "openai":
        with suppress(ImportError):  # baking says what is missing
            import transformers

            library: Any = transformers
            library.utils.logging.set_verbosity_error()  # its warnings are for programmers
            library.utils.logging.disable_progress_bar()
    chosen: Any = format
    found = bake_to(model, recipe, out, chosen, dtype=dtype, strength=strength)
    if found.baked is not None:
        say(f"baked at strength {found.baked.strength:g}:")
        for change in found.baked.changes:
            say(f"  {described(change)}")
    size = sum((found.folder / name).stat().st_size for name in found.files)
    say(f"wrote {found.folder} ({found.format}, {found.dtype}, {size / 1e6:.0f} MB): {', '.join(found.files)}")
    for note in found.notes:
        say(f"note: {note}")
    say("")
    for line in found.loads:
        say(f"  {line}")
