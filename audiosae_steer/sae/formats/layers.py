"""Layers of a folder or repository, and the files that make up the SAE of each.

Layer n is the output of the n-th block, counted from 1. `layer_8/` and `encoder-8.safetensors` count so too. A folder
that is named for a module of the model, as sparsify names its own, counts from 0: `layers.7/` is layer 8.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Literal

from ...errors import CheckpointError

Side = Literal["encoder", "decoder"]
"""The stack of blocks that layers are counted in."""
_FOLDER = re.compile(r"layer_(\d{1,6})")
_HOOKPOINT = re.compile(r"(?:\w+\.)*(?:layers|layer|blocks|h)\.(\d{1,6})")
_BY_NAME = re.compile(
    r"((?:encoder|layer)[-_](\d{1,6}))(?:-[0-9a-f]{8}-\d{5}-of-\d{5})?\.safetensors(?:\.index\.json)?"
)
MAX_FILES = 1000


def layers_of(names: Iterable[str]) -> dict[int, list[str]]:
    """The files of each layer, by its number: `layer_8/…`, `encoder-8.safetensors`, or `encoder.layers.7/…`.

    Args:
        names: of all files, with `/` between folders.

    Raises:
        CheckpointError: two places claim to be the same layer.
    """
    folders: dict[int, dict[str, list[str]]] = {}
    for name in names:
        folder, _, file = name.rpartition("/")
        number, place = _layer(_folder_of(name)), f"{folder}/"
        if number is None and not folder and (found := _BY_NAME.fullmatch(file)):
            number, place = int(found[2]), found[1]
        if number is not None:
            folders.setdefault(number, {}).setdefault(place, []).append(name)
    for number, places in folders.items():
        if len(places) > 1:
            raise CheckpointError(
                f"layer {number} is there twice, as {' and '.join(sorted(places))}; name the file or folder itself"
            )
    return {number: sorted(*places.values()) for number, places in sorted(folders.items())}


def files_in(path: Path) -> list[str]:
    """The names of a folder's files, and of those in the folders of its layers.

    Raises:
        CheckpointError: a folder cannot be read, or holds more than `MAX_FILES`.
    """
    names, places = [], [""]
    try:
        for place in places:
            with os.scandir(path / place) as entries:
                for count, entry in enumerate(entries):
                    if count == MAX_FILES:
                        raise CheckpointError(
                            f"{path / place} holds more than {MAX_FILES:,} files, as no SAE's does; name the file"
                        )
                    if entry.is_file():
                        names.append(place + entry.name)
                    elif not place and _layer(entry.name) is not None and entry.is_dir():
                        places.append(f"{entry.name}/")
    except OSError as error:
        raise CheckpointError(f"cannot read the folder {path}: {error.strerror or error}") from error
    return sorted(names)


def files_of(names: Sequence[str], layer: int | None, where: str, only: str = "has") -> list[str]:
    """The files of one SAE: of `layer`, or of the whole place if it has no layers.

    Args:
        names: of all files, with `/` between folders.
        layer: which; None where there is but one.
        where: the folder or repository, for the message.
        only: how the message speaks of what is there.

    Raises:
        CheckpointError: `layer` is missing or wrong, and the message lists the layers that exist; or the layers are of
            several models, and it lists their folders.
    """
    folders = folders_of(names)
    if len(folders) > 1:
        raise CheckpointError(several(where, folders))
    layers = layers_of(names)
    if not layers:
        return [name for name in names if "/" not in name]
    if layer is None and len(layers) == 1:
        return next(iter(layers.values()))
    if layer is None or layer not in layers:
        what = "which layer? Say layer=N, or --layer N" if layer is None else f"there is no layer {layer}"
        first = _folder_of(layers[min(layers)][0])
        count = f" ({first} is layer {min(layers)})" if _HOOKPOINT.fullmatch(first) else ""
        raise CheckpointError(
            f"{where}: {what}; it {only} {'layer' if len(layers) == 1 else 'layers'} {_spans(layers)}{count}"
        )
    return layers[layer]


def folders_of(names: Iterable[str]) -> list[str]:
    """The folders that hold layers' folders, if the place itself holds none: each may be another model's."""
    found = {name.rpartition("/")[0].rpartition("/")[0] for name in names if _layer(_folder_of(name)) is not None}
    return [] if "" in found else sorted(found)


def folders_in(path: Path) -> list[str]:
    """The folders on disk, one step below `path`, that hold layers' folders; those that cannot be read are left out."""
    found = []
    with suppress(OSError), os.scandir(path) as entries:
        for entry in islice(entries, MAX_FILES):
            with suppress(OSError):
                if entry.is_dir():
                    with os.scandir(entry.path) as inner:
                        if any(_layer(one.name) is not None and one.is_dir() for one in islice(inner, MAX_FILES)):
                            found.append(entry.name)
    return sorted(found)


def several(where: str, folders: Sequence[str]) -> str:
    """The refusal of a place whose layers lie in `folders`, of which one is to be named."""
    return f"{where} has layers in folders of their own, {', '.join(folders)}; name one of these: {where}/{folders[0]}"


def number_of(files: Sequence[str]) -> int | None:
    """The layer that `files`, as `files_of` gave them, belong to; None where there are no layers."""
    return next(iter(layers_of(files)), None)


def side_of(folder: str) -> str | None:
    """The stack of blocks that a hookpoint's folder is of, by its name: `decoder.layers.7` is of the decoder."""
    if _HOOKPOINT.fullmatch(folder) is None:
        return None
    return next((part for part in reversed(folder.split(".")) if part in ("encoder", "decoder")), None)


def hookpoint_layer(name: str) -> int | None:
    """The layer, counted from 1, of a hookpoint or a folder of one: `encoder.layers.7`, `blocks.7.hook_resid_post`.

    What comes before a block is what the one before it gives. None where the name tells no layer.
    """
    block, _, at = name.partition(".hook_")
    number = _layer(block) if at in ("", "resid_post", "resid_pre") else None
    return None if number is None else (number - (at == "resid_pre")) or None


def _folder_of(name: str) -> str:
    return name.rpartition("/")[0].rpartition("/")[2]


def _layer(folder: str) -> int | None:
    """The layer that a folder's name says it is of."""
    if found := _FOLDER.fullmatch(folder):
        return int(found[1])
    if found := _HOOKPOINT.fullmatch(folder):
        return int(found[1]) + 1
    return None


def _spans(numbers: Iterable[int]) -> str:
    """1, 2, 3, 5 as "1 to 3, 5"."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(str(a) if a == b else f"{a} to {b}" if b > a + 1 else f"{a}, {b}" for a, b in spans)
