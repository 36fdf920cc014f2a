"""sparsify's folders: hookpoints, settings, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from fixtures import fixture
from safetensors.torch import load_file, save_file

from audiosae_steer import CheckpointError, load_sae
from audiosae_steer.sae.formats.layers import files_of, layers_of


def changed(tmp_path: Path, tensors: dict | None = None, **settings) -> Path:
    """The fixture with other settings or tensors; None takes one away."""
    folder = fixture("sparsify-topk", tmp_path)
    config = {**json.loads((folder / "cfg.json").read_text()), **settings}
    (folder / "cfg.json").write_text(json.dumps({name: value for name, value in config.items() if value is not None}))
    weights = {**load_file(folder / "sae.safetensors"), **(tensors or {})}
    save_file({name: value for name, value in weights.items() if value is not None}, folder / "sae.safetensors")
    return folder


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"transcode": True}, "it is a transcoder"),
        ({"skip_connection": True}, "past the features"),
        ({"tensors": {"W_skip": torch.ones(16, 16)}}, "past the features"),
        ({"signed": True}, "have signs"),
        ({"activation": "groupmax"}, "no gate here knows groups"),
        ({"activation": "softmax"}, "'softmax' is not known"),
        ({"k": None}, "k is None"),
        ({"k": 65}, "more than the 64 features"),
        ({"d_in": 17}, "d_in = 17, its tensors 16"),
        ({"num_latents": 65}, "num_latents = 65, its tensors 64"),
        ({"expansion_factor": 5}, "expansion_factor = 5, its tensors 4"),
        ({"tensors": {"b_dec": None}}, "expected encoder.weight"),
        ({"tensors": {"encoder.bias": torch.ones(63)}}, r"encoder.bias has shape \(63,\)"),
        ({"tensors": {"b_dec": torch.full((16,), torch.nan)}}, "b_dec holds NaN"),
    ],
)
def test_what_is_not_read_says_why(tmp_path: Path, settings: dict, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        load_sae(changed(tmp_path, **settings))


def test_settings_are_needed(tmp_path: Path) -> None:
    folder = changed(tmp_path)
    (folder / "cfg.json").unlink()
    with pytest.raises(CheckpointError, match=r"put the cfg\.json of its folder beside it"):
        load_sae(folder)


@pytest.fixture
def hookpoints(tmp_path: Path) -> Path:
    for n in (3, 4, 11):
        shutil.copytree(changed(tmp_path, k=n), tmp_path / "repository" / f"layers.{n}")
        shutil.rmtree(tmp_path / "sparsify-topk")
    (tmp_path / "repository" / "config.json").write_text("{}")
    return tmp_path / "repository"


def test_a_folder_of_hookpoints_counts_from_0_and_layers_from_1(hookpoints: Path) -> None:
    sae = load_sae(hookpoints, layer=4)
    assert (sae.gate.k, sae.info["layer"]) == (3, 4)
    assert load_sae(hookpoints / "layers.4").gate.k == 4
    for layer in (None, 3, 11):
        with pytest.raises(CheckpointError, match=r"it has layers 4, 5, 12 \(layers\.3 is layer 4\)"):
            load_sae(hookpoints, layer=layer)


def test_hookpoints_that_are_no_layer_have_to_be_named(hookpoints: Path) -> None:
    (hookpoints / "layers.4").rename(hookpoints / "layers.4.mlp")
    with pytest.raises(CheckpointError, match="it has layers 4, 12"):
        load_sae(hookpoints, layer=5)
    assert load_sae(hookpoints / "layers.4.mlp").gate.k == 4
    for n in (3, 11):
        shutil.rmtree(hookpoints / f"layers.{n}")
    with pytest.raises(CheckpointError, match="Of a folder of hookpoints, take one folder"):
        load_sae(hookpoints)


def test_both_sides_of_a_model(hookpoints: Path) -> None:
    (hookpoints / "layers.3").rename(hookpoints / "encoder.layers.3")
    shutil.copytree(hookpoints / "encoder.layers.3", hookpoints / "decoder.layers.3")
    with pytest.raises(CheckpointError, match="layer 4 is there twice, as decoder.layers.3/ and encoder.layers.3/"):
        load_sae(hookpoints, layer=4)


def test_names_that_say_a_layer() -> None:
    names = ["h.0/a", "model.layers.7/a", "layer_1/a", "layer_x/a", "layers.1.mlp/a", "layers.1/deep/a", "a.layers.9"]
    with pytest.raises(CheckpointError, match="layer 1 is there twice, as h.0/ and layer_1/"):
        layers_of(names)
    assert layers_of(names[1:]) == {1: ["layer_1/a"], 8: ["model.layers.7/a"]}
    assert files_of(names[1:], 8, "here") == ["model.layers.7/a"]
