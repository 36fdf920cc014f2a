"""The live part on tiny.en: what fires, texts before and after, and recipes that `steer` runs."""

from __future__ import annotations

import io
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from live_index import CLIPS, LAYER

from audiosae_steer import load_audio, load_recipe, steer
from audiosae_steer.errors import EditError, RecipeError, SteeringError
from audiosae_steer.evaluate.transcription.transcribe import transcribe
from audiosae_steer.explorer.live.live_explorer import LiveExplorer
from audiosae_steer.io.shipped import checkpoints_dir

SESSION = "a-page-of-tests"
FAN = CLIPS.index("fan") + 1
ADDED = {"layer": LAYER, "kind": "add", "feature": 2170, "amount": -6.0}


def asked(**content: Any) -> dict[str, Any]:
    return {"session": SESSION, **content}


def hooks_of(model: torch.nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def test_an_own_clip_shows_what_fires_and_what_the_gates_decide(explorer: LiveExplorer, tiny_en: Any) -> None:
    kept = explorer.add_clip((checkpoints_dir() / "clips" / "fan.flac").read_bytes(), "my fan.flac")
    assert kept["name"] == "my fan.flac"
    found = explorer.listen(asked(own=kept["own"], layer=LAYER)).result(60)
    bits = [each["surprise"] for each in found["features"]]
    assert bits == sorted(bits, reverse=True)
    assert [each["curve"] is not None for each in found["features"]] == [n < 12 for n in range(len(bits))]
    # the clip is one of the corpus, whose peaks are in the index
    features, peaks = explorer.index.peaks(LAYER, FAN)
    assert found["fired"] == len(features)
    known = dict(zip(features.tolist(), peaks.tolist(), strict=True))
    for each in found["features"]:
        assert each["peak"] == pytest.approx(known[each["feature"]], rel=2e-3)
    surprise = explorer.index.surprise(LAYER, np.array([f["feature"] for f in found["features"]]),
                                       np.array([f["peak"] for f in found["features"]]))  # fmt: skip
    assert bits == pytest.approx(surprise.tolist(), abs=0.011)
    clip_gate, timestamp_gate = found["gates"]
    with warnings.catch_warnings(), steer(tiny_en, "no-false-speech") as steering:
        transcribe(tiny_en, load_audio(checkpoints_dir() / "clips" / "fan.flac"))
        events = {event.kind: event for event in steering.events}
    for gate, kind in ((clip_gate, "clip"), (timestamp_gate, "timestamp")):
        (window,) = gate["windows"]
        assert gate["kind"] == kind
        assert (window["opened"], window["threshold"]) == (events[kind].opened, events[kind].threshold)
        assert window["score"] == pytest.approx(events[kind].score, abs=0.3)
        assert window["end"] == pytest.approx(4.0)


def test_a_long_clip_is_heard_window_by_window(explorer: LiveExplorer) -> None:
    fan = load_audio(checkpoints_dir() / "clips" / "fan.flac")
    out = io.BytesIO()
    soundfile.write(out, np.tile(fan, 8)[: 31 * 16000], 16000, format="FLAC")
    own = explorer.add_clip(out.getvalue(), "long.flac")["own"]
    found = explorer.listen(asked(own=own, layer=LAYER)).result(60)
    assert found["seconds"] == pytest.approx(31.0)
    assert [window["start"] for window in found["gates"][0]["windows"]] == [0.0, 30.0]
    assert found["gates"][0]["windows"][1]["end"] == pytest.approx(31.0)


def test_a_recipe_and_edits_change_the_text_and_leave_the_model_as_it_was(explorer: LiveExplorer, tiny_en: Any) -> None:
    before = hooks_of(tiny_en)
    found = explorer.steer(asked(clip=FAN, recipes=[{"name": "no-false-speech", "strength": 1.0}])).result(60)
    text = found["before"]["text"]
    assert text
    assert found["after"]["text"] == ""
    assert found["diff"] == [["gone", text]]
    assert found["before"]["windows"][0]["no_speech_prob"] > 0.5
    assert [gate["opened"] for gate in found["after"]["gates"]] == [True, True]
    again = explorer.steer(asked(clip=FAN, edits=[ADDED])).result(60)
    assert again["before"] == found["before"]
    assert again["after"]["text"] != text
    assert hooks_of(tiny_en) == before
    assert transcribe(tiny_en, load_audio(checkpoints_dir() / "clips" / "fan.flac")).text == text


@pytest.mark.parametrize(
    ("content", "error", "said"),
    [
        ({"clip": FAN, "edits": [{**ADDED, "feature": 99999}]}, EditError, "out of range"),
        ({"clip": FAN, "recipes": [{"name": "nothing"}]}, RecipeError, "no recipe 'nothing'"),
        ({"clip": FAN, "edits": [ADDED], "gate": "no-false-speech-ungated"}, RecipeError, "no gate"),
        ({"clip": FAN, "edits": [{**ADDED, "layer": 3}]}, SteeringError, "no layer 3"),
        (
            {"clip": FAN, "recipes": [{"name": "no-false-speech"}], "edits": [{**ADDED, "window": [2, 1]}]},
            EditError,
            "start < end",
        ),
    ],
)
def test_a_request_that_does_not_fit_leaves_no_hooks(
    explorer: LiveExplorer, tiny_en: Any, content: dict[str, Any], error: type[Exception], said: str
) -> None:
    before = hooks_of(tiny_en)
    with pytest.raises(Exception, match=said) as caught:
        explorer.steer(asked(**content)).result(60)
    assert issubclass(caught.type, (error, SteeringError)) or said == "no layer 3"
    assert hooks_of(tiny_en) == before


def test_an_edit_that_changes_nothing_is_told(explorer: LiveExplorer) -> None:
    table = explorer.index.table(LAYER)
    silent = int(table.feature[table.fired == 0][0])
    content = asked(clip=FAN, edits=[{"layer": LAYER, "kind": "ablate", "feature": silent}])
    found = explorer.steer(content).result(60)
    assert found["before"]["text"] == found["after"]["text"]
    assert any("changed nothing" in note for note in found["notes"])


def test_a_saved_recipe_is_one_and_steers_as_it_was_heard(explorer: LiveExplorer, tiny_en: Any, tmp_path: Path) -> None:
    given = {"edits": [ADDED, {"layer": LAYER, "kind": "scale", "feature": 36, "factor": 0.5}], "strength": 1.2}
    heard = explorer.steer(asked(clip=FAN, **given)).result(60)
    judged = [{"name": "fan", "rating": "better"}, {"name": "speech-01", "rating": ""}]
    made = explorer.save(asked(name="no-fan", description="less text on fans", judged=judged, **given)).result(60)
    assert made.bundle is not None
    assert made.needs == ("encoder-4.safetensors",)
    with zipfile.ZipFile(io.BytesIO(made.bundle)) as archive:
        assert sorted(archive.namelist()) == ["no-fan/encoder-4.safetensors", "no-fan/recipe.json"]
        archive.extractall(tmp_path)
    recipe = load_recipe(tmp_path / "no-fan")
    assert (recipe.name, recipe.strength, recipe.measured) == ("no-fan", 1.2, {})
    assert recipe.saes["layer 4"].sha256 == explorer.index.layers[LAYER].sae_sha256
    assert recipe.provenance["judged_on"] == [
        {"clip": "fan", "rating": "better"},
        {"clip": "speech-01", "rating": None},
    ]
    assert "by hand" in recipe.provenance["made"]
    assert "none" in recipe.provenance["calibration"]
    assert "calibrated" not in recipe.provenance
    command = recipe.provenance["to_calibrate"].split()
    assert command[:3] == ["audiosae-steer", "calibrate", "no-fan/recipe.json"]
    with steer(tiny_en, recipe):
        text = transcribe(tiny_en, load_audio(checkpoints_dir() / "clips" / "fan.flac")).text
    assert text == heard["after"]["text"]
    assert text != heard["before"]["text"]


def test_a_saved_recipe_may_take_a_shipped_ones_gate(explorer: LiveExplorer, tmp_path: Path) -> None:
    content = asked(name="gated", edits=[ADDED], gate="no-false-speech", recipes=[{"name": "no-false-speech-ungated"}])
    made = explorer.save(content).result(60)
    (tmp_path / "gated.json").write_bytes(made.json)
    recipe = load_recipe(tmp_path / "gated.json")
    shipped = next(each for each in explorer.live.recipes() if each.name == "no-false-speech")
    assert recipe.gate is not None
    assert shipped.gate is not None
    assert recipe.gate.build() == shipped.gate.build()
    assert recipe.provenance["gates_from"] == "no-false-speech"
    assert recipe.provenance["tried_together_with"] == [{"recipe": "no-false-speech-ungated", "strength": 1.0}]


@pytest.mark.parametrize("name", ["", "../up", "a/b", "a b", "x" * 99, "-n"])
def test_a_recipes_name_is_no_path(explorer: LiveExplorer, name: str) -> None:
    with pytest.raises(RecipeError, match="no name for a recipe"):
        explorer.save(asked(name=name, edits=[ADDED])).result(60)


def test_a_recipe_of_nothing_is_refused(explorer: LiveExplorer) -> None:
    with pytest.raises(EditError, match="no edit"):
        explorer.save(asked(name="empty", edits=[])).result(60)


def test_recipes_are_offered_without_loading_the_model(explorer: LiveExplorer) -> None:
    untouched = LiveExplorer(explorer.index)
    names = [each.name for each in untouched.offered()]
    assert names == ["no-false-speech-constant", "no-false-speech-ungated", "no-false-speech"]
    assert untouched.output == "text"
    assert not untouched.live.loaded


def test_an_own_clip_is_played_and_drawn(explorer: LiveExplorer) -> None:
    own = explorer.add_clip((checkpoints_dir() / "clips" / "speech-01.flac").read_bytes(), "a.flac")["own"]
    samples, rate = soundfile.read(io.BytesIO(explorer.own_wav(own)))
    assert rate == 16000
    assert np.abs(samples - load_audio(checkpoints_dir() / "clips" / "speech-01.flac")).max() < 1e-4
    assert explorer.own_mel(own).startswith(b"\x89PNG")
