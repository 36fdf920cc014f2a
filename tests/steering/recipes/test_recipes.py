"""Recipes: what is read, what is refused, and how they are found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from make import make_hf, make_openai, make_sae
from recipe_content import content

from audiosae_steer import (
    AudioSAESteerError,
    FingerprintWarning,
    Recipe,
    RecipeError,
    RecipeNotFoundError,
    load_recipe,
    steer,
)
from audiosae_steer.models.registry import fingerprint
from audiosae_steer.steering.describe import explain
from audiosae_steer.steering.recipes.load import check_recipe, recipes

MEL = torch.randn(2, 80, 3000, generator=torch.Generator().manual_seed(0))


def written(folder: Path, data: dict[str, Any]) -> Path:
    """The recipe as a file."""
    (folder / "recipe.json").write_text(json.dumps(data))
    return folder / "recipe.json"


@pytest.mark.parametrize("make", [make_openai, make_hf])
def test_a_recipe_steers_from_a_file_a_folder_or_an_object(make: Any, tmp_path: Path) -> None:
    model = make()
    path = written(tmp_path, content(model, tmp_path))
    encoder = model.encoder if hasattr(model, "dims") else model.model.encoder

    def encode() -> torch.Tensor:
        output = encoder(MEL)
        return output if isinstance(output, torch.Tensor) else output.last_hidden_state

    before = encode()
    outputs = []
    for source in (path, str(path), tmp_path, load_recipe(path)):
        steering = steer(model, source)
        outputs.append(encode())
        assert steering.strength == 0.5
        assert steering.path == "add, add"
        assert steering.recipe is not None
        steering._leave(quiet=True)  # its decoder site was not called here
    assert all(torch.equal(output, outputs[0]) for output in outputs)
    assert not torch.equal(outputs[0], before)
    assert torch.equal(encode(), before)


def test_saving_and_loading_give_the_same_recipe(tmp_path: Path) -> None:
    recipe = load_recipe(written(tmp_path, content(make_openai(), tmp_path)))
    recipe.save(tmp_path / "again.json")
    assert load_recipe(tmp_path / "again.json") == recipe
    assert not list(tmp_path.glob("*.part"))


def test_a_frame_gate_comes_with_a_recipe(tmp_path: Path) -> None:
    model = make_openai()
    data = content(model, tmp_path)
    data["sites"] = data["sites"][:1]
    data["frame_gate"] = {"layer": 1, "sae": "a", "features": [1, 2], "weights": [1.0, 1.0], "reach": 0.2}
    path = written(tmp_path, {**data, "gate": {**data["gate"], "threshold": 1e3}})
    recipe = load_recipe(path)
    recipe.save(tmp_path / "again.json")
    assert load_recipe(tmp_path / "again.json") == recipe
    with steer(model, tmp_path / "again.json") as steering:
        model.encoder(MEL)
        assert steering.opened is not None
        assert not steering.opened.any()
        assert steering.opened_frames is not None
        assert steering.opened_frames.any()
        assert "frame gate at encoder layer 1" in repr(steering)
    said = " ".join(explain(str(path)).split())
    assert "At encoder layer 1, a frame gate decides frame by frame from 2 features within 0.2 s" in said
    for change, says in (({"reach": -1.0}, "reach"), ({"side": "decoder"}, "side"), ({"sae": "b"}, "not described")):
        path = written(tmp_path, {**data, "frame_gate": {**data["frame_gate"], **change}})
        with pytest.raises(RecipeError, match=says):
            load_recipe(path)


def test_other_weights_of_the_same_shape_warn_and_steer(tmp_path: Path) -> None:
    path = written(tmp_path, content(make_openai(0), tmp_path))
    other = make_openai(1)
    with pytest.warns(FingerprintWarning, match="other weights of the same shape") as caught:
        steering = steer(other, path)
    assert caught[0].filename == __file__
    other.encoder(MEL)
    steering._leave(quiet=True)


def test_another_shape_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, content(make_openai(), tmp_path))
    with pytest.raises(RecipeError, match="encoder_layers is 2, it needs 3"):
        steer(make_openai(layers=2), path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schema": 2}, "schema"),
        ({"surprise": 1}, "surprise"),
        ({"sites": []}, "sites"),
        ({"strength": float("nan")}, "NaN is no JSON"),
        ({"saes": {"a": {"file": "/etc/passwd"}}}, "leaves the recipe's folder"),
        ({"saes": {"a": {"file": "../sae.safetensors"}}}, "leaves the recipe's folder"),
        ({"saes": {"a": {}}}, "either a file"),
        ({"saes": {}}, "not described"),
        ({"sites": [{"layer": 2, "sae": "a", "edits": [{"kind": "explode"}]}]}, "unknown"),
        ({"sites": [{"layer": 2, "sae": "a", "edits": [{"kind": "ablate", "features": [-1]}]}]}, "negative"),
        ({"sites": [{"layer": 0, "sae": "a", "edits": [{"kind": "ablate", "features": [1]}]}]}, "layer"),
    ],
)
def test_malformed_recipes_are_refused(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    path = written(tmp_path, {**content(make_openai(), tmp_path), **change})
    with pytest.raises(RecipeError, match=says):
        load_recipe(path)


def test_files_that_are_no_recipe(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[" * 100_000)
    (tmp_path / "b.json").write_text("not json")
    (tmp_path / "c.json").write_bytes(b"\xff\xfe\x00")
    for name in "abc":
        with pytest.raises(RecipeError, match="not a recipe"):
            load_recipe(tmp_path / f"{name}.json")
    (tmp_path / "d.json").write_text(" " * 9_000_000)
    with pytest.raises(RecipeError, match="larger than"):
        load_recipe(tmp_path / "d.json")


@given(
    data=st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_any_json_gives_our_error(data: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("any") / "x.json"
    path.write_text(json.dumps(data))
    with pytest.raises(AudioSAESteerError):
        load_recipe(path)


def test_a_missing_or_changed_sae_is_named(tmp_path: Path) -> None:
    model = make_openai()
    path = written(tmp_path, content(model, tmp_path))
    make_sae("relu", 64, 200, seed=9).save(tmp_path / "sae.safetensors")
    with pytest.raises(AudioSAESteerError, match="sha256"):
        steer(model, path)
    (tmp_path / "sae.safetensors").unlink()
    with pytest.raises(RecipeError, match="not there"):
        steer(model, path)
    assert not model.encoder.blocks[1]._forward_hooks


def test_names_are_found_for_the_model_at_hand(tiny_en: Any, tiny_en_hf: Any) -> None:
    for model in (tiny_en, tiny_en_hf):
        fitting = recipes(model)
        assert "no-false-speech" in {recipe.name for recipe in fitting}
        assert load_recipe("no-false-speech", model).model.fingerprint == fingerprint(model)
    assert recipes(make_openai()) == []
    with pytest.raises(RecipeNotFoundError, match=r"(?s)no recipe 'no-false-speech' fits this .*h for tiny.en"):
        load_recipe("no-false-speech", make_openai())


def test_a_name_that_no_recipe_has(tiny_en: Any) -> None:
    names = "no-false-speech, no-false-speech-constant, no-false-speech-ungated"
    with pytest.raises(RecipeNotFoundError) as raised:
        steer(tiny_en, "nosuch")
    assert str(raised.value).startswith(f"there is no recipe 'nosuch'; for this model there are: {names}.\n")
    with pytest.raises(RecipeNotFoundError, match=rf"did you mean 'no-false-speech'\?\); for this .*: {names}\."):
        load_recipe("no-false-speach", tiny_en)
    with pytest.raises(RecipeNotFoundError, match=r"^there is no recipe 'no-false-speach'; none ships for this model"):
        load_recipe("no-false-speach", make_openai())
    with pytest.raises(RecipeNotFoundError, match=rf"there is no recipe 'nosuch'; there are: {names}"):
        check_recipe("nosuch")
    check_recipe("no-false-speech")
    check_recipe("user/recipe-on-the-hub")


@pytest.mark.parametrize("check", [load_recipe, check_recipe])
def test_paths_and_names_that_name_nothing(tmp_path: Path, check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine" / "old").mkdir(parents=True)
    (tmp_path / "recipe.json").touch()  # which an empty name is no path to
    (tmp_path / "mine" / "quiet.json").touch()
    cases = {
        "": "the recipe's name is empty; there are: no-false-speech, ",
        " ": "the recipe's name is empty",
        "mine": "mine is a folder without a recipe.json; it holds quiet.json: name the file",
        "mine/old": "mine/old is a folder without a recipe.json; name a recipe's file, or its folder",
        "nowhere.json": "there is no recipe file at nowhere.json; check the path",
        "./mine/none": "there is no recipe file at ./mine/none; check the path",
        str(tmp_path / "none"): "there is no recipe file at .*/none; check the path",
    }
    for source, says in cases.items():
        with pytest.raises(RecipeNotFoundError, match=f"^{says}"):
            check(source)


def test_shipped_recipes_are_whole() -> None:
    from audiosae_steer.steering.recipes.load import shipped

    found = list(shipped())
    assert found
    for recipe in found:
        assert isinstance(recipe, Recipe)
        assert recipe.provenance
        assert recipe.measured
        reads = recipe.gate is not None or any(site.sae for site in recipe.sites)
        assert bool(recipe.load_saes()) == reads
