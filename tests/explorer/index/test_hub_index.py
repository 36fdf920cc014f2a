"""Indices on the Hub: the real client fetches Parquet files from a local server, of which the SQLite file is made."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import Hub, Repository, cut, served
from made_parts import LAYERS, found_in, part_of

from audiosae_steer.errors import HubError, SteeringError
from audiosae_steer.explorer.index.finding_files import finding_tables
from audiosae_steer.explorer.index.hub_index import index_at, index_from_hub, parse_hub_index
from audiosae_steer.explorer.index.index_assembly import assemble
from audiosae_steer.explorer.index.part_files import Further, write_part

REPO = "datasets/someone/an-index"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index's folder, as a build leaves it."""
    folder = tmp_path_factory.mktemp("index")
    index = part_of(range(6))
    found = found_in(index)
    write_part(index, folder / "shards", Further({}, finding_tables(found)))
    assemble(index, found, folder / "index.sqlite")
    for layer in LAYERS:
        (folder / f"encoder-{layer}.safetensors").write_bytes(b"weights %d" % layer)
    return folder


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[Hub]:
    monkeypatch.setenv("AUDIOSAE_STEER_CACHE", str(tmp_path / "cache"))
    with served(monkeypatch, tmp_path) as server:
        files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        files["README.md"] = b"# An index"
        server.repositories[REPO] = Repository()
        server.repositories[REPO].commit(files)
        yield server


def test_an_index_is_fetched_and_made(hub: Hub, folder: Path) -> None:
    path = index_at("hf://datasets/someone/an-index")
    assert path.read_bytes() == (folder / "index.sqlite").read_bytes()
    assert (path.parent / "encoder-5.safetensors").read_bytes() == b"weights 5"
    # neither the SQLite file nor what is no part of an index
    assert {name.rpartition(".")[2] for name in hub.downloads()} == {"parquet", "json", "safetensors"}


def test_it_is_made_once_for_a_commit(hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = index_from_hub("hf://someone/an-index")
    seen = len(hub.downloads())
    assert index_at(Path("hf://someone/an-index")) == path  # a path of it has one stroke
    assert len(hub.downloads()) == seen
    cut(hub, monkeypatch, "down")
    assert index_from_hub("hf://someone/an-index") == path


def test_a_new_commit_is_another_index(hub: Hub, folder: Path) -> None:
    old = index_from_hub("hf://someone/an-index")
    commit = old.parent.name
    files = dict(hub.repositories[REPO].head)
    for name, content in {path.name: path.read_bytes() for path in (folder / "shards").iterdir()}.items():
        files[f"other/shards/{name}"] = content
    hub.repositories[REPO].commit(files)
    new = index_from_hub("hf://datasets/someone/an-index@main/other")
    assert new != old
    assert new.read_bytes() == old.read_bytes()
    assert index_from_hub(f"hf://datasets/someone/an-index@{commit}") == old


def test_what_is_no_index_is_refused(hub: Hub) -> None:
    hub.repositories["datasets/someone/clips"] = Repository()
    hub.repositories["datasets/someone/clips"].commit({"data/train.parquet": b"PAR1"})
    with pytest.raises(HubError, match="holds no index"):
        index_from_hub("hf://datasets/someone/clips")
    with pytest.raises(HubError, match="names no index"):
        index_from_hub("hf://datasets/nobody")
    with pytest.raises(HubError):
        index_from_hub("hf://datasets/someone/nothing")
    assert parse_hub_index("somewhere/index") is None


def test_a_damaged_index_leaves_nothing(hub: Hub, tmp_path: Path) -> None:
    files = dict(hub.repositories[REPO].head)
    files["shards/features-00000.parquet"] = files["shards/features-00000.parquet"][:-30]
    hub.repositories[REPO].commit(files)
    with pytest.raises(SteeringError, match="damaged"):
        index_from_hub("hf://someone/an-index")
    assert not list((tmp_path / "cache").rglob("index.sqlite"))


def test_places_on_the_hub() -> None:
    found = parse_hub_index("hf://datasets/a/b@v1/deep/er")
    assert found is not None
    assert tuple(found) == ("a/b", "v1", "deep/er")
    found = parse_hub_index("hf://datasets/a/b@refs/convert/parquet")
    assert found is not None
    assert found.revision == "refs/convert/parquet"
