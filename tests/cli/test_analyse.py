"""`audiosae-steer analyse`, as a user types it, on the released tiny.en and the SAE that ships for it."""

from __future__ import annotations

import shutil
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from audiosae_steer import load_sae
from audiosae_steer.analyse import Coverage
from audiosae_steer.cli.app import app
from audiosae_steer.steering.recipes.load import checkpoints_dir

CLIPS = checkpoints_dir() / "clips"
SHIPPED = checkpoints_dir() / "whisper-tiny.en" / "encoder-4.safetensors"


def run(*words: Any) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], env={"FORCE_COLOR": None, "NO_COLOR": "1"})


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "clips").mkdir()
    for name in ("speech-01", "speech-02", "rain", "siren"):
        shutil.copy(CLIPS / f"{name}.flac", tmp_path / "clips")
    return tmp_path


def test_stability_from_clips_to_a_page(folder):
    sae = load_sae(SHIPPED)
    order = np.random.default_rng(0).permutation(sae.n_features)
    other = sae.altered(W_enc=sae.W_enc[order], b_enc=sae.b_enc[order], W_dec=sae.W_dec[order], typical=None)
    other.save(folder / "other.safetensors")
    words = (
        *("analyse", "stability", "--sae", SHIPPED, "--layer", 4, "--other", folder / "other.safetensors"),
        *("--audio", folder / "clips", "--cache", folder / "cache", "--min-frames", 20, "--min-clips", 2),
        *("--shifts", 2, "--draws", 20, "--controls", "random"),
    )
    result = run(*words, "--out", folder / "a.json", "--html", folder / "a.html", "--png", folder / "a.png")
    assert result.exit_code == 0, result.output
    assert "| A by random B |" in result.output
    found = Coverage.from_json((folder / "a.json").read_text(encoding="utf-8"))
    assert found.share == 1.0
    assert found.decoder.share == 1.0
    assert found.decoder.same_partner > 0.9
    assert found.controls[0].side.excess < 0.2
    feature = found.chi.index(1.0)
    assert order[found.partners[feature]] == feature
    page = (folder / "a.html").read_text(encoding="utf-8")
    assert page.count("<audio") >= 2
    assert str(folder) not in page
    assert (folder / "a.png").read_bytes().startswith(b"\x89PNG")
    again = run(*words, "--out", folder / "b.json")
    assert again.exit_code == 0
    assert (folder / "a.json").read_bytes() == (folder / "b.json").read_bytes()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--layer", 4), "say which clips to analyse"),
        (("--audio", CLIPS / "rain.flac"), "say --layer N"),
        (("--audio", CLIPS / "rain.flac", "--layer", 4), "no feature of A fires on 50 frames and in 5 clips"),
        (("--audio", CLIPS / "rain.flac", "--layer", 4, "--other-layer", 3), "is a control of --sae"),
    ],
)
def test_data_that_cannot_bear_it_ends_with_2_and_a_sentence(words, says):
    result = run("analyse", "stability", "--sae", SHIPPED, *words)
    assert result.exit_code == 2
    assert says in result.output
    assert "Traceback" not in result.output
