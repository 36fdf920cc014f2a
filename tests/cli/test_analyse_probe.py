"""`audiosae-steer analyse probe`, as a user types it, on the released tiny.en and the SAE that ships for it."""

from __future__ import annotations

from typing import Any

import pytest
from typer.testing import CliRunner, Result

from audiosae_steer.analyse import ProbeCurve
from audiosae_steer.cli.app import app
from audiosae_steer.steering.recipes.load import checkpoints_dir

CLIPS = checkpoints_dir() / "clips"
SHIPPED = checkpoints_dir() / "whisper-tiny.en" / "encoder-4.safetensors"
SPEECH, SOUND = ("speech-01", "speech-02", "speech-03", "speech-04"), ("rain", "siren", "fan", "engine")


def run(*words: Any) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], env={"FORCE_COLOR": None, "NO_COLOR": "1"})


def test_probe_from_labels_to_a_page(tmp_path):
    rows = [f"{name}.flac,{label},{name}" for names, label in ((SPEECH, "speech"), (SOUND, "sound")) for name in names]
    (tmp_path / "labels.csv").write_text("\n".join(["file,label,group", *rows]) + "\n", encoding="utf-8")
    words = (
        *("analyse", "probe", "--sae", SHIPPED, "--layer", 4, "--labels", tmp_path / "labels.csv", "--audio", CLIPS),
        *("--k", 1, "--k", 5, "--pool", "mean", "--penalty", 0.1, "--no-unpenalised", "--controls", "dense"),
        *("--min-frames", 20, "--min-clips", 2, "--random-orders", 2, "--draws", 20, "--permutations", 20),
        *("--cache", tmp_path / "cache"),
    )
    result = run(*words, "--out", tmp_path / "a.json", "--html", tmp_path / "a.html", "--png", tmp_path / "a.png")
    assert result.exit_code == 0, result.output
    assert "of 4 speakers or recordings only" in result.output
    assert "| 5 | " in result.output
    found = ProbeCurve.from_json((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert found.labels == ("sound", "speech")
    assert found.full.score == 1.0
    assert found.saturation_k is not None
    assert [each.name for each in found.controls] == ["dense"]
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert str(tmp_path) not in page
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    again = run(*words, "--out", tmp_path / "b.json")
    assert again.exit_code == 0
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


@pytest.mark.parametrize(
    ("labels", "says"),
    [(["rain.flac,a", "siren.flac,a"], "all 2 clips have the label 'a'"),
     (["rain.flac,a", "siren.flac,b"], "in one speaker or recording only")],
)  # fmt: skip
def test_data_that_cannot_bear_it_ends_with_2_and_a_sentence(tmp_path, labels, says):
    (tmp_path / "labels.csv").write_text("\n".join(["file,label", *labels]) + "\n", encoding="utf-8")
    result = run("analyse", "probe", "--sae", SHIPPED, "--layer", 4, "--labels", tmp_path / "labels.csv",
                 "--audio", CLIPS)  # fmt: skip
    assert result.exit_code == 2
    assert says in " ".join(result.output.split())
    assert "Traceback" not in result.output
