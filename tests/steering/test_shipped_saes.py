"""The SAEs that ship with the package: listed, and loaded by the name of their model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from make import make_openai

from audiosae_steer import CheckpointError, Site, UnknownModelError, load_sae, recipes, saes
from audiosae_steer.io.shipped import checkpoints_dir
from audiosae_steer.steering.describe import explain
from audiosae_steer.steering.recipes.load import shipped


def test_all_that_ship_are_listed_and_loaded_by_name() -> None:
    listed = saes()
    assert {info.path for info in listed} == set(checkpoints_dir().glob("*/*.safetensors"))
    for info in listed:
        sae = load_sae(info.name, layer=None if info.site is None else info.site.layer)
        assert (sae.n_features, sae.d_model) == (info.n_features, info.d_model)
        assert sae.digest() == load_sae(info.path).digest()


@pytest.mark.parametrize("name", ["tiny.en", "openai/whisper-tiny.en"])
def test_those_of_a_name(name: str) -> None:
    assert [(info.name, info.site) for info in saes(name)] == [("tiny.en", Site(3)), ("tiny.en", Site(4))]


def test_those_of_a_model(tiny_en: Any, tiny_en_hf: Any) -> None:
    assert saes(tiny_en) == saes(tiny_en_hf) == saes("tiny.en")
    assert saes(make_openai()) == []
    with pytest.raises(UnknownModelError, match="known are"):
        saes(torch.nn.Linear(2, 2))
    with pytest.raises(UnknownModelError, match="SAEs ship for .*tiny.en"):
        saes("medium")


def test_a_name_needs_its_layer_and_a_wrong_one_says_which_there_are() -> None:
    with pytest.raises(CheckpointError, match="Say layer=N, or --layer N; it has layers 3, 4"):
        load_sae("tiny.en")
    with pytest.raises(CheckpointError, match="there is no layer 2"):
        load_sae("tiny.en", layer=2)
    with pytest.raises(CheckpointError, match="none that ships with the package .*tiny.en"):
        load_sae("tinny.en", layer=4)


@pytest.mark.parametrize("layer", ["4", 4.0, True])
def test_a_layer_is_a_whole_number(layer: Any) -> None:
    with pytest.raises(CheckpointError, match="expected a whole number: layers are counted from 1"):
        load_sae("tiny.en", layer=layer)
    assert load_sae("tiny.en", layer=np.int64(4)).info["layer"] == 4


def test_a_folder_here_goes_before_a_name(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tiny.en").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="no SAE format"):
        load_sae("tiny.en")


def test_info_of_a_name_and_a_layer_is_of_the_sae() -> None:
    assert explain("tiny.en", 4).startswith("SAE: 3,072 features of a residual 384 wide")


def test_recipes_of_any_model() -> None:
    assert [recipe.name for recipe in recipes()] == [recipe.name for recipe in shipped()]
    assert recipes(make_openai()) == []
