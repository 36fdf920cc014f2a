"""What fits and is hardly meant: said when it is steered, and steered all the same."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from make import make_openai, make_sae
from torch import nn

from audiosae_steer import (
    Ablate,
    Add,
    Clamp,
    ClipGate,
    EditError,
    EditWarning,
    LayerWarning,
    Push,
    Scale,
    Set,
    Site,
    SiteEdits,
    SiteGate,
    SteeringError,
    load_sae,
    steer,
)
from audiosae_steer.sae.formats.layers import hookpoint_layer
from audiosae_steer.steering.recipes.load import shipped

D = 24
DATA = Path(__file__).parents[1] / "sae" / "formats" / "data"


@pytest.fixture(scope="module")
def model() -> Any:
    return make_openai(d=D)


def sae_of(**info: Any) -> Any:
    """An SAE with a record of what it was trained on."""
    return make_sae("relu", D, 40).altered(info=info)


def run(model: Any) -> None:
    model(torch.zeros(1, 80, 3000), torch.tensor([[50257, 50362]]))


@pytest.mark.parametrize(
    ("info", "says"),
    [
        ({"layer": 3}, "of layer 3, and is used at encoder layer 2"),
        ({"layer": 2, "side": "decoder"}, "of decoder layer 2, and is used at encoder layer 2"),
        ({"hookpoint": "encoder.blocks.2"}, "of encoder layer 3"),
        ({"hookpoint": "blocks.0.hook_resid_post"}, "of layer 1"),
        ({"hookpoint": "layer_3"}, "of layer 3"),
    ],
)
def test_an_sae_of_another_layer(model: Any, info: dict[str, Any], says: str) -> None:
    sae = sae_of(**info)
    with pytest.warns(LayerWarning, match=says) as seen:
        steering = steer(model, sae=sae, layer=2, edits=[Add(3, 1.0)])
    assert seen[0].filename == __file__
    run(model)
    steering.remove()
    gate = SiteGate(Site(2), sae, ClipGate((3,), (1.0,), threshold=-1.0))
    with pytest.warns(LayerWarning, match=says):
        steering = steer(model, [SiteEdits(Site(2), sae_of(layer=2), [Add(3, 1.0)])], gate=gate)
    run(model)
    steering.remove()


@pytest.mark.parametrize(
    "info",
    [
        {},
        {"layer": 2},
        {"layer": 2, "side": "encoder"},
        {"layer": "second"},
        {"hookpoint": "encoder.layers.1"},
        {"hookpoint": "blocks.2.hook_resid_pre"},
        {"hookpoint": "blocks.4.attn.hook_z"},
        {"path": "encoder.blocks.3"},
    ],
)
def test_an_sae_of_this_layer_or_of_none(model: Any, info: dict[str, Any]) -> None:
    with steer(model, sae=sae_of(**info), layer=2, edits=[Add(3, 1.0)]):
        run(model)


def test_an_sae_of_another_module() -> None:
    model = nn.Sequential(nn.Linear(D, D), nn.Linear(D, D))
    with pytest.warns(LayerWarning, match="of 1, and is used at '0'"):
        steering = steer(model, sae=sae_of(path="1"), site=Site(path="0"), edits=[Add(3, 1.0)])
    model(torch.zeros(1, 2, D))
    steering.remove()


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("layer_8", 8),
        ("layers.7", 8),
        ("encoder.layers.7", 8),
        ("blocks.7.hook_resid_post", 8),
        ("blocks.7.hook_resid_pre", 7),
        ("blocks.0.hook_resid_pre", None),
        ("blocks.7.hook_mlp_out", None),
        ("ae", None),
        ("", None),
    ],
)
def test_hookpoints(name: str, layer: int | None) -> None:
    assert hookpoint_layer(name) == layer


def test_loaders_keep_where_an_sae_is_of(tmp_path: Path) -> None:
    folder = tmp_path / "blocks.7.hook_resid_post"
    shutil.copytree(DATA / "saelens-standard", folder)
    settings = json.loads((folder / "cfg.json").read_text())
    settings.setdefault("metadata", {})["hook_name"] = "blocks.7.hook_resid_post"
    (folder / "cfg.json").write_text(json.dumps(settings))
    assert load_sae(folder).info["hookpoint"] == "blocks.7.hook_resid_post"
    shutil.copytree(DATA / "sparsify-topk", tmp_path / "layers.7")
    assert load_sae(tmp_path / "layers.7").info["hookpoint"] == "layers.7"


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (Set(3, -4.0), r"Set at encoder layer 2 puts feature 3 at -4, which no gate gives.*Add\(3, -4\)"),
        (Set([1, 2], [1.0, -2.0]), "feature 2 at -2"),
        (Clamp(7, high=-1.0), "Clamp at encoder layer 2 puts feature 7 at -1"),
        (Clamp(7, -3.0, -2.0), "feature 7 at -2"),
    ],
)
@pytest.mark.parametrize("kind", ["relu", "jumprelu", "topk", "batchtopk-threshold"])
def test_a_feature_below_zero(model: Any, edit: Any, says: str, kind: Any) -> None:
    with pytest.warns(EditWarning, match=says):
        steering = steer(model, sae=make_sae(kind, D, 40), layer=2, edits=[edit])
    run(model)
    steering.remove()


def test_what_stays_at_zero_or_turns_round_is_not_spoken_of(model: Any) -> None:
    edits = [
        Set(3, 0.0),
        Clamp(4, low=-1.0),
        Scale([1, 2, 5, 6, 7, 8, 9], -2.0),
        Add(5, -1.0),
        Ablate(6),
        Clamp(7, high=0.0),
    ]
    with steer(model, sae=make_sae("relu", D, 40), layer=2, edits=edits):
        run(model)


def test_every_shipped_recipe_is_without_reproach(tiny_en: Any) -> None:
    for recipe in shipped():
        if recipe.misfit(tiny_en) is None:
            with steer(tiny_en, recipe):
                tiny_en(torch.zeros(1, 80, 3000), torch.tensor([[50257, 50362]]))


@pytest.mark.parametrize("number", ["1", b"1", "strong", None, [1.0, 2.0], float("nan"), torch.ones(2)])
def test_a_strength_that_is_no_number(model: Any, number: Any) -> None:
    with steer(model, layer=2, edits=[Push(torch.ones(D))]) as steering:
        run(model)
        for name in ("strength", "offset"):
            with pytest.raises(SteeringError, match=f"{name} must be a finite number"):
                setattr(steering, name, number)
        assert steering.strength == 1.0


def test_a_negative_strength_turns_the_change_round_and_says_so(model: Any) -> None:
    mel = torch.zeros(1, 80, 3000)
    with steer(model, layer=3, edits=[Push(torch.ones(D))], strength=-1.0) as steering:
        got = model.encoder(mel)
        assert "strength -1 (the change turned round)" in repr(steering)
        assert "turned round" in steering.explain()
    with steer(model, layer=3, edits=[Push(-torch.ones(D))]):
        assert torch.equal(model.encoder(mel), got)


def test_a_mistake_is_an_error_before_it_is_a_warning(model: Any) -> None:
    with pytest.raises(EditError, match="out of range"):
        steer(model, sae=sae_of(layer=3), layer=2, edits=[Set(99, -1.0)])
