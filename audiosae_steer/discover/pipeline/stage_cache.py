"""Stages of a long work, each of which is done once: what is done is taken as it is until what it hangs on changes."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import is_dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ...errors import SteeringError
from ...io.files import write_whole

DONE = "done.json"


class Stages:
    """A folder with a folder for every stage, named by all that its result hangs on.

    Args:
        folder: where they are kept.
        say: called with a line for each stage.

    Raises:
        SteeringError: the folder cannot be made.
    """

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self.folder, self.say = folder, say
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SteeringError(f"the folder {folder} cannot be made: {error.strerror}; choose another") from error

    def run(self, name: str, hangs_on: Any, make: Callable[[Path], None]) -> Path:
        """The folder of a stage, with what `make` wrote into it, now or in an earlier run.

        Args:
            name: of the stage.
            hangs_on: plain data, named tuples and other stages' folders; a change in any of it makes the stage anew.
            make: writes the result into a folder; what an interrupted call left there is there still.
        """
        key = hashlib.sha256(
            json.dumps([version("audiosae-steer"), name, _plain(hangs_on)], sort_keys=True).encode()
        ).hexdigest()
        folder = self.folder / f"{name.replace(' ', '-')}-{key[:12]}"
        if (folder / DONE).is_file():
            self.say(f"{name}: done before, taken as it is")
            return folder
        self.say(f"{name} …")
        folder.mkdir(exist_ok=True)
        begun = time.monotonic()
        make(folder)
        write_whole(folder / DONE, json.dumps({"stage": name, "seconds": round(time.monotonic() - begun, 1)}) + "\n")
        return folder


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return value.name  # of a stage: its key; the place does not matter
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return _plain(value._asdict())
    if is_dataclass(value):
        return _plain(vars(value))
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return value
