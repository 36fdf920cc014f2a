"""The Hub's real client against a server on this machine that speaks the Hub's protocol."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hub_saes import REPO, audiosae_files
from hub_server import Hub, Repository, cut, served
from make import make_sae

from audiosae_steer import CheckpointError, HubError, load_sae
from audiosae_steer.io.hub.read import fetch, listing, sha256_of, verify_sha256


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with served(monkeypatch, tmp_path) as server:
        server.repositories[REPO] = Repository()
        server.repositories[REPO].commit(audiosae_files())
        yield server


def test_one_layer_is_fetched_pinned_and_recorded(hub: Hub) -> None:
    sae = load_sae(REPO, layer=8)
    assert sorted(hub.downloads()) == ["layer_8/ae.pt", "layer_8/config.json"]
    commit = hub.repositories[REPO].branches["main"]
    content = hub.repositories[REPO].commits[commit]["layer_8/ae.pt"]
    assert sae.info["source"] == {
        "repo": REPO,
        "revision": commit,
        "file": "layer_8/ae.pt",
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    assert (sae.d_model, sae.n_features, sae.gate.kind, sae.gate.k, sae.info["layer"]) == (8, 32, "batchtopk", 5, 8)
    hub.requests.clear()
    again = load_sae(REPO, layer=8)
    assert hub.downloads() == []
    assert torch.equal(again.W_enc, sae.W_enc)


def test_a_moved_branch_is_followed_and_a_pinned_commit_is_not(hub: Hub) -> None:
    first = load_sae(REPO, layer=8)
    pinned = first.info["source"]["revision"]
    moved = hub.repositories[REPO].commit(audiosae_files(seed=100))
    second = load_sae(REPO, layer=8)
    assert second.info["source"]["revision"] == moved != pinned
    assert not torch.equal(first.W_enc, second.W_enc)
    assert torch.equal(load_sae(REPO, layer=8, revision=pinned).W_enc, first.W_enc)


def test_all_files_are_of_one_commit_even_if_the_branch_moves_meanwhile(hub: Hub) -> None:
    moved = []

    def choose(found):
        if not moved:
            moved.append(hub.repositories[REPO].commit(audiosae_files(seed=100)))
        return ["layer_1/config.json", "layer_1/ae.pt"]

    fetched = fetch(REPO, choose)
    assert fetched.commit == fetched.folder.name == moved[0]
    content = hub.repositories[REPO].commits[moved[0]]["layer_1/ae.pt"]
    assert (fetched.folder / "layer_1/ae.pt").read_bytes() == content


@pytest.mark.parametrize("way", ["switched off", "down", "503", "429"])
@pytest.mark.parametrize("revision", [None, "commit"])
def test_what_is_cached_works_without_the_hub(hub: Hub, monkeypatch, way: str, revision: str | None) -> None:
    sae = load_sae(REPO, layer=8)
    if revision == "commit":
        revision = sae.info["source"]["revision"]
    cut(hub, monkeypatch, way)
    again = load_sae(REPO, layer=8, revision=revision)
    assert torch.equal(again.W_enc, sae.W_enc)
    assert again.info == sae.info
    with pytest.raises(HubError, match="is cached here with layer 8"):
        load_sae(REPO, layer=3, revision=revision)


@pytest.mark.parametrize("way", ["switched off", "down", "503"])
def test_what_is_not_cached_says_how_to_get_it(hub: Hub, monkeypatch, way: str) -> None:
    cut(hub, monkeypatch, way)
    with pytest.raises(HubError, match="not in this machine's cache.*or pass a file"):
        load_sae(REPO, layer=8)


def test_missing_layers_list_those_there_are(hub: Hub) -> None:
    with pytest.raises(HubError, match=r"which layer\? Say layer=N, or --layer N; it has layers 1 to 3, 8"):
        load_sae(REPO)
    with pytest.raises(HubError, match="there is no layer 5; it has layers 1 to 3, 8"):
        load_sae(REPO, layer=5)
    assert hub.downloads() == []


def test_faults_are_told_apart(hub: Hub) -> None:
    with pytest.raises(HubError, match="there is no repository no/body"):
        load_sae("no/body", layer=8)
    with pytest.raises(HubError, match="has no revision 'nowhere'"):
        load_sae(REPO, layer=8, revision="nowhere")
    hub.repositories["shy/one"] = Repository(gated=True)
    with pytest.raises(HubError, match="accept its terms"):
        load_sae("shy/one")
    with pytest.raises(HubError, match="no repository's name"):
        fetch("..bad..name", ["*"])
    hub.broken = 403
    with pytest.raises(HubError, match="does not let you read"):
        load_sae(REPO, layer=8)


def test_a_repository_without_an_sae(hub: Hub) -> None:
    hub.repositories["some/model"] = Repository()
    hub.repositories["some/model"].commit({"README.md": b"", "model.bin": b"123"})
    with pytest.raises(HubError, match=r"holds no SAE.*README\.md, model\.bin"):
        load_sae("some/model")
    with pytest.raises(HubError, match=r"no file that matches recipe\.json"):
        fetch("some/model", ["recipe.json"])


def test_a_native_sae_and_one_layer_by_file_name(hub: Hub, tmp_path: Path) -> None:
    sae = make_sae()
    sae.info["source"] = {"repo": "a/b"}
    sae.save(tmp_path / "x")
    content = (tmp_path / "x").read_bytes()
    hub.repositories["us/one"] = Repository()
    hub.repositories["us/one"].commit({"sae.safetensors": content, "card.png": b"1"})
    found = load_sae("us/one")
    assert torch.equal(found.W_dec, sae.W_dec)
    assert found.info["source"]["made_from"] == {"repo": "a/b"}
    hub.repositories["us/two"] = Repository()
    hub.repositories["us/two"].commit({"encoder-3.safetensors": content, "encoder-4.safetensors": content})
    assert load_sae("us/two", layer=4).info["source"]["file"] == "encoder-4.safetensors"
    assert hub.downloads() == ["sae.safetensors", "encoder-4.safetensors"]


def test_patterns_bring_those_files_and_no_others(hub: Hub) -> None:
    fetched = fetch(REPO, ["layer_2/*.json", "README.md"])
    assert fetched.files == ("layer_2/config.json", "README.md")
    assert all((fetched.folder / name).is_file() for name in fetched.files)
    assert sorted(hub.downloads()) == ["README.md", "layer_2/config.json"]
    assert len(listing(REPO).files) == 10


def test_content_that_is_not_what_the_hub_recorded(hub: Hub) -> None:
    hub.damage = True
    with pytest.raises(HubError, match="not what the Hub recorded"):
        load_sae(REPO, layer=8)


def test_names_that_leave_their_folder_are_not_seen(hub: Hub) -> None:
    hub.repositories["bad/one"] = Repository()
    hub.repositories["bad/one"].commit({"../../x.safetensors": b"1", "/etc/x.safetensors": b"1", "a\\b.pt": b"1"})
    assert listing("bad/one").files == ()
    with pytest.raises(HubError, match="holds no SAE"):
        load_sae("bad/one")


def test_sha256(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_bytes(b"abc")
    right = hashlib.sha256(b"abc").hexdigest()
    assert sha256_of(file) == right
    verify_sha256(file, right.upper())
    with pytest.raises(CheckpointError, match="expected 000"):
        verify_sha256(file, "0" * 64)


def test_the_environment_is_respected_in_a_process_of_its_own(hub: Hub, tmp_path: Path) -> None:
    code = (
        "import sys, audiosae_steer\n"
        f"sae = audiosae_steer.load_sae({REPO!r}, layer=2)\n"
        "print(sae.info['source']['revision'])"
    )
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "NO_PROXY": "127.0.0.1"}
    environment.pop("HF_HUB_CACHE", None)

    def run(**more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", code], env={**environment, **more}, capture_output=True, text=True, timeout=600
        )

    refused = run(HF_HUB_OFFLINE="1")
    assert "HF_HUB_OFFLINE" in refused.stderr
    assert "HubError" in refused.stderr
    fresh, cached = run(), run(HF_HUB_OFFLINE="1")
    assert fresh.stdout == cached.stdout == hub.repositories[REPO].branches["main"] + "\n", fresh.stderr + cached.stderr
