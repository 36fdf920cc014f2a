"""`audiosae-steer plan`."""

from __future__ import annotations

import pytest
from commands import CLIPS, failed, run


def test_the_size_of_a_corpus() -> None:
    result = run("plan", CLIPS / "fan.flac", CLIPS / "alarm.flac", "--hours", 50)
    assert result.exit_code == 0, result.output
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["measured", "measured", "arithmetic"]
    assert "50 h" in result.stdout


def test_what_is_so_on_paper() -> None:
    result = run("plan", "--paper", "large-v3", "--hours", 1e6)
    assert result.exit_code == 0, result.output
    assert "586  the two over the speed of a GPU" in result.stdout
    assert "measured" not in result.stdout


@pytest.mark.parametrize("what", ["transcribe", "activations", "index"])
def test_an_estimate_tells_what_is_measured_from_what_is_not(what: str, tiny_en: object) -> None:
    if what == "index":
        pytest.importorskip("pyarrow", reason="pyarrow (extra [explore]) is not installed")
    files = [CLIPS / "fan.flac", CLIPS / "speech-08.flac"]
    result = run("plan", *files, "--estimate", what, "--hours", 100, "--seconds", 0.01, "--workers", 4)
    assert result.exit_code == 0, result.output
    origins = [line.split()[0] for line in result.stdout.splitlines()]
    assert sorted(set(origins)) == ["arithmetic", "assumed", "measured"]
    assert "1 clips, " in result.stdout
    assert "worker-hours over workers" in result.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--paper", "huge"], "expected one of tiny, base, small, medium, large-v3"),
        (["--hours", 0], "--hours 0 is no length of a corpus"),
        (["absent"], "there is no folder"),
        ([CLIPS / "fan.flac", "--estimate", "activations", "--seconds", 500], "at most 120"),
    ],
)
def test_what_cannot_be_is_a_line(words: list[object], said: str, tiny_en: object) -> None:
    assert said in failed(run("plan", *words))
