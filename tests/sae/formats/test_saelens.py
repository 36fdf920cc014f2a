"""SAELens' files, against what SAELens itself computes with them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from fixtures import DATA
from safetensors.torch import load_file, save_file
from write_saelens import CASES, outputs, write

from audiosae_steer import CheckpointError, load_sae
from audiosae_steer.errors import ThresholdWarning

GATES = {"standard": "relu", "topk": "topk"}
CHECKPOINT = "a checkpoint of training"


def assert_equal_outputs(sae, expected: dict[str, torch.Tensor]) -> None:
    f = sae.encode(expected["x"])
    assert torch.equal(f > 0, expected["f"] > 0)
    assert 0.01 < (f > 0).float().mean() < 0.7
    torch.testing.assert_close(f, expected["f"], rtol=2e-5, atol=2e-5)
    torch.testing.assert_close(sae.decode(f, like=expected["x"]), expected["x_hat"], rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("name", CASES)
def test_committed_files_equal_saelens_own_output(name: str) -> None:
    sae = load_sae(DATA / f"saelens-{name}")
    kind = "batchtopk" if name.endswith("checkpoint") else GATES.get(name.split("-")[0], "jumprelu")
    assert sae.gate.kind == kind
    assert (sae.info.get("read_as") == CHECKPOINT) == name.endswith("checkpoint")
    assert sae.info["format"] == "saelens"
    assert sae.info["metadata"]["sae_lens_version"].startswith("6.")
    assert_equal_outputs(sae, load_file(DATA / f"saelens-{name}" / "outputs.safetensors"))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore")
def test_fresh_files_equal_saelens_own_output(name: str, tmp_path: Path) -> None:
    pytest.importorskip("sae_lens")
    theirs = write(name, tmp_path, seed=7, d_in=24, d_sae=100)
    assert_equal_outputs(load_sae(tmp_path), outputs(theirs, seed=8, frames=50))


def test_the_weights_file_serves_as_well_as_its_folder() -> None:
    folder = DATA / "saelens-topk"
    assert torch.equal(load_sae(folder / "sae_weights.safetensors").W_enc, load_sae(folder).W_enc)


def test_weights_that_are_not_folded_keep_their_dtype() -> None:
    sae = load_sae(DATA / "saelens-standard-raw-input")
    assert (sae.W_enc.dtype, sae.W_dec.dtype, sae.b_enc.dtype) == (torch.float16, torch.float16, torch.float32)


def changed(tmp_path: Path, name: str = "standard", tensors: dict | None = None, **settings) -> Path:
    """A committed SAE with other settings; None takes a setting or a tensor away."""
    source = DATA / f"saelens-{name}"
    config = {**json.loads((source / "cfg.json").read_text()), **settings}
    weights = {**load_file(source / "sae_weights.safetensors"), **(tensors or {})}
    (tmp_path / "cfg.json").write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
    save_file({key: value for key, value in weights.items() if value is not None}, tmp_path / "sae_weights.safetensors")
    return tmp_path


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"architecture": "gated"}, "expected W_enc, W_dec, b_dec, r_mag, b_gate, b_mag"),
        (
            {"architecture": "abstopk"},
            "'abstopk', which is not read; read are standard, topk, jumprelu, gated, batchtopk",
        ),
        ({"architecture": "jumprelu_transcoder"}, "which is not read"),
        ({"architecture": "batchtopk"}, "expected W_enc, b_enc, W_dec, b_dec, topk_threshold"),
        ({"name": "batchtopk-checkpoint", "k": 2.5}, "k is 2.5"),
        ({"name": "gated", "tensors": {"r_mag": torch.full((64,), 800.0)}}, "holds NaN or infinite"),
        ({"name": "gated", "tensors": {"b_gate": torch.zeros(63)}}, r"b_gate has shape"),
        ({"architecture": "topk"}, "k is None"),
        ({"architecture": "topk", "k": 2.5}, "k is 2.5"),
        ({"architecture": "topk", "k": 65}, "k = 65 is more than the 64 features"),
        ({"architecture": "jumprelu"}, "without its threshold"),
        ({"normalize_activations": "layer_norm"}, "'layer_norm', which is not read"),
        ({"normalize_activations": "covariance_whitening"}, "which is not read"),
        ({"normalize_activations": "expected_average_only_in"}, "fold_activation_norm_scaling_factor"),
        ({"reshape_activations": "hook_z"}, "attention heads"),
        ({"d_in": 17}, "d_in = 17, its tensors 16"),
        ({"tensors": {"W_skip": torch.ones(2)}}, "W_skip"),
        ({"tensors": {"b_dec": None}}, "expected W_enc, b_enc, W_dec, b_dec"),
        ({"tensors": {"b_enc": torch.ones(63)}}, r"b_enc has shape \(63,\).*d_sae = 64"),
        ({"tensors": {"W_dec": torch.ones(16, 64)}}, r"W_dec has shape \(16, 64\)"),
        ({"tensors": {"b_dec": torch.full((16,), torch.nan)}}, "b_dec holds NaN"),
        ({"tensors": {"scaling_factor": torch.full((64,), 2.0)}}, "rescales its features"),
    ],
)
def test_what_is_not_read_says_why(tmp_path: Path, settings: dict, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        load_sae(changed(tmp_path, **settings))


def test_settings_from_before_version_6(tmp_path: Path) -> None:
    old = {
        "metadata": None,
        "architecture": None,
        "reshape_activations": None,
        "hook_point": "blocks.3.hook_resid_post",
    }
    folder = changed(tmp_path, **old, activation_fn_str="relu", normalize_activations=False)
    assert load_sae(folder).gate.kind == "relu"
    folder = changed(tmp_path, **old, activation_fn_str="topk", activation_fn_kwargs={"k": 4})
    assert load_sae(folder).gate.k == 4
    with pytest.raises(CheckpointError, match="standard with tanh-relu"):
        load_sae(changed(tmp_path, **old, activation_fn_str="tanh-relu"))
    with pytest.raises(CheckpointError, match="attention heads"):
        load_sae(changed(tmp_path, **{**old, "hook_point": "blocks.3.attn.hook_z"}))
    with pytest.raises(CheckpointError, match="fold_activation_norm_scaling_factor"):
        load_sae(changed(tmp_path, **old, normalize_activations=True))


def test_a_scaling_factor_beside_a_checkpoint_becomes_a_scalar_normalisation(tmp_path: Path) -> None:
    folder = changed(tmp_path, normalize_activations="expected_average_only_in")
    (folder / "activation_scaler.json").write_text('{"scaling_factor": 0.25}')
    sae, plain = load_sae(folder), load_sae(DATA / "saelens-standard")
    x = torch.randn(5, 16)
    torch.testing.assert_close(sae.encode(x), plain.encode(x * 0.25))
    torch.testing.assert_close(sae(x), plain(x * 0.25) / 0.25)


@pytest.mark.parametrize("text", ["", "[]", "{", "{" * 100_000, '{"d_in": '])
def test_damaged_settings(tmp_path: Path, text: str) -> None:
    changed(tmp_path)
    (tmp_path / "cfg.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"cfg\.json is not"):
        load_sae(tmp_path)


def test_a_checkpoint_whose_threshold_was_never_set_runs_the_true_selection(tmp_path: Path) -> None:
    folder = changed(tmp_path, "batchtopk-checkpoint", {"topk_threshold": torch.zeros((), dtype=torch.float64)})
    with pytest.warns(ThresholdWarning, match=r"never set \(0\).*k·n largest"):
        sae = load_sae(folder)
    assert sae.threshold is None
    assert int((sae.encode(torch.randn(9, 16)) > 0).sum()) == 5 * 9
    assert (sae.info["read_as"], sae.info["threshold"]) == (CHECKPOINT, "none")


def test_the_threshold_of_older_checkpoints(tmp_path: Path) -> None:
    threshold = load_file(DATA / "saelens-jumprelu" / "sae_weights.safetensors")["threshold"].float()
    folder = changed(tmp_path, "jumprelu", {"threshold": None, "log_threshold": threshold.log()})
    torch.testing.assert_close(load_sae(folder).threshold, threshold)
