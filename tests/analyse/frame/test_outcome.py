"""Results: JSON that reads back, Markdown, one self-contained page with sound, a picture."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import soundfile

from audiosae_steer.analyse import Interval, Outcome, excerpts_of
from audiosae_steer.analyse.frame.presented import Figure, Moment, Picture, Table
from audiosae_steer.analyse.frame.provenance import Provenance, provenance, rounded
from audiosae_steer.errors import SteeringError


@dataclass(frozen=True, kw_only=True)
class Made(Outcome):
    TITLE: ClassVar[str] = "Made <up>"
    CLAIM: ClassVar[str] = "Nothing."
    score: float | None
    interval: Interval | None
    curve: tuple[float, ...]
    heard: tuple[Moment, ...] = ()

    def figures(self):
        return [Figure("1", "one <b>")]

    def tables(self):
        return [Table("Numbers", ("name", "value"), (("a|b", "1"),), "A note.")]

    def pictures(self):
        return [Picture("Curve", "a curve", lambda figure: figure.subplots().plot(self.curve)) for _ in range(2)]

    def moments(self):
        return self.heard


def made(**more):
    origin = provenance(settings={"k": (1, 2)}, seed=3, warnings=("beware <i>", "beware <i>"))
    return Made(**{"provenance": origin, "score": 0.5, "interval": Interval(0.1, 0.9), "curve": (1.0, 2.0), **more})


def test_json_reads_back_and_is_the_same_each_time():
    one = made()
    text = one.to_json()
    assert text == made().to_json()
    back = Made.from_json(text)
    assert back == one
    assert isinstance(back.interval, Interval)
    assert isinstance(back.curve, tuple)
    assert back.provenance.warnings == ("beware <i>",)
    assert back.provenance.settings == {"k": [1, 2]}
    assert Made.from_json(made(score=None, interval=None).to_json()).score is None


def test_other_json_is_refused():
    with pytest.raises(SteeringError, match="no result of Made"):
        Made.from_json("{}")
    with pytest.raises(SteeringError, match="no result of Made"):
        Made.from_json("nonsense")
    newer = made(provenance=Provenance(format=99))
    with pytest.raises(SteeringError, match="of format 99"):
        Made.from_json(newer.to_json())


def test_markdown():
    text = made().table()
    assert text.startswith("> beware")
    assert "| a\\|b | 1 |" in text
    assert "A note." in text


def test_the_page_is_one_file_with_sound(tmp_path):
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "a.wav", 0.1 * rng.standard_normal(32000), 16000)
    clips = excerpts_of([tmp_path / "a.wav"])
    result = made(heard=(Moment(clip=0, name="a.wav", start=0.5, seconds=1.0, says="hear <this>"),))
    page = result.report(tmp_path / "page.html", clips).read_text(encoding="utf-8")
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    assert page.count("data:image/png;base64,") == 4  # two figures, the stage, and the link to its clip
    wavs = set(re.findall(r"data:audio/wav;base64,([^\"]+)", page))
    assert len(wavs) == 1
    sound, rate = soundfile.read(io.BytesIO(base64.b64decode(wavs.pop())))
    assert (len(sound), rate) == (16000, 16000)
    assert np.allclose(sound, soundfile.read(tmp_path / "a.wav")[0][8000:24000], atol=1e-3)
    assert "hear &lt;this&gt;" in page
    assert "<b>" not in page
    assert "beware &lt;i&gt;" in page
    silent = result.report(tmp_path / "silent.html").read_text(encoding="utf-8")
    assert "<audio" not in silent


def test_the_picture_is_a_png_and_the_same_each_time(tmp_path):
    one, two = (made().png(tmp_path / f"{i}.png").read_bytes() for i in range(2))
    assert one == two
    assert one.startswith(b"\x89PNG")


def test_numbers_are_short_and_finite():
    assert rounded(1 / 3) == 0.3333333333
    assert rounded(np.float32(2)) == 2.0
    assert rounded(float("nan")) is rounded(float("inf")) is rounded(None) is None
