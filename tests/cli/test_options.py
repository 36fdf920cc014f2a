"""Options from settings: names, types, defaults and help come from the class; what is typed makes the object."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import typer
from typer.testing import CliRunner, Result

from audiosae_steer.cli.options import Options, field_docs, with_settings


@dataclass(frozen=True, kw_only=True)
class Base:
    """Fields that a class inherits."""

    seed: int = 7
    """Seed of everything random. Not told."""


@dataclass(frozen=True, kw_only=True)
class Settings(Base):
    """Settings of a command of this test."""

    rank: Literal["fisher", "l1"] = "fisher"
    """Ranking of the features; see `weigh`. A second sentence."""
    widths: tuple[int, ...] = (1, 2)
    """Widths of dictionaries."""
    parts: Sequence[str] = ("clips", "long")
    """Parts to run."""
    language: str | None = "en"
    """Language code."""
    lr: float = 8e-4
    """Adam's learning rate."""
    most: int | None = None
    """SAE files to read at most."""
    frame_gate: bool = True
    """Fit a frame gate."""
    table: Path | None = None
    """Table beside it."""
    internal: int = 3
    """Not an option."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """A second group."""

    wer: float = 0.1
    """Points of word error rate."""


def run(*words: str, groups: Sequence[Options] | None = None) -> tuple[Result, dict[str, Any]]:
    app, got = typer.Typer(), {}
    given = groups or (
        Options(
            defaults=Settings(lr=0.5), hidden=("internal",), names={"most": "at-most"}, commas=("parts",),
            none={"language": "auto"}, help={"widths": "widths, ascending"},
        ),
        Options(defaults=Budget(), parameter="budget"),
    )  # fmt: skip

    @app.command()
    @with_settings(*given)
    def go(out: Annotated[str, typer.Option(help="file to write")], settings: Settings, budget: Budget) -> None:
        """Do it."""
        got.update(out=out, settings=settings, budget=budget)

    return CliRunner().invoke(app, list(words), env={"NO_COLOR": "1", "COLUMNS": "200"}), got


def test_what_is_not_typed_is_the_default() -> None:
    result, got = run("--out", "x")
    assert result.exit_code == 0, result.output
    assert got == {"out": "x", "settings": Settings(lr=0.5), "budget": Budget()}


def test_what_is_typed_is_in_the_object() -> None:
    words = (
        "--rank l1 --widths 3 --widths 4 --parts a,b --language auto --lr 2 --at-most 5 --no-frame-gate "
        "--table t.tsv --seed 1 --wer .3 --out y"
    )
    result, got = run(*words.split())
    assert result.exit_code == 0, result.output
    assert got["settings"] == Settings(
        rank="l1", widths=(3, 4), parts=("a", "b"), language=None, lr=2.0, most=5, frame_gate=False,
        table=Path("t.tsv"), seed=1,
    )  # fmt: skip
    assert got["budget"] == Budget(wer=0.3)


def test_the_help_is_the_first_sentence_and_the_default() -> None:
    said = re.sub(r"\x1b\[[\d;]*m", "", run("--help")[0].stdout)
    assert re.search(r"--rank .*ranking of the features; see weigh .*\[default: fisher\]", said)
    assert re.search(r"--lr .*Adam's learning rate .*\[default: 0.5\]", said)
    assert re.search(r"--at-most .*SAE files to read at most", said)
    assert re.search(r"--widths .*widths, ascending", said)
    assert re.search(r"--parts .*\[default: clips,long\]", said)
    assert re.search(r"--seed .*seed of everything random .*\[default: 7\]", said)
    assert "A second sentence" not in said
    assert "internal" not in said


@pytest.mark.parametrize("words", [("--rank", "l3"), ("--lr", "fast"), ("--internal", "1")])
def test_what_cannot_be_is_refused(words: tuple[str, str]) -> None:
    result, got = run("--out", "x", *words)
    assert result.exit_code == 2
    assert not got


def test_docs_of_fields() -> None:
    assert field_docs(Settings)["seed"] == "Seed of everything random. Not told."
    assert set(field_docs(Settings)) == {*Settings.__dataclass_fields__}


def test_two_options_of_one_name_are_refused() -> None:
    with pytest.raises(TypeError, match="two options wer; hide one"):
        run("--out", "x", groups=(Options(defaults=Budget()), Options(defaults=Budget(), parameter="budget")))
