"""What recipes and SAEs there are: on the Hub, and without it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_recipes import files_in, small_model, write_recipe
from hub_server import Fault, Hub, Repository, User, cut, served
from make import make_sae
from typer.testing import CliRunner

from audiosae_steer import load_recipe, load_sae, search
from audiosae_steer.cli.app import app

SHIPPED = [("no-false-speech", "base"), ("no-false-speech", "tiny.en")]


def card(*tags: str, base: str | None = None) -> bytes:
    lines = ["---", *([f"base_model: {base}"] if base else []), "tags:", *(f"- {tag}" for tag in tags), "---", "# x"]
    return "\n".join(lines).encode() + b"\n"


def put(hub: Hub, name: str, downloads: int, files: dict[str, bytes], **more: bool) -> None:
    hub.repositories[name] = Repository(downloads=downloads, **more)
    hub.repositories[name].commit(files)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    tiny, small = "openai/whisper-tiny.en", "openai/whisper-small"
    sae = make_sae()
    sae.save(tmp_path / "sae.safetensors")
    recipe = write_recipe(tmp_path / "r", small_model())
    with served(monkeypatch, tmp_path) as server:
        put(
            server,
            "ann/quiet",
            7,
            {"README.md": card("audiosae-steer", "recipe", base=tiny), **files_in(recipe.parent)},
        )
        put(server, "bob/saes", 1200, {"README.md": card("audiosae-steer", base=small)} | files_in(tmp_path / "r"))
        put(server, "bob/quiet-small", 30, {"README.md": card("audiosae-steer", "recipe", base=small)})
        put(server, "eve/secret", 9, {"README.md": card("audiosae-steer", "recipe", base=tiny)}, private=True)
        put(server, "eve/other", 99, {"README.md": card("whisper", base=tiny)})
        sae_file = {"sae.safetensors": (tmp_path / "sae.safetensors").read_bytes()}
        put(server, "eve/one-sae", 0, {"README.md": card("audiosae-steer"), **sae_file})
        put(server, "eve/model", 0, {"model.safetensors": b"123456789", "recipe.json": b"{}"})
        yield server


def ids(words: str = "", **how: str | int) -> list[str]:
    return [each.id for each in search(words, **how).listed if each.where != "package"]


def test_those_with_the_tag_are_found_the_most_downloaded_first(hub: Hub, monkeypatch) -> None:
    found = search()
    assert found.offline is None
    assert [tuple(each) for each in found.listed if each.where == "Hub"] == [
        ("bob/saes", "openai/whisper-small", "SAE", 1200, "2026-01-31", "Hub"),
        ("bob/quiet-small", "openai/whisper-small", "recipe", 30, "2026-01-31", "Hub"),
        ("ann/quiet", "openai/whisper-tiny.en", "recipe", 7, "2026-01-31", "Hub"),
        ("eve/one-sae", "", "SAE", 0, "2026-01-31", "Hub"),
    ]
    assert {(each.id, each.model) for each in found.listed if each.where == "package"} >= set(SHIPPED)
    hub.users["hf_eve"] = User("eve")
    monkeypatch.setenv("HF_TOKEN", "hf_eve")
    assert "eve/secret" in ids()


def test_words_and_a_model_narrow_it(hub: Hub) -> None:
    assert ids("quiet") == ["bob/quiet-small", "ann/quiet"]
    assert ids("small QUIET") == ["bob/quiet-small"]
    assert ids(model="tiny.en") == ids(model="openai/whisper-tiny.en") == ["ann/quiet"]
    assert ids("quiet", model="small") == ["bob/quiet-small"]
    assert ids(limit=1) == ["bob/saes"]
    hub.page = 2
    assert len(ids()) == 4
    assert {(each.id, each.model) for each in search("false", model="base").listed} == {
        ("no-false-speech", "base"),
        ("no-false-speech-constant", "base"),
        ("no-false-speech-ungated", "base"),
    }


@pytest.mark.parametrize("way", ["switched off", "down", "503"])
def test_without_the_hub_the_cache_and_the_package_are_listed(hub: Hub, monkeypatch, way: str) -> None:
    load_recipe("ann/quiet")
    load_sae("eve/one-sae")
    cut(hub, monkeypatch, way)
    found = search()
    assert found.offline is not None
    assert "Hub" in found.offline
    assert [tuple(each) for each in found.listed if each.where == "cache"] == [
        ("ann/quiet", "small random", "recipe", None, "", "cache"),
        ("eve/one-sae", "", "SAE", None, "", "cache"),
    ]
    assert {(each.id, each.model) for each in found.listed if each.where == "package"} >= set(SHIPPED)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (
            401,
            r"the Hub does not take the token that you are logged in with \(401\): log in by .*, anew, or search with",
        ),
        (400, "the Hub did not say what repositories it has .*; try again later$"),
    ],
)
def test_a_search_that_the_hub_refuses_speaks_of_no_writing(hub: Hub, status: int, message: str) -> None:
    hub.faults.append(Fault("GET /api/models$", status=status))
    offline = search().offline
    assert offline is not None
    assert re.match(message, offline)
    assert "writ" not in offline


def test_a_limit_below_one(hub: Hub) -> None:
    found = search(limit=-5)
    assert found.offline is None
    assert all(each.where == "package" for each in found.listed)
    shown = CliRunner().invoke(app, ["search", "--limit", "-5"])
    assert shown.exit_code == 2
    assert "Invalid value for '--limit'" in shown.stderr
    assert hub.requests == []


def test_on_the_command_line(hub: Hub, monkeypatch) -> None:
    shown = CliRunner().invoke(app, ["search", "quiet", "--model", "tiny.en"])
    assert shown.exit_code == 0, shown.output
    assert shown.stdout == (
        "id         model                   kind    downloads  updated     where\n"
        "ann/quiet  openai/whisper-tiny.en  recipe  7          2026-01-31  Hub\n"
    )
    cut(hub, monkeypatch, "down")
    shown = CliRunner().invoke(app, ["search", "nothing-like-it"])
    assert shown.exit_code == 0
    assert "the Hub was not asked: the Hub cannot be reached" in shown.stderr
    assert shown.stderr.endswith("nothing was found\n")
