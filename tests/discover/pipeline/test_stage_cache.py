"""Stages that are done once."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest

from audiosae_steer.discover.pipeline.stage_cache import Stages
from audiosae_steer.errors import SteeringError


class Inner(NamedTuple):
    steps: int = 3


class Settings(NamedTuple):
    inner: Inner = Inner()
    seed: int = 0


def chain(folder: Path, settings: Settings, *, fail: bool = False) -> tuple[list[str], str]:
    """Two stages, of which the second hangs on the first; what was said, and the result."""
    said: list[str] = []
    stages = Stages(folder, said.append)
    first = stages.run("first", settings, lambda at: (at / "a.txt").write_text(str(settings.inner.steps)) and None)

    def second(at: Path) -> None:
        (at / "half.txt").touch()
        if fail:
            raise KeyboardInterrupt
        (at / "b.txt").write_text((first / "a.txt").read_text() + "!")

    return said, (stages.run("second", [first, 1.5], second) / "b.txt").read_text()


def test_what_is_done_is_kept_and_what_was_interrupted_is_resumed(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        chain(tmp_path, Settings(), fail=True)
    assert chain(tmp_path, Settings()) == (["first: done before, taken from its folder", "second …"], "3!")
    assert chain(tmp_path, Settings())[0] == [
        f"{name}: done before, taken from its folder" for name in ("first", "second")
    ]


def test_changed_settings_redo_a_stage_and_what_follows(tmp_path: Path) -> None:
    chain(tmp_path, Settings())
    assert chain(tmp_path, Settings(Inner(4))) == (["first …", "second …"], "4!")
    assert chain(tmp_path, Settings()) == (
        [f"{name}: done before, taken from its folder" for name in ("first", "second")],
        "3!",
    )


def test_the_place_does_not_matter(tmp_path: Path) -> None:
    chain(tmp_path / "a", Settings())
    (tmp_path / "a").rename(tmp_path / "b")
    assert "second …" not in chain(tmp_path / "b", Settings())[0]


def test_a_folder_that_cannot_be_made_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SteeringError, match="choose another"):
        Stages(tmp_path / "file" / "work", print)


def test_named_tuples_and_plain_lists_of_other_values_differ(tmp_path: Path) -> None:
    made: list[Any] = []
    stages = Stages(tmp_path, lambda line: None)
    for value in (Settings(), Settings(seed=1), [1, 2], [1, 3], {"a": None}):
        made.append(stages.run("one", value, lambda at: None))
    assert len(set(made)) == 5
