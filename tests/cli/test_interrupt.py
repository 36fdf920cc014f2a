"""Ctrl-C: a command says what is kept and how to go on, ends with 130, and goes on when it is run again."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from commands import CLIPS, run

from audiosae_steer.cli import explore
from audiosae_steer.cli.analyse.app import app as analyses
from audiosae_steer.cli.app import app
from audiosae_steer.cli.app import bench as bench_commands
from audiosae_steer.cli.interrupt import AGAIN, KEPT, Interruptible, kept
from audiosae_steer.steering.recipes.load import checkpoints_dir

SHIPPED = checkpoints_dir() / "whisper-tiny.en" / "encoder-4.safetensors"
# a shell that starts its commands in the background lets them ignore the signal
PROGRAM = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    "from audiosae_steer.cli.app import main; main()"
)


def interrupt(words: list[Any], begun: Callable[[], bool]) -> tuple[int, str, str]:
    """Run a command, and send it SIGINT once it has begun: its exit code, stdout and stderr."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while not begun():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    return process.returncode, out, err


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send")
def test_discover_says_what_is_kept_and_goes_on(tmp_path: Path) -> None:
    rows = [f"{name}.flac,{kind}" for kind, names in (
        (1, ("speech-01", "speech-02", "speech-03")), (0, ("rain", "fan", "siren"))
    ) for name in names]  # fmt: skip
    (tmp_path / "labels.csv").write_text("file,label\n" + "\n".join(rows) + "\n")
    out, cache = tmp_path / "talk.json", tmp_path / "talk-cache"
    words = ["discover", "--sae", SHIPPED, "--layer", 4, "--labels", tmp_path / "labels.csv", "--audio", CLIPS]
    words += ["--groups", "file", "--top", 3, "--resamples", 2, "--out", out, "--no-report"]
    # a whole file: temporaries, ours and those of safetensors, begin with a dot
    code, _, err = interrupt(words, lambda: any(path.is_file() and path.name[0] != "." for path in cache.rglob("*")))
    assert code == 130, err
    assert f"interrupted: kept in {cache}: " in err
    assert AGAIN in err
    assert "Traceback" not in err
    assert not out.exists()
    assert not list(tmp_path.glob("*.part"))
    result = run(*words)
    assert result.exit_code == 0, result.output
    assert out.is_file()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send")
def test_train_names_its_checkpoint(tmp_path: Path) -> None:
    pytest.importorskip("sae_lens", reason="SAELens (extra [train]) is not installed")
    rng = np.random.default_rng(0)
    (tmp_path / "sounds").mkdir()
    for n in range(3):
        soundfile.write(tmp_path / "sounds" / f"{n}.wav", 0.1 * rng.standard_normal(24_000), 16_000)
    out, cache = tmp_path / "a.safetensors", tmp_path / "a.cache"
    words = ["train", "--audio", tmp_path / "sounds", "--layer", 3, "--out", out, "--n-features", 64, "--k", 4]
    words += ["--batch", 64, "--steps"]
    code, _, err = interrupt([*words, 1_000_000], lambda: any(cache.glob("layer-*/step-*/*")))
    assert code == 130, err
    assert "the activations and a checkpoint of step " in err
    assert f"interrupted: kept in {cache}: " in err
    assert AGAIN in err
    assert "Traceback" not in err
    assert not out.exists()


@pytest.mark.parametrize("name", ["demo", "convert", "bake"])
def test_in_the_middle_of_others(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from audiosae_steer.evaluate.demo import run as demo
    from audiosae_steer.publishing import export
    from audiosae_steer.sae import convert

    def stop(*args: Any, **more: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "transcribe", stop)
    monkeypatch.setattr(convert, "_convert_one", stop)
    monkeypatch.setattr(export, "load_whisper", stop)
    words = {
        "demo": ["demo", "--audio", CLIPS, "--out", tmp_path / "a.png"],
        "convert": ["convert", SHIPPED, tmp_path / "a.safetensors"],
        "bake": ["bake", "tiny.en", "--recipe", "no-false-speech-constant", "--out", tmp_path / "a"],
    }[name]
    result = run(*words)
    assert result.exit_code == 130, result.output
    assert "interrupted: nothing was " in result.stderr
    assert "Traceback" not in result.output
    assert list(tmp_path.iterdir()) == []


def test_every_command_is_interruptible_and_every_sentence_is_of_one() -> None:
    groups = (app, bench_commands.app, analyses, explore.app)
    commands = [each for group in groups for each in group.registered_commands]
    assert all(each.cls is Interruptible for each in commands)
    names = {each.name or str(getattr(each.callback, "__name__", "")).replace("_", "-") for each in commands}
    assert set(KEPT) <= names


def test_the_sentences(tmp_path: Path) -> None:
    out = tmp_path / "made"
    assert kept("make", {"out": out, "cache": None}) == "nothing was kept yet; the same command starts anew"
    for stage in ("learn-0a1b", "calibrate-without-gates-22"):
        (out / ".work" / stage).mkdir(parents=True)
    (out / ".work" / "learn-0a1b" / "done.json").write_text("{}")
    assert kept("make", {"out": out, "cache": None}) == (
        f"kept in {out / '.work'}: finished stages (learn) and encoded clips; {AGAIN}"
    )
    assert "with --cache FOLDER" in kept("stability", {"cache": None})
    assert kept("stability", {"cache": out}) == f"kept in {out}: clips encoded so far; {AGAIN}"
    assert kept("false-speech", {"out": out, "cache": out}) == f"kept in {out}: everything decoded so far; {AGAIN}"
    (out / "layer-3.safetensors").write_bytes(b"")
    assert kept("convert", {"out": out, "cache": None}) == f"{out} holds 1 whole file; {AGAIN}"
    assert kept("search", {}) == "files that were written are whole; the rest is not done"
