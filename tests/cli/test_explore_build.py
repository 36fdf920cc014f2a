"""Commands `explore build` and `explore merge`, as they are typed."""

from __future__ import annotations

import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from audiosae_steer.cli.app import app
from audiosae_steer.explorer.pages import static_site
from audiosae_steer.explorer.pages.explorer_site import Site
from audiosae_steer.explorer.pages.static_site import Written
from audiosae_steer.io.shipped import checkpoints_dir


def run(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["explore", *map(str, words)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, " ".join(result.output.split())


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    for name in ("fan", "speech-08"):
        (tmp_path / name).mkdir()
        shutil.copyfile(checkpoints_dir() / "clips" / f"{name}.flac", tmp_path / name / f"{name}.flac")
    return [tmp_path / "fan", tmp_path / "speech-08"]


def test_build_and_merge(folders: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = []  # of 3,072 features: what is written of them is tested with a small index

    def write(site: Site, folder: Path, *_: object) -> Written:
        pages.append((site.index.path, folder))
        return Written(3, 2, 1)

    monkeypatch.setattr(static_site, "write_static", write)
    common = ("--sae", "tiny.en", "--layer", 4, "--top", 2, "--each", 1, "--neighbours", 2, "--no-sounds")
    for folder in folders:
        code, said = run(
            "build", *common, "--audio", folder, "--licence", "CC0-1.0", "--out", tmp_path / f"{folder}-index",
            *(("--static", tmp_path / "pages") if folder is folders[1] else ()),
        )  # fmt: skip
        assert code == 0, said
        assert "of 3072 features fire 1 clips" in said
    assert pages == [(Path(f"{folders[1]}-index") / "index.sqlite", tmp_path / "pages")]
    assert f"{tmp_path / 'pages'}: 3 pages, 2 sounds; 1 sounds kept back" in said
    units = ("--licence", "CC0-1.0", "--engine", "local", "--out", tmp_path / "units")
    code, said = run("build", *common, "--audio", folders[0], *units)
    assert code == 0, said
    assert (tmp_path / "units" / "index.sqlite").read_bytes() == Path(f"{folders[0]}-index/index.sqlite").read_bytes()
    code, said = run("merge", *(f"{folder}-index" for folder in folders), "--out", tmp_path / "both")
    assert code == 0, said
    with closing(sqlite3.connect(tmp_path / "both" / "index.sqlite")) as connection:
        assert connection.execute("SELECT recording, licence, redistributable FROM clips").fetchall() == [
            ("fan.flac", "CC0-1.0", 0),
            ("speech-08.flac", "CC0-1.0", 0),
        ]
        assert connection.execute("SELECT count(*) FROM sounds").fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM mels").fetchone() == (2,)
    code, said = run("merge", folders[0], "--out", tmp_path / "none")
    assert code == 2
    assert "holds no index that can be read" in said


def test_wrong_words_are_told(folders: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = ("--out", tmp_path / "index")
    code, said = run("build", "--sae", "tiny.en", "--layer", 4, *out)
    assert (code, "--audio FOLDER" in said) == (2, True)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").touch()
    words = ("--audio", folders[0], *out, "--static", tmp_path / "full")
    code, said = run("build", "--sae", "tiny.en", "--layer", 4, *words)
    assert (code, "other files in it" in said) == (2, True)  # before anything is loaded
    code, said = run("build", "--sae", "tiny.en", "--sae", "x", "--layer", 4, "--audio", folders[0], *out)
    assert (code, "2 --sae for 1 --layer" in said) == (2, True)
    code, said = run("build", "--sae", "tiny.en", "--layer", 4, "--part", "9", "--audio", folders[0], *out)
    assert (code, "such as 2/8" in said) == (2, True)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    code, said = run("build", "--sae", "tiny.en", "--layer", 4, "--audio", folders[0], *out)
    assert (code, "audiosae-steer[index]" in said) == (2, True)
