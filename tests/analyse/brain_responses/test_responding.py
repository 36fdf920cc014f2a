"""Response functions on planted responses, and what weaker tests make of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from audiosae_steer.analyse import Responses, Stimuli, Trf, TrfSettings, trf_of_stimuli
from audiosae_steer.analyse.brain_responses.response_functions import correlations, fit
from audiosae_steer.analyse.brain_responses.response_peaks import Weighed, peak_tests
from audiosae_steer.analyse.brain_responses.response_preparation import prepared, sound_of
from audiosae_steer.analyse.brain_responses.shifted_gains import (
    PENALTIES,
    Heard,
    draw_shifts,
    gains,
    shifted_correlations,
    without_sound,
)
from audiosae_steer.analyse.frame.nulls import p_value
from audiosae_steer.errors import SteeringError

RATE, SECONDS, SOUNDS, SUBJECTS = 64, 36, 4, 5
LAG = round(0.12 * RATE) / RATE
QUICK = TrfSettings(
    rate=RATE, high_pass=0, low_pass=0, lags=(-0.1, 0.4), window=(0.0, 0.4), penalties=(1.0, 1e2, 1e4), shifts=120,
    draws=100, controls=(),
)  # fmt: skip
SEEDS = range(4)


def rough(rng, *shape):
    """Positive, smooth over a few samples, of unit variance, as envelopes and activations are."""
    x = np.abs(gaussian_filter1d(rng.standard_normal(shape), 2, axis=0))
    return x / x.std(0)


def heard(rng, source, snr=-10.0, sign=1.0):
    """A source, convolved with a kernel that peaks at LAG, in noise of another such spectrum."""
    lags = np.arange(int(0.4 * RATE)) / RATE
    kernel = np.exp(-0.5 * ((lags - LAG) / 0.03) ** 2)
    noise = gaussian_filter1d(rng.standard_normal(len(source)), 1)
    signal = np.zeros(len(source)) if snr == -np.inf else np.convolve(source - source.mean(), kernel)[: len(source)]
    return sign * signal / max(signal.std(), 1e-9) + 10 ** (0 if snr == -np.inf else -snr / 20) * noise / noise.std()


def planted(seed, follows, features=1, subjects=SUBJECTS, **more):
    """Sounds with features, and responses that follow a feature, the envelope alone, or nothing."""
    rng = np.random.default_rng(seed)
    names = tuple(f"story-{i}" for i in range(SOUNDS))
    values, sounds, items = [], [], []
    for name in names:
        envelope, own = rough(rng, RATE * SECONDS), rough(rng, RATE * SECONDS, features)
        if follows == "envelope":  # the features are correlated .7 with it
            own = 0.7 * envelope[:, None] + np.sqrt(1 - 0.49) * own
        source = envelope if follows == "envelope" else own[:, 0]
        snr = -np.inf if follows == "nothing" else -10.0
        items += [(f"s{i}", name, heard(rng, source, **{"snr": snr, **more})) for i in range(subjects)]
        values.append(own.astype(np.float32))
        sounds.append(np.stack([envelope, np.diff(envelope, prepend=envelope[:1]).clip(0)], 1))
    return Stimuli(names, tuple(values), tuple(sounds), RATE), Responses.of(items, RATE)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_planted_lag_is_found_and_predicts(seed):
    found = trf_of_stimuli(*planted(seed, "feature"), settings=QUICK).of(0)
    assert abs(found.peak.lag - LAG) <= 1 / RATE + 1e-6
    assert found.peak is found.highest
    assert found.highest.holm < 0.05
    assert found.prediction.p < 0.01
    assert found.gain.p < 0.01
    assert found.gain.value > 0.1
    assert found.gain.interval.low > 0
    # the toy looks for the largest correlation of a single sample, at lag 0
    stimuli, responses = planted(seed, "feature")
    y = np.concatenate([each.samples[:, 0] for each in responses.items if each.subject == "s0"])
    assert abs(np.corrcoef(y, np.concatenate(stimuli.features)[:, 0])[0, 1]) < found.prediction.value / 3


@pytest.mark.parametrize("seed", SEEDS)
def test_a_flipped_response_has_a_minimum(seed):
    found = trf_of_stimuli(*planted(seed, "feature", sign=-1.0), settings=QUICK).of(0)
    assert found.peak is found.lowest
    assert abs(found.peak.lag - LAG) <= 1 / RATE + 1e-6
    assert found.peak.weight < 0
    assert found.lowest.holm < 0.05
    assert found.prediction.p < 0.01
    # the toy takes the maximum alone
    assert abs(found.highest.weight) < abs(found.lowest.weight) / 3


@pytest.mark.parametrize("seed", SEEDS)
def test_a_feature_that_follows_the_envelope_adds_nothing_to_it(seed):
    stimuli, responses = planted(seed, "envelope", features=2)
    found = trf_of_stimuli(stimuli, responses, settings=QUICK)
    for each in found.features:
        assert each.prediction.p < 0.01
        assert each.gain.q > 0.05
        # the toy stops at prediction, or at the peak, and credits the feature
        assert each.prediction.value > each.prediction.null_high + 0.05
        assert each.highest.holm < 0.05
    assert found.gaining == ()
    assert found.dictionaries[0].predicted == 2
    assert found.sound_r > max(each.prediction.value for each in found.features)


def in_sample(stimuli, responses):
    """p-value of the prediction of the responses that it was fitted on."""
    own = [each.samples for each in responses.items if each.subject == "s0"]
    fitted = fit([each[:, :1].astype(float) for each in stimuli.features], own, RATE, QUICK.lags, (1.0,))
    shifts, _ = draw_shifts([len(each) for each in own], RATE, 10.0, 99, 0)
    predicted = fitted.predict([each[:, :1].astype(float) for each in stimuli.features])
    pairs = list(zip(predicted, own, strict=True))
    null = np.mean([shifted_correlations(p, y, shifts[:, i])[:, 0] for i, (p, y) in enumerate(pairs)], 0)
    return p_value(np.mean([correlations(y, p)[0] for p, y in pairs]), null)


def test_noise_passes_as_often_as_the_level_says():
    """20 runs of three features: gains and predictions at most 5 % after correction, and no more than expected
    before; the toy, which predicts the responses that it was fitted on, nearly always."""
    settings = replace(QUICK, shifts=99, penalties=(1e2,), draws=10)
    corrected, plain, naive = [], [], []
    for seed in range(20):
        stimuli, responses = planted(100 + seed, "nothing", features=2, subjects=2)
        found = trf_of_stimuli(stimuli, responses, settings=settings)
        corrected += [any(min(each.highest.holm, each.lowest.holm) < 0.05 for each in found.features)]
        corrected += [any(each.gain.family < 0.05 for each in found.features)]
        plain += [each.gain.p for each in found.features] + [each.prediction.p for each in found.features]
        if seed < 10:
            naive.append(in_sample(stimuli, responses))
    assert np.mean(corrected) <= 0.05
    assert np.mean(np.array(plain) < 0.1) < 0.17
    assert 0.4 < np.mean(plain) < 0.6
    assert np.mean(np.array(naive) < 0.05) > 0.8


@pytest.mark.parametrize("seed", range(2))
def test_gains_by_products_are_those_of_fits_one_by_one(seed):
    """Every shift's weights and r, from a lagged matrix with the shifted feature in it."""
    rng = np.random.default_rng(seed)
    n, lags = 200, np.arange(-2, 6)
    feature = [rng.standard_normal(n) for _ in range(3)]
    told = [Heard(*(x - x.mean(0) for x in rng.standard_normal((2, n, 2)))) for _ in range(3)]
    shifts = np.array([[0, 0, 0], [40, 70, 110], [90, 60, 77]])
    found = gains(feature, told, [0, 1], [2], lags, shifts)

    def r(a, b):
        return np.array([np.corrcoef(a[:, i], b[:, i])[0, 1] for i in range(a.shape[1])])

    for row, shift in enumerate(shifts):
        x = [
            np.stack([np.roll(f - f.mean(), lag + by) for lag in lags], 1) for f, by in zip(feature, shift, strict=True)
        ]

        def weights(train, penalty, x=x):
            c = sum(x[i].T @ x[i] for i in train)
            amount = penalty * np.trace(c) / len(lags)
            return np.linalg.solve(
                c + amount * np.eye(len(lags)), sum(x[i].T @ (told[i].y - told[i].base) for i in train)
            )

        scores = [
            np.mean([r(told[i].y, told[i].base + x[i] @ weights([1 - i], penalty)) for i in (0, 1)])
            for penalty in PENALTIES
        ]
        best = PENALTIES[int(np.argmax(scores))]
        wanted = r(told[2].y, told[2].base + x[2] @ weights([0, 1], best)) - r(told[2].y, told[2].base)
        assert found[row, 0] == pytest.approx(wanted, abs=1e-9)


def test_what_the_sound_explains_is_taken_out_of_a_feature():
    rng = np.random.default_rng(0)
    sound = [rng.standard_normal((400, 2)) for _ in range(3)]
    own = [rng.standard_normal((400, 1)) for _ in range(3)]
    features = [np.roll(s[:, :1], 3, 0) - np.roll(s[:, 1:], -2, 0) + f for s, f in zip(sound, own, strict=True)]
    left = without_sound(features, sound, [0, 1], 5)
    for kept, true in zip(left, own, strict=True):
        assert np.corrcoef(kept[:, 0], true[:, 0])[0, 1] > 0.97
    # a regression on the same sample alone leaves it in
    naive = features[2] - sound[2] @ np.linalg.lstsq(np.concatenate(sound[:2]), np.concatenate(features[:2]))[0]
    assert np.corrcoef(naive[:, 0], own[2][:, 0])[0, 1] < 0.7


def test_the_package_finds_the_weights_that_the_responses_were_made_with():
    rng = np.random.default_rng(0)
    x = [rng.standard_normal((500, 1)) for _ in range(3)]
    fitted = fit(x, [np.roll(each, 5, 0) * 2 for each in x], 50.0, (0.0, 0.2), (1e-2, 1.0, 1e4))
    assert fitted.lags[fitted.weights[0, :, 0].argmax()] == pytest.approx(0.1)
    assert fitted.penalty == 1e-2


def test_peaks_of_few_subjects_are_over_sounds_and_the_signed_rank_is_there():
    rng = np.random.default_rng(0)
    values = 1 + 0.1 * rng.standard_normal(8)
    for test in ("t", "signed-rank"):
        (high, low), (nothing, _) = peak_tests(
            [Weighed((0.1, 0.2), (values, values)), Weighed((0.1, 0.2), (np.zeros(8), np.zeros(8)))], test
        )
        assert high.holm < 0.05
        assert low.p > 0.9
        assert nothing.p == 1.0
    found = trf_of_stimuli(*planted(0, "feature", subjects=1), settings=QUICK)
    assert found.of(0).prediction.p < 0.01
    assert any("there is one subject" in warning for warning in found.provenance.warnings)


def test_responses_are_brought_into_a_band_and_to_a_rate():
    t = np.arange(0, 20, 1 / 512)
    y = np.sin(2 * np.pi * 4 * t) + 3 + np.sin(2 * np.pi * 50 * t) + 5 * np.sin(2 * np.pi * 0.05 * t)
    found = prepared(y[:, None], 512, 128, (1.0, 8.0))[:, 0]
    assert found.shape == (20 * 128,)
    wanted = np.sin(2 * np.pi * 4 * np.arange(0, 20, 1 / 128))
    middle = slice(256, -256)
    assert np.corrcoef(found[middle], wanted[middle])[0, 1] > 0.999  # not delayed
    assert np.median(found) == pytest.approx(0, abs=1e-9)
    assert np.subtract(*np.quantile(found, [0.75, 0.25])) == pytest.approx(1)
    with pytest.raises(SteeringError, match="cannot be had"):
        prepared(y[:, None], 12, 12, (1.0, 8.0))
    with pytest.raises(SteeringError, match="constant"):
        prepared(np.ones((100, 1)), 64, 64)


def test_the_envelope_follows_the_loudness_and_onsets_its_rise():
    t = np.arange(0, 4, 1 / 16000)
    loud = 0.1 + 0.9 * ((t % 1) > 0.5)
    found = sound_of(loud * np.sin(2 * np.pi * 440 * t), 16000, 100)
    assert found.shape == (400, 2)
    assert found[20:45, 0].mean() == pytest.approx(0.1, abs=0.02)
    assert found[60:95, 0].mean() == pytest.approx(1.0, abs=0.05)
    assert abs(int(found[:100, 1].argmax()) - 50) <= 1
    assert found[:, 1].min() == 0


def test_the_same_input_gives_the_same_json_a_page_and_a_picture(tmp_path):
    given = planted(0, "feature", features=2)
    one, two = (trf_of_stimuli(*given, report=("story-1", "story-3"), settings=QUICK) for _ in range(2))
    assert one.to_json() == two.to_json()
    assert Trf.from_json(one.to_json()).table() == one.table()
    assert (one.fitted_on, one.reported_on) == (("story-0", "story-2"), ("story-1", "story-3"))
    assert "| SAE |" in one.table()
    one.report(tmp_path / "a.html")
    assert one.png(tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_data_that_cannot_bear_it_is_refused():
    stimuli, responses = planted(0, "feature")
    with pytest.raises(SteeringError, match="1 sounds are to fit on"):
        trf_of_stimuli(stimuli, responses, report=stimuli.names[1:], settings=QUICK)
    with pytest.raises(SteeringError, match="no channel 'Pz'"):
        trf_of_stimuli(stimuli, responses, settings=replace(QUICK, channels=("Pz",)))
    with pytest.raises(SteeringError, match="the stimuli are at 64 Hz"):
        trf_of_stimuli(stimuli, responses, settings=replace(QUICK, rate=128))
    with pytest.raises(SteeringError, match="the window within the lags"):
        trf_of_stimuli(stimuli, responses, settings=replace(QUICK, window=(0.0, 0.5)))
    lone = Responses.of([each for each in responses.items if each.subject == "s0" or each.stimulus == "story-0"], RATE)
    with pytest.raises(SteeringError, match="1 sounds are to fit on and 0|all 1 clips"):
        trf_of_stimuli(stimuli, lone, settings=QUICK)
    with pytest.raises(SteeringError, match="do not fit"):
        Stimuli(stimuli.names, stimuli.features[:2], stimuli.sound, RATE)
