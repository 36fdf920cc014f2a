"""The arms: masks on made-up texts, what recipes and fits make, and that a cached arm is the arm itself."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from bench_rows import written
from hypothesis import given
from hypothesis import strategies as st
from make import make_sae

from audiosae_steer import Add, Push, Recipe, SteeringError, load_recipe
from audiosae_steer.evaluate.benchmark.arms import (
    STRICT,
    TIMED,
    UNTIMED,
    Masked,
    Steered,
    gated_arm,
    recipe_arms,
    silence_scores,
    tuned_arms,
    tuned_threshold,
    vad_arms,
)
from audiosae_steer.evaluate.benchmark.baselines import (
    Summary,
    fitted_arms,
    load_summary,
    random_arms,
    save_summary,
    summarise,
)
from audiosae_steer.evaluate.benchmark.runner import UNSTEERED
from audiosae_steer.steering.recipes.load import checkpoints_dir

probabilities = st.floats(0, 1)
rows = st.lists(st.builds(written, st.sampled_from(["", "you", "."]), probabilities, st.floats(-3, 0), st.booleans()))


@pytest.fixture(scope="module")
def shipped() -> Recipe:
    return load_recipe(checkpoints_dir() / "whisper-tiny.en" / "no-false-speech.json")


def with_frame_gate(recipe: Recipe) -> Recipe:
    gate = {"layer": 4, "sae": next(iter(recipe.saes)), "features": [1], "weights": [1.0]}
    data = recipe.model_dump(by_alias=True) | {"frame_gate": gate}
    return Recipe.model_validate(data).located(recipe.folder)


@given(scores=st.lists(st.floats(-5, 5), min_size=1), budget=st.floats(0, 0.99))
def test_a_tuned_threshold_stays_within_its_budget_and_no_lower_one_does(scores, budget):
    threshold = tuned_threshold(scores, budget)
    assert sum(score > threshold for score in scores) <= budget * len(scores)
    below = [score for score in scores if score < threshold]
    if below:
        assert sum(score > max(below) for score in scores) > int(budget * len(scores))


def test_a_threshold_needs_scores_and_a_share():
    for scores, budget in (([], 0.1), ([1.0], 1.0), ([1.0], -0.1)):
        with pytest.raises(SteeringError, match="a threshold needs"):
            tuned_threshold(scores, budget)


@given(rows)
def test_a_gate_alone_drops_the_text_of_clips_for_which_it_opens(found):
    arm = Masked("gate-alone", "gate-alone", by="opened", reads="clip-gated")
    texts = [one._replace(opened=None) for one in found]
    masked = arm.mask(texts, arm.blanks("timed", found))
    for one, was, gate in zip(masked, texts, found, strict=True):
        assert one == (was._replace(text="", filtered="", tokens=(), no_speech_prob=1.0) if gate.opened else was)


@given(rows, probabilities)
def test_a_vad_drops_what_lies_below_its_threshold(found, threshold):
    speech = [one.no_speech_prob for one in found]
    arm = Masked("vad", "vad", threshold={"timed": -threshold})
    assert arm.blanks("timed", found, speech) == [p < threshold for p in speech]
    with pytest.raises(SteeringError, match="VAD"):
        arm.blanks("timed", found)


@given(rows.filter(len), st.sampled_from([0.0, 0.005, 0.3]))
def test_tuned_gates_keep_to_their_budget_on_the_clips_they_were_tuned_on(found, budget):
    scores = {by: {"timed": silence_scores(by, found)} for by in ("no_speech_prob", "avg_logprob")}
    arms = tuned_arms(scores, budget)
    assert {arm.curve for arm in arms if arm.marked} == {"no-speech-prob", "avg-logprob"}
    for arm in arms:
        if arm.marked:
            assert sum(arm.blanks("timed", found)) <= budget * len(found)
    tight = [arm for arm in arms if arm.name == "no-speech-prob-0"]
    assert not any(tight[0].blanks("timed", found))


def test_the_arms_of_a_recipe(shipped):
    arms = {arm.name: arm for arm in recipe_arms(shipped, contrast=shipped, strengths=(0.5, 1.0))}
    assert list(arms) == ["contrast-1", "learned-0.5", "learned-1", "clip-gated", "gate-alone"]
    ungated, gated = arms["learned-1"], arms["clip-gated"]
    assert (ungated.recipe.gate, gated.recipe.gate) == (None, shipped.gate)
    assert (ungated.strength, arms["learned-0.5"].strength) == (shipped.strength, shipped.strength / 2)
    assert ungated.marked
    assert not arms["learned-0.5"].marked
    assert (arms["gate-alone"].reads, arms["gate-alone"].of) == ("clip-gated", "unsteered")
    assert (arms["learned-0.5"].label, ungated.layer, UNSTEERED.layer) == ("ours, learned, ungated × 0.5", 4, None)


def test_a_recipe_with_two_gates_has_an_arm_for_each_and_for_both(shipped):
    both = with_frame_gate(shipped)
    arms = {arm.name: arm for arm in recipe_arms(both)}
    gates = {n: (arms[n].recipe.gate, arms[n].recipe.frame_gate) for n in ("clip-gated", "frame-gated", "both-gated")}
    assert [(a is not None, b is not None) for a, b in gates.values()] == [(True, False), (False, True), (True, True)]
    assert gated_arm(list(arms.values())) == "clip-gated"
    vad = vad_arms(list(arms.values()), ["timed"])[-1]
    assert (vad.name, vad.of) == ("vad-ours", "clip-gated")


def test_keys_tell_arms_apart_and_not_their_descriptions(shipped):
    arms = [arm for arm in recipe_arms(with_frame_gate(shipped)) if isinstance(arm, Steered)]
    arms += [UNSTEERED, *random_arms(shipped, draws=2)]
    assert len({arm.key for arm in arms}) == len(arms)
    other = shipped.model_copy(update={"description": "x", "measured": {"a": 1}, "name": "y"})
    assert Steered("a", "learned", recipe=other).key == Steered("b", "dense", recipe=shipped).key


def test_random_features_have_the_number_and_the_norm_of_the_recipe(shipped):
    (sae,) = shipped.load_saes().values()

    def total(features: Any, amounts: Any) -> torch.Tensor:
        return torch.tensor(amounts, dtype=torch.float64) @ sae.rows(list(features), torch.float64).W_dec

    (own,) = shipped.sites[0].build()
    scale = sae.typical[list(own.features)].double().numpy() if own.units == "typical" else 1.0
    norm = total(own.features, (np.array(own.amount) * scale).tolist()).norm()
    first, again = random_arms(shipped, draws=3, seed=1), random_arms(shipped, draws=3, seed=1)
    assert [a.key for a in first] == [a.key for a in again]
    for arm in first:
        edit = arm.sites[0].edits[0]
        assert len(edit.features) == len(own.features)
        assert set(edit.features) != set(own.features)
        assert {amount > 0 for amount in edit.amount} == {True, False}
        torch.testing.assert_close(total(edit.features, list(edit.amount)).norm(), norm)
        assert arm.strength == shipped.strength
        assert arm.sampled


def test_what_is_pushed_by_in_the_decoder_is_turned_at_random(shipped):
    data = shipped.model_dump(by_alias=True)
    for layer, steps in ((1, "all"), (3, "first")):
        vector = np.random.default_rng(layer).standard_normal(384).tolist()
        data["sites"].append(
            {"layer": layer, "side": "decoder", "steps": steps, "edits": [{"kind": "push", "vector": vector}]}
        )
    recipe = Recipe.model_validate(data).located(shipped.folder)
    arms = random_arms(recipe, draws=2)
    vectors = []
    for arm in arms:
        assert [(part.site.layer, part.site.side, part.steps) for part in arm.sites] == [
            (spec.layer, spec.side, spec.steps) for spec in recipe.sites
        ]
        for part, spec in zip(arm.sites[1:], recipe.sites[1:], strict=True):
            ((own,), (given,)) = part.edits, spec.build()
            torch.testing.assert_close(own.vector.norm(), given.vector.norm())
            assert abs(float(own.vector @ given.vector)) < 0.5 * float(given.vector.norm()) ** 2
            vectors.append(own.vector)
    assert not torch.equal(vectors[0], vectors[len(recipe.sites) - 1])


def test_random_features_want_a_recipe_that_adds(shipped):
    data = shipped.model_dump(by_alias=True)
    data["sites"] = [{"layer": 4, "edits": [{"kind": "push", "vector": [1.0] * 384}]}]
    with pytest.raises(SteeringError, match="adds to features"):
        random_arms(Recipe.model_validate(data))
    both = shipped.model_dump(by_alias=True)
    both["sites"].append({"layer": 2, "edits": [{"kind": "ablate", "features": [1]}], "sae": both["sites"][0]["sae"]})
    with pytest.raises(SteeringError, match="none elsewhere"):
        random_arms(Recipe.model_validate(both))


@pytest.fixture(scope="module")
def summary() -> tuple[Any, Summary]:
    """Clips of noise and of speech that differ along the first axis; noise that is taken for speech along another."""
    sae = make_sae("relu", d=6, F=12)
    rng = torch.Generator().manual_seed(0)
    present = [i >= 12 for i in range(24)]
    detected = [i % 2 == 0 for i in range(24)]
    xs = []
    for speech, taken in zip(present, detected, strict=True):
        x = torch.randn(1500, 6, generator=rng)
        x[:, 0] += 3.0 * speech
        x[:, 1] += 3.0 * taken
        xs.append(x)
    loads = [lambda x=x: x for x in xs]
    return sae, summarise(loads, [480_000] * 24, [0.1 if d else 0.9 for d in detected], present, sae)


def test_what_the_fits_look_at(summary, tmp_path):
    sae, found = summary
    assert {kind: values.shape for kind, values in found.features.items()} == {
        "max": (24, 12),
        "mean": (24, 12),
        "nonzero_mean": (24, 12),
    }
    assert found.means[found.present, 0].mean() > 2.5 > found.means[~found.present, 0].mean()
    save_summary(found, tmp_path / "fits" / "a.safetensors")
    again = load_summary(tmp_path / "fits" / "a.safetensors")
    assert all(np.array_equal(again.features[kind], values) for kind, values in found.features.items())
    assert np.array_equal(again.present, found.present)
    short = summarise([lambda: torch.cat([torch.ones(50, 6), torch.zeros(1450, 6)])], [16_000], [0.5], [True], sae)
    np.testing.assert_allclose(short.means, 1.0)  # what fills up the 30 s is left out


def test_what_the_papers_do_is_fitted(summary):
    sae, found = summary
    arms, without = fitted_arms(found, sae, 2)
    assert not without
    by_name = {arm.name: arm for arm in arms}
    push = by_name["mean-difference-2"].sites[0].edits[0]
    assert isinstance(push, Push)
    assert push.amount == 2.0
    assert push.vector[0] < -2.5  # from speech to noise
    ones, threes = (by_name[f"audiosae-max-{a}"].sites[0] for a in (1, 3))
    assert (ones.error, threes.error) == ("drop", "drop")
    assert isinstance(ones.edits[0], Add)
    assert set(map(abs, ones.edits[0].amount)) == {1.0}
    np.testing.assert_allclose(np.array(ones.edits[0].amount) * 3, threes.edits[0].amount)
    shift = by_name["typical-shift-3"]
    assert (shift.sites[0].error, shift.marked) == ("keep", True)
    absent = ~found.present
    detected = absent & (found.no_speech_prob < 0.5)
    for name, kind, high, low in (
        ("audiosae-mean-1", "mean", detected, absent & ~detected),
        ("typical-shift-3", "nonzero_mean", found.present, absent),
    ):
        edit = by_name[name].sites[0].edits[0]
        values = found.features[kind][:, list(edit.features)]
        spread = values.std(0)
        more = (values[high].mean(0) - values[low].mean(0)) / np.where(spread > 0, spread, 1)
        assert np.sign(edit.amount) @ more < 0, name  # against what tells the two apart


def test_a_regression_without_two_kinds_is_left_out_and_said(summary):
    sae, found = summary
    arms, without = fitted_arms(found._replace(no_speech_prob=np.full(24, 0.9)), sae, 2)
    assert set(without) == {"audiosae-max", "audiosae-mean"}
    assert "0 of 12 non-speech clips" in without["audiosae-max"]
    assert {arm.curve for arm in arms} == {"mean-difference", "typical-shift"}


def test_modes_say_what_they_are():
    assert [(m.pad, m.timestamps, m.allow_empty) for m in (TIMED, UNTIMED, STRICT)] == [
        ("zeros", True, None),
        ("silence", False, True),
        ("silence", False, False),
    ]
    assert json.dumps(TIMED) != json.dumps(UNTIMED)
