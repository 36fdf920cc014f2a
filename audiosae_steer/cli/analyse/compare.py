"""Command `analyse compare`."""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from ...errors import SteeringError
from ...io.files import write_atomic
from ...io.hub.read import sha256_of
from ...models.sites import Site
from ..console import say
from ..options import Options, with_settings
from .common import TOGETHER, Written, finish

MADE = "made-by.json"
"""File beside kept results: the words that each was made by."""
SAVED = "saved"
"""Analysis that compares results which are there already."""


@dataclass(frozen=True, kw_only=True)
class Listed:
    """Entries to compare."""

    of: tuple[str, ...] = ()
    """Entry NAME=SAE[,OPTION=VALUE...], such as "layer 3=three.safetensors,layer=3"; repeatable, two or more."""
    keep: Path | None = None
    """Folder for the result of each entry, so that a second run with the same words goes on; default: none is kept."""


@with_settings(
    Options(defaults=Listed(), parameter="listed"),
    Options(defaults=Written(), parameter="written"),
)
def compare(
    analysis: Annotated[
        str, typer.Argument(help="analysis to run for each entry, with its own options; or saved, of results.json")
    ],
    context: typer.Context,
    listed: Listed,
    written: Written,
) -> None:
    """Run an analysis over SAEs, layers or models: one table and one picture; probes are compared in pairs."""
    from ...analyse.comparisons.comparing import compare as put_together
    from ...analyse.comparisons.comparing import read_outcome

    entries = dict(_entry(words) for words in listed.of)
    if len(entries) < 2 or len(entries) < len(listed.of):
        raise SteeringError(
            f"{len(listed.of)} entries with {len(entries)} names cannot be compared; give --of NAME=SAE,layer=N at "
            "least twice, each with a name of its own"
        )
    if analysis == SAVED:
        if context.args:
            raise SteeringError(f"saved results take no {context.args[0]}: they are read as they are")
        finish(put_together({name: read_outcome(_read(Path(path))) for name, (path, _) in entries.items()}), written)
        return
    command = _command(analysis, context)
    found = {}
    layers = _layers([own for _, own in entries.values()], context.args)
    with _folder(listed.keep) as folder, TemporaryDirectory(prefix="audiosae-steer-") as cache:
        # one cache for all entries, so that those of one layer are encoded once, and other layers in the same pass
        cached = ["--cache", cache] if _takes(command, "--cache") and not _given(context.args, "--cache") else []
        for number, (name, (sae, own)) in enumerate(entries.items(), 1):
            out = folder / f"{analysis}-{re.sub(r'[^A-Za-z0-9._-]+', '-', name)}.json"
            words = ["--sae", sae, *own, *context.args]
            if not (out.is_file() and _made(out).get(out.name) == _signed(words)):
                say(f"{analysis} of {name}, {number} of {len(entries)}", stderr=True)
                _run(command, [*words, *cached, "--out", str(out)], context, layers)
                made = {**_made(out), out.name: _signed(words)}
                write_atomic(out.with_name(MADE), json.dumps(made, indent=1), SteeringError)
            found[name] = read_outcome(_read(out))
    finish(put_together(found), written)


def _entry(words: str) -> tuple[str, tuple[str, list[str]]]:
    """Name, SAE or file, and options of an entry."""
    name, sign, rest = words.partition("=")
    sae, *more = rest.split(",")
    pairs = [each.partition("=") for each in more]
    if not (sign and name.strip() and sae) or any(not (mark and option) for option, mark, _ in pairs):
        raise SteeringError(
            f"--of {words!r} is not NAME=SAE[,OPTION=VALUE...]; write for example "
            '--of "layer 3=three.safetensors,layer=3"'
        )
    return name.strip(), (sae, [word for option, _, value in pairs for word in (f"--{option.strip()}", value)])


def _command(analysis: str, context: typer.Context) -> Any:
    """The command of an analysis that takes one SAE. SteeringError: there is none of that name."""
    parent: Any = context.parent
    commands = parent.command.commands
    known = [name for name, each in commands.items() if _takes(each, "--sae", "--out")]
    if analysis not in known:
        raise SteeringError(f"{analysis!r} cannot be compared; expected one of {', '.join([*known, SAVED])}")
    return commands[analysis]


def _made(out: Path) -> dict[str, list[str]]:
    """Words that the results in a folder were made by, by the results' names."""
    path = out.with_name(MADE)
    try:
        made = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError:
        return {}
    return made if isinstance(made, dict) else {}


def _signed(words: Sequence[str]) -> list[str]:
    """Words of a command, files among them by their contents: a list of labels may be another under the same name."""
    return [sha256_of(Path(word)) if Path(word).is_file() else word for word in words]


def _given(words: Sequence[str], option: str) -> bool:
    return any(word.partition("=")[0] == option for word in words)


def _takes(command: Any, *options: str) -> bool:
    return set(options) <= {word for each in command.params for word in each.opts}


def _layers(entries: Sequence[list[str]], common: Sequence[str]) -> tuple[Site, ...]:
    """Layers of one encoder that entries name, of which a pass is to read all; none if models or sides differ."""
    words = [word for own in entries for word in own]
    if any(_given(words, each) for each in ("--model", "--side", "--path")):
        return ()
    if any(_given(common, each) for each in ("--side", "--other-model")):
        return ()
    named = [own[own.index("--layer") + 1] for own in entries if "--layer" in own]
    return tuple(Site(int(layer)) for layer in named if layer.isdigit() and int(layer))


def _run(command: Any, words: list[str], context: typer.Context, layers: tuple[Site, ...]) -> None:
    """Run a command as if it were typed, without its tables; a pass of its model reads all layers."""
    token = TOGETHER.set(layers)
    try:
        quiet = contextlib.redirect_stdout(io.StringIO())
        with quiet, command.make_context(command.name, words, context.parent) as inner:
            command.invoke(inner)
    finally:
        TOGETHER.reset(token)


@contextlib.contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep
        return
    with TemporaryDirectory(prefix="audiosae-steer-") as made:
        yield Path(made)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SteeringError(
            f"{path} cannot be read ({error}); give a result that --out of an analysis wrote"
        ) from error
