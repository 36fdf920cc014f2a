"""Repositories and folders that hold the layers of several models, each in a folder of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from commands import failed, run
from hub_saes import audiosae_files
from hub_server import Hub, Repository, cut, served

from audiosae_steer import CheckpointError, HubError, load_sae
from audiosae_steer.discover.sae_files import open_sae, place_sae
from audiosae_steer.sae.convert import convert, layers_in
from audiosae_steer.sae.load import HubPlace, hub_place

REPO = "Egorgij21/Audio-SAE"
SMALL, HUBERT = f"{REPO}/whisper-small", f"{REPO}/hubert/base"


def files() -> dict[str, bytes]:
    """The files of two models, one of them in a folder in a folder."""
    models = {"whisper-small": audiosae_files(), "hubert/base": audiosae_files(seed=50)}
    found = {f"{model}/{name}": data for model, names in models.items() for name, data in names.items() if "/" in name}
    return {"README.md": b"# SAEs", **found}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.chdir(tmp_path)
    with served(monkeypatch, tmp_path) as server:
        server.repositories[REPO] = Repository()
        server.repositories[REPO].commit(files())
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The same on this machine, with one folder less above the second model."""
    for name, data in files().items():
        path = tmp_path / "models" / name.replace("hubert/", "hubert-")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "models"


def test_a_repository_of_several_models_lists_its_folders(hub: Hub, tmp_path: Path) -> None:
    for layer in (8, None):
        with pytest.raises(HubError, match=rf"folders of their own, hubert/base, whisper-small; name one.*: {HUBERT}$"):
            load_sae(REPO, layer=layer)
    for ask in (lambda: layers_in(REPO), lambda: convert(REPO, tmp_path / "out")):
        with pytest.raises(HubError, match="hubert/base, whisper-small; name one"):
            ask()
    with pytest.raises(HubError, match=r"no folder whisper-large; its folders are: hubert/base, whisper-small"):
        load_sae(f"{REPO}/whisper-large", layer=8)
    with pytest.raises(HubError, match=rf"{SMALL}: which layer\? Say layer=N, or --layer N; it has layers 1 to 3, 8"):
        load_sae(SMALL)
    assert hub.downloads() == []


def test_one_model_s_layer_is_fetched_pinned_and_recorded(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    sae = load_sae(SMALL, layer=8)
    assert sorted(hub.downloads()) == ["whisper-small/layer_8/ae.pt", "whisper-small/layer_8/config.json"]
    source = sae.info["source"]
    assert {name: source[name] for name in ("repo", "folder", "revision", "file")} == {
        "repo": REPO,
        "folder": "whisper-small",
        "revision": hub.repositories[REPO].branches["main"],
        "file": "whisper-small/layer_8/ae.pt",
    }
    assert sae.info["layer"] == 8
    other = load_sae(HUBERT, layer=8)
    assert other.info["source"]["file"] == "hubert/base/layer_8/ae.pt"
    assert not torch.equal(other.W_enc, sae.W_enc)
    hub.repositories[REPO].commit(files() | {"whisper-small/layer_8/ae.pt": b"another"})
    assert torch.equal(load_sae(SMALL, layer=8, revision=source["revision"]).W_enc, sae.W_enc)
    cut(hub, monkeypatch, "down")
    assert torch.equal(load_sae(SMALL, layer=8, revision=source["revision"]).W_enc, sae.W_enc)
    with pytest.raises(HubError, match="no folder whisper-large in this machine's cache"):
        load_sae(f"{REPO}/whisper-large", layer=8, revision=source["revision"])


def test_one_model_is_converted_alone(hub: Hub, tmp_path: Path) -> None:
    assert layers_in(SMALL) == [1, 2, 3, 8]
    done = convert(SMALL, tmp_path / "out")
    assert [one.path.name for one in done] == [f"layer-{n}.safetensors" for n in (1, 2, 3, 8)]
    assert all(name.startswith("whisper-small/") for name in hub.downloads())
    assert torch.equal(load_sae(tmp_path / "out", 8).W_enc, load_sae(SMALL, 8).W_enc)
    hub.requests.clear()
    assert all(one.sae is None for one in convert(SMALL, tmp_path / "out"))
    assert any(one.sae is not None for one in convert(HUBERT, tmp_path / "out"))


def test_the_commands_take_a_folder(hub: Hub, tmp_path: Path) -> None:
    assert list(json.loads(run("inspect", SMALL, "--layer", "8", "--json").stdout)) == [f"{SMALL}, layer 8"]
    run("convert", SMALL, tmp_path / "out", "--layer", "8")
    assert layers_in(tmp_path / "out") == [8]
    assert f"revision {hub.repositories[REPO].branches['main']}" in run("info", SMALL, "--layer", "8").stdout
    assert "hubert/base, whisper-small; name one" in failed(run("inspect", REPO))


def test_a_recipe_pins_an_sae_in_a_folder(hub: Hub, tmp_path: Path) -> None:
    sae = open_sae(SMALL, 8)
    spec = place_sae(sae, SMALL, 8, tmp_path)
    assert (spec.repo, spec.layer, spec.revision) == (SMALL, 8, hub.repositories[REPO].branches["main"])
    hub.repositories[REPO].commit({"README.md": b"gone"})
    assert torch.equal(spec.load(None, "mine").W_enc, sae.W_enc)


def test_a_folder_of_several_models_lists_them(folder: Path, tmp_path: Path) -> None:
    for ask in (lambda: load_sae(folder, layer=8), lambda: load_sae(folder), lambda: convert(folder, tmp_path / "out")):
        with pytest.raises(CheckpointError, match=r"own, hubert-base, whisper-small; name one of these: .*hubert-base"):
            ask()
    assert load_sae(folder / "whisper-small", layer=8).info["layer"] == 8
    assert layers_in(folder / "hubert-base") == [1, 2, 3, 8]


def test_paths_are_not_looked_for_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    assert hub_place("user/repo") == HubPlace("user/repo")
    assert hub_place("user/repo/a/b") == HubPlace("user/repo", "a/b")
    for path in (
        Path("user/repo"), "file", "/user/repo", "a/b/", "a//b", "./a/b", "a/../b", "a/b/c.pt", "models/a/b", "~/a/b",
    ):  # fmt: skip
        assert hub_place(path) is None
    with pytest.raises(CheckpointError, match="no such file or folder"):
        load_sae("models/whisper/none", layer=8)
