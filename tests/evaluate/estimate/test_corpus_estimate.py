"""Estimates from a measurement: it keeps to its time, and the arithmetic is that of the whole corpus."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from make import make_openai

from audiosae_steer.data.activations.collect import collect
from audiosae_steer.errors import SiteError, WorkError
from audiosae_steer.evaluate.estimate.corpus_estimate import CorpusSize, estimate_rows, size_rows
from audiosae_steer.evaluate.estimate.sample_tasks import activations_task, corpus_size, sample_windows
from audiosae_steer.evaluate.estimate.timed_sample import Done, SampleTask, Timed, time_task


class Clock:
    """Time that passes by work alone: 3 s for the first clip, which loads things, and 2 s for each later one."""

    def __init__(self) -> None:
        self.now = 100.0
        self.done: list[int] = []

    def work(self, number: int) -> Done:
        self.now += 2.0 if self.done else 3.0
        self.done.append(number)
        return Done(10.0, 500)

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("limit", "count", "clips", "order"),
    [(10, 100, 4, [0, 1, 2, 3, 4]), (1, 100, 1, [0, 1]), (120, 3, 3, [0, 1, 2, 0]), (120, 1, 1, [0, 0])],
)
def test_a_measurement_warms_up_and_keeps_to_its_time(limit: float, count: int, clips: int, order: list[int]) -> None:
    clock = Clock()
    timed = time_task(SampleTask("toy", count, clock.work), limit, clock)
    assert clock.done == order
    assert timed == Timed(clips, 10.0 * clips, 2.0 * clips, 500 * clips)
    assert timed.real_time == 5.0


@pytest.mark.parametrize("limit", [0, 121, float("nan")])
def test_measurements_that_cannot_be(limit: float) -> None:
    with pytest.raises(WorkError, match="more than 0 and at most 120"):
        time_task(SampleTask("toy", 1, Clock().work), limit)
    with pytest.raises(WorkError, match="no clips to measure on"):
        time_task(SampleTask("toy", 0, Clock().work), 1)


def test_arithmetic_on_a_measurement() -> None:
    corpus = CorpusSize(2.0, 100, 720).scaled(1000.0)
    assert corpus == CorpusSize(1000.0, 50_000, 360_000)
    timed = Timed(5, 50.0, 10.0, 2500)
    rows = estimate_rows(SampleTask("toy", 5, Clock().work), timed, corpus, workers=8)
    found = {(row.origin, row.what): row.value for row in rows}
    assert found == {
        ("measured", "toy: time of a clip"): "2 s", ("measured", "speed"): "5 ×",
        ("measured", "stored for a clip"): "500 B", ("assumed", "corpus"): "1,000 h", ("assumed", "workers"): "8",
        ("arithmetic", "worker-hours"): "200", ("arithmetic", "stored"): "180 MB", ("arithmetic", "units"): "1,000",
        ("arithmetic", "requests"): "2,003 writes", ("arithmetic", "hours"): "25",
    }  # fmt: skip
    by_clips = estimate_rows(SampleTask("toy", 5, Clock().work, clips_a_unit=64), timed, corpus)
    assert {row.what: row.value for row in by_clips}["units"] == "5,625"
    assert [row.value for row in size_rows(corpus, 3600.0)] == ["1,000 h", "360,000", "1,000"]


def test_activations_are_measured_as_they_are_collected(tmp_path: Path) -> None:
    for number, seconds in enumerate((31.0, 2.0, 0.5)):
        samples = 0.1 * np.random.default_rng(number).standard_normal(int(16_000 * seconds))
        soundfile.write(tmp_path / f"{number}.wav", samples.astype(np.float32), 16_000, subtype="FLOAT")
    files, model = sorted(tmp_path.glob("*.wav")), make_openai(1)
    size = corpus_size(files)
    assert size == CorpusSize(pytest.approx(33.5 / 3600), 3, 4)
    assert len(set(sample_windows(files))) == 4
    task = activations_task(files, model, [1])
    done = [task.do(number) for number in range(task.count)]
    assert sum(each.seconds for each in done) == pytest.approx(33.5)
    collect(model, files, [1], tmp_path / "out", progress=False)
    stored = sum(path.stat().st_size for path in (tmp_path / "out").glob("shard-*"))
    assert sum(each.stored for each in done) == pytest.approx(stored, rel=0.05)
    with pytest.raises(SiteError, match="no encoder layer 9"):
        activations_task(files, model, [9])
