"""The command line, run in this process as a user types it."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from commands import CLIPS, failed, help_of, run

import audiosae_steer
from audiosae_steer import RecipeNotFoundError, load_audio
from audiosae_steer.cli.app import app
from audiosae_steer.evaluate.transcription.transcribe import transcribe
from audiosae_steer.models.registry import family_of, fingerprint
from audiosae_steer.steering.describe import explain
from audiosae_steer.steering.recipes.load import checkpoints_dir

SHIPPED = checkpoints_dir() / "whisper-tiny.en" / "encoder-4.safetensors"
RIVER = "We walked along the river until the sun went down."
MEETING = "The meeting was moved to Thursday."
COMMANDS = (
    "demo", "transcribe", "info", "sites", "train", "discover", "learn", "calibrate", "make", "bake",
    "convert", "inspect", "calibrate-threshold", "publish", "search", "edit", "serve", "work", "plan",
)  # fmt: skip

# Whisper's normaliser leaves its list of spellings open
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file .*english.json:ResourceWarning")


@pytest.fixture(scope="module")
def recipe(tiny_en, tmp_path_factory) -> Path:
    """A recipe that makes tiny.en deaf: it writes nothing, whatever is said."""
    path = tmp_path_factory.mktemp("recipe") / "deaf.json"
    vector = [((-1) ** n) * 5.0 for n in range(384)]
    data = {
        "schema": 1,
        "name": "deaf",
        "model": {
            "family": "whisper",
            "name": "tiny.en",
            **family_of(tiny_en).dims(tiny_en)._asdict(),
            "fingerprint": fingerprint(tiny_en),
        },
        "sites": [{"layer": 4, "edits": [{"kind": "push", "vector": vector}]}],
        "allow_empty": True,
    }
    path.write_text(json.dumps(data))
    return path


@pytest.fixture
def river(tmp_path) -> Path:
    return Path(shutil.copy(CLIPS / "speech-04.flac", tmp_path / "river.flac"))


def test_transcribe_prints_and_writes_json(river, tiny_en):
    result = run("transcribe", river, "--no-steer", "--no-filters", "--format", "json")
    assert result.exit_code == 0, result.output
    expected = transcribe(tiny_en, load_audio(river))
    assert result.stdout == f"[00:00.000 --> 00:0{expected.segments[0].end:.3f}] {RIVER}\n"
    assert result.stderr == f"wrote {river.with_suffix('.json')}\n"
    written = json.loads(river.with_suffix(".json").read_text())
    assert written["text"] == RIVER
    fields = [segment._asdict() for segment in expected.segments]
    assert written["segments"] == [{k: v for k, v in each.items() if v is not None} for each in fields]


def test_transcribe_tells_what_the_gate_decided_and_takes_a_threshold(tmp_path):
    rain = Path(shutil.copy(CLIPS / "rain.flac", tmp_path / "rain.flac"))
    shut = run("transcribe", rain, "--no-filters", "--threshold", 100, "--verbose", "--format", "json")
    assert shut.exit_code == 0, shut.output
    assert "(no speech)" not in shut.stdout
    began, decided, stamps, _wrote = shut.stderr.splitlines()
    assert "recipe 'no-false-speech'" in began
    assert "threshold 100" in began
    assert decided.startswith(f"{rain}: window 0, clip 0, 0.00 to 4.00 s: the clip gate at encoder layer 4 stayed shut")
    assert "the timestamp gate at encoder layer 4" in stamps
    gate, _ = json.loads(rain.with_suffix(".json").read_text())["gates"]
    assert (gate["opened"], gate["threshold"], gate["end"]) == (False, 100.0, 4.0)
    quiet = run("transcribe", rain, "--no-filters")
    assert (quiet.stdout, quiet.stderr) == ("(no speech)\n", "")
    said = failed(run("transcribe", rain, "--threshold", 1, "-r", "no-false-speech-ungated"))
    assert "has no gate whose threshold could be set" in said
    assert failed(run("demo", "--threshold", 1, "-r", "no-false-speech-ungated")) == said


def test_transcribe_steers_and_writes_srt_elsewhere(river, recipe, tmp_path):
    steered = run("transcribe", river, "-r", recipe, "--no-filters", "--format", "srt", "--out", tmp_path / "a" / "b")
    assert steered.exit_code == 0, steered.output
    assert steered.stdout == "(no speech)\n"
    assert (tmp_path / "a" / "b" / "river.srt").read_text() == ""
    weak = run(
        "transcribe",
        river,
        "-r",
        recipe,
        "--strength",
        0,
        "--format",
        "srt",
        "--out",
        tmp_path / "a" / "b",
        "--overwrite",
    )
    assert weak.exit_code == 0, weak.output
    assert RIVER in (tmp_path / "a" / "b" / "river.srt").read_text()
    assert "--> 00:00:0" in (tmp_path / "a" / "b" / "river.srt").read_text()


def test_one_broken_file_costs_no_more_than_itself(river, tmp_path):
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    other = shutil.copy(CLIPS / "speech-08.flac", tmp_path / "other.flac")
    result = run("transcribe", river, tmp_path / "broken.wav", other, "--no-steer", "--format", "txt")
    assert result.exit_code == 2
    lines = result.stdout.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"{river}: [00:00.000 --> ")
    assert lines[0].endswith(RIVER)
    assert lines[1].startswith(f"{other}: [")
    assert f"error: {tmp_path / 'broken.wav'} is not audio" in result.stderr
    assert result.stderr.endswith(f"3 files: 2 done (0 without text), 0 skipped, 1 failed: {tmp_path / 'broken.wav'}\n")
    assert "Traceback" not in result.output
    assert {path.name for path in tmp_path.glob("*.txt")} == {"river.txt", "other.txt"}
    assert (tmp_path / "other.txt").read_text() == f"{MEETING}\n"


def test_transcribe_with_transformers(river):
    result = run("transcribe", river, "--no-steer", "--no-filters", "--library", "transformers", "--language", "en")
    assert result.exit_code == 0, result.output
    assert result.stdout.endswith(f"] {RIVER}\n")


def test_demo_prints_a_table_and_draws(river, recipe, tmp_path):
    (river.parent / "text.tsv").write_text(f"file\ttext\nriver.flac\t{RIVER}\n")
    result = run("demo", "--audio", river.parent, "--recipe", recipe, "--out", tmp_path / "a.png")
    assert result.exit_code == 0, result.output
    assert "tiny.en, deaf" in result.stdout
    assert "word error rate: 0.0% (0.0% to 0.0%) → 100.0%" in result.stdout
    assert result.stdout.endswith(f"picture: {tmp_path / 'a.png'}\n")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--no-steer", "--library", "jax"], "--library jax is unknown; expected openai or transformers"),
        (["--no-steer", "--format", "doc"], "--format doc is not a format .* expected one of srt, vtt, txt, json"),
        (["--no-steer", "--out", "x"], r"--out needs a format as well: --format srt\|vtt\|txt\|json"),
        (["--no-steer", "-m", "tinny.en"], r"there is no model 'tinny.en': .*tiny\.en.*write user/name"),
        (["--no-steer", "-m", "/no/such.pt"], "there is no model '/no/such.pt': no such file"),
        (["-r", "no/such/recipe.json"], "there is no recipe file at no/such/recipe.json; check the path"),
        (["-r", "RECIPE", "--strength", "nan"], "strength must be a finite number, not nan"),
    ],
)
def test_what_cannot_be_is_one_line_with_the_cure(river, recipe, words, says):
    said = failed(run("transcribe", river, *(recipe if word == "RECIPE" else word for word in words)))
    assert re.fullmatch(f".*{says}.*", said), said


def test_an_unknown_recipe_lists_what_there_is_and_how_to_make_one(river):
    said = failed(run("transcribe", river, "--recipe", "no-false-speach"))
    start = "there is no recipe 'no-false-speach' (did you mean 'no-false-speech'?); "
    assert said.startswith(f"{start}there are: no-false-speech, ")
    assert "audiosae-steer make no-false-speech" in said
    told = failed(run("demo", "--audio", river.parent, "--recipe", "no-false-speach"))
    assert told == said.replace("there are:", "for this model there are:")


def test_a_file_that_is_not_there_or_no_audio(tmp_path):
    said = failed(run("transcribe", tmp_path / "gone.wav", "--no-steer"))
    assert said == f"there is no audio file at {tmp_path / 'gone.wav'}"
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    said = failed(run("transcribe", tmp_path / "broken.wav", "--no-steer"))
    assert "is not audio that libsndfile or PyAV reads" in said
    assert "\n" not in said


def test_a_folder_that_cannot_be_made(river):
    said = failed(run("transcribe", river, "--no-steer", "--format", "srt", "--out", river / "below"))
    assert said.startswith(f"--out {river / 'below'} cannot be made: ")


def test_a_target_that_cannot_be_written(river):
    river.with_suffix(".srt").mkdir()
    result = run("transcribe", river, "--no-steer", "--no-filters", "--format", "srt")
    assert result.exit_code == 2
    assert RIVER in result.stdout
    assert result.stderr.startswith(f"error: cannot write {river.with_suffix('.srt')}: ")


@pytest.mark.parametrize(
    ("out", "says"), [("a.jpg", "must end in .png"), ("no/a.png", "there is no folder"), ("", "must end in .png")]
)
def test_the_demo_refuses_a_picture_before_it_works(tmp_path, out, says):
    said = failed(run("demo", "--audio", "nowhere", "--out", tmp_path / out))
    assert said.startswith(f"the picture {tmp_path / out} cannot be written")
    assert says in said


def test_the_demo_needs_clips(tmp_path, recipe):
    out = ("--recipe", recipe, "--out", tmp_path / "a.png")
    assert failed(run("demo", "--audio", tmp_path, *out)).startswith(f"{tmp_path} holds no audio; expected files")
    assert failed(run("demo", "--audio", tmp_path / "no", *out)) == f"there is no folder {tmp_path / 'no'}"


def test_debug_shows_where_an_error_comes_from(tmp_path):
    result = run("--debug", "info", tmp_path / "gone.json")
    assert result.exit_code == 1
    assert isinstance(result.exception, RecipeNotFoundError)
    assert "error:" not in result.stderr
    assert failed(run("info", tmp_path / "gone.json")) == f"{result.exception}"


def test_info(recipe):
    for thing in (SHIPPED, recipe, "tiny.en"):
        result = run("info", thing)
        assert result.exit_code == 0, result.output
        assert result.stdout == f"{explain(str(thing))}\n"
        assert result.stderr == ""
    assert run("info", SHIPPED, "--layer", 4).stdout == run("info", SHIPPED).stdout
    assert "layer 3 was asked for" in failed(run("info", SHIPPED, "--layer", 3))
    told = " ".join(run("info", "no-false-speech").stdout.split())
    assert "is of an earlier version; its successor is `audiosae-steer make no-false-speech`" in told


def test_a_name_of_several_recipes_lists_their_paths_and_no_others(tmp_path):
    said = failed(run("publish", "no-false-speech", "--to", "ann/x"))
    first, *paths = said.splitlines()
    assert first.startswith("several recipes are called 'no-false-speech'; pass its path")
    assert len(paths) == 2
    assert all(Path(line.split(": ")[1]).is_file() for line in paths)


def test_inspect_of_a_file_that_is_no_sae_names_it_once():
    said = failed(run("inspect", CLIPS / "rain.flac"))
    assert said.startswith(f"{CLIPS / 'rain.flac'} is of no SAE format that is read here. Read are")


def test_a_threshold_for_no_feature_is_refused_by_its_option(tmp_path):
    result = run("calibrate-threshold", SHIPPED, "--k", 0, "--audio", CLIPS, "--out", tmp_path / "x.safetensors")
    assert result.exit_code == 2
    assert "Invalid value for '--k'" in result.stderr


def test_marks_of_markup_and_emoji_are_printed_as_they_are(recipe, tmp_path):
    data = json.loads(recipe.read_text())
    (tmp_path / "odd.json").write_text(json.dumps({**data, "description": "[bold]:bell: [/] [red"}))
    result = run("info", tmp_path / "odd.json")
    assert "\n[bold]:bell: [/] [red\n" in result.stdout
    assert failed(run("info", tmp_path / "[red]:bell:.json")).startswith(
        f"there is no recipe file at {tmp_path}/[red]:bell:.json"
    )


def test_our_warnings_are_a_line_and_others_are_not_shown(recipe, river, tmp_path):
    data = json.loads(recipe.read_text())
    data["model"]["fingerprint"] = "0" * 64
    (tmp_path / "other.json").write_text(json.dumps(data))
    result = run("transcribe", river, "--no-filters", "-r", tmp_path / "other.json")
    assert result.exit_code == 0, result.output
    assert result.stdout == "(no speech)\n"
    lines = result.stderr.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("warning: recipe deaf for tiny.en was made with other weights of the same shape")


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("demo", "--filters"),
        ("transcribe", "--format"),
        ("info", "--layer"),
        ("train", "--n-features"),
        ("discover", "--rank"),
        ("learn", "--decoder"),
        ("calibrate", "--blanked"),
        ("make", "--contrast"),
    ],
)
def test_each_command_has_its_help(command, option):
    said = help_of(command)
    assert f"{command} [OPTIONS]" in said
    assert option in said


def test_the_help_names_every_command():
    said = help_of()
    assert all(command in said for command in (*COMMANDS, "bench"))
    assert "--debug" in said
    made = {command.callback.__name__ for command in app.registered_commands if command.callback}
    assert {name.replace("_", "-") for name in made} == set(COMMANDS)


def test_the_version_is_told():
    result = run("--version")
    assert result.exit_code == 0
    assert result.stdout == f"audiosae-steer {audiosae_steer.__version__}\n"


@pytest.mark.parametrize("words", [["sing"], ["transcribe"], ["info"], ["demo", "--strength", "much"]])
def test_a_slip_of_the_fingers_is_no_traceback(words):
    result = run(*words)
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    assert "Usage" in result.stderr
    assert result.stdout == ""
