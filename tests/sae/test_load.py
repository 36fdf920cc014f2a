"""`load_sae`: files, folders, layers; what is of no format says what is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from audiosae_files import save, state
from fixtures import DATA
from make import make_sae
from safetensors.torch import save_file

from audiosae_steer import CheckpointError, load_sae
from audiosae_steer.io.tensors.state_dict import torch_files
from audiosae_steer.io.tensors.torch_file import is_torch_file
from audiosae_steer.sae.formats.layers import files_of, layers_of
from audiosae_steer.sae.formats.registry import FORMATS


@pytest.fixture
def audiosae_repository(tmp_path: Path) -> Path:
    for layer in (1, 2, 3, 8, 12):
        (tmp_path / f"layer_{layer}").mkdir()
        save(tmp_path / f"layer_{layer}", state(seed=layer), {"k": 4})
    (tmp_path / "README.md").touch()
    return tmp_path


def test_the_layer_of_a_repository(audiosae_repository: Path) -> None:
    sae = load_sae(audiosae_repository, layer=8)
    assert torch.equal(sae.W_enc, state(seed=8)["encoder.weight"])
    assert sae.info["layer"] == 8
    assert torch.equal(load_sae(str(audiosae_repository / "layer_8")).W_enc, sae.W_enc)
    for layer in (None, 5):
        with pytest.raises(CheckpointError, match="it has layers 1 to 3, 8, 12"):
            load_sae(audiosae_repository, layer=layer)


def test_the_only_layer_needs_no_name(tmp_path: Path) -> None:
    (tmp_path / "layer_4").mkdir()
    shutil.copytree(DATA / "saelens-topk", tmp_path / "layer_4", dirs_exist_ok=True)
    (tmp_path / "layer_4" / "outputs.safetensors").unlink()
    assert load_sae(tmp_path).info["layer"] == 4
    with pytest.raises(CheckpointError, match="no layer 3; it has layer 4"):
        load_sae(tmp_path, 3)


def test_native_files_by_layer(tmp_path: Path) -> None:
    for layer in (3, 4):
        sae = make_sae(seed=layer)
        sae.info["layer"] = layer
        sae.save(tmp_path / f"encoder-{layer}.safetensors")
    (tmp_path / "no-false-speech.json").write_text("{}")
    assert torch.equal(load_sae(tmp_path, layer=4).W_enc, make_sae(seed=4).W_enc)
    with pytest.raises(CheckpointError, match="has layers 3, 4"):
        load_sae(tmp_path)
    (tmp_path / "encoder-3.safetensors").rename(tmp_path / "encoder-7.safetensors")
    with pytest.raises(CheckpointError, match="says layer 3"):
        load_sae(tmp_path, layer=7)
    assert load_sae(tmp_path / "encoder-7.safetensors", layer=3).info["layer"] == 3


def test_a_layer_that_cannot_be_known(tmp_path: Path) -> None:
    make_sae().save(tmp_path / "x")
    with pytest.raises(CheckpointError, match="does not say of which layer"):
        load_sae(tmp_path / "x", layer=4)


def test_a_layer_that_is_there_twice(tmp_path: Path) -> None:
    make_sae().save(tmp_path / "layer_3" / "x")
    make_sae().save(tmp_path / "encoder-3.safetensors")
    with pytest.raises(CheckpointError, match="there twice"):
        load_sae(tmp_path, layer=3)
    assert layers_of(["a/layer_3/ae.pt", "layer_10/ae.pt", "layer_10/x"]) == {
        3: ["a/layer_3/ae.pt"],
        10: ["layer_10/ae.pt", "layer_10/x"],
    }
    assert files_of(["a", "b/c"], None, "here") == ["a"]


def test_what_is_no_sae_says_what_would_be(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such file or folder, .*; on the Hub write user/repo"):
        load_sae(tmp_path / "nothing")
    with pytest.raises(CheckpointError, match="no such file or folder"):
        load_sae("some/where/else.safetensors")
    with pytest.raises(
        CheckpointError, match="it holds nothing. Read are sparsify, saelens, audiosae, dictionary_learning, freud, "
    ):
        load_sae(tmp_path)
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(CheckpointError, match=r"it holds notes\.txt"):
        load_sae(tmp_path)
    with pytest.raises(CheckpointError, match="of no SAE format"):
        load_sae(tmp_path / "notes.txt")
    with pytest.raises(CheckpointError, match="there are no revisions"):
        load_sae(tmp_path, revision="main")


def test_a_model_is_not_taken_for_an_sae(tmp_path: Path) -> None:
    weights = {"encoder.blocks.0.mlp.weight": torch.ones(3, 3)}
    torch.save({"dims": {"n_mels": 80}, "model_state_dict": weights}, tmp_path / "tiny.en.pt")
    save_file(weights, tmp_path / "model.safetensors")
    for path in tmp_path.iterdir():
        assert not any(format_.recognises(path) for format_ in FORMATS)
        with pytest.raises(CheckpointError, match="of no SAE format"):
            load_sae(path)


def test_several_saes_in_one_folder(tmp_path: Path) -> None:
    for name in ("a", "b"):
        make_sae().save(tmp_path / "native" / f"{name}.safetensors")
        (tmp_path / "torch").mkdir(exist_ok=True)
        (save(tmp_path / "torch", state(), {"k": 4}) / "ae.pt").rename(tmp_path / "torch" / f"{name}.pt")
    for folder in ("native", "torch"):
        with pytest.raises(CheckpointError, match=r"holds 2 SAEs, a\.\w+, b\.\w+; name the file of one"):
            load_sae(tmp_path / folder)


def test_of_several_torch_files_the_usual_one_is_taken_as_on_the_hub(tmp_path: Path) -> None:
    (save(tmp_path, state(seed=1), {"k": 4}) / "ae.pt").rename(tmp_path / "ae_5000.pt")
    save(tmp_path, state(seed=2), {"k": 4})
    assert torch.equal(load_sae(tmp_path).W_enc, state(seed=2)["encoder.weight"])
    assert torch_files([path.name for path in sorted(tmp_path.iterdir())]) == ["config.json", "ae.pt"]


def test_a_model_in_parts_is_not_taken_for_an_sae(tmp_path: Path) -> None:
    save_file({"model.weight": torch.ones(3, 3)}, tmp_path / "model-00001-of-00001.safetensors")
    index = {"metadata": {"total_size": 36}, "weight_map": {"model.weight": "model-00001-of-00001.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    for path in (tmp_path, tmp_path / "model.safetensors.index.json", tmp_path / "model.safetensors"):
        with pytest.raises(CheckpointError, match="of no SAE format"):
            load_sae(path)


def test_a_safetensors_file_that_begins_like_a_pickle(tmp_path: Path) -> None:
    make_sae().save(tmp_path / "sae")
    content = (tmp_path / "sae").read_bytes()
    length = int.from_bytes(content[:8], "little")
    padding = (0x80 - length) % 256
    header = (length + padding).to_bytes(8, "little") + content[8 : 8 + length] + b" " * padding
    (tmp_path / "sae").write_bytes(header + content[8 + length :])
    assert header[:1] == b"\x80"
    assert not is_torch_file(tmp_path / "sae")
    assert [format_.name for format_ in FORMATS if format_.recognises(tmp_path / "sae")] == ["native"]
    assert torch.equal(load_sae(tmp_path / "sae").W_enc, make_sae().W_enc)
