"""Calibration end to end, on the clips that ship with the package."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from commands import run
from typer.testing import CliRunner

from audiosae_steer import AudioError, SteeringError, load_audio, steer
from audiosae_steer.cli.app import app
from audiosae_steer.data.clips import ClipSet
from audiosae_steer.data.sources import Clip
from audiosae_steer.discover.calibration.calibrate import calibrate, reference_texts
from audiosae_steer.discover.calibration.candidates import candidates, variants
from audiosae_steer.discover.calibration.evaluator import CalibrationClips, Evaluator, score_of
from audiosae_steer.discover.calibration.pareto import excess
from audiosae_steer.discover.calibration.settings import Budget, CalibrateSettings, CalibrationOutput, modes_of
from audiosae_steer.discover.calibration.text_cache import NAME, TextCache, Transcript
from audiosae_steer.evaluate.transcription.from_residuals import encode, write
from audiosae_steer.steering.recipes.load import checkpoints_dir, load_recipe

CLIPS = checkpoints_dir() / "clips"
ABSENT = ("fan", "rain", "dial-tone")
PRESENT = {"speech-02": None, "speech-05": None, "speech-08": None}
TRIED = CalibrateSettings(kinds=("as written",), shares=(1.0,), strengths=(0.25, 1.0), gate_margins=(0.2,), first=2)

# Whisper's normaliser leaves its list of spellings open
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file .*english.json:ResourceWarning")


def kept(folder: Path) -> CalibrationOutput:
    """Nothing is written but the cache."""
    return CalibrationOutput(cache=folder / "cache")


@pytest.fixture(scope="module")
def sounds() -> tuple[list[Any], list[Any], list[str | None]]:
    said = {entry["file"]: entry.get("text") for entry in json.loads((CLIPS / "clips.json").read_text())}
    texts = [said[f"{name}.flac"] for name in PRESENT]
    absent, present = ([load_audio(CLIPS / f"{name}.flac") for name in names] for names in (ABSENT, PRESENT))
    return absent, present, [*texts[:-1], None]


@pytest.fixture(scope="module")
def done(tiny_en, sounds, tmp_path_factory) -> Any:
    folder = tmp_path_factory.mktemp("calibrated")
    found = calibrate(
        tiny_en, "no-false-speech", *sounds, Budget(wer=1.0, blanked=0.0), settings=TRIED,
        out=CalibrationOutput(path=folder / "mine.json", cache=folder / "cache", split="bundled clips"),
    )  # fmt: skip
    return found, folder


def test_the_choice_keeps_the_budget_and_its_recipe_does_what_it_says(tiny_en, sounds, done):
    found, folder = done
    figures = found.figures["timed"]
    assert excess(score_of([figures]), Budget(wer=1.0, blanked=0.0)) == 0
    assert figures.text.hits < found.unsteered["timed"].text.hits
    recipe = load_recipe(folder / "mine.json")
    assert recipe.strength == found.chosen.strength
    assert all((folder / spec.file).is_file() for spec in recipe.saes.values())
    with steer(tiny_en, folder / "mine.json") as steering:
        for clips, kind in ((sounds[0], "text"), (sounds[1], "blanked")):
            rows = encode(tiny_en, clips, 4, cache=folder / "cache", progress=False)
            written = write(tiny_en, rows, 4, steering=steering)
            hits = sum(bool(one.text) if kind == "text" else not one.text for one in written)
            assert hits == getattr(figures, kind).hits


def test_everything_tried_is_on_record(done):
    found, folder = done
    recipe = load_recipe(folder / "mine.json")
    record, measured = recipe.provenance["calibrated"], recipe.measured["calibrate"]
    assert record["references"] == {"given": 2, "unsteered text": 1}
    assert record["split"].startswith("bundled clips; chosen and measured on the same clips")
    assert record["tried"]["rounds"] == [[2, 2], [3, 3]]
    assert measured["chosen"]["timed"]["text"][:2] == [found.figures["timed"].text.hits, 3]
    assert measured["margin"]["gated"] == pytest.approx(found.margin, abs=1e-4)
    assert len(measured["cliff"]["ungated"]["strength_wer_blanked"]) >= 2
    listed = json.loads((folder / "mine-calibration" / "candidates.json").read_text())["candidates"]
    assert sum(one["chosen"] for one in listed) == 1
    assert all(one["round"] == 2 and one["clips"] == [3, 3] for one in listed if one["survived"])
    assert any(one["on_front"] for one in listed)
    assert (folder / "mine-calibration" / "front.png").read_bytes()[:4] == b"\x89PNG"
    assert not list(folder.rglob("*.part"))


def test_an_interrupted_sweep_resumes_and_ends_the_same(tiny_en, sounds, done, monkeypatch):
    found, folder = done
    lines = (folder / "cache" / NAME).read_text().splitlines(keepends=True)
    left = len(lines) - 2
    (folder / "cache" / NAME).write_text("".join(lines[:left]) + lines[left][:20])  # cut off in mid-line
    written: list[int] = []
    keep = TextCache.add
    monkeypatch.setattr(TextCache, "add", lambda self, arm, new: (written.append(len(new)), keep(self, arm, new))[1])
    again = calibrate(
        tiny_en, "no-false-speech", *sounds, Budget(wer=1.0, blanked=0.0), settings=TRIED, out=kept(folder)
    )
    assert sum(written) == 2
    assert again.chosen == found.chosen
    assert again.figures == found.figures
    assert again.cliff == found.cliff


def test_the_cliff_is_looked_for_on_a_sample(tiny_en, sounds, done, monkeypatch):
    _, folder = done
    seen: list[int] = []
    own = Evaluator.figures
    monkeypatch.setattr(
        Evaluator, "figures", lambda self, *a: (seen.append(len(a[3])) if not a[2] else None, own(self, *a))[1]
    )
    settings = replace(TRIED, cliff_clips=2)
    calibrate(tiny_en, "no-false-speech", *sounds, Budget(wer=1.0, blanked=0.0), settings=settings, out=kept(folder))
    assert set(seen) == {2}


def test_a_clip_gated_candidate_writes_what_the_gated_recipe_would(tiny_en, sounds, done):
    _, folder = done
    recipe = load_recipe("no-false-speech", tiny_en)
    saes = recipe.load_saes()
    arms = Evaluator(tiny_en, [recipe], [saes], CalibrationClips(*sounds), output=kept(folder))
    made = variants(0, recipe, saes, ["as written"], [1.0])
    (candidate,) = candidates(made, [recipe], [1.0], [0.2], ["clip"])
    gated = recipe.model_copy(update={"gate": arms.gates.place(0, 0.2)})
    rows = arms.rows(4, "timed", "absent")
    with steer(tiny_en, gated) as steering:
        expected = write(tiny_en, rows, 4, steering=steering)
    found = arms.texts_of(candidate, "timed", "absent", range(len(rows)))
    assert found == [Transcript(one.text, one.filtered) for one in expected]
    assert arms.gates.opened(0, 0.2, "timed", "absent") == [one.opened for one in expected]
    assert not any(arms.gates.opened(0, 0.2, "timed", "present"))
    assert arms.gates.opened_unseen(0, 0.2) is None  # of three clips no fold can be left out


def test_without_a_margin_the_gate_stays_where_the_recipe_has_it(tiny_en, sounds, done, tmp_path):
    _, folder = done
    recipe = load_recipe("no-false-speech", tiny_en)
    shut = recipe.model_copy(update={"gate": recipe.gate.model_copy(update={"threshold": 1e6})})
    arms = Evaluator(tiny_en, [shut], [shut.load_saes()], CalibrationClips(*sounds), output=kept(folder))
    assert not any(arms.gates.opened(0, None, "timed", "absent"))
    assert any(arms.gates.opened(0, 0.2, "timed", "absent"))
    found = calibrate(
        tiny_en, "no-false-speech", *sounds, Budget(wer=1.0, blanked=0.0),
        settings=replace(TRIED, gate_margins=(None,), gates=("clip",)),
        out=CalibrationOutput(path=tmp_path / "own.json", cache=folder / "cache"),
    )  # fmt: skip
    assert (found.chosen.gate, found.chosen.margin) == ("clip", None)
    assert "gate, margin" not in found.recipe.description
    assert load_recipe(tmp_path / "own.json").gate == recipe.gate


def test_behind_a_shut_gate_texts_are_the_unsteered_models_also_where_they_may_be_empty(tiny_en, sounds, done):
    _, folder = done
    recipe = load_recipe("no-false-speech", tiny_en)
    shut = recipe.model_copy(update={"gate": recipe.gate.model_copy(update={"threshold": 1e6})})
    assert shut.allow_empty
    arms = Evaluator(
        tiny_en, [shut], [shut.load_saes()], CalibrationClips(*sounds), replace(TRIED, modes=("untimed",)), kept(folder)
    )
    (candidate,) = candidates(variants(0, shut, arms.saes[0], ["as written"], [1.0]), [shut], [1.0], [None], ["clip"])
    everything = range(len(sounds[0]))
    found = arms.texts_of(candidate, "untimed", "absent", everything)
    assert found == arms.unsteered("untimed", "absent", everything)
    rows = arms.rows(4, "untimed", "absent")
    with steer(tiny_en, shut) as steering:
        expected = write(tiny_en, rows, 4, steering=steering, timestamps=False)
    assert found == [Transcript(one.text, one.filtered) for one in expected]


def test_without_a_candidate_within_the_budget_the_nearest_is_named(tiny_en, sounds, done):
    _, folder = done
    hard = replace(TRIED, strengths=(4.0,), gates=("none",))
    with pytest.raises(SteeringError, match=r"no candidate keeps the budget.*strength 4, ungated.*WER \+.*Try a wider"):
        calibrate(tiny_en, "no-false-speech", *sounds, Budget(wer=0.0, blanked=0.0), settings=hard, out=kept(folder))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"absent": []}, AudioError, "calibration needs both"),
        ({"texts": ["one"]}, AudioError, "1 texts for 3"),
        ({"recipes": []}, SteeringError, "no recipe"),
        ({"out": Path("recipe.txt")}, SteeringError, "ends in .json"),
        ({"out": Path("nowhere/at/all.json")}, SteeringError, "no folder"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(tiny_en, sounds, change, error, message):
    given = {"recipes": "no-false-speech", "absent": sounds[0], "present": sounds[1], "texts": sounds[2], **change}
    with pytest.raises(error, match=message):
        calibrate(tiny_en, **given)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Budget(wer=-1.0), "cannot be"),
        (lambda: replace(TRIED, modes=()), "modes are"),
        (lambda: replace(TRIED, margin=0.5), "margin is 1 or more"),
    ],
)
def test_settings_that_cannot_be_are_refused_when_they_are_made(make, message):
    with pytest.raises(SteeringError, match=message):
        make()


def test_a_steered_model_is_refused(tiny_en, sounds):
    with (
        pytest.warns(UserWarning, match="never ran"),
        steer(tiny_en, "no-false-speech"),
        pytest.raises(SteeringError, match="steered already"),
    ):
        calibrate(tiny_en, "no-false-speech", *sounds)


def test_texts_of_a_table(tmp_path):
    clips = tuple(Clip(f"a/{name}.flac", None, name, None, "s") for name in ("one", "two"))
    speech = ClipSet(clips, (), ("s",))
    table = tmp_path / "text.tsv"
    table.write_text("file\ttext\none.flac\tHello there\n")
    assert reference_texts(speech, table) == ["Hello there", None]
    table.write_text("file\ttext\nother.flac\tHello\n")
    with pytest.raises(AudioError, match="names none"):
        reference_texts(speech, table)
    table.write_text("name\nother.flac\n")
    with pytest.raises(AudioError, match="columns file and text"):
        reference_texts(speech, table)


def test_modes_by_name():
    assert modes_of("both") == ("timed", "untimed")
    assert modes_of("untimed") == ("untimed",)
    with pytest.raises(SteeringError, match="expected timed"):
        modes_of("fast")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--gates", "both"], "'both' is not one of 'none', 'clip', 'frame', 'clip+frame'"),
        (["--kind", "scale"], "'scale' is not one of 'as written', 'typical', 'ablate', 'clamp', 'push'"),
        (["--modes", "fast"], "'fast' is not one of 'timed', 'untimed', 'both'"),
        (["nothing.json"], "there is no recipe file at nothing.json; check the path"),
    ],
)
def test_the_command_refuses_what_there_is_not_before_it_reads_clips(tmp_path, words, says):
    given = ["calibrate", "no-false-speech", *words, "--absent", "none/", "--present", "none/", "--out", "r.json"]
    result = run(*given)
    assert result.exit_code == 2
    assert says in " ".join(result.stderr.replace("│", " ").split())


def test_the_command_line(tmp_path):
    lists = {}
    for kind, names in (("absent", ABSENT[:1]), ("present", tuple(PRESENT)[:1])):
        lists[kind] = tmp_path / f"{kind}.txt"
        lists[kind].write_text("".join(f"{CLIPS / name}.flac\n" for name in names))
    words = [
        "calibrate", "no-false-speech", "--absent", lists["absent"], "--present", lists["present"],
        "--out", tmp_path / "r.json", "--kind", "as written", "--share", 1, "--strength", 1, "--gates", "none",
        "--margin", 1, "--wer", 500, "--blanked", 1, "--break-wer", 0,
    ]  # fmt: skip
    result = CliRunner().invoke(app, [str(word) for word in words], env={"FORCE_COLOR": None, "NO_COLOR": "1"})
    assert result.exit_code == 0, result.output
    assert "no text is known of 1 of 1 clips" in result.stdout
    assert re.search(r"speech breaks at strength \S+.*; margin \d", result.stdout)
    assert load_recipe(tmp_path / "r.json").strength == 1
