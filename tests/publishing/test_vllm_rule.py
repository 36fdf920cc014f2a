"""Names and shapes as vLLM's Whisper takes them, and what the rule finds wrong."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from make import make_hf
from safetensors.torch import load_file, save_file

from audiosae_steer import ModelError, Push, Site, steer
from audiosae_steer.publishing.export import export
from audiosae_steer.publishing.vllm_rule import check_folder, misfits, parameters, place_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A small model with two constants baked in."""
    model = make_hf(d=64)
    edits = [Push(torch.linspace(-1, 1, 64), 0.5)]
    baked = steer(model, site=Site(layer=3, side="decoder"), edits=edits, allow_empty=True).bake()
    found = export(model, tmp_path_factory.mktemp("vllm") / "out", "vllm", baked=baked)
    assert found.dtype == "float16"
    return found.folder


def shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    return {name: tuple(each.shape) for name, each in load_file(folder / "model.safetensors").items()}


def test_what_bake_writes_satisfies_the_rule(folder) -> None:
    config = json.loads((folder / "config.json").read_text())
    assert misfits(shapes(folder), config) == []
    check_folder(folder)
    card = (folder / "README.md").read_text()
    assert "vllm.LLM(" in card
    assert "it was not run in vLLM" in card
    assert "another strength of the recipe is another folder" in card


def test_every_tensor_has_one_place_and_every_parameter_is_filled(folder) -> None:
    """Counted, without the rule's own check: stacks of three and two, and zeros for the biases of keys."""
    config, given = json.loads((folder / "config.json").read_text()), shapes(folder)
    keys = [name for name in given if name.endswith(".k_proj.weight")]
    given |= {name.replace("weight", "bias"): shape[:1] for name, shape in ((key, given[key]) for key in keys)}
    sizes: dict[str, int] = {}
    for name, shape in given.items():
        whole, _ = place_of(name)
        sizes[whole] = sizes.get(whole, 0) + int(torch.tensor(shape).prod())
    assert sizes == {name: int(torch.tensor(shape).prod()) for name, shape in parameters(config).items()}
    assert len(keys) == 3 + 2 * 3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.pop("model.encoder.layers.1.fc2.bias"), "encoder.layers.1.mlp.fc2.bias is not filled"),
        (lambda t: t.pop("model.decoder.layers.0.self_attn.v_proj.weight"), "qkv_proj.weight is not filled"),
        (lambda t: t.update({"model.encoder.layers.0.self_attn.k_proj.bias": (64,)}), "zeros stand for a key map's"),
        (lambda t: t.update({"proj_out.weight": (51864, 64)}), "the output map is the embedding's"),
        (lambda t: t.update({"model.encoder.layers.0.mlp.gate.weight": (1, 1)}), "gate.weight is no parameter there"),
        (lambda t: t.update({"model.decoder.layers.0.fc1.weight": (64, 256)}), r"has shapes .*expected \(\(256, 64\),"),
        (lambda t: t.update({"model.decoder.layers.2.encoder_attn.v_proj.weight": (64, 32)}), "kv_proj.weight has"),
    ],
)
def test_what_would_be_lost_or_random_is_said(folder, change, said) -> None:
    given: dict[str, Any] = shapes(folder)
    change(given)
    (found,) = misfits(given, json.loads((folder / "config.json").read_text()))
    assert re.search(said, found)


def test_a_folder_that_lacks_files_is_refused(folder, tmp_path) -> None:
    config = json.loads((folder / "config.json").read_text()) | {"architectures": ["WhisperModel"]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file({"model.encoder.conv1.weight": torch.zeros(64, 80, 3)}, tmp_path / "model.safetensors")
    with pytest.raises(
        ModelError, match=r"would not take this model: generation_config.json is missing; .* and \d+ more"
    ):
        check_folder(tmp_path)
