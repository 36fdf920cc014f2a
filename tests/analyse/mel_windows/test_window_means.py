"""Mel patterns of planted bursts and of features that fire at random."""

from __future__ import annotations

import numpy as np
import pytest
from planted import identity_sae

from audiosae_steer.analyse import MelPatterns, MelSettings, Residuals, mel_patterns
from audiosae_steer.analyse.mel_windows.activation_peaks import peaks_of
from audiosae_steer.analyse.mel_windows.window_means import Spectra, as_array, pattern_of
from audiosae_steer.data.log_mel import band_centres, log_mel, mel_power
from audiosae_steer.errors import SteeringError

QUICK = MelSettings(shuffles=40)
SEEDS = range(4)
RATE, CLIPS, SECONDS = 50.0, 10, 6


def bursts(seed, late=0.1, edge=False):
    """Noise with bursts of 1 kHz, and a feature that fires `late` seconds after each; bursts at the clips' ends, too,
    if `edge`."""
    rng = np.random.default_rng(seed)
    sounds, activations = [], []
    for _ in range(CLIPS):
        samples = 0.01 * rng.standard_normal(SECONDS * 16000)
        fired = np.zeros(int(SECONDS * RATE), np.float32)
        frames = np.array([1, 290]) if edge else np.arange(40, 270, 75) + rng.integers(-10, 10, 4)
        for frame in frames:
            middle = (frame + 0.5) / RATE - late  # of the burst; the feature fires on the frame
            time = np.arange(len(samples)) / 16000 - middle
            samples += 0.5 * np.exp(-((time / 0.012) ** 2)) * np.sin(2 * np.pi * 1000 * time)
            fired[frame] = 1 + rng.random()
        sounds.append(samples.astype(np.float32))
        activations.append(fired)
    return sounds, activations


def at_random(seed, sounds):
    rng = np.random.default_rng([seed, 9])
    return [(rng.random(int(SECONDS * RATE)) < 0.02).astype(np.float32) for _ in sounds]


def naive_share(pattern_windows, spectra):
    """Share of cells of a mean window that lie beyond 3.29 standard errors of the clips' mean, windows of a clip taken
    for independent and the spread between cells of a column for theirs."""
    columns = spectra.sound > 0
    middle, spread = spectra.mel[columns].mean(0), spectra.mel[columns].std(0)
    z = (pattern_windows - middle[:, None]) / (spread[:, None] / np.sqrt(CLIPS * 50))
    return float((np.abs(z) > 3.29).mean())


@pytest.mark.parametrize("seed", SEEDS)
def test_a_burst_is_found_at_its_time_and_frequency(seed):
    sounds, activations = bursts(seed)
    spectra = Spectra.of(sounds, 1.0)
    found = pattern_of(7, activations, spectra, RATE, QUICK)
    band = int(np.abs(band_centres() - 1000).argmin())
    difference = as_array(found.difference)
    assert difference.shape == (80, 101)
    assert abs(int(np.unravel_index(difference.argmax(), difference.shape)[0]) - band) <= 1
    assert found.peak_ms == pytest.approx(-100, abs=10)
    assert found.asymmetry < found.asymmetry_null.low
    assert found.side == "before"
    assert found.p == pytest.approx(1 / 41)
    assert found.beyond > 0.005
    later = pattern_of(7, bursts(seed, late=-0.1)[1], Spectra.of(bursts(seed, late=-0.1)[0], 1.0), RATE, QUICK)
    assert later.peak_ms - found.peak_ms == pytest.approx(200, abs=1e-6)
    assert later.side == "after"


def test_a_feature_at_random_frames_has_no_pattern():
    beyond, clear, naive = [], 0, []
    for seed in SEEDS:
        sounds, _ = bursts(seed)
        spectra = Spectra.of(sounds, 1.0)
        found = pattern_of(7, at_random(seed, sounds), spectra, RATE, QUICK)
        beyond.append(found.beyond)
        clear += found.p < 0.05
        naive.append(naive_share(as_array(found.mean), spectra))
    assert np.mean(beyond) < 0.01  # .001 of normal noise; 40 draws have wider tails
    assert clear <= 1
    assert np.mean(naive) > 0.02  # windows are not that many witnesses


def test_windows_at_the_edges_of_clips_do_not_darken_the_mean():
    sounds, activations = bursts(0, late=0.0, edge=True)
    spectra = Spectra.of(sounds, 1.0)
    mean = as_array(pattern_of(7, activations, spectra, RATE, QUICK).mean)
    noise = spectra.mel[spectra.sound > 0].mean()
    assert mean[:, :20].mean() == pytest.approx(noise, abs=0.05)  # half of the windows have no sound there
    padded = [np.pad(samples, 8000) for samples in sounds]  # the naive way: windows of digital silence
    late = [np.pad(fired, 25) for fired in activations]
    naive = as_array(pattern_of(7, late, Spectra.of(padded, 1.0), RATE, QUICK).mean)
    assert naive[:, :20].mean() < noise - 0.1


def test_energy_is_weighed_alike_in_loud_and_quiet_windows():
    sounds, activations = bursts(1)
    spectra = Spectra.of([samples * 10 ** (-number / 4) for number, samples in enumerate(sounds)], 1.0)
    alike = pattern_of(7, activations, spectra, RATE, QUICK).asymmetry
    assert alike == pytest.approx(pattern_of(7, activations, Spectra.of(sounds, 1.0), RATE, QUICK).asymmetry, abs=1e-3)


def test_peaks_are_apart_and_the_highest_stay():
    values = np.zeros(200, np.float32)
    values[[10, 20, 60, 61, 150, 199]] = [1, 2, 3, 3.5, 1, 5]
    found = peaks_of([values, np.zeros(10, np.float32)], 50.0)
    assert [(peak.frame, peak.activation) for peak in found] == [(199, 5), (61, 3.5), (20, 2), (150, 1)]
    assert len(peaks_of([values], 50.0, per_clip=2)) == 2
    assert peaks_of([values] * 3, 50.0, most=4)[3].clip == 0


def test_the_mel_is_whispers():
    whisper = pytest.importorskip("whisper.audio")
    rng = np.random.default_rng(0)
    samples = (0.1 * rng.standard_normal(16000) * np.linspace(0, 1, 16000)).astype(np.float32)
    assert log_mel(mel_power(samples)) == pytest.approx(whisper.log_mel_spectrogram(samples).numpy().T, abs=1e-3)
    assert mel_power(samples[:50]).shape == (1, 80)


def test_without_files_or_a_feature_it_is_refused():
    import torch

    residuals = Residuals.of([torch.ones(10, 4)])
    with pytest.raises(SteeringError, match="give residuals of files"):
        mel_patterns(identity_sae(4), residuals, [1])
    with pytest.raises(SteeringError, match="4 is no feature of this SAE"):
        mel_patterns(identity_sae(4), residuals, [4])
    with pytest.raises(SteeringError, match="no feature is no feature"):
        mel_patterns(identity_sae(4), residuals, [])
    assert MelPatterns.TITLE
