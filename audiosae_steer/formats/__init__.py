"""SAE files: one module for each format, recognised by content, and the native one that is written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Protocol

from ..errors import CheckpointError
from ..sae import SAE
from .audiosae import AudioSAE
from .native import Native, save_sae
from .saelens import SAELens

__all__ = ["FORMATS", "Format", "load_sae", "save_sae"]


class Format(Protocol):
    """One way in which SAEs are stored."""

    name: str

    def recognises(self, path: Path) -> bool:
        """Whether a file or folder is of this format, by its content."""

    def read(self, path: Path) -> SAE:
        """The SAE in it."""


FORMATS: tuple[Format, ...] = (Native(), SAELens(), AudioSAE())


def load_sae(source: str | Path, layer: int | None = None, *, revision: str | None = None) -> SAE:
    """An SAE from a file, a folder or the Hub.

    Args:
        source: a file, a folder, or "user/repo" on the Hub.
        layer: which one, where there are several (`layer_8/`).
        revision: branch, tag or commit on the Hub; `info["source"]` records the commit that was taken.

    Raises:
        CheckpointError: there is nothing there, it is of no known format, or it is damaged.
        HubError: the Hub could not be reached, or has no such repository, revision or layer.
    """
    path = Path(source)
    if not path.exists():
        name = str(source)
        if isinstance(source, Path) or not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
            raise CheckpointError(f"there is no SAE at {source}: no such file or folder; on the Hub write user/repo")
        from ..hub import fetch_sae

        found = fetch_sae(name, layer, revision)
        sae = _read(found.path)
        sae.info["source"] = found.source
        return sae
    return _read(_layer_of(path, layer))


def _layer_of(path: Path, layer: int | None) -> Path:
    if not path.is_dir():
        return path
    layers = sorted(int(found[1]) for entry in path.iterdir() if (found := re.fullmatch(r"layer_(\d+)", entry.name)))
    if not layers:
        files = sorted(path.glob("*.safetensors"))
        return files[0] if len(files) == 1 and Native().recognises(files[0]) else path
    if layer is None or layer not in layers:
        what = "which layer? Say layer=N" if layer is None else f"there is no layer {layer}"
        raise CheckpointError(f"{path}: {what}; it has layers {', '.join(map(str, layers))}")
    return path / f"layer_{layer}"


def _read(path: Path) -> SAE:
    for format_ in FORMATS:
        if format_.recognises(path):
            return format_.read(path)
    content = ", ".join(sorted(entry.name for entry in path.iterdir())[:8]) if path.is_dir() else f"{path.name}"
    known = ", ".join(format_.name for format_ in FORMATS)
    raise CheckpointError(f"{path} ({content or 'empty'}) is of no SAE format that is read here; those are {known}")
