"""Attributes of sounds of which the truth is known."""

from __future__ import annotations

import sys
import wave

import numpy as np
import pytest

from audiosae_steer.analyse import Attributes, attributes_of, excerpts_of
from audiosae_steer.analyse.code_completeness.sound_attributes import FAMILIES, NAMES, attributes_of_sound
from audiosae_steer.errors import AudioError, MissingExtraError, SteeringError

RATE = 16_000
TIME = np.arange(2 * RATE) / RATE


def told(samples):
    return dict(zip(NAMES, attributes_of_sound(samples, RATE), strict=True))


def tone(hertz, partials=8, level=0.1):
    return level * sum(np.sin(2 * np.pi * hertz * k * TIME) / k for k in range(1, partials + 1))


@pytest.mark.parametrize("hertz", [82.4, 110.0, 220.0, 330.0, 440.0])
def test_pitch_of_a_harmonic_tone(hertz):
    found = told(tone(hertz))
    assert found["f0 50 %"] == pytest.approx(12 * np.log2(hertz / 27.5), abs=0.1)
    assert found["f0 sd"] < 0.1
    assert found["voiced share"] > 0.98
    assert found["HNR mean"] > 15


def test_noise_has_no_pitch_and_a_flat_spectrum():
    rng = np.random.default_rng(0)
    noise = told(0.1 * rng.standard_normal(len(TIME)))
    pure = told(tone(220))
    assert noise["voiced share"] < 0.1
    assert noise["flatness mean"] > 0.4 > 0.1 > pure["flatness mean"]
    assert noise["centroid mean"] == pytest.approx(4000, abs=150)
    noisy = told(tone(220) + 0.05 * rng.standard_normal(len(TIME)))
    assert noisy["HNR mean"] < pure["HNR mean"] - 5
    assert noisy["f0 50 %"] == pytest.approx(36, abs=0.1)


def test_levels_slopes_onsets_and_silence():
    quiet, loud = told(tone(150, level=0.01)), told(tone(150, level=0.1))
    assert loud["level mean"] - quiet["level mean"] == pytest.approx(20, abs=0.1)
    assert loud["centroid mean"] == pytest.approx(quiet["centroid mean"], abs=1)
    assert told(tone(150, partials=3))["alpha ratio"] > loud["alpha ratio"] + 10
    clicks = np.zeros(len(TIME))
    for start in range(RATE // 10, len(TIME), RATE // 2):  # two a second
        clicks[start : start + 800] = 0.3 * np.random.default_rng(start).standard_normal(800)
    assert told(clicks + 1e-4 * np.random.default_rng(1).standard_normal(len(TIME)))["onset rate"] == pytest.approx(
        2, abs=0.1
    )
    assert np.isnan(attributes_of_sound(np.zeros(RATE), RATE)).all()
    assert len(set(NAMES)) == len(NAMES) == sum(map(len, FAMILIES.values())) >= 30


def test_tables_of_attributes(tmp_path):
    for number, hertz in enumerate((200, 300)):
        with wave.open(str(tmp_path / f"{number}.wav"), "wb") as file:
            file.setparams((1, 2, RATE, 0, "NONE", ""))
            file.writeframes((tone(hertz) * 20000).astype(np.int16).tobytes())
    clips = excerpts_of([tmp_path])
    free = attributes_of(clips)
    assert free.values.shape == (2, len(NAMES))
    assert free.values[1, 0] - free.values[0, 0] == pytest.approx(12 * np.log2(1.5), abs=0.1)
    table = tmp_path / "a.csv"
    table.write_text("file,voice: strain,age\n1.wav,2.5,\n0.wav,1,30\n", encoding="utf-8")
    read = attributes_of(clips, table)
    assert read.names == ("voice: strain", "age")
    assert read.families == ("voice", "given")
    assert read.values[:, 0].tolist() == [1, 2.5]
    assert np.isnan(read.values[1, 1])
    table.write_text("file,age\n1.wav,2\n", encoding="utf-8")
    with pytest.raises(AudioError, match="no line for 0.wav"):
        attributes_of(clips, table)
    table.write_text("file,age\n1.wav,old\n", encoding="utf-8")
    with pytest.raises(AudioError, match="no CSV of attributes"):
        attributes_of(clips, table)
    with pytest.raises(AudioError, match="expected free, egemaps or a CSV"):
        attributes_of(clips, tmp_path / "none.csv")
    with pytest.raises(SteeringError, match="with 1 names"):
        Attributes.of(np.zeros((3, 2)), ["a"])


def test_egemaps_states_its_licence(tmp_path, monkeypatch):
    clips = excerpts_of([_beep(tmp_path)])
    monkeypatch.setitem(sys.modules, "opensmile", None)
    with pytest.raises(MissingExtraError, match=r"audiosae-steer\[egemaps\].*research and private use only"):
        attributes_of(clips, "egemaps")


def test_egemaps_by_opensmile(tmp_path):
    pytest.importorskip("opensmile")
    found = attributes_of(excerpts_of([_beep(tmp_path)]), "egemaps")
    assert found.values.shape == (1, 88)
    assert found.values[0, 0] == pytest.approx(36, abs=0.2)
    assert found.families[0] == "pitch"
    assert "research and private use only" in found.warnings[0]


def _beep(folder):
    path = folder / "beep.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes((tone(220) * 20000).astype(np.int16).tobytes())
    return path
