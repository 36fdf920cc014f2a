"""Edits that change features together, against what they say they do, on every path and gate."""

from __future__ import annotations

import pytest
import torch
from make import make_sae

from audiosae_steer import Ablate, Add, EditError, Push, Scale, Toward, Turn, steer_latents
from audiosae_steer.steering.edits import from_spec
from audiosae_steer.steering.plan import Plan


def turned(f, columns, amount):
    """f with some columns turned, frame by frame."""
    found = f.clone()
    for frame in found.reshape(-1, f.shape[-1]):
        own = frame[columns]
        raised = (own + torch.tensor(amount, dtype=f.dtype)).clamp(min=0)
        if raised.norm() > 0:
            frame[columns] = raised * own.norm() / raised.norm()
    return found


@pytest.mark.parametrize("kind", ["relu", "jumprelu", "topk", "batchtopk"])
@pytest.mark.parametrize("error", ["keep", "drop"])
def test_turn_is_what_it_says(kind, error):
    sae = make_sae(kind)
    torch.manual_seed(1)
    x = torch.randn(2, 6, sae.d_model)
    columns = [1, 4, 7, 9]
    amount = [0.5, -0.3, 0.2, 1.0]
    made = steer_latents(x, sae, [Turn(columns, amount)], layout="bfd", error=error)
    f = sae.encode(x)
    edited = turned(f, columns, amount)
    expected = sae.decode(edited, like=x) if error == "drop" else x + sae.decode(edited, like=x) - sae.decode(f, like=x)
    assert torch.allclose(made, expected, atol=1e-4)
    assert torch.allclose(edited[..., columns].norm(dim=-1), f[..., columns].norm(dim=-1), atol=1e-5)


def test_turn_by_nothing_keeps_the_bits():
    sae = make_sae("relu")
    x = torch.randn(1, 6, sae.d_model)
    assert torch.equal(steer_latents(x, sae, [Turn([1, 2, 3], 0.0)], layout="bfd"), x)
    assert torch.equal(steer_latents(x, sae, [Turn([1, 2, 3], 5.0)], layout="bfd", strength=0.0), x)


def test_edits_before_and_after_keep_their_order():
    sae = make_sae("relu")
    x = torch.randn(1, 8, sae.d_model)
    f = sae.encode(x)
    edits = [Scale(1, 3.0), Turn([1, 2, 3], [0.5, 0.1, 0.0]), Ablate(2), Push(torch.ones(sae.d_model), 0.5)]
    after = f.clone()
    after[..., 1] *= 3
    after = turned(after, [1, 2, 3], [0.5, 0.1, 0.0])
    after[..., 2] = 0
    expected = x + sae.decode(after, like=x) - sae.decode(f, like=x) + 0.5
    assert torch.allclose(steer_latents(x, sae, edits, layout="bfd"), expected, atol=1e-4)


def test_plans_move_and_are_compiled_from_recipes():
    sae = make_sae("relu")
    spec = {"kind": "turn", "features": [1, 2], "amount": [0.5, 0.1]}
    assert from_spec(spec) == Turn([1, 2], [0.5, 0.1])
    toward = from_spec(
        {"kind": "toward", "features": [1, 2], "direction": [1.0, 0.0], "rivals": [[1.0, -1.0]], "bias": [0.0]}
    )
    plan = Plan([[toward]], sae, sae.d_model).to(torch.float64)
    assert plan.path == "delta"
    x = torch.randn(1, 5, sae.d_model, dtype=torch.float64)
    with pytest.raises(EditError, match="one list of edits"):
        Plan([[toward], [Add(1, 2.0)]], sae, sae.d_model)
    assert plan(x.float(), torch.tensor(1.0)).shape == x.shape


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"direction": [1.0]}, "expected \\(2,\\)"),
        ({"rivals": [[float("nan"), 0.0]]}, "NaN or infinite"),
        ({"direction": [-1.0, 0.0]}, "no lead grows"),
        ({"most": -1.0}, "most is -1"),
    ],
)
def test_what_is_no_toward_is_refused(change, says):
    given = {"direction": [1.0, 0.0], "rivals": [[1.0, -1.0]], "bias": [0.0], **change}
    with pytest.raises(EditError, match=says):
        Toward([1, 2], **given)
