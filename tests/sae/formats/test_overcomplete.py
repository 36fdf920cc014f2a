"""overcomplete's models and state dicts: what each says of itself, and what is refused."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from fixtures import fixture

from audiosae_steer import CheckpointError, load_sae
from audiosae_steer.io.tensors.state_dict import load_state

D, F, K = 6, 20, 3
LINEAR = "encoder.final_block.0."
NORM = "encoder.final_block.1."


def state(seed: int = 0, unit: bool = True, **more) -> dict[str, torch.Tensor]:
    """A state dict of an SAE with a linear encoder; None takes a name away."""
    g = torch.Generator().manual_seed(seed)
    weights = torch.randn(F, D, generator=g)
    content = {
        f"{LINEAR}weight": torch.randn(F, D, generator=g),
        f"{LINEAR}bias": torch.randn(F, generator=g),
        "dictionary._weights": weights / weights.norm(dim=1, keepdim=True) if unit else weights,
        "dictionary.multiplier": torch.tensor(0.3),
        **{name.replace("__", "."): value for name, value in more.items()},
    }
    return {name: value for name, value in content.items() if value is not None}


def save(folder: Path, content: object, config: dict[str, object] | None = None) -> Path:
    torch.save(content, folder / "sae.pt")
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return folder


def pre(content: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    return (x @ content[f"{LINEAR}weight"].T + content[f"{LINEAR}bias"]).clamp(min=0)


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(7, D, generator=torch.Generator().manual_seed(5))


def test_a_jump_sae_is_known_by_its_thresholds(tmp_path: Path, x: torch.Tensor) -> None:
    content = state(thresholds=torch.linspace(-4, 0.5, F))
    sae = load_sae(save(tmp_path, content))
    f = pre(content, x)
    f = torch.where(f < content["thresholds"].exp(), 0, f)
    torch.testing.assert_close(sae.encode(x), f)
    torch.testing.assert_close(sae(x), f @ content["dictionary._weights"] * torch.tensor(0.3).exp())
    assert (sae.info["read_as"], sae.info["because"]) == ("JumpSAE", "the names of its tensors")


def test_at_its_threshold_a_feature_fires(tmp_path: Path) -> None:
    content = state(thresholds=torch.zeros(F))  # exp(0) = 1
    content[f"{LINEAR}weight"].zero_()
    content[f"{LINEAR}bias"].fill_(1.0)
    assert bool((load_sae(save(tmp_path, content)).encode(torch.ones(1, D)) == 1).all())


def test_a_state_dict_alone_does_not_say_which_class_it_is_of(tmp_path: Path, x: torch.Tensor) -> None:
    content = state()
    with pytest.raises(CheckpointError, match="whose state dicts are alike: save the model itself"):
        load_sae(save(tmp_path, content))
    sae = load_sae(save(tmp_path, content, {"class": "TopKSAE", "top_k": K}))
    top = pre(content, x).topk(K, dim=-1)
    torch.testing.assert_close(sae.encode(x), torch.zeros(7, F).scatter(-1, top.indices, top.values))
    assert sae.info["because"] == "class in config.json"
    torch.testing.assert_close(load_sae(save(tmp_path, content, {"class": "SAE"})).encode(x), pre(content, x))
    sae = load_sae(save(tmp_path, content, {"class": "BatchTopKSAE", "running_threshold": 0.5}))
    assert sae.gate.kind == "jumprelu"
    torch.testing.assert_close(sae.encode(x), pre(content, x) * (pre(content, x) >= 0.5))


@pytest.mark.parametrize("kind", ["l2", "max_l2", "l1", "max_l1", "identity"])
def test_a_dictionary_is_normalised_as_eval_does_it(tmp_path: Path, kind: str) -> None:
    content = state(unit=False)
    W = content["dictionary._weights"]
    expected = {
        "l2": W / (W.norm(dim=1, keepdim=True) + 1e-8),
        "max_l2": W / W.norm(dim=1).max(),
        "l1": W / (W.norm(p=1, dim=1, keepdim=True) + 1e-8),
        "max_l1": W / W.norm(p=1, dim=1).max(),
        "identity": W,
    }[kind]
    sae = load_sae(save(tmp_path, content, {"class": "SAE", "normalization": kind}))
    torch.testing.assert_close(sae.W_dec, expected * torch.tensor(0.3).exp())
    (tmp_path / "config.json").write_text('{"class": "SAE"}')
    with pytest.raises(CheckpointError, match=r"before its dictionary was normalised.*call sae\.eval\(\)"):
        load_sae(tmp_path)


@pytest.mark.parametrize("affine", [True, False])
def test_a_batch_norm_is_folded(tmp_path: Path, x: torch.Tensor, affine: bool) -> None:
    norm = torch.nn.BatchNorm1d(F, affine=affine).eval()
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    if affine:
        torch.nn.init.normal_(norm.weight)
        torch.nn.init.normal_(norm.bias)
    content = state(thresholds=torch.full((F,), -2.0))
    content.update({f"{NORM}{name}": value.detach() for name, value in norm.state_dict().items()})
    with torch.no_grad():
        f = norm(x @ content[f"{LINEAR}weight"].T + content[f"{LINEAR}bias"]).clamp(min=0)
    torch.testing.assert_close(load_sae(save(tmp_path, content)).encode(x), f * (f >= torch.tensor(-2.0).exp()))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_encoders_of_its_other_class(tmp_path: Path, x: torch.Tensor, tied: bool, bias: bool) -> None:
    content = state(thresholds=torch.full((F,), -2.0), **{f"{LINEAR}weight": None, f"{LINEAR}bias": None})
    D_ = content["dictionary._weights"] * content["dictionary.multiplier"].exp()
    if tied:
        content.update(
            {f"encoder.tied_to.{name}": content[f"dictionary.{name}"] for name in ("_weights", "multiplier")}
        )
    else:
        content["encoder.weight"] = torch.randn(F, D)
    if bias:
        content["encoder.bias"] = torch.randn(F)
    f = (x @ (D_ if tied else content["encoder.weight"]).T + content.get("encoder.bias", 0)).clamp(min=0)
    torch.testing.assert_close(load_sae(save(tmp_path, content)).encode(x), f * (f >= torch.tensor(-2.0).exp()))


CLASS = {"class": "SAE"}


@pytest.mark.parametrize(
    ("content", "config", "message"),
    [
        (state(dictionary___weights=None, dictionary__C=torch.ones(3, D)), None, "its dictionary is archetypal"),
        (
            state(**{f"{LINEAR}weight": None, f"{LINEAR}bias": None}),
            None,
            "no encoder of its own: its codes are pursued",
        ),
        (state(**{f"{NORM}weight": torch.ones(F), f"{NORM}bias": torch.ones(F)}), None, "ends in a LayerNorm"),
        (
            state(**{"encoder.mlp_blocks.0.0.weight": torch.ones(D, D)}),
            None,
            r"more than one linear map \(encoder\.mlp",
        ),
        (state(Q=torch.ones(4)), None, "what its Q means is not known"),
        (state(), {"class": "MpSAE"}, "a MpSAE does not choose its features by one linear map"),
        (state(), {"class": "JumpSAE"}, "its tensors are not those of a JumpSAE"),
        (state(thresholds=torch.ones(F)), CLASS, "its tensors are not those of a SAE"),
        (state(), {"class": "TopKSAE"}, "top_k is None"),
        (state(), {"class": "TopKSAE", "top_k": F + 1}, "more than the 20 features"),
        (state(), {"class": "BatchTopKSAE", "top_k": 9}, "without its running threshold"),
        (state(), {**CLASS, "normalization": "l3"}, "normalization 'l3' is not known"),
        (state(thresholds=torch.ones(F + 1)), None, r"thresholds has shape \(21,\)"),
        (state(**{f"{LINEAR}weight": torch.ones(F, D + 1)}), CLASS, "has shape"),
        (state(**{f"{LINEAR}bias": torch.full((F,), torch.nan)}), CLASS, "holds NaN"),
        (state(dictionary__multiplier=torch.tensor(1e4)), CLASS, "holds NaN or infinite"),
    ],
)
def test_what_is_not_read_says_why(tmp_path: Path, content: object, config: dict | None, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        load_sae(save(tmp_path, content, config))


MODELS = ("topk", "topk_identity", "batchtopk", "jump_model", "batchnorm_model", "tied")


@pytest.mark.parametrize("name", MODELS)
def test_a_saved_model_needs_no_settings_and_runs_no_code(name: str, tmp_path: Path) -> None:
    before = set(torch.serialization.get_safe_globals())
    folder = fixture(f"overcomplete-{name}", tmp_path)
    assert not (folder / "config.json").exists()
    assert load_sae(folder).info["because"] == "the classes that the saved model names"
    assert set(torch.serialization.get_safe_globals()) == before
    assert "overcomplete" not in sys.modules


@pytest.mark.parametrize("other", [b"overcomplete.sae.topk_xyz", b"posix.aaaaaaaaaaaaaaaaaaa"])
def test_a_class_that_is_not_known_is_refused(tmp_path: Path, other: bytes) -> None:
    source, path = fixture("overcomplete-topk", tmp_path) / "sae.pt", tmp_path / "forged.pt"
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(path, "w") as forged:
        for item in archive.namelist():
            content = archive.read(item)
            if item.endswith("data.pkl"):
                assert len(other) == len(b"overcomplete.sae.topk_sae")
                assert b"overcomplete.sae.topk_sae" in content
                content = content.replace(b"overcomplete.sae.topk_sae", other)
            forged.writestr(item, content)
    with pytest.raises(CheckpointError, match="would run code"):
        load_sae(path)


@pytest.mark.parametrize("name", ["dictionary.multiplier", "encoder.weight", "encoder.final_block.0.weight"])
@pytest.mark.parametrize("fixture_name", ["overcomplete-topk_state", "overcomplete-batchnorm", "overcomplete-jump"])
def test_a_tensor_that_the_rest_needs_is_missed(fixture_name: str, name: str, tmp_path: Path) -> None:
    folder = fixture(fixture_name, tmp_path)
    path = folder / "sae.pt"
    state = dict(load_state(path))
    assert load_sae(folder)
    left = {key: value for key, value in state.items() if key != name}
    if len(left) == len(state):
        pytest.skip("this encoder has other names")
    torch.save(left, path)
    with pytest.raises(CheckpointError, match=f"{name}|no encoder"):
        load_sae(folder)


@pytest.mark.parametrize("name", ["running_mean", "running_var", "bias", "weight"])
def test_half_a_batch_norm_is_none(name: str, tmp_path: Path) -> None:
    folder = fixture("overcomplete-batchnorm", tmp_path)
    state = dict(load_state(folder / "sae.pt"))
    del state[f"encoder.final_block.1.{name}"]
    torch.save(state, folder / "sae.pt")
    with pytest.raises(CheckpointError, match=f"{name}|LayerNorm"):
        load_sae(folder)
