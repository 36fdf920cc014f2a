"""Which files of a folder or repository make up the SAE of one layer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ..errors import CheckpointError

_IN_FOLDER = re.compile(r"((?:.*/)?layer_([0-9]{1,4})/)[^/]+")
_BY_NAME = re.compile(r"(?:encoder|layer)[-_]([0-9]{1,4})\.safetensors")


def layers_of(names: Iterable[str]) -> dict[int, list[str]]:
    """The files of each layer, by its number, where there are layers: `layer_8/…`, or `encoder-8.safetensors`.

    Args:
        names: of all files, with `/` between folders.

    Raises:
        CheckpointError: two places claim to be the same layer.
    """
    folders: dict[int, dict[str, list[str]]] = {}
    for name in names:
        if found := _IN_FOLDER.fullmatch(name):
            folders.setdefault(int(found[2]), {}).setdefault(found[1], []).append(name)
        elif found := _BY_NAME.fullmatch(name):
            folders.setdefault(int(found[1]), {}).setdefault(name, []).append(name)
    for number, places in folders.items():
        if len(places) > 1:
            raise CheckpointError(
                f"layer {number} is there twice, as {' and '.join(sorted(places))}; name the file or folder itself"
            )
    return {number: sorted(*places.values()) for number, places in sorted(folders.items())}


def files_of(names: Sequence[str], layer: int | None, where: str, only: str = "has") -> list[str]:
    """The files of one SAE: of `layer`, or of the whole place if it has no layers.

    Args:
        names: of all files, with `/` between folders.
        layer: which; None where there is but one.
        where: the folder or repository, for the message.
        only: how the message speaks of what is there.

    Raises:
        CheckpointError: `layer` is missing or wrong; the message lists the layers that exist.
    """
    layers = layers_of(names)
    if not layers:
        return [name for name in names if "/" not in name]
    if layer is None and len(layers) == 1:
        return next(iter(layers.values()))
    if layer is None or layer not in layers:
        what = "which layer? Say layer=N" if layer is None else f"there is no layer {layer}"
        raise CheckpointError(
            f"{where}: {what}; it {only} {'layer' if len(layers) == 1 else 'layers'} {_spans(layers)}"
        )
    return layers[layer]


def number_of(files: Sequence[str]) -> int | None:
    """The layer that `files`, as `files_of` gave them, belong to; None where there are no layers."""
    return next(iter(layers_of(files)), None)


def _spans(numbers: Iterable[int]) -> str:
    """1, 2, 3, 5 as "1 to 3, 5"."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(str(a) if a == b else f"{a} to {b}" if b > a + 1 else f"{a}, {b}" for a, b in spans)
