"""Recipes on the Hub: what is fetched of them, what they pin, and untrusted content of them."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hub_recipes import files_in, small_model, write_recipe
from hub_server import Hub, Repository, cut, served
from make import make_sae

from audiosae_steer import AudioSAESteerError, HubError, RecipeError, UnpinnedWarning, load_recipe, load_sae, steer
from audiosae_steer.discover.sae_files import open_sae, place_sae
from audiosae_steer.io.hub import read
from audiosae_steer.io.hub.read import fetch, listing, sha256_of
from audiosae_steer.sae.formats.native import save_sae
from audiosae_steer.steering.describe import explain
from audiosae_steer.steering.recipes.load import MAX_BYTES, shipped

MEL = torch.randn(1, 80, 3000, generator=torch.Generator().manual_seed(0))
REPO, SAES = "user/recipe", "user/saes"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with served(monkeypatch, tmp_path) as server:
        yield server


def put(hub: Hub, files: dict[str, bytes], repo: str = REPO) -> str:
    return hub.repositories.setdefault(repo, Repository()).commit(files)


def test_a_recipe_steers_from_the_hub_with_what_it_names_and_no_more(hub: Hub, tmp_path: Path, monkeypatch) -> None:
    model = small_model()
    path = write_recipe(tmp_path / "r", model)
    put(hub, {**files_in(path.parent), "other.safetensors": b"1", "README.md": b"# Mine"})
    with steer(model, path):
        expected = model.encoder(MEL)
    for way in ("up", "switched off"):
        if way != "up":
            cut(hub, monkeypatch, way)
        with steer(model, REPO) as steering:
            assert torch.equal(model.encoder(MEL), expected)
        assert steering.recipe is not None
        assert steering.recipe.name == "mine"
    assert sorted(hub.downloads()) == ["recipe.json", "sae.safetensors"]


def test_a_recipe_with_an_sae_in_parts_takes_its_parts_alone(hub: Hub, tmp_path: Path) -> None:
    path = write_recipe(tmp_path / "r", small_model())
    sae = load_recipe(path).load_saes()["a"]
    (path.parent / "sae.safetensors").unlink()
    for name in ("sae", "another"):
        save_sae(sae, path.parent / f"{name}.safetensors", shard_bytes=40_000)
    spec = {"file": "sae.safetensors.index.json", "sha256": sha256_of(path.parent / "sae.safetensors.index.json")}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"saes": {"a": spec}}))
    put(hub, files_in(path.parent))
    assert torch.equal(load_recipe(REPO).load_saes()["a"].W_enc, sae.W_enc)
    assert {name.split("-")[0].split(".")[0] for name in hub.downloads()} == {"recipe", "sae"}
    assert len(hub.downloads()) > 3


def test_a_revision_is_named_in_the_id_or_beside_it(hub: Hub, tmp_path: Path) -> None:
    model = small_model()
    first = put(hub, files_in(write_recipe(tmp_path / "1", model, strength=0.25).parent))
    put(hub, files_in(write_recipe(tmp_path / "2", model, strength=0.75).parent))
    assert load_recipe(REPO).strength == 0.75
    assert load_recipe(f"{REPO}@{first}").strength == 0.25
    assert load_recipe(REPO, revision=first).strength == 0.25
    assert load_recipe(f"{REPO}@main").strength == 0.75
    with steer(model, f"{REPO}@{first}") as steering:
        assert steering.strength == 0.25
        model.encoder(MEL)
    with pytest.raises(RecipeError, match="names one revision and revision='main' another"):
        load_recipe(f"{REPO}@{first}", revision="main")
    with pytest.raises(HubError, match="has no revision 'nowhere'"):
        load_recipe(f"{REPO}@nowhere")


def test_a_recipe_whose_file_is_not_there_says_which(hub: Hub, tmp_path: Path, monkeypatch) -> None:
    files = files_in(write_recipe(tmp_path / "r", small_model()).parent)
    put(hub, {"recipe.json": files["recipe.json"]})
    with pytest.raises(HubError, match=r"recipe of user/recipe needs sae\.safetensors, which it does not hold"):
        load_recipe(REPO)
    commit = put(hub, files)
    fetch(REPO, ["recipe.json"])
    cut(hub, monkeypatch, "switched off")
    with pytest.raises(HubError, match=r"needs sae\.safetensors, which is not in this machine's cache; connect once"):
        load_recipe(f"{REPO}@{commit}")


def sae_on_the_hub(hub: Hub, tmp_path: Path, seed: int = 0) -> tuple[str, str]:
    """Its commit and sha256."""
    file = tmp_path / "encoder-2.safetensors"
    make_sae("jumprelu", 64, 200, seed=seed).save(file)
    return put(hub, {"encoder-2.safetensors": file.read_bytes()}, SAES), sha256_of(file)


def named(tmp_path: Path, model: Any, **spec: Any) -> Path:
    return write_recipe(tmp_path / "r", model, saes={"a": {"repo": SAES, "layer": 2, **spec}})


def test_an_sae_on_the_hub_stays_what_the_recipe_pinned(hub: Hub, tmp_path: Path) -> None:
    model = small_model()
    commit, sha256 = sae_on_the_hub(hub, tmp_path)
    before = load_sae(SAES, layer=2).W_enc
    pinned = named(tmp_path, model, revision=commit, sha256=sha256)
    sae_on_the_hub(hub, tmp_path, seed=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(load_recipe(pinned).load_saes()["a"].W_enc, before)
    unpinned = named(tmp_path, model, sha256=sha256)
    with pytest.raises(RecipeError, match=f"user/saes holds another SAE than recipe 'mine' .*not {sha256}.*pin"):
        steer(model, unpinned)


@pytest.mark.parametrize("revision", [None, "main"])
def test_an_sae_that_is_not_pinned_is_resolved_and_said_so(hub: Hub, tmp_path: Path, revision: str | None) -> None:
    commit, _ = sae_on_the_hub(hub, tmp_path)
    path = named(tmp_path, small_model(), **({"revision": revision} if revision else {}))
    with pytest.warns(UnpinnedWarning, match=f'it is commit {commit} now: write "revision": "{commit}" into'):
        load_recipe(path).load_saes()
    with pytest.warns(UnpinnedWarning, match="takes an SAE from user/saes at no fixed commit"):
        load_recipe(path).save(tmp_path / "again.json")


@pytest.mark.parametrize("revision", ["main", "v1", "abc123", "A" * 40, "a" * 39, "a" * 41, None])
def test_only_a_whole_commit_pins(hub: Hub, tmp_path: Path, revision: str | None) -> None:
    recipe = load_recipe(named(tmp_path, small_model(), **({"revision": revision} if revision else {})))
    assert not recipe.saes["a"].pinned
    assert load_recipe(named(tmp_path, small_model(), revision="a" * 40)).saes["a"].pinned


def test_every_recipe_that_ships_is_pinned_and_so_is_what_discovery_writes(hub: Hub, tmp_path: Path) -> None:
    assert all(spec.pinned and spec.sha256 for recipe in shipped() for spec in recipe.saes.values())
    commit, sha256 = sae_on_the_hub(hub, tmp_path)
    spec = place_sae(open_sae(SAES, 2), SAES, 2, tmp_path)
    assert (spec.repo, spec.layer, spec.revision, spec.sha256) == (SAES, 2, commit, sha256)


def test_a_recipe_on_the_hub_is_explained(hub: Hub, tmp_path: Path) -> None:
    put(hub, files_in(write_recipe(tmp_path / "r", small_model()).parent))
    assert explain(REPO).startswith("mine is a recipe for small random, a whisper of width 64")
    sae_on_the_hub(hub, tmp_path)
    assert explain(SAES).startswith("SAE: 200 features of a residual 64 wide")


def test_a_recipe_too_large_is_refused_before_it_is_downloaded(hub: Hub) -> None:
    put(hub, {"recipe.json": b" " * (MAX_BYTES + 1)})
    with pytest.raises(HubError, match="is 8.0 MB, and no such file here is more than 8.0 MB; not taken"):
        load_recipe(REPO)
    assert hub.downloads() == []


def test_weights_too_large_are_refused_before_they_are_downloaded(hub: Hub, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(read, "MAX_BYTES", 10)
    put(hub, {"x.safetensors": b"12345678901"})
    with pytest.raises(HubError, match="not taken"):
        fetch(REPO, ["x.safetensors"], limit=10)
    assert hub.downloads() == []


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (65, "lies among 65 parts, where an SAE has at most 64"),
        (12, "the 13 files of user.recipe .*, and here no more"),
    ],
)
def test_parts_too_many_or_too_large_are_refused_before_they_are_downloaded(
    hub: Hub, monkeypatch, parts: int, message: str
) -> None:
    monkeypatch.setattr(read, "MAX_TOTAL", 1000)
    names = [f"s-{n:08x}-00001-of-00001.safetensors" for n in range(parts)]
    put(hub, {"s.safetensors.index.json": b"{}", **dict.fromkeys(names, bytes(90))})
    with pytest.raises(AudioSAESteerError, match=message):
        load_sae(REPO)
    assert hub.downloads() == []


def test_a_repository_of_a_million_files_is_not_read_to_its_end(hub: Hub, monkeypatch) -> None:
    monkeypatch.setattr(read, "MAX_FILES", 5000)
    put(hub, {"recipe.json": b"{}"})
    hub.repositories[REPO].endless = 1_000_000
    with pytest.raises(HubError, match="holds more than 5,000 files, as no SAEs or recipes do; not listed further"):
        load_recipe(REPO)
    assert sum("/tree/" in path for _, path in hub.requests) == 6


def test_a_listing_in_several_pages_is_whole(hub: Hub) -> None:
    hub.page = 7
    names = {f"{n:03}.txt": b"%d" % n for n in range(50)}
    put(hub, names)
    assert listing(REPO).files == tuple(sorted(names))
    assert sum("/tree/" in path for _, path in hub.requests) == 8


@pytest.mark.parametrize(
    "name", ["../../x.safetensors", "/etc/x", "a\\b", "C:x", "a/../../x", "x\n.safetensors", "\x1b[1m"]
)
def test_a_name_that_leaves_its_folder_or_deceives_is_not_seen(hub: Hub, name: str) -> None:
    put(hub, {name: b"1", "good": b"1"})
    assert listing(REPO).files == ("good",)


@pytest.mark.parametrize("name", ["../sae.safetensors", "/etc/passwd", "a/../../x", "a\\b"])
def test_a_recipe_that_names_a_file_elsewhere_is_refused(hub: Hub, tmp_path: Path, name: str) -> None:
    path = write_recipe(tmp_path / "r", small_model(), saes={"a": {"file": name}})
    put(hub, files_in(path.parent))
    with pytest.raises(RecipeError, match="leaves the recipe's folder"):
        load_recipe(REPO)
    assert hub.downloads() == ["recipe.json"]


def test_what_is_no_recipe_is_said_to_be_none(hub: Hub) -> None:
    for content in (b"[", b"[" * 100_000, b"\xff", json.dumps({"schema": 1}).encode(), b"NaN"):
        put(hub, {"recipe.json": content})
        with pytest.raises(RecipeError, match="is not a recipe"):
            load_recipe(REPO)
