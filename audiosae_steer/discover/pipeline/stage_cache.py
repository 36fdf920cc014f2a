"""Resumable stages, cached by a hash of their inputs."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ...errors import SteeringError
from ...io.files import write_atomic
from ...io.strict_json import plain

DONE = "done.json"
"""File that marks a finished stage."""


class Stages:
    """A folder with a subfolder for every stage, named by a hash of the stage's inputs.

    Args:
        folder: folder of the stages' results.
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

    def run(self, name: str, inputs: Any, make: Callable[[Path], None]) -> Path:
        """Run a stage unless it is finished; returns its folder.

        Args:
            name: name of the stage.
            inputs: all that the result depends on: plain data, settings, and folders of other stages. A change in any
                of it runs the stage anew.
            make: writes the result into a folder, which may hold files of an interrupted run.
        """
        # a stage's folder is hashed by its name, which holds its key: the folders may be moved
        content = plain(inputs, path=lambda path: path.name)
        key = hashlib.sha256(
            json.dumps([version("audiosae-steer"), name, content], sort_keys=True).encode()
        ).hexdigest()
        folder = self.folder / f"{name.replace(' ', '-')}-{key[:12]}"
        if (folder / DONE).is_file():
            self.say(f"{name}: done before, taken from its folder")
            return folder
        self.say(f"{name} …")
        folder.mkdir(exist_ok=True)
        begun = time.monotonic()
        make(folder)
        write_atomic(folder / DONE, json.dumps({"stage": name, "seconds": round(time.monotonic() - begun, 1)}) + "\n")
        return folder
