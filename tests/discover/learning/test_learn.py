"""From folders of clips to a recipe of learned edits, on the released tiny.en and bundled clips."""

from __future__ import annotations

import json
import shutil

import pytest
from typer.testing import CliRunner

from audiosae_steer import AudioError, SteeringError, load_recipe, steer
from audiosae_steer.cli.app import app
from audiosae_steer.data.clips import load_clips, split_clips
from audiosae_steer.discover.learning.learn import learn, learning_clips
from audiosae_steer.discover.learning.settings import LearnSettings
from audiosae_steer.discover.recipe_output import RecipeOutput
from audiosae_steer.steering.recipes.load import checkpoints_dir

SAE_FILE = checkpoints_dir() / "whisper-tiny.en" / "encoder-4.safetensors"
NOISE = ("rain", "fan", "clicks", "engine")
SPEECH = ("speech-01", "speech-03", "speech-05", "speech-08")
FEW = LearnSettings(features=6, steps=3, refine=1, batch=(2, 1), lr=0.2, l1=0.01, check=3)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Names with a letter at the end: with numbers, they would be pieces of one recording."""
    root = tmp_path_factory.mktemp("clips")
    for kind, names in (("noise", NOISE), ("speech", SPEECH)):
        (root / kind).mkdir()
        for number, name in enumerate(names):
            shutil.copy(checkpoints_dir() / "clips" / f"{name}.flac", root / kind / f"clip{'abcd'[number]}.flac")
    return root


@pytest.fixture
def less(monkeypatch):
    """A few clips of each kind in place of a hundred."""
    import audiosae_steer.discover.learning.learn as module

    def few(vary, **fixed):
        return lambda *args, **given: vary(*args, **(given | fixed))

    monkeypatch.setattr(module, "vary_absent", few(module.vary_absent, synthetic=1, brief_share=0.0))
    monkeypatch.setattr(module, "vary_present", few(module.vary_present, brief_share=0.0, beside_share=0.0))


def test_held_out_clips_share_no_recording(folders):
    without, having = load_clips([folders / "noise"], progress=False), load_clips([folders / "speech"], progress=False)
    parts = split_clips(without, {"learn": 0.7, "held": 0.3}, seed=1)
    assert {c.group for c in parts["learn"].clips}.isdisjoint({c.group for c in parts["held"].clips})
    assert sum(len(p.clips) for p in parts.values()) == len(NOISE)
    assert all(len(clips) for clips in learning_clips(without, having, 0, LearnSettings().synthetic))


def test_a_recipe_is_learned_and_steers(tiny_en, folders, tmp_path, less):
    out = tmp_path / "quiet.json"
    output = RecipeOutput(path=out, model_name="tiny.en", command="audiosae-steer learn")
    recipe = learn(
        tiny_en, SAE_FILE, 4, [folders / "noise"], [folders / "speech"], out=output, settings=FEW, progress=False
    )
    again = load_recipe(out)
    assert again.model_dump() == recipe.model_dump()
    assert again.gate is None
    assert again.allow_empty
    assert len(again.sites[0].edits[0]["features"]) <= 6
    assert again.provenance["data"]["with speech"] == {"sources": ["speech"], "clips": 4}
    assert str(folders) not in out.read_text(encoding="utf-8")
    assert set(again.measured["held_out"]) == {"text", "words_changed", "blanked", "steps"}
    with steer(tiny_en, out) as steering:
        assert steering.path == "add"
        steering.model.encoder.blocks[3](tiny_en.encoder.positional_embedding[None])


def test_the_command_line_learns_a_dense_vector(folders, tmp_path, less):
    out = tmp_path / "dense.json"
    args = [
        "learn",
        "--model",
        "tiny.en",
        "--layer",
        "4",
        "--absent",
        folders / "noise",
        "--present",
        folders / "speech",
    ]
    result = CliRunner().invoke(app, [*map(str, args), "--out", str(out), "--steps", "2", "--refine", "0"])
    assert result.exit_code == 0, result.output
    written = json.loads(out.read_text(encoding="utf-8"))
    assert written["sites"][0]["edits"][0]["kind"] == "push"
    assert len(written["sites"][0]["edits"][0]["vector"]) == 384
    assert "calibrate" in result.output


def test_what_cannot_be_learned_from_says_why(tiny_en, folders, tmp_path):
    with pytest.raises(SteeringError, match=r"does not end in \.json"):
        learn(tiny_en, None, 4, [folders / "noise"], [folders / "speech"], out=tmp_path / "recipe")
    lone = tmp_path / "one"
    lone.mkdir()
    shutil.copy(folders / "noise" / "clipa.flac", lone / "clipa.flac")
    with pytest.raises(AudioError, match="cannot be split"):
        learn(tiny_en, None, 4, [lone], [folders / "speech"], out=tmp_path / "r.json", progress=False)
    assert not (tmp_path / "r.json").exists()
