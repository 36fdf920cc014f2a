"""Downloads and durations of making a recipe, estimated before it begins."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from ...data.audio import SAMPLE_RATE
from ...data.partitions import PARTITIONS, PartitionSources
from ...data.sources import Download, plan_download
from ...errors import AudioError, HubError, MissingExtraError
from ...evaluate.transcription.from_residuals import encode, resume, write
from ...training.settings import TrainSettings
from ..learning.settings import LearnSettings

NEEDED = {"whisper": "openai-whisper", "jiwer": "jiwer", "sklearn": "scikit-learn", "matplotlib": "matplotlib"}
"""Modules that every run needs, and the package of each."""
GUESS = 1000
"""Assumed number of clips of a data set before it is downloaded."""
TOKENS = 24
"""Assumed number of tokens that Whisper writes for a clip of speech."""
TRIED = 6
"""Assumed times that calibration transcribes each clip in each mode: most candidates meet a few clips only."""


class Amount(NamedTuple):
    """Amount of work: clips and steps."""

    absent: tuple[int, int, int]
    """Clips without speech: to find, to calibrate and to test."""
    present: tuple[int, int, int]
    """Clips with speech: to find, to calibrate and to test."""
    train: TrainSettings | None
    """Training of an SAE; None where one is given."""
    learn: LearnSettings
    """Learning of the amounts."""
    synthetic: int
    """Synthetic noises to learn on."""
    windows: int = 0
    """Windows of speech and noise to fit a timestamp gate on; a third as many are encoded beside them."""


class Speed(NamedTuple):
    """Seconds per step, measured."""

    encode: float
    """Seconds to encode a clip."""
    write: float
    """Seconds to write TOKENS tokens for a clip."""
    learn: float
    """Seconds of a step of learning, per clip."""
    train: float
    """Seconds of a step of training an SAE; 0 where one is given."""


def downloads(given: Sequence[PartitionSources], most: int | None, seed: int) -> list[Download]:
    """Downloads of all sources, each source once.

    Raises:
        HubError: a data set cannot be had; the message names the user's own clips as the way out.
        MissingExtraError: pyarrow is not installed, and a data set is to be read.
    """
    sources = [str(source) for kind in given for part in kind for source in part]
    if any(source.startswith("hub:") for source in sources) and find_spec("pyarrow") is None:
        raise MissingExtraError("data sets of the Hub are read with pyarrow; run: pip install 'audiosae-steer[make]'")
    found = []
    for source in dict.fromkeys(sources):
        try:
            found.append(plan_download(source, most=most, seed=seed))
        except HubError as error:
            raise HubError(
                f"{error}. Clips of your own do as well: --absent DIR (without speech) and --present DIR (with speech)"
            ) from error
    return found


def check_installed(training: bool) -> None:
    """Check the packages that later stages need.

    Raises:
        MissingExtraError: a package that a later stage needs is not installed.
    """
    needed = {**NEEDED, **({"sae_lens": "SAELens"} if training else {})}
    missing = [name for module, name in needed.items() if find_spec(module) is None]
    if missing:
        raise MissingExtraError(
            f"making a recipe needs {', '.join(missing)}, too; run: pip install 'audiosae-steer[make]'"
        )


def count(given: PartitionSources, shares: Sequence[float], most: int | None) -> tuple[int, int, int]:
    """Estimated numbers of clips to find, to calibrate and to test."""
    total = sum(map(_clips(most), given.find))
    own = {name: sum(map(_clips(most), sources)) for name, sources in given._asdict().items() if name != "find"}
    dealt = [share if i == 0 or not given[i] else 0.0 for i, share in enumerate(shares)]
    calibrate, test = (round(total * share / sum(dealt)) for share in dealt[1:])
    return total - calibrate - test, own["calibrate"] or calibrate, own["test"] or test


def check_enough(absent: Sequence[int], present: Sequence[int], shares: Sequence[float], least: int) -> None:
    """Check that there are clips enough of either kind, and of neither far too few for a purpose.

    Args:
        absent: clips without speech to find, to calibrate and to test.
        present: clips with speech to find, to calibrate and to test.
        shares: shares of the three.
        least: fewest clips of either kind.

    Raises:
        AudioError: there are too few; says how many there are, and how many are needed.
    """
    needed = [round(least * share / sum(shares)) for share in shares]
    kinds = {"without speech": absent, "with speech": present}
    # speakers and recordings stay whole, and so the parts are of about their shares
    lacking = any(2 * have < need for part in kinds.values() for have, need in zip(part, needed, strict=True))
    if lacking or min(map(sum, kinds.values())) < least:
        there = " and ".join(f"{sum(part)} {kind} ({_purposes(part)})" for kind, part in kinds.items())
        raise AudioError(
            f"too few clips to make a recipe: {there}; at least {least} of each are needed ({_purposes(needed)}). Give "
            "more, or lower --least (MakeSettings.least) to try with these: what so few show says little of others"
        )


def _purposes(counts: Sequence[int]) -> str:
    return ", ".join(f"{number} to {part}" for number, part in zip(counts, PARTITIONS, strict=True))


def _clips(most: int | None) -> Callable[[Any], int]:
    def of(source: Any) -> int:
        number = GUESS
        if not str(source).startswith("hub:") and not str(source).endswith(".parquet"):
            from ...data.audio_paths import list_audio

            try:
                number = len(list_audio([Path(source)]))
            except AudioError:  # a folder of parquet files; an invalid source is refused when it is opened
                number = GUESS
        return min(number, most or number)

    return of


def measure(model: Any, layer: int, train: TrainSettings | None = None) -> Speed:
    """Speed of this machine: of the model, measured on one clip, and of training an SAE, on one matrix product."""
    clip = np.random.default_rng(0).normal(0, 0.1, 4 * SAMPLE_RATE).astype(np.float32)
    encode(model, [clip], layer, progress=False)  # the first call loads things
    begun = time.perf_counter()
    rows = encode(model, [clip], layer, progress=False)
    encoded = time.perf_counter()
    write(model, rows, layer, limit=TOKENS)
    written = time.perf_counter()
    x = rows[0].float()[None].to(next(model.parameters()).device)
    out = resume(model, layer, x)
    with torch.no_grad():
        model.decoder(torch.zeros((1, TOKENS), dtype=torch.long, device=out.device), out)
    decoded = time.perf_counter()
    if train is not None:
        torch.ones(train.batch, x.shape[-1]) @ torch.ones(x.shape[-1], train.n_features)
    trained = 6 * (time.perf_counter() - decoded) if train is not None else 0.0  # two products, forward and back
    return Speed(encoded - begun, written - encoded, 3 * (decoded - written), trained)


def estimate(amount: Amount, speed: Speed) -> dict[str, float]:
    """Estimated seconds of every stage; stages that an earlier run finished take none.

    Clips are augmented, so that there are more of them than were given, and are encoded with two paddings.
    """
    find, calibrate, test = (tuple(pair) for pair in zip(amount.absent, amount.present, strict=True))
    noises = amount.synthetic, amount.synthetic // 2
    pairs = zip((find, calibrate), noises, strict=True)
    varied = [1.3 * (side[0] + made) + 1.65 * side[1] for side, made in pairs]
    found: dict[str, float] = {}
    if amount.train is not None:
        found["sae"] = sum(find) * speed.encode + amount.train.steps * speed.train
    steps = amount.learn.steps + (amount.learn.refine if amount.learn.features else 0)
    found["learn"] = varied[0] * speed.encode + 2 * 1.65 * find[1] * speed.write
    found["learn"] += steps * sum(amount.learn.batch) * speed.learn
    found["gates"] = (varied[0] + 2 * varied[1] + sum(find) + sum(calibrate) + 4 / 3 * amount.windows) * speed.encode
    found["calibrate"] = varied[1] * 2 * speed.encode * 0.5 + varied[1] * 2 * TRIED * speed.write
    found["test"] = sum(test) * (2 * speed.encode + 2 * 4 * speed.write)
    return found


def table(seconds: dict[str, float]) -> list[str]:
    """Lines of a table of the stages and their minutes."""
    rows = [*seconds.items(), ("in all", sum(seconds.values()))]
    width = max(len(name) for name, _ in rows)
    return [f"  {name:<{width}}  {_minutes(value):>8}" for name, value in rows]


def _minutes(seconds: float) -> str:
    return "< 1 min" if seconds < 60 else f"{seconds / 60:.0f} min"
