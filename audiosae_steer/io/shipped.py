"""The files that ship with the package: recipes, SAEs and clips."""

from __future__ import annotations

from pathlib import Path


def checkpoints_dir() -> Path:
    """The folder of them: inside the package in a wheel, beside it in a source tree."""
    package = Path(__file__).parents[1]
    inside = package / "checkpoints"
    return inside if inside.is_dir() else package.parent / "checkpoints"


def shipped_folders() -> dict[str, Path]:
    """The folders with SAEs, by the name of the model: `tiny.en`; DiffRhythm's VAE is `diffrhythm-vae`."""
    folders = sorted({path.parent for path in checkpoints_dir().glob("*/*.safetensors")})
    return {folder.name.removeprefix("whisper-"): folder for folder in folders}
