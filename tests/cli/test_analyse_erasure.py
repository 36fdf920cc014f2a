"""`audiosae-steer analyse erasure` on the released tiny.en, and the recipe that it writes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from typer.testing import CliRunner, Result

from audiosae_steer import load_model, load_recipe, steer
from audiosae_steer.analyse import Erasure
from audiosae_steer.cli.app import app
from audiosae_steer.errors import SteeringError
from audiosae_steer.steering.recipes.load import checkpoints_dir

CLIPS = checkpoints_dir() / "clips"
SHIPPED = checkpoints_dir() / "whisper-tiny.en" / "encoder-4.safetensors"
SPEECH, SOUND = ("speech-01", "speech-02", "speech-03", "speech-04"), ("rain", "siren", "fan", "engine")


def run(*words: Any) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], env={"FORCE_COLOR": None, "NO_COLOR": "1"})


def test_a_concept_is_erased_by_a_recipe_that_steers(tmp_path):
    rows = [f"{name}.flac,{label},{name}" for names, label in ((SPEECH, "speech"), (SOUND, "sound")) for name in names]
    (tmp_path / "labels.csv").write_text("\n".join(["file,label,group", *rows]) + "\n", encoding="utf-8")
    result = run(
        *("analyse", "erasure", "--sae", SHIPPED, "--layer", 4, "--labels", tmp_path / "labels.csv", "--audio", CLIPS),
        *("--concept", "speech", "--k", 5, "--penalty", 0.1, "--controls", "", "--nonlinear", "rbf", "--draws", 20),
        *("--min-frames", 20, "--min-clips", 2, "--random-orders", 0, "--permutations", 20),
        *("--out", tmp_path / "a.json", "--html", tmp_path / "a.html", "--png", tmp_path / "a.png"),
        *("--recipe", tmp_path / "steered" / "quiet.json", "--features", 5),
    )
    assert result.exit_code == 0, result.output
    assert "too few clips to show that something is gone" in " ".join(result.output.replace("\n>", " ").split())
    found = Erasure.from_json((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert found.points[0].concept.score == 1.0
    assert found.background == ("sound",)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert "which ablates 5 features" in " ".join(result.output.split())

    model = load_model("tiny.en")
    recipe = load_recipe(tmp_path / "steered" / "quiet.json")
    assert recipe.sites[0].edits[0]["features"] == list(found.ranking[:5])
    assert recipe.misfit(model) is None
    mel = torch.randn(1, 80, 3000, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = model.encoder(mel)
        with steer(model, recipe):
            steered = model.encoder(mel)
        after = model.encoder(mel)
    assert not torch.equal(steered, before)
    assert torch.equal(after, before)
    with pytest.raises(SteeringError, match="another SAE"):
        found.recipe(5, model, SHIPPED.with_name("encoder-3.safetensors"), tmp_path / "other.json")
    with torch.no_grad():
        model.decoder.token_embedding.weight.mul_(1.5)
        next(model.encoder.parameters()).mul_(1.5)
    with pytest.raises(SteeringError, match="other weights"):
        found.recipe(5, model, SHIPPED, tmp_path / "other.json")
    assert not (tmp_path / "other.json").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [(("--concept", "music"), "no clip has the label 'music'"),
     (("--concept", "a", "--other", "b"), "each label is a concept"),
     (("--concept", "a", "--recipe", "a.txt"), "does not end in .json")],
)  # fmt: skip
def test_data_that_cannot_bear_it_ends_with_2_and_a_sentence(tmp_path, words, says):
    (tmp_path / "labels.csv").write_text("file,label\nrain.flac,a\nsiren.flac,b\n", encoding="utf-8")
    result = run("analyse", "erasure", "--sae", SHIPPED, "--layer", 4, "--labels", tmp_path / "labels.csv",
                 "--audio", CLIPS, *words)  # fmt: skip
    assert result.exit_code == 2
    assert says in " ".join(result.output.split())
    assert "Traceback" not in result.output
