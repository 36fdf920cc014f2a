"""Random choices about single windows of a collection, which depend on neither their order nor their shard."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...io.units.seeded_choice import seed_of
from ..windows import Window


class WindowDraws:
    """Generators by window and purpose: each is a function of the seed, the window's name and the purpose alone.

    A window's name is its file's path below the folder that all files are in, and the sample that it begins at.

    Args:
        windows: windows of the whole collection, any of which may be mixed into another of its side of the split.
        seed: of all choices.
    """

    def __init__(self, windows: Sequence[Window], seed: int) -> None:
        self._seed = seed
        self._files = file_names([window.path for window in windows])
        self._sides: dict[bool, list[Window]] = {False: [], True: []}
        for window in windows:
            self._sides[window.held_out].append(window)
        for side in self._sides.values():
            side.sort(key=self.name)

    def name(self, window: Window) -> str:
        """Name of a window, the same wherever its folder lies."""
        return window_name(self._files[window.path], window)

    def generator(self, window: Window, purpose: str) -> np.random.Generator:
        """A generator for one choice about one window."""
        return np.random.default_rng(seed_of(self._seed, self.name(window), purpose))

    def other(self, window: Window) -> Window | None:
        """The window to mix into another: one of the same side of the split; None where it has no other."""
        side = self._sides[window.held_out]
        if len(side) < 2:
            return None
        found = side[seed_of(self._seed, self.name(window), "other window") % len(side)]
        return found if found != window else side[side.index(window) - 1]


def window_name(file: str, window: Window) -> str:
    """Name of a window of a file of that name."""
    return f"{file}@{window.start}"


def file_names(paths: Sequence[Path]) -> dict[Path, str]:
    """Paths below the folder that all files are in, with "/" between the parts."""
    places = {path: Path(os.path.abspath(path)) for path in paths}
    if not places:
        return {}
    common = Path(os.path.commonpath([place.parent for place in places.values()]))
    return {path: place.relative_to(common).as_posix() for path, place in places.items()}
