"""Shared options of the commands, progress bars, and output on a terminal."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import printable
from ..io.progress import Tell

ModelOption = Annotated[
    str, typer.Option("--model", "-m", help="openai-whisper name or .pt, transformers id or folder, CTranslate2 folder")
]
RecipeOption = Annotated[str, typer.Option("--recipe", "-r", help="recipe by name, path or Hub id")]
LibraryOption = Annotated[str, typer.Option(help="whose model to load: openai or transformers")]
StrengthOption = Annotated[
    float | None, typer.Option(help="0 changes nothing, 1 is the edits as written; default: the recipe's")
]
ThresholdOption = Annotated[
    float | None,
    typer.Option(
        help="score above which the gate opens; lower: less text on noise, more speech blanked; default: the recipe's"
    ),
]


class _Stderr(logging.Handler):
    """Prints this package's log on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        say(self.format(record), stderr=True)


@contextmanager
def logged(wanted: bool) -> Iterator[None]:
    """This package's log from INFO on, on stderr; but not of gates, which commands tell of beside the text."""
    if not wanted:
        yield
        return
    logger, handler = logging.getLogger("audiosae_steer"), _Stderr()
    handler.addFilter(lambda record: record.name != "audiosae_steer.gates")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


@contextmanager
def progress(*, seconds: bool = False) -> Iterator[Tell]:
    """A bar for each task, on stderr; nothing is drawn where stderr is no terminal. Print nothing meanwhile."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    unit = (TextColumn("s"),) if seconds else ()
    columns: tuple[Any, ...] = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    screen = console(stderr=True)
    shown = Progress(*columns, *unit, TimeElapsedColumn(), console=screen, transient=seconds)
    shown.disable = not screen.is_terminal
    with shown as progress:
        tasks: dict[str, Any] = {}

        def tell(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total)
            progress.update(tasks[what], completed=done, total=total)

        yield tell


def console(*, stderr: bool = False) -> Any:
    """Rich's console on stdout or stderr, that leaves texts as they are."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, emoji=False, soft_wrap=True)


def say(text: str, *, stderr: bool = False, markup: bool = False) -> None:
    """Print a line."""
    console(stderr=stderr).print(printable(text, None), markup=markup)


def complain(error: Exception) -> None:
    """Print an error as one line on stderr."""
    from rich.markup import escape

    say(f"[bold red]error:[/] [red]{escape(str(error))}[/]", stderr=True, markup=True)


def command() -> str:
    """This command as it was typed, without the folders, which differ from machine to machine."""
    return "audiosae-steer " + " ".join(Path(arg).name if os.sep in arg else arg for arg in sys.argv[1:])


def show_sites(found: Sequence[Any]) -> None:
    """Print the sites that can be steered, a line each, in columns."""
    rows = []
    for info in found:
        rate = "" if info.frame_rate is None else f"{info.frame_rate:g}"
        site = "path" if info.site.path is not None else str(info.site)
        width = "?" if info.d_model is None else str(info.d_model)
        rows.append((site, info.path, info.kind, width, info.layout, rate, info.sae or ""))
    say_table(("site", "module", "class", "width", "layout", "frames/s", "SAE that fits"), rows)


def say_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows in columns, each line whole, however narrow the terminal is."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="")
    for name in header:
        table.add_column(name, no_wrap=True)
    for row in rows:
        table.add_row(*(escape(printable(cell, None)) for cell in row))
    wide = Console(width=100_000, highlight=False, emoji=False)
    with wide.capture() as drawn:
        wide.print(table)
    for line in drawn.get().splitlines():
        say(line.rstrip())
