"""Made-up clips and texts, for what the benchmark makes of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from audiosae_steer.evaluate.benchmark.arms import LABELS
from audiosae_steer.evaluate.benchmark.bench_clips import BenchClip
from audiosae_steer.evaluate.benchmark.measures import of_noise, of_speech
from audiosae_steer.evaluate.benchmark.results import ArmInfo, ArmResult, BenchResults, ClipsInfo, Machine
from audiosae_steer.evaluate.benchmark.settings import BenchSettings
from audiosae_steer.evaluate.latency import Latency
from audiosae_steer.evaluate.transcription.from_residuals import Written

SAID = "we walked along the river until the sun went down"


def sound(number: int, text: str | None = None, seconds: float = 1.0, source: str = "made") -> BenchClip:
    samples = np.random.default_rng(number).standard_normal(round(16_000 * seconds)).astype(np.float32) * 0.1
    return BenchClip(f"{source}/{number}.wav", source, lambda: samples, text)


def written(text: str, no_speech_prob: float = 0.1, avg_logprob: float = -0.3, opened: bool | None = None) -> Written:
    drop = no_speech_prob > 0.6 and avg_logprob < -1
    return Written(text, "" if drop else text, no_speech_prob, avg_logprob, (1, 2), opened)


def noisy(shares: float, clips: int = 200) -> list[Written]:
    """Text on a share of clips."""
    return [written("thank you" if i < round(shares * clips) else "", 0.4) for i in range(clips)]


def spoken(errors: int, blanked: int = 0, clips: int = 100) -> list[Written]:
    """SAID, with a word wrong in the first clips, and nothing in the last."""
    rows = [written(SAID.replace("river", "reaver") if i < errors else SAID) for i in range(clips)]
    return [row._replace(text="", filtered="") if i >= clips - blanked else row for i, row in enumerate(rows)]


ARMS: dict[str, tuple[str, str, bool, float, int, int]] = {
    # name: curve, at, marked, share of text, words wrong, clips blanked
    "unsteered": ("unsteered", "", True, 0.91, 10, 0),
    "reconstruction": ("reconstruction", "", True, 0.88, 14, 0),
    "mean-difference-0.5": ("mean-difference", "α = 0.5", False, 0.9, 13, 0),
    "mean-difference-1": ("mean-difference", "α = 1", True, 0.86, 40, 0),
    "mean-difference-2": ("mean-difference", "α = 2", False, 0.95, 90, 10),
    "audiosae-max-1": ("audiosae-max", "α = 1", True, 0.7, 35, 0),
    "audiosae-max-3": ("audiosae-max", "α = 3", False, 0.4, 95, 30),
    "audiosae-mean-1": ("audiosae-mean", "α = 1", True, 0.72, 33, 0),
    "audiosae-mean-3": ("audiosae-mean", "α = 3", False, 0.42, 90, 31),
    "typical-shift-3": ("typical-shift", "α = 3", True, 0.55, 20, 1),
    "typical-shift-1": ("typical-shift", "α = 1", False, 0.8, 12, 0),
    "contrast-1": ("contrast", "", True, 0.35, 15, 0),
    "learned-0.5": ("learned", "× 0.5", False, 0.5, 10, 0),
    "learned-0.75": ("learned", "× 0.75", False, 0.06, 11, 0),
    "learned-1": ("learned", "× 1", True, 0.015, 12, 0),
    "learned-1.25": ("learned", "× 1.25", False, 0.0, 21, 1),
    "dense-0.5": ("dense", "× 0.5", False, 0.52, 11, 0),
    "dense-0.75": ("dense", "× 0.75", False, 0.08, 12, 0),
    "dense-1": ("dense", "× 1", True, 0.01, 14, 0),
    "dense-1.25": ("dense", "× 1.25", False, 0.0, 25, 1),
    "clip-gated": ("clip-gated", "", True, 0.005, 10, 0),
    "frame-gated": ("frame-gated", "", True, 0.02, 10, 0),
    "gate-alone": ("gate-alone", "", True, 0.01, 10, 0),
    "no-speech-prob-0.005": ("no-speech-prob", "0.5%", True, 0.6, 11, 0),
    "no-speech-prob-0.02": ("no-speech-prob", "2.0%", False, 0.5, 12, 2),
    "no-speech-prob-0.05": ("no-speech-prob", "5.0%", False, 0.4, 12, 5),
    "avg-logprob-0.005": ("avg-logprob", "0.5%", True, 0.7, 11, 1),
    "avg-logprob-0.02": ("avg-logprob", "2.0%", False, 0.65, 11, 2),
    "avg-logprob-0.05": ("avg-logprob", "5.0%", False, 0.5, 11, 5),
    "vad-0.1": ("vad", "0.1", False, 0.3, 10, 0),
    "vad-0.5": ("vad", "0.5", True, 0.04, 10, 2),
    "vad-0.9": ("vad", "0.9", False, 0.01, 10, 8),
    "vad-ours": ("vad-ours", "", True, 0.0, 10, 2),
}


def results(names: Any = tuple(ARMS)) -> BenchResults:
    """Results of a run, of made-up texts."""
    absent = [sound(i, source=("fan", "rain")[i % 2]) for i in range(200)]
    present = [sound(i, SAID) for i in range(100)]
    before = noisy(ARMS["unsteered"][3]), spoken(ARMS["unsteered"][4])
    rows, described = {}, {}
    for name in names:
        curve, at, marked, share, errors, blanked = ARMS[name]
        rows[name] = ArmResult(
            noise=of_noise(absent, before[0], noisy(share)),
            speech=of_speech(present, before[1], spoken(errors, blanked)),
        )
        described[name] = ArmInfo(label=f"{LABELS[curve]} {at}".rstrip(), curve=curve, at=at, marked=marked)
    return BenchResults(
        model="tiny.en",
        recipe="made-up",
        recipes={"ours": "made-up"},
        layer=4,
        settings=BenchSettings(budget=0.005, random_clips=64),
        data={
            "absent": ClipsInfo(clips=200, minutes=3.3, with_text=0, sources={"fan": 100, "rain": 100}),
            "present": ClipsInfo(clips=100, minutes=3.3, with_text=100, sources={"made": 100}),
        },
        arms=described,
        machine=Machine(processor="a processor", threads=1),
        versions={"python": "3.11", "gone": None},
        clips={"timed": rows},
        latency={"unsteered": None, "clip-gated": Latency(0.004, 0.003, 0.006)},
        left_out={"frame-gated": "the recipe has no frame gate"},
    )


def read_results(path: Path) -> BenchResults:
    """The results that a `false-speech.json` holds."""
    content = json.loads(path.read_text(encoding="utf-8"))
    clips = content.get("clips", {})
    content["random"] = {mode: rows.pop("random") for mode, rows in clips.items() if "random" in rows}
    content["settings"] = {k: tuple(v) if isinstance(v, list) else v for k, v in content["settings"].items()}
    return TypeAdapter(BenchResults).validate_python(content)
