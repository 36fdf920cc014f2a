"""Pitch, loudness and centroid of sounds of which they are known."""

from __future__ import annotations

import numpy as np
import pytest

from audiosae_steer.analyse import PropertySettings, pitch_engine, property_labels
from audiosae_steer.analyse.properties_of_frames.property_bins import bins_of
from audiosae_steer.errors import AudioError, SteeringError

RATE = 16_000


class Unheard:
    """An engine that hears nothing."""

    name = "none"

    def __call__(self, samples, times):
        return np.zeros(len(times)), np.zeros(len(times))


class Fixed(Unheard):
    """An engine that always hears 440 Hz."""

    def __call__(self, samples, times):
        from audiosae_steer.analyse.properties_of_frames.pitch_engines import Pitches

        return Pitches(np.full(len(times), 440.0), np.ones(len(times)))


def tone(hz, seconds=1.0, amplitude=0.3, rate=RATE):
    t = np.arange(int(seconds * rate)) / rate
    return amplitude * (np.sin(2 * np.pi * hz * t) + 0.5 * np.sin(4 * np.pi * hz * t))


@pytest.mark.parametrize("engine", ["swift", "crepe-tiny"])
def test_engines_tell_tones(engine):
    pytest.importorskip("swift_f0" if engine == "swift" else "h5py")
    found = pitch_engine(engine)
    for hz in (65.4, 220.0, 440.0):
        heard = property_labels(tone(hz), RATE, 50.0, 50, engine=found)
        assert np.median(np.abs(heard.pitch - (69 + 12 * np.log2(hz / 440)))) < 0.2
        assert np.median(heard.confidence) > 0.5
    assert property_labels(np.zeros(RATE), RATE, 50.0, 50, engine=found).confidence.max() < 0.5


def test_the_engines_name_is_checked():
    with pytest.raises(SteeringError, match="pitch engine 'pyin' is unknown"):
        pitch_engine("pyin")


@pytest.mark.parametrize("rate", [16_000, 24_000])
def test_windows_are_centred_on_the_frames(rate):
    """A click is loudest on the frame that it lies in; from the start of a frame on, it would be a frame off."""
    samples = np.zeros(rate)
    samples[int(0.51 * rate)] = 1.0
    found = property_labels(samples, rate, 50.0, 50, engine=Fixed())
    middle = np.flatnonzero(found.loudness > -60)
    assert middle.mean() == pytest.approx(25, abs=0.5)
    shifted = property_labels(samples, rate, 50.0, 40, offset=0.2, engine=Fixed())
    assert np.flatnonzero(shifted.loudness > -60).mean() == pytest.approx(15, abs=0.5)


def test_loudness_and_centroid_are_those_of_the_sound():
    rng = np.random.default_rng(0)
    noise = 0.1 * rng.standard_normal(RATE)
    found = property_labels(noise, RATE, 50.0, 50, engine=Fixed())
    assert np.median(found.loudness) == pytest.approx(-20, abs=0.7)
    assert found.loudness[0] == pytest.approx(-20, abs=3)  # a window that begins before the clip counts what is in it
    assert np.median(found.centroid) == pytest.approx(4000, abs=250)
    high = property_labels(tone(2000), RATE, 50.0, 50, engine=Fixed())
    assert np.median(high.centroid) == pytest.approx(2400, abs=30)  # powers 1 and 1/4 at 2000 and 4000 Hz
    louder = property_labels(2 * noise, RATE, 50.0, 50, engine=Fixed())
    assert louder.loudness - found.loudness == pytest.approx(6.02, abs=0.01)


def test_bins_are_of_the_clips_to_fit_on():
    found = [property_labels(tone(440, amplitude=a), RATE, 50.0, 50, engine=Fixed()) for a in (0.3, 0.003)]
    loudness = bins_of("loudness", found, PropertySettings())
    assert loudness.classes == 20
    assert loudness.reference == pytest.approx(found[0].loudness.max(), abs=0.1)
    assert set(loudness.kinds(found[0])[2:-2]) == {19}
    assert set(loudness.kinds(found[1])[2:-2]) == {6}  # 40 dB below: 20 of 60 dB, in steps of 3
    pitch = bins_of("pitch", found, PropertySettings())
    assert pitch.classes == 66
    assert set(pitch.kinds(found[0])) == {69 - 33}
    assert pitch.class_at(69) == 36
    quiet = found[0].__class__(found[0].pitch, found[0].confidence, found[0].loudness - 70, found[0].centroid)
    assert set(pitch.kinds(quiet)) == {-1}
    assert set(bins_of("centroid", found, PropertySettings()).kinds(quiet)) == {-1}
    linear = bins_of("loudness", found, PropertySettings(scale="linear"))
    assert set(linear.kinds(found[1])[2:-2]) == {0}
    with pytest.raises(SteeringError, match="outside of the classes"):
        pitch.class_at(20)


def test_what_is_no_mono_sound_is_refused():
    with pytest.raises(AudioError, match="expected finite mono samples"):
        property_labels(np.zeros((2, 100)), RATE, 50.0, 5, engine=Fixed())
