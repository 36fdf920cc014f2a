"""dictionary_learning's files: what each class means, by its formulas, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from audiosae_files import D, F, K, pre, save, standard, state
from fixtures import fixture
from torch import Tensor, nn

from audiosae_steer import CheckpointError, load_sae
from audiosae_steer.errors import ThresholdWarning


@pytest.fixture
def x() -> Tensor:
    return torch.randn(7, D, generator=torch.Generator().manual_seed(5))


def bare(seed: int = 0, **more) -> dict[str, object]:
    """The tensors of `JumpReluAutoEncoder`, or with `group_sizes`, k and threshold those of the Matryoshka class."""
    content = state(seed)
    named = {
        "W_enc": content["encoder.weight"].T.contiguous(),
        "b_enc": content["encoder.bias"],
        "W_dec": content["decoder.weight"].T.contiguous(),
        "b_dec": content["b_dec"],
        "threshold": torch.linspace(0, 0.5, F),
        **more,
    }
    return {name: value for name, value in named.items() if value is not None}


def trainer(name: str, **more) -> dict[str, object]:
    return {"trainer": {"dict_class": name, **more}, "buffer": {}}


@pytest.mark.parametrize("name", ["AutoEncoderTopK", "<class 'dictionary_learning.trainers.top_k.AutoEncoderTopK'>"])
def test_topk_by_its_class(tmp_path: Path, x: Tensor, name: str) -> None:
    content = state()
    sae = load_sae(save(tmp_path, content, trainer(name, k=K)))
    top = pre(content, x).topk(K, dim=-1)
    torch.testing.assert_close(sae.encode(x), torch.zeros(len(x), F).scatter(-1, top.indices, top.values))
    assert sae.threshold is None
    assert (sae.info["format"], sae.info["because"]) == ("dictionary_learning", "dict_class in config.json")


@pytest.mark.parametrize("config", [None, trainer("AutoEncoder")])
def test_standard_has_unit_directions_as_from_pretrained_gives_it(tmp_path: Path, x: Tensor, config) -> None:
    content = standard()
    content["decoder.weight"][:, 3] = 0
    sae = load_sae(save(tmp_path, content, config))
    norms = content["decoder.weight"].norm(dim=0)
    f = pre(content, x, "bias")
    live = norms > 0
    torch.testing.assert_close(sae.encode(x)[:, live], (f * norms)[:, live])
    torch.testing.assert_close(sae(x), nn.functional.linear(f, content["decoder.weight"]) + content["bias"])
    torch.testing.assert_close(sae.W_dec.norm(dim=-1)[live], torch.ones(F - 1))
    assert sae.gate.kind == "relu"


def test_jumprelu_reads_x_itself(tmp_path: Path, x: Tensor) -> None:
    content = bare()
    sae = load_sae(save(tmp_path, content))
    before = x @ content["W_enc"] + content["b_enc"]
    f = (before * (before > content["threshold"])).clamp(min=0)
    torch.testing.assert_close(sae.encode(x), f)
    torch.testing.assert_close(sae(x), f @ content["W_dec"] + content["b_dec"])
    assert (sae.info["read_as"], sae.info["because"]) == ("JumpReluAutoEncoder", "the names of its tensors")


@pytest.mark.parametrize("threshold", [torch.tensor(0.3), torch.tensor(-1.0)])
def test_matryoshka_runs_all_of_its_groups(tmp_path: Path, x: Tensor, threshold: Tensor) -> None:
    content = bare(threshold=threshold, k=torch.tensor(K), group_sizes=torch.tensor([8, F - 8]))
    save(tmp_path, content, trainer("MatryoshkaBatchTopKSAE"))
    f = ((x - content["b_dec"]) @ content["W_enc"] + content["b_enc"]).clamp(min=0)
    if threshold < 0:
        with pytest.warns(ThresholdWarning, match="never set"):
            sae = load_sae(tmp_path)
        f = f * (f >= f.flatten().topk(K * len(x)).values[-1])
    else:
        sae, f = load_sae(tmp_path), f * (f > threshold)
    torch.testing.assert_close(sae.encode(x), f)
    assert sae.info["read_as"] == "MatryoshkaBatchTopKSAE"


def test_gated_is_a_jumprelu_sae(tmp_path: Path) -> None:
    sae = load_sae(fixture("dictionary_learning-gated", tmp_path))
    assert sae.gate.kind == "jumprelu"
    assert sae.threshold is not None
    assert bool((sae.threshold >= 0).all())
    assert 0 < int((sae.threshold > 0).sum()) < len(sae.threshold)
    assert sae.has_own_gates


@pytest.mark.parametrize(
    ("content", "config", "message"),
    [
        (standard(), trainer("IdentityDict"), "of class IdentityDict, which is not read; read are AutoEncoder, "),
        (
            state(),
            trainer("AutoEncoder"),
            "tensors of AutoEncoderTopK or BatchTopKSAE, its config.json says AutoEncoder",
        ),
        (standard(), trainer("BatchTopKSAE", k=4), "tensors of AutoEncoder, its config.json says BatchTopKSAE"),
        (bare(), trainer("GatedAutoEncoder"), "tensors of JumpReluAutoEncoder"),
        (state(b_dec=None), None, "which is not read"),
        (state(r_mag=torch.ones(F)), None, "with b_dec, .*, which is not read"),
        (state(**{"encoder.bias": None}), None, "which is not read"),
        (standard() | {"k": torch.tensor(3)}, None, "which is not read"),
        ({"ae": state(), "optimizer": {}, "step": 3}, None, "backup of a training"),
        (state(k=None), trainer("AutoEncoderTopK"), "names no k"),
        (state(), trainer("AutoEncoderTopK", k=7), "say k = 7, its tensors 4"),
        (bare(threshold=torch.ones(F + 1)), None, r"threshold has shape \(49,\)"),
        (bare(W_enc=torch.ones(F, D)), None, r"b_enc has shape \(48,\).*dict_size = 10"),
        (bare(b_dec=torch.full((D,), torch.nan)), None, "holds NaN or infinite"),
        (bare(), trainer("JumpReluAutoEncoder", dict_size=47), "dict_size = 47, its tensors 48"),
        (standard(), "{", "not valid JSON"),
    ],
)
def test_what_is_not_read_says_why(tmp_path: Path, content: object, config: object, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        load_sae(save(tmp_path, content, config))


def test_a_gated_sae_whose_numbers_overflow_is_refused(tmp_path: Path) -> None:
    content = {
        "decoder_bias": torch.zeros(D),
        "encoder.weight": torch.ones(F, D),
        "r_mag": torch.full((F,), 800.0),
        "gate_bias": torch.zeros(F),
        "mag_bias": torch.zeros(F),
        "decoder.weight": torch.ones(D, F),
    }
    with pytest.raises(CheckpointError, match="holds NaN or infinite"):
        load_sae(save(tmp_path, content))
