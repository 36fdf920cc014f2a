"""Sound before and after steering, on a small EnCodec of random weights."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import soundfile

from audiosae_steer.errors import EditError, SteeringError
from audiosae_steer.explorer.live.live_explorer import LiveExplorer
from audiosae_steer.explorer.live.steered_sounds import levels


@pytest.fixture(scope="module")
def own(codec: LiveExplorer) -> str:
    wave = 0.1 * np.random.default_rng(0).standard_normal(16000)
    out = io.BytesIO()
    soundfile.write(out, wave, 16000, format="WAV")
    return str(codec.add_clip(out.getvalue(), "noise.wav")["own"])


def asked(**content: Any) -> dict[str, Any]:
    return {"session": "a-page-of-tests", **content}


def test_the_sound_changes_and_both_can_be_played(codec: LiveExplorer, own: str) -> None:
    edits = [{"layer": 1, "kind": "scale", "feature": i, "factor": 3.0} for i in range(20)]
    found = codec.steer(asked(own=own, edits=edits)).result(60)
    assert found["kind"] == "sound"
    before, after = (soundfile.read(io.BytesIO(codec.sounds.get(each["sound"]).wav)) for each in found["sounds"])
    assert (before[1], len(before[0])) == (24000, 24000)
    assert np.abs(before[0] - after[0]).max() > 1e-3
    rms = [
        np.sqrt(np.mean(each[0] ** 2)) * shown["gain"]
        for each, shown in zip((before, after), found["sounds"], strict=True)
    ]
    assert rms[0] == pytest.approx(rms[1], rel=0.02)
    assert max(each["gain"] for each in found["sounds"]) == 1.0


def test_strength_nought_gives_the_codecs_own_sound(codec: LiveExplorer, own: str) -> None:
    edits = [{"layer": 1, "kind": "ablate", "feature": 1}]
    found = codec.steer(asked(own=own, edits=edits, strength=0.0)).result(60)
    first, second = (codec.sounds.get(each["sound"]).wav for each in found["sounds"])
    assert first == second


def test_recipes_and_gates_are_of_text(codec: LiveExplorer, own: str) -> None:
    with pytest.raises(SteeringError, match="recipes and gates"):
        codec.steer(asked(own=own, recipes=[{"name": "no-false-speech"}])).result(60)
    with pytest.raises(EditError, match="nothing to steer"):
        codec.steer(asked(own=own)).result(60)


def test_an_own_clip_is_heard_by_a_codecs_features(codec: LiveExplorer, own: str) -> None:
    found = codec.listen(asked(own=own, layer=1)).result(60)
    assert found["rate"] == 75.0
    assert found["fired"] > 0
    assert found["gates"] == []


def test_a_clip_of_an_index_without_sound_is_refused(codec: LiveExplorer) -> None:
    with pytest.raises(SteeringError, match="no clip 1"):
        codec.steer(asked(clip=1))


def test_what_is_silent_is_not_turned_up() -> None:
    quiet, loud = np.zeros(100, np.float32), np.full(100, 0.5, np.float32)
    first, second = levels(quiet, loud)
    assert first.gain == 1.0
    assert second.gain == 1.0
    first, second = levels(loud, loud / 2)
    assert (first.gain, second.gain) == (0.5, 1.0)
