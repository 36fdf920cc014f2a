"""Interrupted commands: what they have kept, how to go on, and exit code 130."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand

from .console import say

INTERRUPTED = 130
"""Exit code of a command that Ctrl-C ended: 128 and the number of the signal, as shells have it."""
AGAIN = "the same command again goes on from there"


class Interruptible(TyperCommand):
    """Command that says on Ctrl-C what is kept of its work, and how to go on; and of files that look like options."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Options and arguments of the words that were typed."""
        typed = list(args)
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            taken = next((word for word in typed if word.startswith("-") and Path(word).is_file()), None)
            if taken is not None and hasattr(error, "message"):  # an error of use, by any version of click
                error.message += f" (the file {taken} is taken for an option: write ./{taken})"
            raise

    def invoke(self, ctx: Any) -> Any:
        """Run it."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            if sys.stderr.isatty():  # after the terminal's own ^C
                say("", stderr=True)
            say(f"interrupted: {kept(self.name or '', ctx.params)}", stderr=True)
            raise typer.Exit(INTERRUPTED) from error


def kept(command: str, given: Mapping[str, Any]) -> str:
    """A sentence on what an interrupted command has kept.

    Args:
        command: its name.
        given: its options and arguments, by parameter.
    """
    say_of = KEPT.get(command)
    return say_of(given) if say_of is not None else "files that were written are whole; the rest is not done"


def _make(given: Mapping[str, Any]) -> str:
    folder = given["cache"] or given["out"] / ".work"
    stages = sorted(folder.glob("*/done.json"), key=lambda path: path.stat().st_mtime)
    finished = [path.parent.name.rpartition("-")[0].replace("-", " ") for path in stages]
    done = f"finished stages ({', '.join(finished)}) and encoded clips" if finished else "clips encoded so far"
    return _in(folder, done)


def _beside_recipe(given: Mapping[str, Any]) -> str:
    out = given["out"]
    return _in(given["cache"] or out.parent / f"{out.stem}-cache", "clips encoded, and texts decoded, so far")


def _train(given: Mapping[str, Any]) -> str:
    from ..training.checkpoints import checkpoints_in

    folder = given["cache"] or given["out"].with_suffix(".cache")
    own = checkpoints_in(Path("layer-*"), given.get("seed", 0)) / "step-*"
    steps = [int(path.name.removeprefix("step-")) for path in folder.glob(str(own)) if path.name[5:].isdigit()]
    until = f" and a checkpoint of step {max(steps)}" if steps else ""
    return _in(folder, f"the activations{until}")


def _convert(given: Mapping[str, Any]) -> str:
    out: Path = given["out"]
    if out.suffix != ".safetensors" and any(out.glob("*.safetensors")):
        files = len(list(out.glob("*.safetensors")))
        return f"{out} holds {files} whole file{'' if files == 1 else 's'}; {AGAIN}"
    return f"nothing was written to {out}" + ("; " + _in(given["cache"], "activations") if given.get("cache") else "")


def _analysis(given: Mapping[str, Any]) -> str:
    if given["cache"] is None:
        return "nothing was kept; with --cache FOLDER the next run keeps what it encodes"
    return _in(given["cache"], "clips encoded so far")


def _in(folder: Path, what: str) -> str:
    # a file whose name begins with a dot is a temporary that was never finished
    if not any(path.is_file() and path.name[0] != "." for path in folder.rglob("*")):
        return "nothing was kept yet; the same command starts anew"
    return f"kept in {folder}: {what}; {AGAIN}"


KEPT: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "bake": lambda given: "nothing was written; the same command starts anew",
    "calibrate": _beside_recipe,
    "calibrate-threshold": _convert,
    "control": _analysis,
    "convert": _convert,
    "demo": lambda given: "nothing was kept: a demo writes its picture at the end; the same command starts anew",
    "discover": _beside_recipe,
    "domains": _analysis,
    "edit": lambda given: "nothing was written; the same command starts anew",
    "erasure": _analysis,
    "false-speech": lambda given: _in(given["cache"], "everything decoded so far"),
    "labels": _analysis,
    "export": lambda given: "nothing was written; the same command starts anew",
    "learn": _beside_recipe,
    "make": _make,
    "probe": _analysis,
    "properties": _analysis,
    "stability": _analysis,
    "static": lambda given: "nothing was written; the same command starts anew",
    "train": _train,
}
"""Sentences on what is kept, by the command's name, made of its options and arguments."""
