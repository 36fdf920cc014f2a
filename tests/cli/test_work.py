"""`audiosae-steer transcribe --engine` and `audiosae-steer work`, with the real tiny.en on few clips."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import pytest
from commands import CLIPS, failed, run
from typer.testing import Result

from audiosae_steer.models import load

RIVER = "We walked along the river until the sun went down."
OPTIONS = ("--no-filters", "--unit", "1", "--format", "txt")
"""Each recording a unit."""


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two recordings and one that is none. Shared: leave it as it was."""
    folder = tmp_path_factory.mktemp("corpus") / "calls"
    (folder / "sub").mkdir(parents=True)
    shutil.copy(CLIPS / "speech-04.flac", folder / "a.flac")
    shutil.copy(CLIPS / "fan.flac", folder / "sub" / "fan.flac")
    (folder / "bad.wav").write_text("no audio")
    return folder


@pytest.fixture(scope="module")
def done(calls: Path) -> tuple[Path, Result]:
    """Their transcripts by one process. Shared: leave them as they were."""
    out = calls.parent / "texts"
    return out, run("transcribe", calls, "--engine", "local", "--out", out, *OPTIONS)


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_corpus_in_units(calls: Path, done: tuple[Path, Result]) -> None:
    out, result = done
    assert result.exit_code == 3, result.output
    assert result.stdout == f"{out}: 3 of 3 units done, 3 recordings (0.00 h), 1 failed\n"
    assert result.stderr.startswith("failed: bad.wav (unit 1): bad.wav is not audio")
    whole = content(out)
    texts = {name: whole[name].decode() for name in whole if name.startswith("texts/")}
    assert texts == {"texts/a.flac.txt": f"{RIVER}\n", "texts/sub/fan.flac.txt": ""}
    (line,) = next(whole[name] for name in whole if name.startswith("units/000000") and name.endswith("l")).splitlines()
    found = json.loads(line)
    assert (found["recording"], found["text"], found["seconds"]) == ("a.flac", RIVER, 3.175)
    assert str(calls) not in "".join(whole[name].decode() for name in whole if name != "plan.json")
    assert 'recipe ("no-false-speech", not null)' in failed(
        run("transcribe", calls, "--engine", "local", "--out", out, *OPTIONS, "--no-steer")
    )
    assert content(out) == whole


def test_shards_equal_the_whole(calls: Path, done: tuple[Path, Result], tmp_path: Path) -> None:
    whole = content(done[0])
    shards = tmp_path / "shards"
    result = run("transcribe", calls, "--engine", "local", "--out", shards, *OPTIONS, "--plan-only")
    assert result.stdout == f"wrote {shards}/plan.json: 3 units of 3 recordings\n"
    assert run("work", shards / "plan.json", "--shard", "2/2").exit_code == 3
    result = run("work", "status", shards)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[1:] == [
        "missing: units 0, 2",
        f"{shards}: 1 of 3 units done, 1 recordings (0.00 h), 1 failed",
    ]
    assert run("work", shards / "plan.json", "--shard", "1/2").exit_code == 0
    assert content(shards) == whole


ENGINES = ["processes"] + ["ray"] * (importlib.util.find_spec("ray") is not None)


@pytest.mark.parametrize("engine", ENGINES)
def test_engines_give_the_same_files(engine: str, calls: Path, done: tuple[Path, Result], tmp_path: Path) -> None:
    result = run("transcribe", calls, "--engine", engine, "--workers", "1", "--out", tmp_path / "out", *OPTIONS)
    assert result.exit_code == 3, result.output
    assert content(tmp_path / "out") == content(done[0])


def test_what_cannot_be_is_refused_before_anything_is_loaded(
    calls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "load_whisper", None)
    words = ("transcribe", calls, "--engine", "local")
    assert "name one folder or URL of audio, and --out" in failed(run(*words))
    assert "name one folder or URL" in failed(run(*words, calls, "--out", tmp_path / "x"))
    assert "in the place of --overwrite" in failed(
        run(*words, "--out", tmp_path / "x", "--overwrite", "--format", "txt")
    )
    assert "nope:// cannot be read" in failed(run(*words, "--out", "nope://x"))
    assert "is no plan.json" in failed(run("work", tmp_path))
    assert "there is no plan.json in" in failed(run("work", "status", tmp_path))
    assert "there is no plan.json in" in failed(run("work", tmp_path / "plan.json"))
    assert "say of which folder" in failed(run("work", "status"))
    assert "one word too many" in failed(run("work", tmp_path / "plan.json", "x"))


@pytest.mark.parametrize(("shard", "share"), [("0/2", "1%"), ("3/2", "1%"), ("x", "1%")])
def test_wrong_shards(tmp_path: Path, shard: str, share: str) -> None:
    from toy_work import names, toy_plan

    (tmp_path / "plan.json").write_text(toy_plan(names(3)).to_json())
    words = ("work", tmp_path / "plan.json")
    assert "expected the number of a part" in failed(run(*words, "--shard", shard))
    assert "--max-failed 2 is no share" in failed(run(*words, "--max-failed", "2"))
    assert "this is a plan to toy; expected one of transcribe" in failed(run(*words, "--max-failed", share))
