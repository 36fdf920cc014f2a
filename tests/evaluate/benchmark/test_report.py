"""The benchmark's measures, tables, picture and page, on made-up texts."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bench_rows import ARMS, SAID, read_results, results, sound, spoken, written
from hypothesis import given, settings
from hypothesis import strategies as st

from audiosae_steer.evaluate.benchmark import plot
from audiosae_steer.evaluate.benchmark.measures import of_noise, of_speech, spread_of
from audiosae_steer.evaluate.benchmark.report import tables, write_report
from audiosae_steer.evaluate.benchmark.results import (
    ArmResult,
    Interval,
    LongFileInfo,
    LongResult,
    LongResults,
    RandomDraws,
    Spread,
    to_json,
)

# Whisper's normaliser leaves its list of spellings open
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file .*english.json:ResourceWarning")

RESULTS = Path(__file__).parents[3] / "benchmarks" / "results"
texts = st.lists(
    st.builds(written, st.sampled_from(["", ".", "thank you", "a b c"]), st.floats(0, 1), st.floats(-3, 0)),
    min_size=1,
    max_size=12,
)


@given(texts, st.data())
def test_text_on_noise_is_counted(after, data):
    before = data.draw(st.lists(st.sampled_from(after), min_size=len(after), max_size=len(after)))
    sounds = [sound(i, seconds=0.5 * (i + 1), source="ab"[i % 2]) for i in range(len(after))]
    found = of_noise(sounds, before, after)
    for kind, flags in (
        ("text", [bool(one.text) for one in after]),
        ("filtered", [bool(one.text) and not (one.no_speech_prob > 0.6 and one.avg_logprob < -1) for one in after]),
        ("words", [one.text not in ("", ".") for one in after]),
        ("detected", [one.no_speech_prob < 0.5 for one in after]),
    ):
        hits, clips, low, high = getattr(found, kind).after
        assert (hits, clips) == (sum(flags), len(after))
        assert 0 <= low <= hits / clips <= high <= 1
        assert not any(math.isnan(number) for number in getattr(found, kind).reduction or ())
    minutes = sum(0.5 * (i + 1) for i in range(len(after))) / 60
    count = {"": 0, ".": 0, "thank you": 2, "a b c": 3}
    value, low, high = found.words_per_minute
    assert value == pytest.approx(sum(count[one.text] for one in after) / minutes)
    assert low <= value + 1e-9
    assert high >= value - 1e-9 or len(after) < 3
    assert sum(hits for hits, _ in found.by_source.values()) == found.text.after.hits


def test_words_that_are_lost_are_counted():
    sounds = [sound(i, SAID) for i in range(4)] + [sound(9)]
    before = [*spoken(1, clips=4), written("hello")]
    after = [*spoken(2, 1, clips=4), written("")]
    found = of_speech(sounds, before, after)
    assert found.blanked[:2] == (2, 5)
    assert found.new == 2
    assert found.wer.value == pytest.approx((2 + 10) / 40)
    assert found.wer.change.value == pytest.approx((1 + 10) / 40)
    assert (found.wer.deletions, found.wer.new_deletions, found.wer.utterances) == (10, 10, 4)
    assert found.by_source == {"made": (pytest.approx(12 / 40), 4)}
    looping = [written(" ".join(["again"] * 200)), *after[1:]]
    loops = of_speech(sounds, before, looping).wer
    assert loops.value > loops.capped == pytest.approx((10 + 1 + 10) / 40)
    assert loops.capped_change.value == pytest.approx((10 + 1 + 10 - 1) / 40)
    same = of_speech(sounds, before, before)
    assert same.wer.change == (0.0, 0.0, 0.0)
    assert of_speech(sounds[4:], before[4:], after[4:]).wer is None


def test_draws_are_put_together():
    sounds, present = [sound(0), sound(1)], [sound(2, SAID)]
    before = [written("a"), written("b")]
    draws = [
        ArmResult(
            noise=of_noise(sounds, before, after),
            speech=of_speech(present, spoken(0, clips=1), spoken(e, clips=1)),
        )
        for after, e in (([written("a"), written("")], 0), ([written("a"), written("b")], 1))
    ]
    found = spread_of(draws, 2)
    assert found.text == (0.75, 0.5, 1.0)
    np.testing.assert_allclose(found.wer_change, [0.05, 0.0, 0.1])
    assert found.blanked == (0, 0)
    assert found.clips == 2


@pytest.fixture(scope="module")
def found():
    made = results()
    rows = made.clips["timed"]
    draws = RandomDraws(
        draws=20, text=Spread(0.9, 0.8, 0.95), wer_change=Spread(0.01, 0.0, 0.05), blanked=(0, 1), clips=64
    )
    few = {name: rows[name].speech for name in ("unsteered", "clip-gated", "vad-0.5")}
    long = LongResult(
        files=2, words_per_minute=Interval(12.0, 10.0, 14.0), gap_words=60, gap_minutes=5.0, loops=2, wer=0.3,
        speech=few["unsteered"].wer, drift=0.2, drift_95=0.9, by_kind={}, seconds=3.0,
    )  # fmt: skip
    less = replace(long, words_per_minute=Interval(0.6, 0.0, 1.0), drift=None, drift_95=None)
    file = LongFileInfo(name="a", minutes=5.0, gap_minutes=2.5, utterances=9, kinds=["hum", "noise"])
    return replace(
        made,
        random={"timed": draws},
        mixtures={"timed": {"20 dB": few, "0 dB": few}},
        long=LongResults(files=[file] * 2, transcribe={"unsteered": long, "clip-gated": less}),
    )


def cells(table: str, name: str) -> list[str]:
    (line,) = [line for line in table.splitlines() if line.startswith(f"| {name} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_tables(found):
    text = tables(found)
    clips = text.split("## Clips")[1].split("## ")[0]
    assert cells(clips, "unsteered")[1:4] == ["91.0% [86.2%, 94.2%]", "", "91.0%"]
    row = cells(clips, "**ours, learned, ungated × 1**")
    assert row[1] == "1.5% [0.5%, 4.3%]"
    assert row[2].startswith("98.4% [")
    assert row[7] == "1.20%"
    assert row[8].startswith("+0.20 [")
    assert cells(clips, "**Silero VAD 0.5**")[11] == "2 (2 new)"
    assert cells(clips, "Silero VAD 0.9")[10] == "+80"
    draws = cells(clips, "random features: mean and range of 20 draws, on 64 + 64 clips")
    assert draws[1] == "90.0% [80.0% to 95.0%]"
    assert {line.count("|") for line in clips.splitlines() if line.startswith("|")} == {13}
    latency = text.split("## Latency")[1].split("## ")[0]
    assert cells(latency, "ours, clip gate")[1:] == ["0.40%", "0.30% to 0.60%"]
    assert "unsteered |" not in latency
    mixed = text.split("## Speech in noise")[1].split("## ")[0]
    assert cells(mixed, "**Silero VAD 0.5**") == ["**Silero VAD 0.5**"] + ["3.00% (+2.00)", "2 (2 new)"] * 2
    long = text.split("## Long files")[1].split("## ")[0]
    assert cells(long, "ours, clip gate")[1:4] == ["0.60 [0.00 to 1.00]", "-95.0%", "2"]
    assert "- ours, frame gate: the recipe has no frame gate" in text
    assert "gone" not in text


def test_the_files(found, tmp_path):
    paths = write_report(found, tmp_path / "new" / "out")
    assert [path.name for path in paths] == ["false-speech.json", "table.md", "front.png"]
    assert sorted(path.name for path in paths[0].parent.iterdir()) == sorted(path.name for path in paths)
    assert read_results(paths[0]) == found
    json.dumps(to_json(found), allow_nan=False)
    assert paths[1].read_text() == tables(found)
    from matplotlib.image import imread

    image = imread(paths[2])
    assert min(image.shape[:2]) > 600
    assert 0.5 < (image[..., :3].min(2) > 0.99).mean() < 0.99
    bare = replace(found, clips=None, random={}, latency=None, mixtures=None, long=None)
    assert len(write_report(bare, tmp_path)) == 2


@pytest.mark.parametrize("folder", sorted(path.parent for path in RESULTS.glob("*/false-speech.json")), ids=str)
def test_published_results_are_written_as_they_were(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(plot, "draw_front", lambda found, path: path)
    for path in write_report(read_results(folder / "false-speech.json"), tmp_path)[:2]:
        assert path.read_bytes() == (folder / path.name).read_bytes()


@settings(max_examples=6)
@given(st.lists(st.sampled_from(list(ARMS)[1:]), min_size=1, max_size=14, unique=True))
def test_labels_stay_apart(found, names):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    order = [name for name in ARMS if name in {"unsteered", *names}]
    some = replace(found, clips={"timed": {name: found.clips["timed"][name] for name in order}}, random={})
    chosen = plot.points(some, "timed")
    assert len(chosen) == len(order)
    figure = Figure(figsize=(11.5, 7.6), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axis = figure.subplots()
    plot._panel(axis, some, "timed", chosen)
    canvas.draw()
    renderer = canvas.get_renderer()
    plot._label(renderer, axis, chosen)
    boxes = [text.get_window_extent(renderer) for text in axis.texts]
    marked = {point.label for point in chosen if point.marked}
    assert marked <= {text.get_text() for text in axis.texts}
    for number, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:number])
