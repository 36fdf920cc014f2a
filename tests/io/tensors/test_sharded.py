"""Native files in parts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from comparisons import assert_same
from hub_recipes import files_in
from hub_server import Repository, served
from make import make_sae
from safetensors.torch import load_file, save_file

from audiosae_steer import CheckpointError, load_sae, save_sae
from audiosae_steer.io.hub.read import sha256_of
from audiosae_steer.io.tensors import sharded
from audiosae_steer.steering.recipes.sae_source import SAESpec

KINDS = ("jumprelu", "batchtopk-threshold", "topk")


def parts_of(folder: Path) -> list[Path]:
    return sorted(folder.glob("*-of-*.safetensors"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("most", [1, 1500, 3200])
def test_round_trip_in_parts(tmp_path: Path, kind: str, most: int) -> None:
    sae = make_sae(kind)
    save_sae(sae, tmp_path / "sae.safetensors", shard_bytes=most)
    parts = parts_of(tmp_path)
    assert len(parts) > 1
    assert all(f"-of-{len(parts):05d}" in part.name for part in parts)
    index = tmp_path / "sae.safetensors.index.json"
    assert not (tmp_path / "sae.safetensors").exists()
    for source in (tmp_path, index, tmp_path / "sae.safetensors", str(tmp_path / "sae.safetensors")):
        assert_same(load_sae(source), sae)
    content = json.loads(index.read_text())
    assert content["metadata"]["total_size"] == sum(tensor.nbytes for tensor in sae.buffers())
    assert set(content["weight_map"].values()) == {part.name for part in parts}


def test_layers_in_parts(tmp_path: Path) -> None:
    for layer in (3, 4):
        sae = make_sae(seed=layer)
        sae.info["layer"] = layer
        save_sae(sae, tmp_path / f"layer-{layer}.safetensors", shard_bytes=1500 if layer == 4 else 10**9)
    for layer in (3, 4):
        assert torch.equal(load_sae(tmp_path, layer).W_enc, make_sae(seed=layer).W_enc)


def test_what_was_there_before_goes_when_the_new_one_is_whole(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "sae.safetensors"
    old, new = make_sae(seed=1), make_sae(seed=2)
    save_sae(old, path, shard_bytes=1500)
    before = parts_of(tmp_path)
    real, calls = sharded.write_atomic, []

    def fails(target: Path, data: bytes, raising: type) -> None:
        calls.append(target)
        if len(calls) == 2:
            raise CheckpointError("the disk is full")
        real(target, data, raising)

    monkeypatch.setattr(sharded, "write_atomic", fails)
    with pytest.raises(CheckpointError, match="disk is full"):
        save_sae(new, path, shard_bytes=1500)
    assert parts_of(tmp_path) == before
    assert_same(load_sae(path), old)
    monkeypatch.setattr(sharded, "write_atomic", real)
    save_sae(new, path, shard_bytes=1500)
    assert not set(parts_of(tmp_path)) & set(before)
    assert_same(load_sae(path), new)
    save_sae(old, path)
    assert [file.name for file in tmp_path.iterdir()] == ["sae.safetensors"]
    assert_same(load_sae(path), old)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["weight_map"].update(W_enc="../sae-00000000-00001-of-00002.safetensors"), "forged"),
        (lambda c: c["weight_map"].update(W_enc="/etc/passwd"), "forged"),
        (lambda c: c["weight_map"].update(W_enc=7), "forged"),
        (lambda c: c["weight_map"].update(W_enc="sae-00000000-00001-of-00002.safetensors"), "is not there"),
        (lambda c: c["weight_map"].update(more=c["weight_map"]["W_enc"]), "does not hold it"),
        (lambda c: c["weight_map"].pop("W_enc"), "tensors missing: W_enc"),
        (lambda c: c.update(weight_map={}), "no index"),
        (lambda c: c.update(metadata=[]), "no index"),
        (lambda c: c["metadata"].update(k=3), "not text by name"),
        (lambda c: c["metadata"].update(gate="softmax"), "gate 'softmax' is unknown"),
        (lambda c: c["metadata"].update(sha256=[]), "not by the parts' names"),
        (lambda c: c["metadata"].update(sha256={"x": 1}), "is not the file .* expected none"),
    ],
)
def test_a_forged_index(tmp_path: Path, change, message: str) -> None:
    save_sae(make_sae(), tmp_path / "sae.safetensors", shard_bytes=1500)
    index = tmp_path / "sae.safetensors.index.json"
    content = json.loads(index.read_text())
    change(content)
    index.write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=message):
        load_sae(index)


def test_a_part_that_is_cut_short(tmp_path: Path) -> None:
    save_sae(make_sae(), tmp_path / "sae.safetensors", shard_bytes=1500)
    part = parts_of(tmp_path)[0]
    part.write_bytes(part.read_bytes()[:-3])
    with pytest.raises(CheckpointError, match="truncated"):
        load_sae(tmp_path)


def change_a_part(folder: Path) -> Path:
    part = next(part for part in parts_of(folder) if "W_dec" in load_file(part))
    save_file({name: tensor * -5 for name, tensor in load_file(part).items()}, part)
    return part


def without_sums(index: Path) -> None:
    """As another program writes an index."""
    content = json.loads(index.read_text())
    del content["metadata"]["sha256"]
    index.write_text(json.dumps(content))


def test_a_part_that_is_another_than_the_index_was_made_for(tmp_path: Path) -> None:
    save_sae(make_sae(), tmp_path / "sae.safetensors", shard_bytes=1500)
    part = change_a_part(tmp_path)
    with pytest.raises(CheckpointError, match=f"{part.name} is not the file that was asked for"):
        load_sae(tmp_path)


@pytest.mark.parametrize("sums", [True, False])
def test_a_recipe_with_the_sha256_of_an_index(tmp_path: Path, sums: bool) -> None:
    index = tmp_path / "sae.safetensors.index.json"
    save_sae(make_sae(), tmp_path / "sae.safetensors", shard_bytes=1500)
    if not sums:
        without_sums(index)
        assert_same(load_sae(index), make_sae())
    spec = SAESpec(file=index.name, sha256=sha256_of(index))
    if sums:
        assert_same(spec.load(tmp_path, "mine"), make_sae())
    change_a_part(tmp_path)
    message = "is not the file that was asked for" if sums else "its index holds no sha256 of them"
    with pytest.raises(CheckpointError, match=message):
        spec.load(tmp_path, "mine")


@pytest.mark.parametrize("sums", [True, False])
def test_a_recipe_with_the_sha256_of_an_index_on_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sums: bool
) -> None:
    folder = tmp_path / "made"
    index = folder / "sae.safetensors.index.json"
    save_sae(make_sae(), folder / "sae.safetensors", shard_bytes=1500)
    if not sums:
        without_sums(index)
    with served(monkeypatch, tmp_path) as hub:
        hub.repositories["you/sae"] = Repository()
        commit = hub.repositories["you/sae"].commit(files_in(folder))
        spec = SAESpec(repo="you/sae", revision=commit, sha256=sha256_of(index))
        if sums:
            assert_same(spec.load(None, "mine"), load_sae("you/sae"))
        else:
            assert load_sae("you/sae").info["source"]["sha256"] is None
            with pytest.raises(CheckpointError, match="you/sae: .* its index holds no sha256 of them"):
                spec.load(None, "mine")
        change_a_part(folder)
        commit = hub.repositories["you/sae"].commit(files_in(folder))
        with pytest.raises(CheckpointError, match="is not the file that was asked for" if sums else "no sha256"):
            SAESpec(repo="you/sae", revision=commit, sha256=spec.sha256).load(None, "mine")
