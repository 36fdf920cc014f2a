"""`audiosae-steer edit` and `analyse properties`, as a user types them, on an EnCodec of random weights."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from families import encodec
from make import make_sae
from typer.testing import CliRunner, Result

from audiosae_steer import SAE
from audiosae_steer.analyse import ControlReport, PropertyMap
from audiosae_steer.cli.app import app
from audiosae_steer.cli.edit import amount_of
from audiosae_steer.errors import EditError

RATE = 24_000


def run(*words: Any) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], env={"FORCE_COLOR": None, "NO_COLOR": "1"})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    pytest.importorskip("swift_f0")
    place = tmp_path_factory.mktemp("edit")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        encodec(RATE, 1)().save_pretrained(place / "codec")
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    rows = torch.randn(48, 16)
    SAE(rows, torch.zeros(48), rows / rows.norm(dim=1, keepdim=True), torch.zeros(16), gate="relu").save(
        place / "sae.safetensors"
    )
    (place / "clips").mkdir()
    t = np.arange(int(0.8 * RATE)) / RATE
    for number in range(8):
        hz, level = 110 * 2 ** rng.uniform(0, 3), 10 ** rng.uniform(-2, -0.5)
        tone = level * np.linspace(0.1, 1, len(t)) * (np.sin(2 * np.pi * hz * t) + 0.5 * np.sin(4 * np.pi * hz * t))
        soundfile.write(place / "clips" / f"tone-{number}.wav", tone, RATE)
    return place


@pytest.fixture(scope="module")
def mapped(folder):
    result = run(
        *("analyse", "properties", "--model", folder / "codec", "--layer", 1, "--sae", folder / "sae.safetensors"),
        *("--audio", folder / "clips", "--properties", "loudness,centroid", "--controls", "dense", "--draws", 20),
        *("--permutations", 20, "--bins", 5, "--min-frames", 10, "--min-clips", 2, "--penalty", 1.0),
        *("--out", folder / "map.json"),
    )
    assert result.exit_code == 0, result.output
    return PropertyMap.from_json((folder / "map.json").read_bytes())


def test_a_map_of_a_codecs_latents_is_written(mapped):
    loudness = mapped.of("loudness")
    assert [each.name for each in loudness.scores] == ["SAE", "dense"]
    assert loudness.score.accuracy > loudness.score.null.low
    assert mapped.provenance.sites[0].rate == 75


def test_a_sound_is_edited_by_concept_and_by_number(folder, mapped):
    common = ("--model", folder / "codec", "--sae", folder / "sae.safetensors")
    words = ("--map", folder / "map.json", "--property", "loudness")
    clip = folder / "clips" / "tone-1.wav"
    result = run("edit", clip, folder / "a.wav", *common, *words, "--by", "+12dB", "--html", folder / "a.html")
    assert result.exit_code == 0, result.output
    assert "codec alone" in result.output
    samples, rate = soundfile.read(folder / "a.wav")
    assert rate == RATE
    assert len(samples) == soundfile.info(clip).frames
    page = (folder / "a.html").read_text(encoding="utf-8")
    assert page.count("data:audio/wav") == 3
    assert str(folder) not in page
    for more in (
        ("--feature", 3, "--scale", 0.0),
        (*words, "--to", -20, "--keep", "rms"),
        (*words, "--to", -20, "--toward"),
    ):
        result = run("edit", clip, folder / "b.flac", *common, *more, "--window", "0.2,0.4")
        assert result.exit_code == 0, result.output
    none = run("edit", clip, folder / "c.wav", *common, "--feature", 3, "--strength", 0)
    assert none.exit_code == 0
    assert not np.array_equal(soundfile.read(folder / "c.wav")[0], samples)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ((), "say what to edit"),
        (("--property", "loudness"), "say how to move loudness"),
        (("--property", "loudness", "--by", "+6dB"), "takes a map"),
        (("--feature", 3, "--window", "1"), "is not two numbers of seconds"),
    ],
)
def test_what_cannot_be_edited_ends_with_2_and_a_sentence(folder, more, says):
    clip = folder / "clips" / "tone-1.wav"
    result = run(
        "edit", clip, folder / "x.wav", "--model", folder / "codec", "--sae", folder / "sae.safetensors", *more
    )
    assert result.exit_code == 2
    assert says in " ".join(result.output.split())


def test_control_is_measured_in_the_codecs_sound(folder, mapped):
    words = (
        *("analyse", "control", "--model", folder / "codec", "--layer", 1, "--sae", folder / "sae.safetensors"),
        *("--map", folder / "map.json", "--audio", folder / "clips", "--alpha", 0, "--alpha", 4, "--draws", 20),
    )
    files = [folder / f"control.{kind}" for kind in ("json", "html", "png")]
    aim = ("--property", "loudness", "--to", -30)
    result = run(*words, *aim, "--out", files[0], "--html", files[1], "--png", files[2])
    assert result.exit_code == 0, result.output
    found = ControlReport.from_json(files[0].read_bytes())
    assert not found.by_probe
    assert [(each.arm, each.alpha) for each in found.points] == [
        (arm, alpha) for arm in ("edit", "random", "means", "dsp") for alpha in (0, 4)
    ]
    still, moved = found.arm("edit")
    assert still.unchanged == 1
    assert still.reached == found.at_target
    assert moved.size > 0
    assert found.arm("dsp")[1].shifts[0].after == pytest.approx(-30, abs=0.5)  # the middle of the class
    assert "the map was fitted on half of these very clips" in " ".join(result.output.split())
    page = files[1].read_text(encoding="utf-8")
    assert page.count('class="thumb"') == 5
    assert "data:audio/wav;base64," in page  # the best amount is 0, and a sound that is another's is there once
    assert str(folder) not in page
    again = run(*words, *aim, "--out", folder / "again.json")
    assert again.exit_code == 0
    assert (folder / "again.json").read_bytes() == files[0].read_bytes()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--property", "pitch", "--to", 60), "there is no map of 'pitch' here"),
        (("--property", "loudness"), "say what to move, and where to"),
        (("--property", "loudness", "--to", 60), "outside of the classes"),
        (("--property", "loudness", "--to", -5, "--map", "nowhere.json"), "nowhere.json is none; make one with"),
        (("--property", "loudness", "--to", -5, "--side", "decoder", "--layer", 2), "layer 2"),
    ],
)
def test_control_of_what_is_not_there_ends_with_2_and_a_sentence(folder, mapped, words, says):
    result = run(
        *("analyse", "control", "--model", folder / "codec", "--layer", 1, "--sae", folder / "sae.safetensors"),
        *("--map", folder / "map.json", "--audio", folder / "clips", *words),
    )
    assert result.exit_code == 2
    assert says in " ".join(result.output.split())
    assert "Traceback" not in result.output


def test_a_map_of_another_sae_is_refused(folder, mapped):
    make_sae("relu", 16).save(folder / "other.safetensors")
    result = run(
        *("edit", folder / "clips" / "tone-1.wav", folder / "x.wav", "--model", folder / "codec"),
        *(
            "--sae",
            folder / "other.safetensors",
            "--map",
            folder / "map.json",
            "--property",
            "loudness",
            "--by",
            "+6dB",
        ),
    )
    assert result.exit_code == 2
    assert "this map is of the SAE" in " ".join(result.output.split())


def test_amounts_have_units():
    assert amount_of("loudness", "+6dB") == 6
    assert amount_of("pitch", "-2 st") == -2
    assert amount_of("centroid", "0.5oct") == 0.5
    with pytest.raises(EditError, match="no amount of pitch"):
        amount_of("pitch", "+6dB")
