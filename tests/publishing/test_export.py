"""Folders with baked models: what is written beside the weights, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from baking import constants, weights_of
from make import make_hf, make_openai, swapped_tokenizer

from audiosae_steer import (
    BakedWarning,
    ModelError,
    Push,
    SteeringError,
    UnknownModelError,
    load_processor,
    load_recipe,
    load_whisper,
    steer,
)
from audiosae_steer.io.files import MARK
from audiosae_steer.models.marker import marked
from audiosae_steer.models.registry import family_of, fingerprint
from audiosae_steer.publishing.export import DTYPES, Exported, bake_to, export
from audiosae_steer.steering.describe import explain


@pytest.fixture
def model(request: pytest.FixtureRequest) -> Any:
    return make_openai(d=64) if getattr(request, "param", "openai") == "openai" else make_hf(d=64)


def recipe_for(model: Any, path: Path, **more: Any) -> Path:
    """Of two constants."""
    d = family_of(model).dims(model).d_model
    edits = [{"kind": "push", "vector": torch.linspace(-1, 1, d).tolist(), "amount": 0.5}]
    site = {"layer": 3, "edits": edits}
    data = {
        "schema": 1,
        "name": "constants",
        "description": "Two constants.",
        "model": {"family": "whisper", "name": "small random", **family_of(model).dims(model)._asdict(),
                  "fingerprint": fingerprint(model)},
        "sites": [site, {**site, "side": "decoder"}],
        "allow_empty": True,
        **more,
    }  # fmt: skip
    path.write_text(json.dumps(data))
    return path


FILES = {
    "openai": {"model.pt"},
    "transformers": {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json"},
    "ctranslate2": {"model.bin", "config.json", "vocabulary.json", "tokenizer.json", "preprocessor_config.json"},
}


@pytest.mark.parametrize("form", ["openai", "transformers"])
def test_what_was_baked_before_is_remembered(model: Any, form: Any, tmp_path: Path) -> None:
    one = recipe_for(model, tmp_path / "one.json")
    two = recipe_for(model, tmp_path / "two.json", name="others")
    export(model, tmp_path / "plain", form)
    source = "model.pt" if form == "openai" else ""
    bake_to(tmp_path / "plain" / source, one, tmp_path / "a", form)
    source = "model.pt" if form == "openai" else ""
    bake_to(tmp_path / "a" / source, two, tmp_path / "b", form)
    assert marked(load_whisper(tmp_path / "b" / source)) == ("constants", "others")
    export(load_whisper(tmp_path / "b" / source), tmp_path / "c", form)
    names = json.loads((tmp_path / "c" / MARK).read_text())["recipes"]
    assert names == ["constants", "others"]
    assert "`constants`, `others`" in (tmp_path / "c" / "README.md").read_text()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("model", ["openai", "transformers"], indirect=True)
@pytest.mark.parametrize("form", FILES)
def test_every_format_of_either_librarys_model(model: Any, form: Any, tmp_path: Path) -> None:
    before = weights_of(model)
    recipe = recipe_for(model, tmp_path / "recipe.json")
    baked = steer(model, recipe, strength=0.8).bake()
    after = weights_of(model)
    found = export(model, tmp_path / "out", form, baked=baked)
    assert isinstance(found, Exported)
    assert set(found.files) == {path.name for path in (tmp_path / "out").iterdir()}
    assert set(found.files) >= FILES[form] | {"README.md", "recipe.json", MARK}
    assert found.dtype == DTYPES[form][0]
    assert all(torch.equal(after[name], tensor) for name, tensor in model.state_dict().items())
    assert any(not torch.equal(before[name], tensor) for name, tensor in after.items())
    record = json.loads((tmp_path / "out" / MARK).read_text())
    assert record["baked"]["strength"] == 0.8
    assert record["baked"]["recipe"] == "constants"
    assert [change["sites"] for change in record["baked"]["changes"]] == [["encoder layer 3"], ["decoder layer 3"]]
    assert load_recipe(tmp_path / "out").name == "constants"
    card = (tmp_path / "out" / "README.md").read_text()
    assert all(line in card for line in found.loads)
    assert all(change.parameter in card for change in baked.changes)
    assert "strength 0.8" in card
    assert found.notes
    assert found.notes[0] in card
    scope: dict[str, Any] = {}
    exec(f"import whisper, transformers, faster_whisper\n{found.loads[0]}", scope)  # what it says does load it
    assert scope["model"] is not None
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "out").iterdir()} == {
        (tmp_path / "recipe.json").stat().st_mode & 0o777
    }
    said = explain(str(tmp_path / "out"))
    assert "a whisper (openai-whisper class Whisper)" in said
    assert "\n  baked in: constants\n" in said
    for library in ("openai", "transformers"):
        source = tmp_path / "out" / "model.pt" if form == "openai" else tmp_path / "out"
        anew = load_whisper(source, library)
        with pytest.warns(
            BakedWarning,
            match="constants.* is baked into this model already, .* load the unbaked model",
        ):
            steer(anew, recipe)._leave(quiet=True)


def test_a_steered_model_is_not_written_as_if_it_were_plain(model: Any, tmp_path: Path) -> None:
    with steer(model, layer=2, edits=[Push(torch.ones(64))]) as steering:
        with pytest.raises(SteeringError, match=r"steered by hooks.*bake\(\) the steering first, or remove\(\) it"):
            export(model, tmp_path / "out", "openai")
        steering._leave(quiet=True)
    assert not (tmp_path / "out").exists()
    found = export(model, tmp_path / "out", "openai")
    assert found.baked is None
    assert "written anew" in (tmp_path / "out" / "README.md").read_text()


def test_what_cannot_be_written(model: Any, tmp_path: Path) -> None:
    from transformers import HubertConfig, HubertModel, WhisperModel

    with pytest.raises(ModelError, match="format is 'onnx'; expected openai, transformers, ctranslate2"):
        export(model, tmp_path / "out", "onnx")  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="dtype is 'int8'; in the format openai it is one of float16, float32"):
        export(model, tmp_path / "out", "openai", dtype="int8")
    small = HubertConfig(
        hidden_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        num_conv_pos_embedding_groups=2,
    )
    for other in (HubertModel(small), WhisperModel(make_hf(d=24).config)):
        with pytest.raises(UnknownModelError, match="no Whisper that writes text.*save_pretrained"):
            export(other, tmp_path / "out", "transformers")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("years of work")
    with pytest.raises(ModelError, match="other files in it, which are left unchanged"):
        export(model, tmp_path / "full", "openai")
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


def test_a_model_is_written_over_a_model_and_over_nothing_else(model: Any, tmp_path: Path) -> None:
    steer(model, constants(64, (3, 3))).bake()
    export(model, tmp_path / "out", "openai", dtype="float32")
    found = export(model, tmp_path / "out", "transformers", dtype="float16")
    assert "model.pt" not in found.files
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_bake_to_refuses_before_it_writes(tmp_path: Path) -> None:
    with pytest.raises(SteeringError, match="its clip gate at encoder layer 4 decides clip by clip"):
        bake_to("tiny.en", "no-false-speech", tmp_path / "out")
    with pytest.raises(ModelError, match="format is 'gguf'"):
        bake_to("tiny.en", "no-false-speech", tmp_path / "out", "gguf")  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_the_tokenizer_of_a_fine_tune_is_kept_and_never_another_in_its_place(tmp_path: Path) -> None:
    own, alone = tmp_path / "own", tmp_path / "alone"
    for folder in (own, alone):
        make_hf().save_pretrained(folder)
    swapped = swapped_tokenizer(own)
    recipe = recipe_for(load_whisper(own, "transformers"), tmp_path / "recipe.json")
    bake_to(own, recipe, tmp_path / "out", "transformers")
    assert load_processor(tmp_path / "out").tokenizer.decode([1000]) == swapped
    (own / "merges.txt").unlink()
    with pytest.raises(ModelError, match=r"(?s)own is damaged.*processor="):
        bake_to(own, recipe, tmp_path / "new", "transformers")
    assert not (tmp_path / "new").exists()
    bake_to(alone, recipe, tmp_path / "out", "transformers")  # weights alone have openai-whisper's
    assert load_processor(tmp_path / "out").tokenizer.decode([1000]) != swapped
    (alone / "preprocessor_config.json").write_bytes((tmp_path / "out" / "preprocessor_config.json").read_bytes())
    bake_to(alone, recipe, tmp_path / "out", "transformers")  # as a training leaves them
    assert len(load_processor(tmp_path / "out").tokenizer) == 51864


def test_no_tokenizer_of_another_size_is_written(tmp_path: Path) -> None:
    model = make_hf()
    model.resize_token_embeddings(51900)
    with pytest.raises(ModelError, match=r"a vocabulary of 51900 .*processor"):
        export(model, tmp_path / "out", "ctranslate2")
    assert list(tmp_path.iterdir()) == []


def test_sources_and_targets_not_named_plainly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_hf()
    (tmp_path / "mine").mkdir()
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path / "mine")
    for source in (".", "../mine", "user/mine", "../mine.pt"):
        assert "mine.pt" in export(model, tmp_path / "out", "openai", source=source).files
    assert "model.pt" in export(model, tmp_path / "link", "openai", source="/").files
    assert (tmp_path / "real" / "model.pt").is_file()


@pytest.mark.parametrize("to", [".", "full", "file", "circle", "a" * 300])
def test_what_cannot_be_written_to_is_refused_before_a_model_is_loaded(
    to: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if to == "full":
        (tmp_path / "full").mkdir()
        (tmp_path / "full" / "thesis.txt").touch()
    if to == "file":
        (tmp_path / "file").touch()
    if to == "circle":
        (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(ModelError, match="new folder|cannot be written"):
        bake_to("no-such-model", "no-such-recipe", to)


def test_alignment_heads_that_openai_whisper_does_not_assume_are_in_the_lines(tmp_path: Path) -> None:
    import whisper

    model = make_hf()
    for heads in ([[0, 1], [2, 0]], [[1, 0], [1, 1], [2, 0], [2, 1]], []):
        model.generation_config.alignment_heads = heads
        found = export(model, tmp_path / "out", "openai", source="user/whisper-mine")
        scope: dict[str, Any] = {"whisper": whisper}
        exec("\n".join(found.loads), scope)
        wanted = heads or [[1, 0], [1, 1], [2, 0], [2, 1]]
        assert scope["model"].alignment_heads.to_dense().nonzero().tolist() == wanted
        assert len(found.loads) == (2 if len(heads) == 2 else 1)
        assert "\n".join(found.loads) in (tmp_path / "out" / "README.md").read_text()
