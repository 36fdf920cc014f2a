"""FREUD's checkpoints: what is in them, what is taken and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from fixtures import fixture
from torch import nn

from audiosae_steer import CheckpointError, load_sae

D, F, K = 6, 20, 3


def l1(seed: int = 0, **more) -> dict[str, object]:
    g = torch.Generator().manual_seed(seed)
    model = {"decoder.weight": torch.randn(D, F, generator=g), "encoder_bias": torch.randn(F, generator=g), **more}
    return {name: value for name, value in model.items() if value is not None}


def topk(seed: int = 0, **more) -> dict[str, object]:
    g = torch.Generator().manual_seed(seed)
    model = {
        "encoder.weight": torch.randn(F, D, generator=g),
        "encoder.bias": torch.randn(F, generator=g),
        "W_dec": torch.randn(F, D, generator=g),
        "b_dec": torch.randn(D, generator=g),
        **more,
    }
    return {name: value for name, value in model.items() if value is not None}


def checkpoint(model: dict[str, object], config: dict[str, object] | None = None, **more) -> dict[str, object]:
    hparams = {
        "autoencoder_variant": "l1" if "encoder_bias" in model else "topk",
        "autoencoder_config": config or {},
        "activation_size": D,
        "whisper_config": {"model": "tiny", "layer_name": "encoder.blocks.2"},
        **more,
    }
    return {"model": model, "optimizer": {}, "step": 7, "best_val_loss": np.float64(0.5), "hparams": hparams}


def save(folder: Path, content: object, name: str = "bestval.pth") -> Path:
    torch.save(content, folder / name)
    return folder / name


def test_l1_is_tied_and_brought_to_unit_norm(tmp_path: Path) -> None:
    model, x = l1(), torch.randn(5, D)
    sae = load_sae(save(tmp_path, checkpoint(model)))
    W = nn.functional.normalize(model["decoder.weight"], dim=0)
    c = (x @ W + model["encoder_bias"]).clamp(min=0)
    torch.testing.assert_close(sae.encode(x), c)
    torch.testing.assert_close(sae(x), c @ W.T)
    assert sae.gate.kind == "relu"
    assert sae.W_enc.data_ptr() != sae.W_dec.data_ptr()
    assert {name: sae.info[name] for name in ("read_as", "hookpoint", "side", "layer")} == {
        "read_as": "L1AutoEncoder",
        "hookpoint": "encoder.blocks.2",
        "side": "encoder",
        "layer": 3,
    }


def test_its_blocks_count_from_0_and_layers_from_1(tmp_path: Path) -> None:
    file = save(tmp_path, checkpoint(l1()))
    assert load_sae(file, layer=3).info["layer"] == 3
    with pytest.raises(CheckpointError, match="the SAE itself says layer 3"):
        load_sae(file, layer=2)
    mlp = {"model": "tiny", "layer_name": "encoder.blocks.2.mlp.1"}
    assert "layer" not in load_sae(save(tmp_path, checkpoint(l1(), whisper_config=mlp))).info


def test_topk_keeps_its_directions(tmp_path: Path) -> None:
    model, x = topk(), torch.randn(5, D)
    sae = load_sae(save(tmp_path, checkpoint(model, {"k": K, "normalize_decoder": True})))
    pre = ((x - model["b_dec"]) @ model["encoder.weight"].T + model["encoder.bias"]).clamp(min=0)
    top = pre.topk(K, dim=-1)
    f = torch.zeros(5, F).scatter(-1, top.indices, top.values)
    torch.testing.assert_close(sae.encode(x), f)
    torch.testing.assert_close(sae(x), f @ model["W_dec"] + model["b_dec"])
    assert torch.equal(sae.W_dec, model["W_dec"])


def test_settings_may_lie_beside_a_bare_state_dict(tmp_path: Path) -> None:
    file = save(tmp_path, topk())
    with pytest.raises(CheckpointError, match="names no k; put the .json that it was trained by beside it"):
        load_sae(file)
    (tmp_path / "notes.json").write_text("{}")
    settings = {"autoencoder_variant": "topk", "autoencoder_config": {"k": K, "expansion_factor": 4}}
    (tmp_path / "tiny_topk.json").write_text(json.dumps(settings))
    assert load_sae(file).gate.k == K
    assert load_sae(save(tmp_path, checkpoint(topk(), {"k": 2}))).gate.k == 2, "a checkpoint's own settings go first"


def test_a_missing_k_is_the_one_that_freud_takes(tmp_path: Path) -> None:
    model = {name: torch.cat([value, value]) if name != "b_dec" else value for name, value in topk().items()}
    sae = load_sae(save(tmp_path, checkpoint(model, {"auxk_alpha": 0.1})))
    assert sae.gate.k == 32
    assert "what FREUD takes" in sae.info["because"]


def test_numbers_of_numpy_s_are_passed_over(tmp_path: Path) -> None:
    before = set(torch.serialization.get_safe_globals())
    content = checkpoint(l1(), best=np.float32(3.5))
    assert load_sae(save(tmp_path, content)).n_features == F
    assert set(torch.serialization.get_safe_globals()) == before


class Model:
    pass


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (checkpoint(l1(), autoencoder_variant="topk"), "tensors of its l1 autoencoder, its hparams says 'topk'"),
        (checkpoint(l1(), activation_size=7), "activation_size = 7, its tensors 6"),
        (checkpoint(l1(), {"n_dict_components": 21}), "n_dict_components = 21, its tensors 20"),
        (checkpoint(topk(), {"k": 2.5}), "k is 2.5"),
        (checkpoint(topk(), {"k": F + 1}), "more than the 20 features"),
        (checkpoint(l1(encoder_bias=torch.ones(F + 1))), r"encoder_bias has shape \(21,\)"),
        (checkpoint(topk(b_dec=torch.full((D,), torch.inf)), {"k": K}), "holds NaN or infinite"),
        (checkpoint(l1(**{"decoder.weight": torch.ones(1).expand(D, F)})), "claims shape"),
        (checkpoint(l1(), best=Model()), "would run code"),
        (Model(), "would run code"),
        (checkpoint(l1(more=torch.ones(1))), "of no SAE format"),
    ],
)
def test_what_is_not_read_says_why(tmp_path: Path, content: object, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        load_sae(save(tmp_path, content))


def test_the_settings_beside_it_are_fetched_too(tmp_path: Path) -> None:
    folder = fixture("freud-topk", tmp_path)
    (folder / "bestval.pth").rename(folder / "step100.pth")
    assert load_sae(folder / "step100.pth").info["layer"] == 3
