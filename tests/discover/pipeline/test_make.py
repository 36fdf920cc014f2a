"""From data sets on a Hub of our own to a folder with recipes, in one call that is interrupted and resumed."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hub_datasets import CLIPS, ESC50, KNOWN, LIBRISPEECH, audio, put, table
from hub_server import cut, served
from typer.testing import CliRunner

from audiosae_steer import AudioError, HubError, NeverCalledWarning, SiteError, SteeringError, load_recipe, steer
from audiosae_steer.cli.app import app
from audiosae_steer.discover.calibration.settings import Budget
from audiosae_steer.discover.learning.settings import LearnSettings
from audiosae_steer.discover.pipeline import validate
from audiosae_steer.discover.pipeline.estimate import check_enough
from audiosae_steer.discover.pipeline.make import make_no_false_speech
from audiosae_steer.discover.pipeline.settings import NAME, UNGATED, MakeOutput, MakeSettings
from audiosae_steer.steering.recipes.load import checkpoints_dir

SHIPPED = checkpoints_dir() / "whisper-tiny.en" / "encoder-4.safetensors"
SOUNDS = ("mains-hum", "clicks", "alarm", "fan", "keyboard")
PLAIN = MakeSettings()
SMALL = replace(
    PLAIN,
    least=5,
    synthetic=0,
    timestamp_windows=6,
    learn=LearnSettings(features=24, steps=8, refine=4, batch=(3, 2), lr=0.2),
    calibrate=replace(PLAIN.calibrate, strengths=(1.0, 3.0), shares=(1.0,), gate_margins=(0.2,), modes=("timed",)),
    budget=Budget(wer=1000.0, blanked=1.0),
    test=replace(PLAIN.test, modes=("timed",)),
)


class Killed(BaseException):
    """Stands for the end of a process."""


def fill(hub: Any) -> None:
    """ESC-50 and LibriSpeech as they lie on the Hub, with a handful of clips of our own."""
    sounds = [CLIPS / f"{name}.flac" for name in SOUNDS]
    put(
        hub,
        ESC50,
        {
            "data/train-00000-of-00001-2f1ab7b8.parquet": table(
                {
                    "filename": [f"1-{100 + i}-A-0.wav" for i in range(len(sounds))],
                    "category": [KNOWN[file.name]["label"] for file in sounds],
                    "src_file": [100 + i for i in range(len(sounds))],
                    "audio": audio(sounds),
                }
            )
        },
    )
    spoken = [CLIPS / f"speech-{i:02d}.flac" for i in range(1, 6)]
    put(
        hub,
        LIBRISPEECH,
        {
            "clean/test/0000.parquet": table(
                {
                    "audio": audio(spoken),
                    "text": [KNOWN[file.name]["text"].upper() for file in spoken],
                    "speaker_id": [1089 + i for i in range(len(spoken))],
                    "id": [f"{1089 + i}-134686-0000" for i in range(len(spoken))],
                }
            )
        },
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(folder, recipe, what was said until it was killed, what was said afterwards)."""
    folder = tmp_path_factory.mktemp("make")
    out = folder / "made"
    lines: tuple[list[str], list[str]] = [], []
    output = MakeOutput(folder=out, command="audiosae-steer make …")
    given: dict[str, Any] = {"out": output, "sae": SHIPPED, "settings": SMALL}
    with pytest.MonkeyPatch.context() as patch, served(patch, folder) as hub:
        fill(hub)
        with pytest.MonkeyPatch.context() as broken:

            def kill(*args: Any, **kwargs: Any) -> None:
                raise Killed

            broken.setattr(validate, "run_bench", kill)
            with pytest.raises(Killed):
                make_no_false_speech("tiny.en", say=lines[0].append, **given)
        assert [path.name for path in out.iterdir()] == [".work"]
        recipe = make_no_false_speech("tiny.en", say=lines[1].append, **given)
        assert len(hub.downloads()) == 2
    return out, recipe, *lines


def test_it_says_first_what_it_will_download_and_how_long_it_takes(made):
    said = made[2]
    assert said[0].startswith("hub:esc50@")
    assert "MB to download in 1 files. ESC-50" in said[0]
    assert "hub:librispeech-test-clean@" in said[1]
    assert "LibriSpeech test-clean" in said[1]
    assert said[2] == "about how long it will take, if nothing of it is done yet:"
    rows = [line.split()[0] for line in said[3:8]]
    assert rows == ["learn", "gates", "calibrate", "test", "in"]
    assert all(line.endswith(" min") for line in said[3:8])
    assert said[8:11] == [
        "find: 3 clips without speech, 3 with speech",
        "calibrate: 1 clips without speech, 1 with speech",
        "test: 1 clips without speech, 1 with speech",
    ]
    assert said[11:] == [f"{name} …" for name in ("learn", "gates", "calibrate", "calibrate without gates", "test")]


def test_killed_in_the_last_stage_it_resumes_with_that(made):
    done = ("learn", "gates", "calibrate", "calibrate without gates")
    assert made[3][11:] == [*(f"{name}: done before, taken from its folder" for name in done), "test …"]
    assert "0 MB to download in 1 files, " in made[3][0]


def test_the_recipe_says_what_it_was_made_of_and_what_it_does(made, tiny_en):
    out, recipe, *_ = made
    assert recipe.name == NAME
    assert recipe.misfit(tiny_en) is None
    assert recipe.gate is not None or recipe.frame_gate is not None
    assert recipe.timestamp_gate is not None
    assert recipe.timestamp_gate.calibration["windows"] == 2
    assert recipe.allow_empty
    assert recipe.provenance["command"] == "audiosae-steer make …"
    dealt = recipe.provenance["dealt"]
    assert dealt["without speech"]["find"]["clips"] == 3
    assert dealt["with speech"]["apart"] == "recording or speaker"
    assert dealt["without speech"]["test"]["sources"][0].startswith("hub:esc50@")
    test = recipe.measured["test"]["timed"]
    assert {"unsteered", "learned-1"} < set(test)
    for arm in test.values():
        assert arm["text"][1] == arm["blanked"][1] == 1
        assert len(arm["wer_change"]) == 3
    assert recipe.measured["calibrate"]
    with pytest.warns(NeverCalledWarning), steer(tiny_en, out / f"{NAME}.json") as steering:
        assert steering.recipe is not None
    assert str(out.parent) not in recipe.model_dump_json()


def test_the_folder_holds_the_recipes_their_sae_a_card_and_the_figures(made):
    out = made[0]
    bare = load_recipe(out / f"{UNGATED}.json")
    assert bare.gate is None
    assert bare.frame_gate is None
    assert bare.timestamp_gate is None
    assert bare.name == UNGATED
    assert {spec.file for spec in (*bare.saes.values(), *made[1].saes.values())} == {"encoder-4.safetensors"}
    assert set(bare.load_saes()) == {"sae"}
    found = json.loads((out / "test" / "false-speech.json").read_text())
    assert found["recipe"] == NAME
    for name in ("test/table.md", "test/front.png", f"{NAME}-calibration/candidates.json", "README.md"):
        assert (out / name).stat().st_size > 100
    assert not list(out.rglob("*.part"))


def test_the_card_is_one_that_the_hub_reads(made):
    text = (made[0] / "README.md").read_text()
    front, _, body = text.removeprefix("---\n").partition("\n---\n")
    assert "base_model: openai/whisper-tiny.en" in front.splitlines()
    assert front.splitlines()[-2:] == ["- ashraq/esc50", "- openslr/librispeech_asr"]
    assert 'load_whisper("tiny.en")' in body
    assert f'steer(model, "{NAME}.json")' in body
    assert "CC BY-NC 3.0" in body
    assert "| clips without speech | 3 | 1 | 1 | recording or speaker and kind of sound |" in body
    assert "| unsteered | " in body
    assert f"| `{UNGATED}` | " in body
    assert f"(`{NAME}`) | " in body


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ({"layer": 3}, SiteError, "trained on layer 4, not 3"),
        ({"model": "transformers"}, SteeringError, "openai-whisper model"),
        ({"absent": ["nowhere"]}, AudioError, "nowhere"),
        ({"out": "no/such/folder"}, SteeringError, "there is no folder"),
        (
            {"settings": PLAIN},
            AudioError,
            r"too few clips to make a recipe: .*at least 30 of each are needed \(18 to find",
        ),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(given, error, says, tiny_en, tmp_path, monkeypatch, request):
    monkeypatch.chdir(tmp_path)
    model = request.getfixturevalue("tiny_en_hf") if given.pop("model", None) else tiny_en
    options = {"out": "made", "sae": SHIPPED, "absent": [CLIPS], "present": [CLIPS], "settings": SMALL, **given}
    with pytest.raises(error, match=says):
        make_no_false_speech(model, **options)
    assert not list(tmp_path.rglob("*.json"))


def test_too_few_clips_are_told_before_a_model_is_loaded_or_a_time_estimated(tmp_path):
    for folder, number in (("noise", 7), ("speech", 15)):
        (tmp_path / folder).mkdir()
        for n in range(number):
            shutil.copy(CLIPS / "fan.flac", tmp_path / folder / f"{folder}{n}.flac")
    words = ["make", "no-false-speech", "-m", "tinny", "--absent", tmp_path / "noise", "--present", tmp_path / "speech"]
    words += ["--out", tmp_path / "made"]
    result = CliRunner().invoke(app, [str(word) for word in words], env={"NO_COLOR": "1"})
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith(
        "error: too few clips to make a recipe: 7 without speech (5 to find, 1 to calibrate, 1 to test) and 15 with "
        "speech (9 to find, 3 to calibrate, 3 to test); at least 30 of each are needed (18 to find, 6 to calibrate, 6 "
        "to test). Give more, or lower --least"
    )
    assert not (tmp_path / "made").exists()
    result = CliRunner().invoke(app, [*map(str, words), "--least", "6"], env={"NO_COLOR": "1"})
    assert "are all among those of an earlier side" in result.stderr  # they are copies of one
    one = [*map(str, words), "--least", "6", "--present", str(CLIPS / "speech-01.flac")]
    one[one.index("--present") + 1] = str(CLIPS / "speech-02.flac")
    one[one.index("--absent") + 1] = str(checkpoints_dir() / "clips" / "fan.flac")
    result = CliRunner().invoke(app, [*one, "--least", "1"], env={"NO_COLOR": "1"})
    assert (
        "clips without speech: 1 speakers, recordings or kinds of sound cannot be split into 3 parts" in result.stderr
    )


@pytest.mark.parametrize(
    ("absent", "present", "enough"),
    [
        ((18, 6, 6), (18, 6, 6), True),
        ((40, 3, 5), (30, 9, 9), True),
        ((40, 2, 9), (30, 9, 9), False),
        ((18, 6, 5), (18, 6, 6), False),
        ((18, 6, 6), (200, 2, 50), False),
    ],
)
def test_how_many_are_enough(absent, present, enough):
    if enough:
        check_enough(absent, present, PLAIN.shares, PLAIN.least)
    else:
        with pytest.raises(AudioError, match="too few clips"):
            check_enough(absent, present, PLAIN.shares, PLAIN.least)


@pytest.mark.parametrize("way", ["switched off", "down"])
def test_without_a_network_it_names_clips_of_ones_own_as_the_cure(way, tmp_path, monkeypatch):
    with served(monkeypatch, tmp_path) as hub:
        cut(hub, monkeypatch, way)
        with pytest.raises(HubError, match="Clips of your own do as well: --absent DIR"):
            make_no_false_speech("tiny.en", out=tmp_path / "made", sae=SHIPPED)


def test_an_unknown_task_is_one_line(tmp_path):
    result = CliRunner().invoke(app, ["make", "no-coughs", "--out", str(tmp_path / "made")], env={"NO_COLOR": "1"})
    assert result.exit_code == 2
    assert result.stderr.startswith(
        "error: there is no task 'no-coughs' to make a recipe for; expected no-false-speech"
    )
    assert not list(Path(tmp_path).iterdir())
