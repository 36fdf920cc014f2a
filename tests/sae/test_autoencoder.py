"""The SAE: its numbers in each dtype, its threshold, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from make import KINDS, NORMS, make_sae

from audiosae_steer import SAE, ActivationError, CheckpointError, Gate, Normalisation
from audiosae_steer.ops import reference


@pytest.mark.parametrize("norm", NORMS, ids=lambda norm: norm.kind)
@pytest.mark.parametrize("kind", KINDS)
def test_encode_decode_equal_the_reference(kind: str, norm: Normalisation) -> None:
    sae = make_sae(kind, norm=norm)
    x = torch.randn(2, 17, 12, generator=torch.Generator().manual_seed(1))
    w = sae.weights(torch.float64)
    f = reference.encode(x.double(), w)
    torch.testing.assert_close(sae.encode(x.double()), f)
    torch.testing.assert_close(sae.encode(x), f.float(), rtol=1e-4, atol=1e-4)
    back = reference.decode(f, w, reference.input_scale(x.double(), norm.kind, norm.scale))
    torch.testing.assert_close(sae(x), back.float(), rtol=1e-4, atol=1e-4)
    assert sae.fvu(x) == pytest.approx(float((x - back).square().sum() / (x - x.mean((0, 1))).square().sum()), rel=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_weights_compute_in_float32(dtype: torch.dtype) -> None:
    sae = make_sae("jumprelu").to(dtype)
    x = torch.randn(1, 9, 12).to(dtype)
    wanted = reference.encode(x.float(), sae.weights(torch.float32))
    torch.testing.assert_close(sae.encode(x), wanted, rtol=0, atol=0)
    assert sae(x).dtype == dtype


def test_shapes_of_one_frame_one_clip_and_many() -> None:
    sae = make_sae("topk")
    assert sae.encode(torch.randn(12)).shape == (31,)
    assert sae.encode(torch.randn(4, 12)).shape == (4, 31)
    assert sae(torch.randn(2, 3, 4, 12)).shape == (2, 3, 4, 12)


def test_a_clip_of_batchtopk_does_not_depend_on_its_batch() -> None:
    sae = make_sae("batchtopk")
    x = torch.randn(4, 20, 12)
    torch.testing.assert_close(sae.encode(x)[2], sae.encode(x[2]))


def test_calibration_lets_k_features_fire_on_average() -> None:
    sae = make_sae("batchtopk")
    batches = [torch.randn(3, 50, 12, generator=torch.Generator().manual_seed(i)) * (1 + i) for i in range(4)]
    calibrated = sae.calibrate_threshold(batches)
    fired = sum(int((calibrated.encode(x) > 0).sum()) for x in batches)
    assert fired == 5 * 4 * 150
    assert calibrated.has_own_gates
    assert not sae.has_own_gates
    with pytest.raises(ActivationError, match="no activations"):
        sae.calibrate_threshold([])
    with pytest.raises(CheckpointError, match="only a batchtopk"):
        make_sae("relu").calibrate_threshold(batches)


def tensors(**changes: Any) -> dict[str, Any]:
    base = {"W_enc": torch.ones(4, 3), "b_enc": torch.ones(4), "W_dec": torch.ones(4, 3), "b_dec": torch.ones(3)}
    return {**base, "gate": Gate("relu"), **changes}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"W_enc": torch.ones(4)}, "W_enc"),
        ({"b_enc": torch.ones(3)}, "b_enc"),
        ({"W_dec": torch.ones(3, 4)}, "W_dec"),
        ({"b_dec": torch.ones(4)}, "b_dec"),
        ({"threshold": torch.ones(2)}, "threshold"),
        ({"typical": torch.ones(2)}, "typical"),
        ({"b_dec": torch.tensor([0.0, float("nan"), 0.0])}, "NaN"),
        ({"W_enc": torch.ones(4, 3, dtype=torch.long)}, "float"),
        ({"gate": Gate("jumprelu")}, "needs a threshold"),
        ({"gate": Gate("batchtopk", 2), "threshold": torch.tensor(-1.0)}, "never set"),
        ({"gate": Gate("topk", 9)}, "more than the 4"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(CheckpointError, match=says):
        SAE(**tensors(**changes))


def test_gates_and_normalisations_check_themselves() -> None:
    with pytest.raises(CheckpointError, match="unknown"):
        Gate("softmax")  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match="k >= 1"):
        Gate("topk")
    with pytest.raises(CheckpointError, match="unknown"):
        Normalisation("layer")  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match="positive"):
        Normalisation("scalar", 0.0)


def test_a_wrong_width_names_both_widths() -> None:
    with pytest.raises(ActivationError, match="width 12, but these are 13"):
        make_sae().encode(torch.randn(2, 13))
    with pytest.raises(ActivationError, match="width 12, but these are 13"):
        make_sae("batchtopk").calibrate_threshold([torch.randn(24, 13)])


def test_per_frame_norms_are_needed_to_come_back() -> None:
    with pytest.raises(ActivationError, match="like=x"):
        make_sae(norm=NORMS[2]).decode(torch.zeros(1, 31))
