"""Parts of an SAE in the forms that users have them: arrays, names of gates, and what is neither."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from make import make_sae

from audiosae_steer import SAE, ActivationError, CheckpointError, Gate, Normalisation

RNG = np.random.default_rng(0)
PARTS: dict[str, Any] = {
    "W_enc": RNG.normal(size=(9, 4)).astype(np.float32),
    "b_enc": np.zeros(9, np.float32),
    "W_dec": RNG.normal(size=(9, 4)).astype(np.float32),
    "b_dec": np.zeros(4, np.float32),
}


def test_arrays_and_names_make_the_same_sae() -> None:
    tensors = {name: torch.from_numpy(part) for name, part in PARTS.items()}
    given = SAE(**PARTS, gate="relu", normalisation="unit_norm", typical=np.ones(9, np.float32))
    wanted = SAE(**tensors, gate=Gate("relu"), normalisation=Normalisation("unit_norm"), typical=torch.ones(9))
    assert given.digest() == wanted.digest()
    assert SAE(**PARTS, gate="jumprelu", threshold=0.5).threshold == torch.tensor(0.5)


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ({"gate": "topk"}, r"needs its k: pass gate=Gate\('topk', k=32\)"),
        ({"gate": "batchtopk"}, "k=32"),
        ({"gate": "gelu"}, "expected one of relu"),
        ({"gate": 3}, "gate is a int"),
        ({"normalisation": "scalar"}, "Normalisation"),
        ({"normalisation": 2.0}, "Normalisation"),
        ({"W_enc": "W_enc.npy"}, "W_enc is a str"),
        ({"W_dec": np.array(["a"])}, "W_dec cannot be made a tensor"),
        ({"threshold": "0.5"}, "threshold is a str"),
    ],
)
def test_what_makes_no_sae(parts: dict[str, Any], says: str) -> None:
    with pytest.raises(CheckpointError, match=says):
        SAE(**{**PARTS, "gate": "relu", **parts})


def test_arrays_are_encoded_and_decoded() -> None:
    sae = make_sae("batchtopk", 12, 31)
    x = RNG.normal(size=(5, 12)).astype(np.float32)
    tensor = torch.from_numpy(x)
    f = sae.encode(x)
    assert torch.equal(f, sae.encode(tensor))
    assert torch.equal(sae.decode(f.numpy(), like=x), sae.decode(f, like=tensor))
    assert torch.equal(sae(x), sae(tensor))
    assert sae.fvu(x) == sae.fvu(tensor)
    assert torch.equal(sae.calibrate_threshold([x]).threshold, sae.calibrate_threshold([tensor]).threshold)


@pytest.mark.parametrize(
    ("x", "says"), [("x", "is a str"), (None, "is a NoneType"), (np.float32(1), "one number"), (np.ones(3), "3 wide")]
)
def test_what_is_no_residual(x: Any, says: str) -> None:
    sae = make_sae("relu", 12, 31)
    for call in (sae.encode, sae, sae.fvu):
        with pytest.raises(ActivationError, match=says):
            call(x)


def test_activations_of_another_sae_are_not_decoded() -> None:
    with pytest.raises(ActivationError, match="31"):
        make_sae("relu", 12, 31).decode(torch.zeros(2, 30))
