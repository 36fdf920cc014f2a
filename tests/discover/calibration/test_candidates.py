"""What calibration tries: variants of small random recipes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from make import make_sae

from audiosae_steer import Add, SteeringError
from audiosae_steer.discover.calibration.candidates import Candidate, candidates, changes, gates_of, variants
from audiosae_steer.steering.edits import from_spec
from audiosae_steer.steering.plan import Plan
from audiosae_steer.steering.recipes.schema import Recipe

SAES = {"sae": make_sae(seed=3)}
GATE = {"layer": 1, "sae": "sae", "features": [1], "weights": [1.0]}


def recipe(*edits: dict[str, Any], **more: Any) -> Recipe:
    model = {"family": "whisper", "name": "m", "d_model": 12, "encoder_layers": 2, "decoder_layers": 2, "vocabulary": 9}
    sites = [{"layer": 1, "sae": "sae", "edits": list(edits)}]
    return Recipe.model_validate(
        {"schema": 1, "name": "r", "model": model, "saes": {"sae": {"file": "s.safetensors"}}, "sites": sites, **more}
    )


ADDED = {"kind": "add", "features": [4, 0, 7, 9], "amount": [0.1, -2.0, 1.0, -0.5]}


def test_as_written_is_the_recipe_itself_and_fewer_features_are_its_largest():
    whole, half, quarter = variants(0, recipe(ADDED), SAES, ["as written"], [1, 0.5, 0.25])
    assert whole.sites[0] == recipe(ADDED).sites[0]
    assert (whole.features, half.features, quarter.features) == (4, 2, 1)
    norms = SAES["sae"].W_dec.norm(dim=1)
    size = {f: abs(a) * float(norms[f]) for f, a in zip(ADDED["features"], ADDED["amount"], strict=True)}
    kept = half.sites[0].edits[0]
    assert set(kept["features"]) == set(sorted(size, key=lambda f: -size[f])[:2])
    assert all(ADDED["amount"][ADDED["features"].index(f)] == a for f, a in zip(*list(kept.values())[1:], strict=True))


def test_kinds_take_their_numbers_from_the_recipe_and_its_sae():
    found = {v.kind: v.sites[0].edits[0] for v in variants(0, recipe(ADDED), SAES, shares=[1])}
    assert set(found) == {"as written", "typical", "ablate", "clamp"}  # its additions are one push already
    signs = dict(zip(found["typical"]["features"], found["typical"]["amount"], strict=True))
    assert signs == {4: 1.0, 0: -1.0, 7: 1.0, 9: -1.0}
    assert set(found["ablate"]["features"]) == set(found["clamp"]["features"]) == {0, 9}
    typical = SAES["sae"].typical
    assert typical is not None
    for feature, high in zip(found["clamp"]["features"], found["clamp"]["high"], strict=True):
        assert high == pytest.approx(float(typical[feature]) / 2, abs=1e-5)


def test_a_push_is_what_the_edits_do_to_typical_activations():
    edits = [{"kind": "ablate", "features": [2]}, {"kind": "add", "features": [5], "amount": 0.5, "units": "typical"}]
    (pushed,) = variants(0, recipe(*edits), SAES, ["push"], [1])
    typical = SAES["sae"].typical
    assert typical is not None
    amounts = [-float(typical[2]), 0.5 * float(typical[5])]
    x = torch.randn(1, 3, 12)
    plans = [
        Plan([[from_spec(spec) for spec in pushed.sites[0].edits]], SAES["sae"], 12),
        Plan([[Add([2, 5], amounts)]], SAES["sae"], 12),
    ]
    one, other = (plan(x, torch.tensor(1.0)) for plan in plans)
    assert not torch.equal(one, x)
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_kinds_without_numbers_are_left_out():
    bare = {"sae": make_sae(seed=3)}
    bare["sae"].typical = None
    assert [v.kind for v in variants(0, recipe(ADDED), bare, shares=[1])] == ["as written", "ablate"]
    raised = {"kind": "add", "features": [4], "amount": 1.0}
    assert [v.kind for v in variants(0, recipe(raised), SAES, shares=[1])] == ["as written", "typical"]
    dense = {"kind": "push", "vector": [0.1] * 12}
    (only,) = variants(0, recipe(dense), SAES, shares=[1, 0.5])
    assert (only.kind, only.features) == ("as written", 0)
    windowed = {**ADDED, "window": [0, 1]}
    assert [v.kind for v in variants(0, recipe(windowed), SAES, shares=[1])] == ["as written"]


def test_equal_variants_are_tried_once_and_other_saes_are_told_apart():
    typical = {"kind": "add", "features": [4], "amount": [1.0], "units": "typical"}
    found = variants(0, recipe(typical), SAES, ["as written", "typical"], [1, 0.5])
    assert len(found) == 1
    other = variants(0, recipe(typical), {"sae": make_sae(seed=4)}, ["as written"], [1])
    assert other[0].key != found[0].key
    assert variants(0, recipe(typical), SAES, ["as written"], [1])[0].key == found[0].key


def test_changes_of_one_feature_add_up():
    edits = [{"kind": "scale", "features": 3, "factor": 0.5}, {"kind": "add", "features": 3, "amount": 0.25}]
    typical = SAES["sae"].typical
    assert typical is not None
    assert changes(recipe(*edits).sites[0], SAES) == {3: pytest.approx(0.25 - float(typical[3]) / 2)}


def test_every_strength_behind_every_gate_the_recipe_has():
    plain, gated = recipe(ADDED), recipe(ADDED, gate=GATE, frame_gate=GATE)
    assert gates_of(plain) == ["none"]
    found = variants(0, plain, SAES, ["as written"], [1])
    assert candidates(found, [plain], [2, 1, 2], [0.2]) == [Candidate(found[0], s, "none") for s in (1.0, 2.0)]
    both = candidates(found, [gated], [1.0], [0.2, 0.5])
    assert [(c.gate, c.margin) for c in both] == [
        ("none", None), ("clip", 0.2), ("clip", 0.5), ("frame", None), ("clip+frame", 0.2), ("clip+frame", 0.5)
    ]  # fmt: skip
    assert "clip gate, margin 0.2" in both[1].describe([gated])
    assert both[1].group != both[2].group
    (own,) = candidates(found, [gated], [1.0], [None], ["clip"])
    assert own.margin is None
    assert own.describe([gated]).endswith("clip gate")


@pytest.mark.parametrize(
    ("change", "message"),
    [({"kinds": ["dense"]}, "kind 'dense'"), ({"shares": [0]}, "shares"), ({"shares": []}, "shares")],
)
def test_odd_kinds_and_shares_are_refused(change, message):
    with pytest.raises(SteeringError, match=message):
        variants(0, recipe(ADDED), SAES, **change)


def test_odd_strengths_gates_and_margins_are_refused():
    found = variants(0, recipe(ADDED), SAES, ["as written"], [1])
    for given in ([0.0], [], [float("nan")]):
        with pytest.raises(SteeringError, match="strengths"):
            candidates(found, [recipe(ADDED)], given)
    with pytest.raises(SteeringError, match="margins"):
        candidates(found, [recipe(ADDED)], [1.0], [1.5])
    with pytest.raises(SteeringError, match="margins"):
        candidates(found, [recipe(ADDED)], [1.0], [])
    with pytest.raises(SteeringError, match="nothing to try"):
        candidates(found, [recipe(ADDED)], [1.0], gates=["clip"])
