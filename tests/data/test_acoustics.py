"""Hard speech: levels, bands, lengths and ratios are what they are said to be, and seeds repeat."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiosae_steer import AudioError, load_audio
from audiosae_steer.data.acoustics import HARD, SNRS, after_noise, looped, mixture, mono, quiet, reverb, telephone
from audiosae_steer.steering.recipes.load import checkpoints_dir

CLIPS = checkpoints_dir() / "clips"
RATE = 16_000


def db(x: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(np.square(x, dtype=np.float64))))


def white(seed: int, seconds: float, level: float = 0.05) -> np.ndarray:
    return (level * np.random.default_rng(seed).standard_normal(int(seconds * RATE))).astype(np.float32)


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    return load_audio(CLIPS / "speech-04.flac")


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    return load_audio(CLIPS / "rain.flac")


def test_quiet_is_a_gain_that_loses_nothing(speech):
    assert db(quiet(speech)) == pytest.approx(db(speech) - 40, abs=1e-3)
    np.testing.assert_allclose(quiet(quiet(speech), 40.0), speech, rtol=1e-6)


def test_the_telephone_passes_its_band_alone():
    made = telephone(white(0, 4))
    power = np.abs(np.fft.rfft(made)) ** 2
    f = np.fft.rfftfreq(len(made), 1 / RATE)
    inside = power[(f > 350) & (f < 3350)].mean()
    assert power[(f < 200) | (f > 3600)].mean() < 1e-5 * inside
    assert db(made) == pytest.approx(db(white(0, 4)), abs=0.1)


@pytest.mark.parametrize("n", [1, 2, 159, 16_001])
def test_the_telephone_keeps_the_length(n):
    assert telephone(white(1, 2)[:n]).shape == (n,)


def test_a_hall_decays_as_stated_and_holds_as_much_as_the_direct_sound():
    click = np.zeros(800, np.float32)
    click[0] = 1
    made = reverb(click, seed=3).astype(np.float64)
    assert len(made) == 800 + 1.2 * RATE
    assert 10 * np.log10(made[0] ** 2 / np.sum(made[1:] ** 2)) == pytest.approx(0, abs=0.01)
    early, late = made[2000:4000], made[2000 + 9600 : 4000 + 9600]  # 0.6 s apart: half of the 60 dB
    assert db(early) - db(late) == pytest.approx(30, abs=1)
    assert np.abs(made[1:79]).max() < 1e-12


def test_a_dry_hall_is_the_speech_itself(speech):
    made = reverb(speech, direct_db=80.0)
    cosine = made[: len(speech)] @ speech / np.linalg.norm(made) / np.linalg.norm(speech)
    assert cosine > 0.999


def test_noise_before_speech(speech, noise):
    made = after_noise(speech, noise)
    lead = len(made) - len(speech)
    assert lead == 20 * RATE
    np.testing.assert_array_equal(made[lead:], speech)
    assert db(speech) - db(made[:lead]) == pytest.approx(10, abs=0.1)


def test_noise_and_speech_fit_into_one_window(noise):
    long = white(2, 25)
    assert len(after_noise(long, noise)) == 30 * RATE
    np.testing.assert_array_equal(after_noise(white(2, 30), noise), white(2, 30))
    with pytest.raises(AudioError, match=r"lasts 31\.0 s"):
        after_noise(white(2, 31), noise)


@given(st.sampled_from(SNRS), st.integers(0, 5), st.floats(0.1, 5), st.floats(0.1, 5), st.floats(0.001, 0.9))
def test_mixtures_have_their_ratio_and_stay_within_full_scale(snr, seed, long, short, level):
    speech, noise = white(seed, long, level), white(seed + 1, short)
    made = mixture(speech, noise, snr, seed)
    assert made.shape == speech.shape
    assert made.dtype == np.float32
    assert np.abs(made).max() <= 1
    scale = 1.0
    if np.abs(made).max() > 1 - 1e-6:  # turned down as a whole
        under = looped(noise, len(speech), seed)
        basis = np.stack([speech, under], 1).astype(np.float64)
        scale = float(np.linalg.lstsq(basis, made.astype(np.float64), rcond=None)[0][0])
    rest = made / scale - speech
    assert db(speech) - db(rest) == pytest.approx(snr, abs=0.05)


@given(st.integers(800, 4000), st.integers(1, 12_000), st.integers(0, 3))
def test_loops_have_the_length_and_the_level_of_the_sound(m, n, seed):
    sound = white(seed, 1)[:m]
    made = looped(sound, n, seed)
    assert made.shape == (n,)
    np.testing.assert_array_equal(made, looped(sound, n, seed))
    if n >= 800:
        assert db(made) == pytest.approx(db(sound), abs=1.5)
    if n <= m:
        assert any(np.array_equal(made, sound[i : i + n]) for i in range(m - n + 1))


def test_loops_have_no_clicks_where_they_begin_anew():
    n = 2000
    sound = np.sin(np.linspace(0, 20.5 * np.pi, n)).astype(np.float32)  # its end is 1, its beginning 0
    assert np.abs(np.diff(looped(sound, 10 * n))).max() < 3 * np.abs(np.diff(sound)).max()


def test_a_sound_in_much_silence_is_found():
    rare = np.zeros(20 * RATE, np.float32)
    rare[15 * RATE : 15 * RATE + 1000] = white(0, 1)[:1000]
    for seed in range(4):
        assert looped(rare, RATE, seed).any()


@pytest.mark.parametrize("kind", HARD)
def test_every_condition_repeats_and_leaves_its_input(kind, speech, noise):
    before = speech.copy()
    made = HARD[kind](speech, noise, 7)
    np.testing.assert_array_equal(made, HARD[kind](speech, noise, 7))
    np.testing.assert_array_equal(speech, before)
    assert made.dtype == np.float32
    assert len(speech) <= len(made) <= 30 * RATE
    assert not np.array_equal(made[: len(speech)], speech)


def test_another_seed_is_another_hall_and_another_stretch_of_noise(speech):
    assert not np.array_equal(reverb(speech, 0), reverb(speech, 1))
    assert not np.array_equal(mixture(speech, white(0, 20), 5, 0), mixture(speech, white(0, 20), 5, 1))


@pytest.mark.parametrize(
    "bad", [np.zeros(0, np.float32), np.zeros((2, 800), np.float32), np.zeros(800, np.int16), np.full(800, np.nan)]
)
def test_what_is_no_audio_is_refused(bad):
    with pytest.raises(AudioError):
        mono(bad)


def test_silence_has_no_ratio(speech, noise):
    silence = np.zeros(RATE, np.float32)
    for a, b in ((speech, silence), (silence, noise)):
        with pytest.raises(AudioError, match="silent"):
            mixture(a, b, 10)
    with pytest.raises(AudioError, match="too short"):
        looped(noise[:100], RATE)
