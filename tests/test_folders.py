"""A folder that is written whole or not at all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from audiosae_steer import ModelError
from audiosae_steer.folders import MARK, whole_folder


def contents(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def put(to: Path, text: str) -> None:
    with whole_folder(to) as folder:
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
        with whole_folder(to) as folder:
            (folder / "model").write_text("two")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert contents(to) == {"model": "one", MARK: "{}"}
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_what_comes_in_between_is_not_overwritten(tmp_path):
    to = tmp_path / "model"

    def late() -> None:
        with whole_folder(to) as folder:
            (folder / MARK).write_text("{}")
            to.mkdir()
            (to / "theirs").write_text("quick")

    with pytest.raises(ModelError, match="other files in it"):
        late()
    assert contents(to) == {"theirs": "quick"}


KILLED = """
import sys, time
from pathlib import Path
from audiosae_steer.folders import MARK, whole_folder
with whole_folder(Path(sys.argv[1])) as folder:
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
