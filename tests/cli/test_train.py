"""`audiosae-steer train`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from commands import failed, help_of, run

from audiosae_steer import load_sae


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    folder = tmp_path / "sounds"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for n in range(3):
        soundfile.write(folder / f"noise{n}.wav", 0.1 * rng.standard_normal(24_000).astype(np.float32), 16_000)
    return folder


def test_it_trains_either_architecture_and_says_what_came_of_it(audio, tmp_path, tiny_en):
    pytest.importorskip("sae_lens", reason="SAELens (extra [train]) is not installed")
    small = ["--n-features", 64, "--k", 4, "--steps", 4, "--batch", 64, "--cache", tmp_path / "cache"]
    first = run("train", "--audio", audio, "--layer", 3, "--out", tmp_path / "a.safetensors", *small)
    assert first.exit_code == 0, first.output
    assert "step 4/4  FVU" in first.stdout
    assert "beside it: a.png, a.md" in first.stdout
    card = (tmp_path / "a.md").read_text(encoding="utf-8")
    assert "audiosae-steer " in card
    small[-1] = tmp_path / "other"
    more = ["--architecture", "matryoshka", "--width", 8, "--width", 32, "--start", tmp_path / "a.safetensors"]
    more += ["--engine", "local"]
    second = run("train", "--audio", audio, "--layer", 3, "--out", tmp_path / "b.safetensors", *small, *more)
    assert second.exit_code == 0, second.output
    sae = load_sae(tmp_path / "b.safetensors")
    assert sae.info["settings"]["widths"] == [8, 32, 64]
    folders = [tmp_path / name / "activations" for name in ("cache", "other")]
    without, with_engine = ({path.name: path.read_bytes() for path in each.glob("*.*")} for each in folders)
    assert with_engine == without
    assert (folders[1] / "work" / "summary.json").is_file()
    assert sae.info["started_from"] == "a.safetensors"
    assert "Its training started from a.safetensors." in (tmp_path / "b.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--layer", 9], "no encoder layer 9: this model's encoder has layers 1 to 4"),
        ([], "say --layer N, counted from 1, or --path MODULE"),
        (["--layer", 1, "--path", "encoder"], "say --layer N, counted from 1, or --path MODULE"),
        (["--path", "encoder.nothing"], "there is no module 'encoder.nothing'"),
        (["--layer", 1, "--k", 0], "k is 0; expected at least 1"),
        (["--layer", 1, "--seed", 2**32], "seed is 4294967296; expected at most 4294967295"),
        (["--layer", 1, "--model", "enormous"], "enormous"),
    ],
)
def test_what_cannot_be_is_a_line(words, said, audio, tmp_path, tiny_en):
    result = run("train", "--audio", audio, "--out", tmp_path / "a.safetensors", *words)
    assert said in failed(result)
    assert [path.name for path in tmp_path.iterdir()] == ["sounds"]


@pytest.mark.parametrize("most", [0, -3])
def test_no_clips_at_all_are_refused(most, audio, tmp_path):
    result = run("train", "--audio", audio, "--out", tmp_path / "a.safetensors", "--layer", 1, "--most", most)
    assert result.exit_code == 2
    assert "--most" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["sounds"]


def test_the_help_names_the_architectures():
    said = help_of("train")
    assert "matryoshka" in said
    assert "batchtopk" in said
