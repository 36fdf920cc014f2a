"""Thresholds of gates, set by `steer`, by the steering and by commands: what opens, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from make import BRIEF, count_hooks, make_openai, make_sae

from audiosae_steer import Add, ClipGate, FrameGate, GateError, SteeringError, load_audio, steer
from audiosae_steer.steering.recipes.load import checkpoints_dir

D = 64
MEL = torch.randn(3, 80, 2 * BRIEF, generator=torch.Generator().manual_seed(0))
CLIP = ClipGate((1, 2), (1.0, -0.5), bias=0.1)
FRAMES = FrameGate((3, 4), (1.0, -1.0), threshold=0.2, reach=0.1)
pytestmark = pytest.mark.filterwarnings("ignore:FP16")


def by_hand(model: Any, **options: Any) -> Any:
    return steer(model, sae=make_sae("relu", D, 200), layer=2, edits=[Add(3, 1.0)], **options)


def test_a_threshold_decides_as_a_gate_of_that_threshold() -> None:
    model = make_openai(d=D, frames=BRIEF)
    with by_hand(model, gate=CLIP) as steering, torch.no_grad():
        model.encoder(MEL)
        low, between, high = sorted(event.score for event in steering.events)
        assert steering.threshold == 0.0
    middle = (low + between) / 2
    with by_hand(model, gate=ClipGate((1, 2), (1.0, -0.5), bias=0.1, threshold=middle)) as steering, torch.no_grad():
        wanted, opened = model.encoder(MEL), steering.opened.tolist()
    assert sorted(opened) == [False, True, True]
    with by_hand(model, gate=CLIP, threshold=middle) as steering, torch.no_grad():
        assert torch.equal(model.encoder(MEL), wanted)
        assert steering.threshold == middle
        assert f"threshold {middle:.4g}" in repr(steering)
        steering.threshold = high + 1
        model.encoder(MEL)
        assert not steering.opened.any()
        steering.threshold = low - 1
        model.encoder(MEL)
        assert steering.opened.all()
        assert {event.threshold for event in steering.events} == {middle, high + 1, low - 1}
        assert [event.opened for event in steering.events[:3]] == opened  # what was decided stays


def test_compiled_code_takes_a_new_threshold_without_being_compiled_anew() -> None:
    model = make_openai(d=D, frames=BRIEF)
    with by_hand(model, gate=CLIP, threshold=1e6) as steering, torch.no_grad():
        from torch._dynamo.testing import CompileCounter

        counter = CompileCounter()
        encoder = torch.compile(model.encoder, backend=counter)
        plain = encoder(MEL)
        before = counter.frame_count
        steering.threshold = -1e6
        assert not torch.equal(encoder(MEL), plain)
        assert counter.frame_count == before
        assert torch.equal(encoder(MEL), model.encoder(MEL))


def test_two_gates_take_a_mapping() -> None:
    model = make_openai(d=D, frames=BRIEF)
    with by_hand(model, gate=[CLIP, FRAMES], threshold={"clip": 1e6}) as steering, torch.no_grad():
        assert steering.threshold == {"clip": 1e6, "frame": 0.2}
        model.encoder(MEL)
        assert not steering.opened.any()
        assert steering.opened_frames.any()
        with pytest.raises(GateError, match='not on one scale.*"clip": 1e\\+06, "frame": 0.2'):
            steering.threshold = 1.0
        with pytest.raises(SteeringError, match="finite"):
            steering.threshold = {"clip": 0.0, "frame": float("nan")}
        assert steering.threshold == {"clip": 1e6, "frame": 0.2}
        assert "clip gate's threshold 1e+06, frame gate's threshold 0.2" in repr(steering)
        steering.threshold = {"frame": 1e6}
        model.encoder(MEL)
        assert not steering.opened_frames.any()


@pytest.mark.parametrize(
    ("recipe", "threshold", "error", "says"),
    [
        ("no-false-speech-ungated", 1.0, GateError, "'no-false-speech-ungated' has no gate.*every clip alike"),
        ("no-false-speech", {"frame": 1.0}, GateError, "no 'frame' gate.*it has: clip"),
        ("no-false-speech", "1", SteeringError, "threshold must be a finite number, not '1'"),
        ("no-false-speech", float("inf"), SteeringError, "finite number.*a lower one opens the gate for more clips"),
    ],
)
def test_a_threshold_that_cannot_be_set_leaves_the_model_as_it_was(
    tiny_en: Any, recipe: str, threshold: Any, error: type[Exception], says: str
) -> None:
    hooks = count_hooks(tiny_en)
    with pytest.raises(error, match=says):
        steer(tiny_en, recipe, threshold=threshold)
    assert count_hooks(tiny_en) == hooks


def test_of_a_recipe_on_sound(tiny_en: Any) -> None:
    rain = load_audio(checkpoints_dir() / "clips" / "rain.flac")
    with steer(tiny_en, "no-false-speech") as steering:
        recipe = steering.recipe.gate.threshold
        assert steering.threshold == recipe
        options = {"temperature": 0.0, "no_speech_threshold": None}
        assert tiny_en.transcribe(rain, **options)["text"] == ""
        steering.threshold = 100.0
        assert tiny_en.transcribe(rain, **options)["text"] != ""
        assert [event.opened for event in steering.events if event.kind == "clip"] == [True, False]
        said = steering.explain()
    assert f"above the threshold, 100; its own is {recipe:.4g}" in said
    assert "What the higher one set now does was not measured" in said
    lines = said.splitlines()
    assert lines[0] == steering.recipe.description
    assert "multiply-adds" in lines[-1]
    assert not any("multiply-adds" in line for line in lines[:-1])
    assert "with its gate" not in said


def test_what_it_trades_is_that_of_the_calibration_and_nothing_else(tiny_en: Any) -> None:
    with steer(tiny_en, "no-false-speech") as steering:
        gate, said = steering.recipe.gate.calibration, steering.explain()
        steering._leave(quiet=True)
    assert f"for {gate['open_absent']:.1%} of {gate['clips'][0]} clips without speech" in said
    assert f"for {gate['open_present']:.1%} of {gate['clips'][1]} with speech, which it would blank" in said
    assert "shares were recorded at this threshold alone" in said
    model = make_openai(d=D, frames=BRIEF)
    with by_hand(model, gate=CLIP) as steering:
        said = steering.explain()
        steering._leave(quiet=True)
    assert "calibration" not in said
    assert "Where a gate opens, at encoder layer 2: Add of 1 features (3)" in said
