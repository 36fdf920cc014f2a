"""The command line; every command is one call that a Python user can make too."""

from __future__ import annotations

import warnings
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ..errors import AudioSAESteerError, AudioSAESteerWarning
from . import bake, bench, describe, discover, edit, explore, hub, make, plan, sae, serve, train, transcribe, work
from .analyse.app import app as analyses
from .console import complain, say
from .interrupt import Interruptible


class _Commands(TyperGroup):
    """Group of commands that shows this package's errors as one line rather than a traceback."""

    def invoke(self, ctx: Any) -> Any:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            warnings.simplefilter("always", AudioSAESteerWarning)
            try:
                return super().invoke(ctx)
            except AudioSAESteerError as error:
                if ctx.params.get("debug"):
                    raise
                complain(error)
                raise typer.Exit(2) from error


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        say(f"audiosae-steer {version('audiosae-steer')}")
        raise typer.Exit


app = typer.Typer(
    cls=_Commands,
    help="Steer audio models while they run, through the features of a sparse autoencoder.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="show the traceback of an error")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="print the version and exit", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Steer audio models while they run, through the features of a sparse autoencoder."""


app.command()(transcribe.demo)
app.command()(transcribe.transcribe)
app.command()(describe.info)
app.command()(describe.sites)
app.add_typer(bench.app, name="bench")
app.add_typer(analyses, name="analyse")
app.add_typer(explore.app, name="explore")
app.command()(train.train)
app.command()(discover.discover)
app.command()(discover.learn)
app.command()(make.calibrate)
app.command()(make.make)
app.command()(sae.convert)
app.command()(sae.inspect)
app.command("calibrate-threshold")(sae.calibrate_threshold)
app.command()(hub.publish)
app.command()(hub.search)
app.command()(bake.bake)
app.command()(edit.edit)
app.command()(serve.serve)
app.command()(work.work)
app.command()(plan.plan)
_groups = (app, bench.app, analyses, explore.app)
for _each in (command for group in _groups for command in group.registered_commands):
    _each.cls = Interruptible


def main() -> None:
    """Run a command."""
    app()


def _show_warning(message: Any, category: type[Warning], *rest: Any, **more: Any) -> None:
    from rich.markup import escape

    if issubclass(category, AudioSAESteerWarning):  # what libraries say to programmers is not for this command's users
        say(f"[yellow]warning:[/] {escape(str(message))}", stderr=True, markup=True)
