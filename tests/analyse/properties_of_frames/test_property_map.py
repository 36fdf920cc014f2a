"""Property maps on planted latents, and naive variants that fail the same checks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from planted_properties import NOTES, RMSNormed, planted
from sklearn.neighbors import KNeighborsClassifier

from audiosae_steer.analyse import FrameProperties, PropertyMap, PropertySettings, Residuals, control, property_map
from audiosae_steer.errors import SteeringError

QUICK = PropertySettings(
    bins=3, penalties=(0.1, 10.0), controls=(), draws=50, permutations=60, min_frames=5, min_clips=2
)
SEEDS = range(3)


def mapped(seed, dictionary=None, labels=None, **changes):
    data = planted(seed)
    return data, property_map(
        dictionary or data.sae, data.residuals, labels or data.labels, settings=replace(QUICK, **changes)
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_each_note_is_told_by_the_feature_that_was_planted(seed):
    data, found = mapped(seed, properties=("pitch", "loudness"))
    pitch = found.of("pitch")
    assert pitch.score.accuracy >= 0.98
    assert pitch.score.p == pytest.approx(1 / 61)
    assert pitch.score.null.low < 0.3
    assert found.of("loudness").score.accuracy >= 0.9
    assert found.of("loudness").score.r2 >= 0.9
    f = np.concatenate(data.codes)
    notes = np.concatenate([each.pitch for each in data.labels]).astype(int) - 48
    best = [found.contributions("pitch", f[notes == k])[:, k].mean(0).argmax() for k in range(NOTES)]
    assert best == list(range(NOTES))
    W, b = found.heads()["pitch"]
    assert f @ W.T + b == pytest.approx(found.logits("pitch", f), abs=1e-9)
    weights = np.asarray(pitch.map.weights)
    weighed = (weights * np.asarray(pitch.map.spread)).argmax(1)
    assert [found.features[i] for i in weighed] == list(range(NOTES))
    # the naive reading, by the largest weight: a faint feature has one, and says nothing
    assert [found.features[i] for i in weights.argmax(1)] != list(range(NOTES))
    parts = found.contributions("pitch", f)
    assert parts.shape == (len(f), NOTES, found.n_features)
    assert np.abs(parts.sum(-1) - (found.logits("pitch", f) - np.asarray(pitch.map.bias))).max() < 1e-5


@pytest.mark.parametrize("seed", SEEDS)
def test_an_rms_norm_loses_the_loudness_and_keeps_the_pitch(seed):
    data = planted(seed)
    _, plain = mapped(seed, properties=("pitch", "loudness"))
    _, normed = mapped(seed, RMSNormed(data.sae), properties=("pitch", "loudness"))
    assert normed.of("pitch").score.accuracy >= 0.98
    lost = normed.of("loudness")
    assert lost.score.accuracy <= lost.majority + 0.25
    assert plain.of("loudness").score.accuracy > lost.score.accuracy + 0.2
    assert lost.score.r2 < 0.3 < plain.of("loudness").score.r2


def exchanged(labels, rng):
    """Labels of whole clips, exchanged."""
    return [labels[i] for i in rng.permutation(len(labels))]


@pytest.mark.parametrize("seed", SEEDS)
def test_labels_of_other_clips_are_told_no_better_than_by_their_null(seed):
    data = planted(seed)
    labels = exchanged(data.labels, np.random.default_rng(seed))
    _, found = mapped(seed, labels=labels, properties=("pitch",))
    pitch = found.of("pitch")
    assert pitch.score.null.low - 0.03 <= pitch.score.accuracy <= pitch.score.null.high + 0.03
    assert pitch.score.interval.low <= pitch.majority + 0.05
    assert pitch.persistence > 0.75


def test_a_split_by_frames_makes_exchanged_labels_look_told():
    """The naive variant draws frames, so that copies of each are in both parts."""
    data = planted(0)
    rng = np.random.default_rng(0)
    labels = exchanged(data.labels, rng)
    f = np.concatenate(data.codes)
    kinds = np.concatenate([each.pitch for each in labels]).astype(int)
    drawn = rng.random(len(f)) < 0.5
    model = KNeighborsClassifier(1).fit(f[drawn], kinds[drawn])
    by_frames = (model.predict(f[~drawn]) == kinds[~drawn]).mean()
    _, found = mapped(0, labels=labels, properties=("pitch",))
    assert by_frames > 0.9
    assert found.of("pitch").score.accuracy < 0.5


def test_controls_and_the_record(tmp_path):
    data, found = mapped(1, properties=("pitch", "centroid"), controls=("dense", "random"))
    pitch = found.of("pitch")
    assert [each.name for each in pitch.scores] == ["SAE", "dense", "random"]
    # the planted code is a rotation of x: a linear map of x itself tells it as well
    assert pitch.of("dense").accuracy > 0.9
    assert pitch.of("random").lead == pytest.approx(pitch.score.accuracy - pitch.of("random").accuracy, abs=1e-6)
    assert found.of("centroid").score.r2 > 0.8
    text = found.to_json()
    again = property_map(
        data.sae, data.residuals, data.labels,
        settings=replace(QUICK, properties=("pitch", "centroid"), controls=("dense", "random")),
    )  # fmt: skip
    assert again.to_json() == text
    assert PropertyMap.from_json(text) == found
    assert "| pitch | SAE |" in found.table()
    assert found.png(tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert "commonest class" in found.report(tmp_path / "a.html").read_text(encoding="utf-8")


def test_frames_without_a_class_count_nowhere():
    data = planted(2)
    hidden = [replace(each, confidence=np.where(np.arange(len(each)) % 2, 0.9, 0.1)) for each in data.labels]
    _, found = mapped(2, labels=hidden, properties=("pitch",))
    assert found.of("pitch").missing == pytest.approx(0.5, abs=0.01)
    assert found.of("pitch").score.accuracy >= 0.98
    _, unvoiced = mapped(2, labels=hidden, properties=("pitch",), keep_unvoiced=True)
    assert unvoiced.of("pitch").missing == 0
    assert len(unvoiced.of("pitch").map.classes) == NOTES + 1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"properties": ("rhythm",)}, "property 'rhythm' is unknown"),
        ({"controls": ("other",)}, "control 'other' is unknown"),
        ({"min_frames": 10_000}, "fewer than two classes of pitch"),
        ({"min_clips": 10_000}, "no feature of the SAE fires"),
    ],
)
def test_data_that_cannot_bear_it_is_refused(change, says):
    with pytest.raises(SteeringError, match=says):
        mapped(0, **{"properties": ("pitch",), **change})


def test_labels_have_to_fit_the_frames():
    data = planted(0)
    labels = [*data.labels[:3], FrameProperties(*(np.zeros(3),) * 4), *data.labels[4:]]
    with pytest.raises(SteeringError, match="clip 3 first"):
        property_map(data.sae, data.residuals, labels, settings=QUICK)
    given = Residuals.of([*data.residuals])
    with pytest.raises(SteeringError, match="measured from the sound"):
        property_map(data.sae, given, settings=QUICK)


def test_a_dictionary_that_is_no_sae_has_no_controls():
    data = planted(0)
    dense = control("dense", data.sae, data.residuals)
    with pytest.raises(SteeringError, match="controls are made of an SAE, not of a Dense"):
        property_map(dense, data.residuals, data.labels, settings=replace(QUICK, controls=("random",)))
    found = property_map(dense, data.residuals, data.labels, settings=replace(QUICK, properties=("pitch",)))
    assert found.of("pitch").score.accuracy > 0.9
