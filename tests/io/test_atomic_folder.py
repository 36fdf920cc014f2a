"""A folder that is replaced in one step, or left unchanged."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from audiosae_steer import ModelError
from audiosae_steer.io.files import MARK, atomic_folder


def contents(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def put(to: Path, text: str) -> None:
    with atomic_folder(to) as folder:
        (folder / "model").write_text(text)
        (folder / MARK).write_text("{}")


def test_it_is_new_empty_or_ours(tmp_path):
    to = tmp_path / "deep" / "model"
    put(to, "one")
    assert contents(to) == {"model": "one", MARK: "{}"}
    put(to, "two")
    assert contents(to) == {"model": "two", MARK: "{}"}
    (tmp_path / "empty").mkdir()
    put(tmp_path / "empty", "three")
    assert contents(tmp_path / "empty")["model"] == "three"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "empty"]
    assert to.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("kind", ["others", "file", "link", "read-only"])
def test_what_is_not_ours_stays(tmp_path, kind):
    to = tmp_path / "model"
    if kind == "others":
        to.mkdir()
        (to / "thesis.txt").write_text("years of work")
    elif kind == "file":
        to.write_text("years of work")
    elif kind == "link":
        to.symlink_to(tmp_path / "nowhere")
    else:
        to = Path("/proc/model")
    with pytest.raises(ModelError, match=r"name a new folder|cannot be written"):
        put(to, "one")
    if kind != "read-only":
        assert [path.name for path in tmp_path.iterdir()] == ["model"]
    if kind == "others":
        assert contents(to) == {"thesis.txt": "years of work"}


def test_an_error_leaves_what_was_there(tmp_path):
    to = tmp_path / "model"
    put(to, "one")

    def fail() -> None:
        with atomic_folder(to) as folder:
            (folder / "model").write_text("two")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert contents(to) == {"model": "one", MARK: "{}"}
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_what_comes_in_between_is_not_overwritten(tmp_path):
    to = tmp_path / "model"

    def late() -> None:
        with atomic_folder(to) as folder:
            (folder / MARK).write_text("{}")
            to.mkdir()
            (to / "theirs").write_text("quick")

    with pytest.raises(ModelError, match="other files in it"):
        late()
    assert contents(to) == {"theirs": "quick"}


KILLED = """
import sys, time
from pathlib import Path
from audiosae_steer.io.files import MARK, atomic_folder
with atomic_folder(Path(sys.argv[1])) as folder:
    (folder / MARK).write_text("{}")
    for n in range(20):
        (folder / f"file-{n}").write_text("two")
    print("written", flush=True)
    time.sleep(60)
"""


def test_killed_in_the_middle_the_old_one_is_there(tmp_path):
    to = tmp_path / "model"
    put(to, "one")
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(to)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "written\n"
    process.kill()
    process.wait()
    process.stdout.close()
    assert contents(to) == {"model": "one", MARK: "{}"}
    put(to, "two")
    assert contents(to)["model"] == "two"


SWAPPED = """
import os, signal, sys
from pathlib import Path
from audiosae_steer.io import files
replace = os.replace
def die(source, target):
    replace(source, target)
    if str(target).endswith(".old"):
        os.kill(os.getpid(), signal.SIGKILL)
os.replace = die
with files.atomic_folder(Path(sys.argv[1])) as folder:
    (folder / files.MARK).write_text("{}")
"""


def test_killed_between_two_renames_the_old_one_comes_back(tmp_path):
    to = tmp_path / "model"
    put(to, "one")
    assert subprocess.run([sys.executable, "-c", SWAPPED, str(to)]).returncode == -9
    assert not to.exists()

    def fail() -> None:
        with atomic_folder(to):
            assert contents(to) == {"model": "one", MARK: "{}"}
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert contents(to) == {"model": "one", MARK: "{}"}
    put(to, "two")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]  # and what it was writing is gone


def test_a_rename_that_fails_is_taken_back(tmp_path, monkeypatch):
    to = tmp_path / "model"
    put(to, "one")
    replace = os.replace

    def full(source, target):
        if str(source).endswith(".part"):
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(ModelError, match=r"model cannot be written \(No space left on device\); choose another folder"):
        put(to, "two")
    assert contents(to) == {"model": "one", MARK: "{}"}
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("how", ["python", "safetensors"])
def test_a_full_disk_is_said(tmp_path, how):
    put(tmp_path / "model", "one")

    def write(how: str) -> None:
        with atomic_folder(tmp_path / "model") as folder:
            if how == "python":
                (folder / "model").write_bytes(bytes(10_000))
            else:
                save_file({"x": torch.zeros(10_000)}, folder / "model")

    before, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(ModelError, match=r"cannot be written .*File too large.*make room"):
            write(how)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert contents(tmp_path / "model") == {"model": "one", MARK: "{}"}
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_two_writers_leave_each_other_alone(tmp_path):
    to = tmp_path / "model"
    with atomic_folder(to) as first:
        with atomic_folder(to) as second:
            assert first.is_dir()
            (second / MARK).write_text("{}")
        (first / MARK).write_text("[]")
    assert contents(to) == {MARK: "[]"}


@pytest.mark.parametrize("kind", ["here", "circle", "long"])
def test_places_that_are_none(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    to = Path({"here": ".", "circle": "a", "long": "x" * 300}[kind])
    if kind == "circle":
        Path("a").symlink_to("a")
    with pytest.raises(ModelError, match="the folder that you are in|is no folder|cannot be written"):
        put(to, "one")


def test_a_link_to_an_empty_folder_is_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    put(tmp_path / "link", "one")
    assert (tmp_path / "link").is_symlink()
    assert contents(tmp_path / "real")["model"] == "one"
