"""What a file leaves open, settled on activations."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from trained_saes import D, K, residuals, trained, write

from audiosae_steer import SAE, ActivationError, CheckpointError, Gate, Normalisation, load_sae
from audiosae_steer.errors import ThresholdWarning
from audiosae_steer.sae.normalisation import candidates, settle
from audiosae_steer.sae.quality import measure

WAYS = ("none", "norm 1 per frame", "norm √d per frame", "mean norm √d", "mean square norm 1")


@pytest.mark.parametrize("name", WAYS)
def test_the_normalisation_of_training_is_found(tmp_path: Path, name: str) -> None:
    x = residuals()
    way = candidates(x)[name]
    sae = load_sae(write(tmp_path, trained(x, way)), activations=residuals(seed=1))
    found = sae.info["normalisation"]
    assert found["chosen"] == name, found
    assert set(found["fvu"]) == set(WAYS)
    assert found["fvu"][name] == min(found["fvu"].values()) < 0.5
    assert sae.normalisation.kind == way.kind
    assert sae.normalisation.scale == pytest.approx(way.scale, rel=0.1)


def test_an_unset_threshold_is_calibrated_without_a_warning(tmp_path: Path, recwarn) -> None:
    x = residuals()
    sae = load_sae(write(tmp_path, trained(x, Normalisation())), activations=x)
    assert not [one for one in recwarn if issubclass(one.category, ThresholdWarning)]
    assert sae.threshold is not None
    assert sae.info["threshold"] == "calibrated on 600 frames: the file has none that was ever set"
    assert measure(sae, x).l0 == pytest.approx(K, abs=0.05)


def test_clips_of_their_own_length(tmp_path: Path) -> None:
    x = residuals()
    sae = load_sae(write(tmp_path, trained(x, Normalisation())), activations=[x[:130], x[130:131], x[131:]])
    assert measure(sae, x).l0 == pytest.approx(K, abs=0.05)


def test_what_a_file_states_is_not_guessed_at(tmp_path: Path) -> None:
    x = residuals()
    wrong = trained(x, Normalisation())
    stated = SAE(*(wrong.W_enc, wrong.b_enc, wrong.W_dec, wrong.b_dec), gate=Gate("topk", K),
                 normalisation=Normalisation("scalar", 0.9))  # fmt: skip
    stated.save(tmp_path / "x.safetensors")
    sae = load_sae(tmp_path / "x.safetensors", activations=x)
    assert sae.normalisation == Normalisation("scalar", 0.9)
    assert sae.info["normalisation"]["because"] == "the file says so"
    assert list(sae.info["normalisation"]["fvu"]) == ["times 0.9"]


def test_none_is_kept_where_others_are_hardly_better() -> None:
    x = residuals()
    x = x / x.norm(dim=-1, keepdim=True) * 12**0.5  # every candidate but norm 1 is the same
    sae = settle(trained(x, Normalisation()), x, "it", stated=False)
    assert sae.info["normalisation"]["chosen"] == "none"


def test_activations_of_something_else(tmp_path: Path) -> None:
    x = residuals()
    write(tmp_path, trained(x, Normalisation()))
    with pytest.raises(CheckpointError, match="explains nothing of these activations.*another model or layer"):
        load_sae(tmp_path, activations=torch.randn(400, D) / 100 + 50)
    with pytest.raises(ActivationError, match="width 12, and these activations are 11 wide"):
        load_sae(tmp_path, activations=x[:, :11])
    with pytest.raises(ActivationError, match="NaN"):
        load_sae(tmp_path, activations=torch.full((3, D), torch.nan))
    for nothing in (x[:0], [], x[0]):
        with pytest.raises(ActivationError, match="no activations"):
            load_sae(tmp_path, activations=nothing)
