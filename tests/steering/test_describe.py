"""What is said of a model, an SAE and a recipe, and how they are told apart."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from make import KINDS, NORMS, make_openai, make_sae

from audiosae_steer import CheckpointError, RecipeError, RecipeNotFoundError, UnknownModelError
from audiosae_steer.io.hub.read import sha256_of
from audiosae_steer.models.registry import family_of, fingerprint
from audiosae_steer.steering.describe import explain, of_model, of_recipe, of_sae
from audiosae_steer.steering.recipes.load import checkpoints_dir, shipped
from audiosae_steer.steering.recipes.schema import Recipe

SHIPPED = checkpoints_dir() / "whisper-tiny.en" / "encoder-4.safetensors"


def content(folder: Path, model: Any) -> dict[str, Any]:
    """A recipe that uses everything a recipe can hold, its SAE beside it."""
    make_sae("jumprelu", 64, 200).save(folder / "sae.safetensors")
    return {
        "schema": 1,
        "name": "mine",
        "description": "For a test.",
        "model": {"family": "whisper", "name": "small random", **family_of(model).dims(model)._asdict()},
        "saes": {"a": {"file": "sae.safetensors", "sha256": sha256_of(folder / "sae.safetensors")}},
        "sites": [
            {
                "layer": 2,
                "sae": "a",
                "error": "drop",
                "edits": [
                    {"kind": "add", "features": list(range(10)), "amount": [0.5 * n for n in range(10)]},
                    {"kind": "ablate", "features": [11], "window": [0.5, 2.0]},
                ],
            },
            {"layer": 1, "side": "decoder", "edits": [{"kind": "push", "vector": [3.0, 4.0] + [0.0] * 62}]},
        ],
        "gate": {
            "layer": 1,
            "sae": "a",
            "features": [1, 2],
            "weights": [1.0, 1.0],
            "threshold": -1.5,
            "calibration": {"false_alarms": 0.25},
        },
        "allow_empty": True,
        "strength": 0.5,
        "provenance": {"command": "by hand"},
        "measured": {"word_error_rate": {"before": 0.1, "after": 0.1}},
    }


@pytest.fixture
def recipe(tmp_path) -> Path:
    (tmp_path / "recipe.json").write_text(json.dumps(content(tmp_path, make_openai())))
    return tmp_path / "recipe.json"


def flat(text: str) -> str:
    """Paragraphs as one line."""
    return " ".join(text.split())


def test_a_recipe(recipe):
    said = explain(str(recipe))
    assert [flat(paragraph) for paragraph in said.split("\n\n")] == [
        "mine is a recipe for small random, a whisper of width 64 with 3 encoder and 3 decoder layers. For a test.",
        "It changes the residual for clips or frames for which its gate opens: after encoder layer 2 (Add of 10 "
        "features (0, 1, 2, 3, 4, 5, 6, 7, …), amounts 0 to 4.5 (raw); Ablate of 1 features (11), from 0.5 to 2 s, the "
        "SAE's error dropped), after decoder layer 1 (Push of a vector of norm 5, 1 times). Its strength is 0.5. It "
        "lets the model write an empty text where it edits.",
        "At encoder layer 1, a clip gate decides clip by clip from 2 features (max over the clip): it opens for a "
        "score above the threshold, -1.5. Its calibration: false alarms 0.25.",
        "How it was measured. Word error rate: before 0.1, after 0.1.",
        "How it was found. It was made by `by hand`.",
        f"Its SAE: 'a' is sae.safetensors (sha256 {sha256_of(recipe.parent / 'sae.safetensors')}).",
    ]
    assert max(map(len, said.splitlines())) <= 100
    assert explain(str(recipe.parent)) == explain(str(recipe))


def test_a_recipe_without_anything_optional(recipe):
    data = json.loads(recipe.read_text())
    keep = {"schema", "name", "model", "saes", "sites"}
    said = of_recipe(Recipe.model_validate({key: value for key, value in data.items() if key in keep}))
    assert "for every clip" in said
    assert "Its strength is 1. Whether the model may write an empty text is left as the model has it." in flat(said)
    assert "gate" not in said
    assert "How it was" not in said


def test_every_shipped_recipe_is_found_by_its_name():
    for recipe in shipped():
        assert f"{recipe.name} is a recipe for {recipe.model.name}" in explain(recipe.name)


def test_recipes_are_told_in_prose_and_not_in_lists():
    for recipe in shipped():
        said = explain(recipe.name)
        assert not set("[]{}") & set(said)
        assert not [line for line in said.splitlines() if line.startswith(" ")]
    said = flat(explain("no-false-speech"))
    for recipe in shipped():
        if recipe.name == "no-false-speech":
            gate = recipe.gate.calibration
            assert (
                f"for {gate['open_absent']:.1%} of {gate['clips'][0]} clips without speech, whose text it takes away, "
                f"and for {gate['open_present']:.1%} of {gate['clips'][1]} with speech, which it would blank"
            ) in said
    assert "with Whisper's filters on, text for 3 of 411 clips without speech (0.2% to 2.1%), 113 unsteered" in said
    assert "with Whisper's filters off, a word error rate of 27.49% on 280 utterances, 27.49% unsteered" in said
    assert "With the gate open for every clip, which a very low threshold comes to, it was 0.6% and 13.8%" in said
    assert "On 60 windows of 30 s with speech and noise by turns: unsteered, a word error rate of 17.2%" in said
    assert "They are of 50 windows of speech and noise." in said
    assert "Its calibration:" not in said
    assert "It was learned on 320 clips without speech and 320 clips with speech, which made 495 and 499" in said


def test_the_shipped_sae():
    said = explain(str(SHIPPED))
    assert said.startswith("SAE: 3,072 features of a residual 384 wide (8x)\n  gate: batchtopk, k = 32; threshold: 0.4")
    assert "\n  layer: 4" in said
    assert explain(str(SHIPPED.parent), 4) == said


def test_a_folder_of_several_saes_asks_for_the_layer(tmp_path):
    for layer, features in ((2, 40), (3, 50)):
        make_sae("relu", F=features).save(tmp_path / f"encoder-{layer}.safetensors")
    assert explain(str(tmp_path), 3).startswith("SAE: 50 features")
    with pytest.raises(CheckpointError, match="which layer.*2, 3"):
        explain(str(tmp_path))
    with pytest.raises(CheckpointError, match="no layer 4"):
        explain(str(tmp_path), 4)


@pytest.mark.parametrize("norm", NORMS, ids=lambda norm: norm.kind)
@pytest.mark.parametrize("kind", KINDS)
def test_any_sae(kind, norm):
    said = of_sae(make_sae(kind, norm=norm))
    assert "31 features of a residual 12 wide (2.58333x)" in said
    assert f"gate: {kind.split('-')[0]}" in said
    assert f"input normalisation: {norm.kind}" in said
    assert ("k = 5" in said) == ("topk" in kind)
    assert ("threshold: one per feature" in said) == (kind == "jumprelu")
    assert ("threshold: 0.6" in said) == (kind == "batchtopk-threshold")
    assert ("true selection is run" in said) == (kind in ("topk", "batchtopk"))
    assert "typical activations: stored; weights in torch.float32" in said


def test_the_released_model(tiny_en):
    said = explain("tiny.en")
    assert said.splitlines()[:4] == [
        "tiny.en: a whisper (openai-whisper class Whisper)",
        "  residual width 384, vocabulary 51,864",
        "  sites: encoder layers 1 to 4 (50 frames a second), decoder layers 1 to 4 (one frame a token)",
        f"  fingerprint {fingerprint(tiny_en)}",
    ]
    for recipe in shipped():
        assert f"  recipe {recipe.name}: made for these weights" in said


def test_a_model_that_no_recipe_fits(tmp_path):
    model = make_openai()
    said = of_model(model, "mine")
    assert said.startswith("mine: a whisper (openai-whisper class Whisper)\n  residual width 64")
    assert "no shipped recipe fits it" in said
    torch.save({"dims": vars(model.dims), "model_state_dict": model.state_dict()}, tmp_path / "mine.pt")
    assert explain(str(tmp_path / "mine.pt")) == said.replace("mine:", f"{tmp_path / 'mine.pt'}:", 1)


def test_a_model_in_a_folder_with_an_innocent_name(tiny_en_hf, tmp_path):
    tiny_en_hf.save_pretrained(tmp_path / "sae")
    said = explain(str(tmp_path / "sae"))
    assert "residual width 384" in said
    assert f"fingerprint {fingerprint(tiny_en_hf)}" in said


def test_an_sae_in_a_folder_that_is_called_like_a_model(tmp_path):
    (tmp_path / "whisper").mkdir()
    shutil.copy(SHIPPED, tmp_path / "whisper")
    assert explain(str(tmp_path / "whisper" / SHIPPED.name)) == explain(str(SHIPPED))
    assert explain(str(tmp_path / "whisper")) == explain(str(SHIPPED))


def test_what_is_damaged_or_nothing_says_so(tmp_path):
    damaged = tmp_path / "sae.safetensors"
    damaged.write_bytes(SHIPPED.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match="sae.safetensors"):
        explain(str(damaged))
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(RecipeError, match="not a recipe"):
        explain(str(tmp_path / "bad.json"))
    with pytest.raises(RecipeNotFoundError, match="check the path"):
        explain(str(tmp_path / "gone.json"))
    with pytest.raises(UnknownModelError, match="there is no model 'tinny.en'.*tiny.en"):
        explain("tinny.en")
    (tmp_path / "song.flac").write_bytes(b"fLaC")
    with pytest.raises(UnknownModelError, match="holds no Whisper"):
        explain(str(tmp_path / "song.flac"))
