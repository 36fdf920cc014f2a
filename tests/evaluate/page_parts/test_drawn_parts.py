"""Curves in words and in SVG, numbers as people read them."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest

from audiosae_steer.evaluate.page_parts.drawn_parts import (
    curve_in_words,
    curve_svg,
    histogram_svg,
    interval_svg,
    number,
    percent,
    share_svg,
)


def curve(*runs: tuple[float, float, float], seconds: float = 10, rate: float = 50) -> np.ndarray:
    values = np.zeros(int(seconds * rate))
    for start, stop, height in runs:
        values[int(start * rate) : int(stop * rate)] = height
    return values


def test_words_of_a_curve():
    assert curve_in_words(curve((1.2, 2.6, 8.1)), 50) == "fires from 1.2 to 2.6 s, at most 8.10 at 1.2 s"
    two = curve_in_words(curve((1, 2, 1), (4, 5, 3)), 50)
    assert two == "fires from 1.0 to 2.0 s and from 4.0 to 5.0 s, at most 3.00 at 4.0 s"
    assert curve_in_words(curve((2, 2.06, 1)), 50) == "fires at 2.0 s, at most 1.00 at 2.0 s"
    assert curve_in_words(np.zeros(50), 50) == "does not fire"
    assert curve_in_words(np.zeros(0), 50) == "does not fire"


def test_short_gaps_are_not_told_and_many_stretches_are_counted():
    assert "from 1.0 to 3.0 s," in curve_in_words(curve((1, 1.96, 1), (2.02, 3, 1)), 50)
    many = curve_in_words(curve(*[(i, i + 0.3, 1) for i in range(9)]), 50)
    assert many.count("from ") == 4
    assert "5 more times until 8.3 s" in many


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "0"),
        (8.123, "8.12"),
        (81.23, "81.2"),
        (812.3, "812"),
        (8123.4, "8,123"),
        (0.01234, "0.0123"),
        (-0.5, "-0.500"),
        (1e-9, "1.0e-09"),
    ],
)
def test_numbers_in_three_digits(value, said):
    assert number(value) == said


def test_shares():
    assert [percent(each) for each in (0, 0.00001, 0.0012, 0.5)] == ["0.00 %", "< 0.01 %", "0.12 %", "50.0 %"]


def points(svg) -> np.ndarray:
    line = ElementTree.fromstring(svg).findall("polyline")[-1].get("points")
    return np.array([pair.split(",") for pair in line.split()], float)


def test_the_peak_of_a_small_curve_is_kept_whatever_its_width():
    values = np.zeros(1500)
    values[777] = 5.0
    found = points(curve_svg(values, 5.0))
    assert found[:, 1].min() == 2.0
    assert abs(found[found[:, 1].argmin(), 0] - 120 * 777 / 1500) < 1
    assert len(found) < 8  # silence is two points
    assert points(curve_svg(np.zeros(0), 1.0)).shape == (1, 2)
    assert points(curve_svg(np.array([1.0, 2.0]), 0.0))[:, 1].min() >= 2.0


def test_drawings_are_whole_and_escape_what_they_are_given():
    edges = np.exp2(np.linspace(-8, 8, 65))
    counts = np.zeros(64, np.uint32)
    counts[30:40] = 7
    drawn = ElementTree.fromstring(histogram_svg(counts, edges, 'a "<b>" & c'))
    assert drawn.get("aria-label") == 'a "<b>" & c'
    assert len(drawn.findall("rect")) == 10
    assert "never fires" in histogram_svg(np.zeros(64, np.uint32), edges, "")
    for svg in (interval_svg(2, 1, 4, 8), interval_svg(0, 0, 1e9, 1), share_svg(0), share_svg(1e-9), share_svg(1)):
        ElementTree.fromstring(svg)
    widths = [
        float(ElementTree.fromstring(share_svg(share)).findall("rect")[1].get("width")) for share in (1e-4, 1e-2, 1)
    ]
    assert widths == sorted(widths)
    assert widths[-1] == 64
