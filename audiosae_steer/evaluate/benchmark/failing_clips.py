"""Page of the clips on which arms fail: noise that still gets text, and speech that lost words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from ...data.activations.capture import frames_of
from ...data.audio import SAMPLE_RATE
from ...io.files import write_atomic
from ...models.families.whisper_mel import mel
from ...steering.gates import Probe, pool
from ..html_page import render
from ..metrics.rates import wrote
from ..metrics.wer import word_errors
from ..page_parts.stage_clips import Curve, StageClip, media_of, page_state, player, stage_clip, stretch_of
from ..transcription.from_residuals import Written
from .arms import Mode
from .bench_clips import BenchClip, ClipGroup, words
from .run import Bench

SHOWN = 40
"""Clips that a section shows at most, the worst first."""
TOP = 8
"""Features of the gate that are named for a clip."""
FRAME_RATE = 50.0
"""Frames per second of a Whisper's encoder."""


class GateFeature(NamedTuple):
    """One feature of the clip gate on one clip."""

    number: int
    activation: float
    """Pooled over the clip's frames."""
    contribution: float
    """To the gate's score: above 0 towards opening."""


class GateReading(NamedTuple):
    """The clip gate on one clip."""

    score: float | None
    """Less its threshold; None without a gate of the encoder."""
    features: tuple[GateFeature, ...] = ()
    """Those that weigh most, the heaviest first."""
    curve: Curve | None = None
    """Activation of the first of them over the clip."""


class Failure(NamedTuple):
    """A clip on which arms failed, and their texts."""

    clip: BenchClip
    texts: dict[str, str]
    """Text of each arm, by its name; the unsteered model's is the first."""
    failed: tuple[str, ...]
    """The arms that failed."""
    size: int
    """Words written for a clip without speech, or words lost; the most of any arm."""
    gate: GateReading
    """The clip gate on it."""


def failures(bench: Bench, mode: Mode, names: Sequence[str]) -> tuple[list[Failure], list[Failure]]:
    """Noise that still gets text under any of the arms, and speech that lost words under any, the worst first.

    Speech has lost words if it is blanked where it was not before, or, where its text is known, if it has more
    word errors than before.

    Args:
        bench: the run.
        mode: how clips are encoded and decoded.
        names: the arms.
    """
    rows = {name: bench.written(name, bench.absent, mode) for name in ("unsteered", *names)}
    noise = []
    for i, clip in enumerate(bench.absent.clips):
        failed = tuple(name for name in names if wrote(rows[name][i].text))
        if failed:
            size = max(words(rows[name][i].text) for name in failed)
            noise.append(_failure(bench, clip, {n: rows[n][i] for n in rows}, failed, size, mode))
    rows = {name: bench.written(name, bench.present, mode) for name in ("unsteered", *names)}
    speech = []
    for i, clip in enumerate(bench.present.clips):
        lost = {name: _lost(clip, rows["unsteered"][i], rows[name][i]) for name in names}
        failed = tuple(name for name, count in lost.items() if count)
        if failed:
            own = {n: rows[n][i] for n in rows}
            speech.append(_failure(bench, clip, own, failed, max(lost.values()), mode))
    return sorted(noise, key=lambda f: -f.size), sorted(speech, key=lambda f: -f.size)


def write_failures(bench: Bench, mode: Mode, names: Sequence[str], path: Path) -> Path:
    """Write the page atomically, and return its path.

    Args:
        bench: the run.
        mode: how clips are encoded and decoded.
        names: the arms to look at.
        path: the file, .html.
    """
    noise, speech = failures(bench, mode, names)
    labels = {name: bench.arms[name].label for name in ("unsteered", *names)}
    sections = [
        _section("Text on clips without speech", "clips without speech with text", noise, bench.absent, bench, labels),
        _section("Speech that lost words", "clips with speech that lost words", speech, bench.present, bench, labels),
    ]
    clips = [failure["shown"] for section in sections for failure in section["shown"]]
    page = render(
        Path(__file__).with_suffix(".html"),
        title=f"{bench.recipes.main.model.name}, {bench.recipes.main.name}: where it fails",
        arms=" and ".join(labels[name] for name in names),
        timestamps=mode.timestamps,
        sections=sections,
        clips=clips,
        rate=FRAME_RATE,
        state=page_state(clips),
        player=player(),
    )
    write_atomic(path, page)
    return path


def gate_reading(bench: Bench, clip: BenchClip, mode: Mode) -> GateReading:
    """The clip gate's score above its threshold, the features that weigh most, and the first of them over the clip."""
    spec, sae = bench.recipes.main.gate, bench.gate_sae
    if spec is None or sae is None or spec.side != "encoder":
        return GateReading(None)
    gate = spec.build()
    probe = Probe(gate, sae)
    x = bench.runner.residuals([clip], mode.pad, spec.layer)[0].float()
    with torch.no_grad():
        read = probe.read(x[None])
        pooled = pool(read, gate.pool)[0].double().numpy()
    shares = pooled * np.array(gate.weights)
    order = [int(i) for i in np.argsort(-np.abs(shares), kind="stable")[:TOP] if shares[i]]
    features = tuple(GateFeature(gate.features[i], float(pooled[i]), float(shares[i])) for i in order)
    curve = None
    if order:
        values = read[0, : frames_of(round(clip.seconds * SAMPLE_RATE), len(x)), order[0]].double().cpu().numpy()
        curve = Curve(values, FRAME_RATE, float(values.max(initial=0.0)))
    return GateReading(float(shares.sum() + gate.bias - gate.threshold), features, curve)


def _failure(
    bench: Bench, clip: BenchClip, rows: dict[str, Written], failed: tuple[str, ...], size: int, mode: Mode
) -> Failure:
    texts = {name: one.text for name, one in rows.items()}
    return Failure(clip, texts, failed, size, gate_reading(bench, clip, mode))


def _lost(clip: BenchClip, before: Written, after: Written) -> int:
    """Words that are worse than before; of a text that is not known, those of one that is blanked."""
    if clip.text:
        first, last = (word_errors([clip.text], [one.text]) for one in (before, after))
        more = sum(last.errors) - sum(first.errors)
        if more > 0:
            return more
    return max(words(before.text), 1) if wrote(before.text) and not wrote(after.text) else 0


def _section(
    title: str, what: str, found: Sequence[Failure], group: ClipGroup, bench: Bench, labels: dict[str, str]
) -> dict[str, Any]:
    """A heading of the page with its counts by arm, and the worst clips under it."""
    return {
        "title": title,
        "what": what,
        "clips": len(group.clips),
        "found": len(found),
        "counts": [
            {"arm": label, "failed": sum(name in one.failed for one in found)}
            for name, label in labels.items()
            if name != "unsteered"
        ],
        "shown": [_clip(one, bench, labels, f"{group.name}-{i}") for i, one in enumerate(found[:SHOWN])],
    }


def _clip(one: Failure, bench: Bench, labels: dict[str, str], key: str) -> dict[str, Any]:
    rows = [("said", one.clip.text, "said")] if one.clip.text else []
    rows += [(labels[name], text, "bad" if name in one.failed else "") for name, text in one.texts.items()]
    return {
        "clip": one.clip,
        "shown": _shown(one, bench, key),
        "rows": [{"label": label, "text": _short(text), "style": style} for label, text, style in rows],
        "score": one.gate.score,
        "features": one.gate.features,
    }


def _shown(one: Failure, bench: Bench, key: str) -> StageClip:
    """The clip for the stage, with what the model sees of it."""
    samples = one.clip.samples()
    spectrum = mel(bench.model, [samples])[0].T.float().cpu().numpy()
    media = media_of(samples, picture=stretch_of(spectrum, 0.0, len(samples) / SAMPLE_RATE))
    curve, words = one.gate.curve, one.clip.source
    if curve is not None:
        words += f"; curve: feature {one.gate.features[0].number} of the gate"
    return stage_clip(key, one.clip.name, media, curve, words=words, top=0.0 if curve is None else curve.top)


def _short(text: str, most: int = 240) -> str:
    return text if len(text) <= most else text[: most - 2].rstrip() + " …"
