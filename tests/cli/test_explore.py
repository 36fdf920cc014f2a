"""The command `explore`: it opens, ends in one line, exports and writes pages; refusals are sentences."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request

import pytest
from made_index import made_index
from typer.testing import CliRunner

from audiosae_steer.cli import explore
from audiosae_steer.cli.app import app
from audiosae_steer.cli.explore import named_feature
from audiosae_steer.errors import SteeringError
from audiosae_steer.explorer.pages import explorer_server


@pytest.fixture(scope="module")
def index_file(tmp_path_factory):
    return made_index(tmp_path_factory.mktemp("explore") / "made.sqlite", features=8, clips=6)


def run(*words: str):
    return CliRunner().invoke(app, ["explore", *words])


def test_it_opens_answers_and_ends_in_one_line(index_file):
    command = [sys.executable, "-m", "audiosae_steer", "explore", str(index_file), "--no-open", "--port", "0"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        line = process.stdout.readline()
        address = re.search(r"http://localhost:\d+/", line).group()
        with urllib.request.urlopen(address, timeout=60) as answer:
            assert b"Features" in answer.read()
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=60)
    assert rest == "ended\n"
    assert errors == ""
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("words", "path", "options"),
    [
        ([], None, {}),
        (["made.sqlite"], "made.sqlite", {}),
        (["--port", "8000", "made.sqlite"], "made.sqlite", {"port": 8000}),
        (["open", "made.sqlite", "--host", "0.0.0.0"], "made.sqlite", {"host": "0.0.0.0"}),
        (["hf://datasets/a/b@main/x", "--allow-host", "box"], "hf://datasets/a/b@main/x", {"names": ["box"]}),
    ],
)  # fmt: skip
def test_open_is_meant_where_no_command_is_named(monkeypatch, index_file, words, path, options):
    asked, served = [], {}
    site = explore.opened(str(index_file))
    monkeypatch.setattr(explore, "opened", lambda source, *_, live=False, **given: asked.append((source, live)) or site)
    monkeypatch.setattr(explorer_server, "serve_site", lambda site, **given: served.update(given))
    assert run(*words).exit_code == 0
    assert asked == [(path, True)]
    assert options.items() <= served.items()


def test_the_browser_is_opened_unless_told_otherwise(monkeypatch, index_file):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr(explorer_server, "serve_site", lambda site, ready, **given: ready("http://localhost:1/"))
    assert run(str(index_file), "--no-open").output.count("\n") == 2
    assert opened == []
    run(str(index_file))
    assert opened == ["http://localhost:1/"]
    assert "everyone who reaches this address" in run(str(index_file), "--host", "0.0.0.0").output


def test_export_and_static(index_file, tmp_path):
    done = run("export", "4/1", "--index", str(index_file), "--html", str(tmp_path / "one.html"))
    assert done.exit_code == 0
    assert "feature 1 of layer 4" in done.output
    assert (tmp_path / "one.html").read_text("utf-8").startswith("<!DOCTYPE html>")
    done = run("static", str(index_file), str(tmp_path / "site"), "--layer", "4")
    assert done.exit_code == 0
    assert "1 sounds kept back" in done.output
    assert (tmp_path / "site" / "feature" / "4" / "1.html").is_file()


def test_folders_of_saes_reach_the_live_part(monkeypatch, index_file, tmp_path):
    served = []
    monkeypatch.setattr(explorer_server, "serve_site", lambda site, **given: served.append(site))
    assert run(str(index_file), "--no-open", "--saes", str(tmp_path)).exit_code == 0
    (site,) = served
    assert tmp_path in site.extra["live"].live._folders
    done = run(str(index_file), "--no-open", "--saes", str(tmp_path / "absent"))
    assert (done.exit_code, len(served)) == (2, 1)
    assert "there is no folder" in done.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["absent.sqlite"], "there is no index"),
        (["export", "1", "--html", "x.html"], "the index has layers 3, 4; write 4/1"),
        (["export", "4/99", "--html", "x.html"], "layer 4 has no feature 99"),
        (["export", "dog", "--html", "x.html"], "names no feature"),
        (["static", "INDEX", "x", "--layer", "9"], "the index has layers 3, 4, and not 9"),
    ],
)  # fmt: skip
def test_refusals_are_sentences(index_file, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    words = [str(index_file) if word == "INDEX" else word for word in words]
    done = run(*words, *(["--index", str(index_file)] if words[0] == "export" else []))
    assert done.exit_code == 2
    assert said in done.output
    assert not list(tmp_path.iterdir())


def test_names_of_features():
    assert named_feature("4/17", [3, 4]) == (4, 17)
    assert named_feature("17", [4]) == (4, 17)
    for bad in ("", "/", "4/", "/17", "a/1", "4/1/2", "-1", "4/-1"):
        with pytest.raises(SteeringError, match="names no feature"):
            named_feature(bad, [4])


def test_a_port_that_is_taken_is_said_or_passed_over():
    with explorer_server.listening("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SteeringError, match=rf"cannot listen at 127.0.0.1, port {port}: .*--port"):
            explorer_server.listening("127.0.0.1", port)
    with pytest.raises(SteeringError, match="cannot listen at no.such.host.invalid"):
        explorer_server.listening("no.such.host.invalid", 0)


def test_loopback():
    assert all(map(explorer_server.is_loopback, ("127.0.0.1", "::1", "localhost", "LOCALHOST", "127.9.9.9")))
    assert not any(map(explorer_server.is_loopback, ("0.0.0.0", "::", "192.168.1.2", "example.org")))
