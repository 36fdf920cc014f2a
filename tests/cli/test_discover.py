"""`audiosae-steer discover`, as a user types it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from audiosae_steer import load_recipe
from audiosae_steer.cli.app import app
from audiosae_steer.steering.recipes.load import checkpoints_dir

CLIPS = checkpoints_dir() / "clips"
SHIPPED = checkpoints_dir() / "whisper-tiny.en" / "encoder-4.safetensors"


def run(*words: Any) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], env={"FORCE_COLOR": None, "NO_COLOR": "1"})


def test_from_a_list_of_labels_to_a_recipe(tmp_path):
    names = {
        "speech-01": "talk",
        "speech-02": "talk",
        "speech-03": "talk",
        "rain": "noise",
        "fan": "hum",
        "siren": "tone",
    }
    lines = [f"{name}.flac,{label}" for name, label in names.items()]
    (tmp_path / "labels.csv").write_text("file,label\n" + "\n".join(lines) + "\n")
    out = tmp_path / "out" / "talk.json"
    result = run(
        *("discover", "--sae", SHIPPED, "--layer", 4, "--labels", tmp_path / "labels.csv", "--audio", CLIPS),
        *("--positive", "talk", "--groups", "file", "--pad", "zeros", "--edit", "ablate", "--top", 5),
        *("--resamples", 2, "--out", out, "--no-report"),
    )
    assert result.exit_code == 0, result.output
    recipe = load_recipe(out)
    assert recipe.model.name == "tiny.en"
    assert recipe.sites[0].edits[0]["kind"] == "ablate"
    assert recipe.provenance["data"] == {"labels": ["labels.csv"]}
    held = recipe.measured["held_out"]
    lines = result.stdout.splitlines()
    assert lines[0].startswith("5 features; on 1 held-out clips with the concept and 1 without, together AUC ")
    assert f"AUC {held['probe_auc']:.3f} [" in lines[0]
    assert lines[1].startswith(f"feature {held['best_feature']} alone {held['best_feature_auc']:.3f}; as many random")
    stability = recipe.measured["features"]["stability"]
    assert lines[2].startswith(f"stability: found again in {sum(stability) / 5:.0%} of 2 resamples on average; ")
    assert lines[3].startswith("fewer than 20 held-out clips of a kind: ")
    assert lines[4] == f"wrote {out}"
    assert str(tmp_path) not in json.dumps(recipe.provenance)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--present", "gone", "--absent", "gone"], "there is no folder gone"),
        (
            ["--present", CLIPS / "speech-01.flac", "--absent", CLIPS / "fan.flac"],
            "too few recordings with the concept",
        ),
        (
            ["--present", CLIPS, "--absent", CLIPS],
            "alarm.flac is among the clips with the concept and among those without",
        ),
        (
            [
                "--present",
                CLIPS / "speech-01.flac",
                "--present",
                CLIPS / "speech-02.flac",
                "--groups",
                "file",
                "--absent",
                CLIPS / "fan.flac",
                "--absent",
                CLIPS / "rain.flac",
            ],
            "there is no model 'tinny'",
        ),
        (["--out", "recipe.txt"], "recipe.txt does not end in .json; give the recipe's file, such as recipe.json"),
    ],
)
def test_what_cannot_be_is_one_line(words, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("discover", "-m", "tinny", "--sae", SHIPPED, "--layer", 4, "--out", Path("r.json"), *words)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {says}")
    assert "Traceback" not in result.output
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_named_before_the_model_is_loaded(tmp_path, monkeypatch):
    from audiosae_steer.discover.contrast import discover

    monkeypatch.setattr(discover, "find_spec", lambda name: None)
    words = ["discover", "-m", "tinny", "--sae", SHIPPED, "--layer", 4, "--out", tmp_path / "r.json"]
    for more, names in (([], "scikit-learn and matplotlib"), (["--no-report"], "scikit-learn")):
        result = run(*words, "--present", CLIPS, "--absent", CLIPS, *more)
        assert result.exit_code == 2
        assert result.stderr.startswith(f"error: finding features needs {names}; run: pip install ")


def test_its_help_says_what_it_takes():
    result = run("discover", "--help")
    assert result.exit_code == 0
    for word in ("--present", "--absent", "--labels", "--target", "--tau", "--rank", "--pool", "--edit", "--seed"):
        assert word in result.stdout


def test_an_unknown_choice_names_those_there_are(tmp_path):
    result = run("discover", "--sae", SHIPPED, "--layer", 4, "--out", tmp_path / "r.json", "--rank", "ridge")
    assert result.exit_code == 2
    said = " ".join(result.stderr.replace("│", " ").split())
    assert "'--rank'" in said
    assert "'ridge' is not one of 'l1', 'l2', 'fisher', 'difference'" in said
    assert not list(tmp_path.iterdir())
