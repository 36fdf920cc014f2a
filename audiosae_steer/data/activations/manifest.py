"""Manifest of a folder of activations: the settings they were collected with, and whether they are complete."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...errors import AudioError, SteeringError
from ...io.files import write_atomic
from ...models.sites import Site

MANIFEST = "manifest.json"
SHARD = "shard-"
"""Start of the names of shards."""
DRAWS = "draws"
"""Setting that names the scheme of the random choices; folders of earlier versions have none."""
SIDES = ("train", "held_out")
"""Sides of the split; no recording is on both."""


def shard_path(folder: Path, number: int) -> Path:
    """The file of one shard, counted from 0."""
    return folder / f"{SHARD}{number:05d}.safetensors"


def shards_in(folder: Path) -> list[Path]:
    """Files of all shards, in order."""
    return sorted(folder.glob(f"{SHARD}*.safetensors"))


def site_key(site: Site) -> int | str:
    """Name of a site in manifests and shards; a number for an encoder layer, as in folders of all versions."""
    if site.path is not None:
        return site.path
    return site.layer if site.side == "encoder" else f"{site.side}_{site.layer}"


def tensor_name(key: int | str, side: str) -> str:
    """Name of a shard's tensor of one site and one side of the split."""
    return f"layer_{key}.{side}"


def file_state(files: Sequence[Path]) -> str:
    """A hash of files' paths, sizes and times of writing.

    Raises:
        AudioError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for file in files:
        try:
            found = file.stat()
        except OSError as error:
            raise AudioError(f"cannot read {file}: {error.strerror}; check its permissions") from error
        digest.update(f"{file}\0{found.st_size}\0{found.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def write_manifest(folder: Path, content: dict[str, Any]) -> None:
    """Write the manifest atomically.

    Raises:
        SteeringError: it cannot be written.
    """
    write_atomic(folder / MANIFEST, json.dumps(content, indent=1) + "\n", SteeringError)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest, with its `settings` and `complete`.

    Raises:
        SteeringError: it is not one that `collect` writes.
    """
    path = folder / MANIFEST
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content["settings"], dict) and isinstance(content["complete"], bool):
            return dict(content)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass
    raise SteeringError(f"{path} is not what a collection of activations writes; give another folder or empty it")


def complete_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a finished collection.

    Raises:
        SteeringError: there is none, it is not finished, or not one that `collect` writes.
    """
    content = read_manifest(folder) if (folder / MANIFEST).is_file() else None
    if content is None or not content["complete"]:
        raise SteeringError(f"{folder} holds no complete set of activations; run collect() on it to the end")
    return content


def resumable(folder: Path, settings: dict[str, Any]) -> dict[str, Any] | None:
    """The manifest of a collection that was begun in `folder` with the same settings; None where none was begun.

    A folder that an earlier version finished is as good as any, and is taken. One that it left half-done is not: its
    random choices were made otherwise than those of the shards that are missing.

    Raises:
        SteeringError: it was begun with other settings, or by an earlier version, or the manifest is not one that
            `collect` writes.
    """
    if not (folder / MANIFEST).is_file() or not shards_in(folder):
        return None
    content = read_manifest(folder)
    before = content["settings"]
    other = sorted(key for key in {*before, *settings} if before.get(key) != settings.get(key))
    if other == [DRAWS] and DRAWS not in before:
        if content["complete"]:
            return content
        raise SteeringError(
            f"{folder} holds activations that an earlier version began to collect, whose random choices were others; "
            "empty it, and collect anew"
        )
    if other:
        raise SteeringError(
            f"{folder} holds activations collected with other settings ({', '.join(other)}); give another folder or "
            "empty it"
        )
    return content
