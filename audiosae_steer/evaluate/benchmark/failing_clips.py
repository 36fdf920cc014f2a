"""The clips on which arms fail: noise that still gets text, and speech that lost words, on one page to look at."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from ...errors import MissingExtraError
from ...io.files import write_whole
from ...models.families.whisper_mel import mel
from ...steering.gates import Probe, pool
from ..metrics.rates import wrote
from ..metrics.wer import word_errors
from ..transcription.from_residuals import Written
from .arms import Mode
from .material import Sound, words
from .run import Bench

SHOWN = 40
"""Clips that a section shows at most, the worst first."""
TOP = 8
"""Features of the gate that are named for a clip."""
PICTURE = (260, 80)
"""Pixels of a spectrogram."""


class Failure(NamedTuple):
    """A clip, and what became of it."""

    sound: Sound
    texts: dict[str, str]
    """What each arm wrote, by its name; the unsteered model's is the first."""
    failed: tuple[str, ...]
    """The arms that failed."""
    size: int
    """Words written where nobody speaks, or words lost; the most of any arm."""
    score: float | None
    """How far the clip gate's score is above its threshold; None without one."""
    features: tuple[tuple[int, float, float], ...]
    """Those of the gate that weigh most on this clip: number, pooled activation, contribution to the score."""


def failures(bench: Bench, mode: Mode, names: Sequence[str]) -> tuple[list[Failure], list[Failure]]:
    """Noise that still gets text under any of the arms, and speech that lost words under any, the worst first.

    Speech has lost words if it is blanked where it was not before, or, where its text is known, if it has more
    word errors than before.

    Args:
        bench: the run.
        mode: how clips are heard and decoded.
        names: the arms.
    """
    rows = {name: bench.written(name, bench.absent, mode) for name in ("unsteered", *names)}
    noise = []
    for i, sound in enumerate(bench.absent.sounds):
        failed = tuple(name for name in names if wrote(rows[name][i].text))
        if failed:
            size = max(words(rows[name][i].text) for name in failed)
            noise.append(_failure(bench, sound, {n: rows[n][i] for n in rows}, failed, size, mode))
    rows = {name: bench.written(name, bench.present, mode) for name in ("unsteered", *names)}
    speech = []
    for i, sound in enumerate(bench.present.sounds):
        lost = {name: _lost(sound, rows["unsteered"][i], rows[name][i]) for name in names}
        failed = tuple(name for name, count in lost.items() if count)
        if failed:
            own = {n: rows[n][i] for n in rows}
            speech.append(_failure(bench, sound, own, failed, max(lost.values()), mode))
    return sorted(noise, key=lambda f: -f.size), sorted(speech, key=lambda f: -f.size)


def write_failures(bench: Bench, mode: Mode, names: Sequence[str], path: Path) -> Path:
    """Write the page, whole or not at all, and return its path.

    Args:
        bench: the run.
        mode: how clips are heard and decoded.
        names: the arms to look at.
        path: the file, .html.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    noise, speech = failures(bench, mode, names)
    labels = {name: bench.arms[name].label for name in ("unsteered", *names)}
    title = f"{bench.recipes.main.model.name}, {bench.recipes.main.name}: where it fails"
    shown = " and ".join(labels[name] for name in names)
    counts = [
        f"<li><strong>{sum(name in f.failed for f in found)} of {len(material.sounds)}</strong>"
        f"<span>{what}, {html.escape(labels[name])}</span></li>"
        for found, material, what in (
            (noise, bench.absent, "clips without speech with text"),
            (speech, bench.present, "clips with speech that lost words"),
        )
        for name in names
    ]
    body = [
        f"<h1>{html.escape(title)}</h1>",
        f'<p class="lead">Arms: {html.escape(shown)}. {"With" if mode.timestamps else "Without"} timestamps, greedy, '
        "Whisper's filters off. The gate edits a clip if its score is above 0; of its features, those that weigh most "
        "on the clip are named, with their pooled activation and what they add to the score: above 0 towards opening, "
        "below 0 towards leaving the clip alone.</p>",
        f'<ul class="cards">{"".join(counts)}</ul>',
        _section("Text where nobody speaks", noise, labels, bench),
        _section("Speech that lost words", speech, labels, bench),
    ]
    page = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8" />\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1" />\n'
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(body)
        + "\n</main>\n</body>\n</html>\n"
    )
    write_whole(path, page)
    return path


def gate_reading(bench: Bench, sound: Sound, mode: Mode) -> tuple[float | None, tuple[tuple[int, float, float], ...]]:
    """The clip gate's score above its threshold, and the features that weigh most: number, activation, contribution."""
    spec, sae = bench.recipes.main.gate, bench.gate_sae
    if spec is None or sae is None or spec.side != "encoder":
        return None, ()
    gate = spec.build()
    probe = Probe(gate, sae)
    x = bench.runner.residuals([sound], mode.pad, spec.layer)[0].float()
    with torch.no_grad():
        pooled = pool(probe.read(x[None]), gate.pool)[0].double().numpy()
    shares = pooled * np.array(gate.weights)
    order = np.argsort(-np.abs(shares), kind="stable")[:TOP]
    features = tuple((gate.features[i], float(pooled[i]), float(shares[i])) for i in order if shares[i])
    return float(shares.sum() + gate.bias - gate.threshold), features


def _failure(
    bench: Bench, sound: Sound, rows: dict[str, Written], failed: tuple[str, ...], size: int, mode: Mode
) -> Failure:
    texts = {name: one.text for name, one in rows.items()}
    score, features = gate_reading(bench, sound, mode)
    return Failure(sound, texts, failed, size, score, features)


def _lost(sound: Sound, before: Written, after: Written) -> int:
    """Words that are worse than before; of a text that is not known, those of one that is blanked."""
    if sound.text:
        first, last = (word_errors([sound.text], [one.text]) for one in (before, after))
        more = sum(last.errors) - sum(first.errors)
        if more > 0:
            return more
    return max(words(before.text), 1) if wrote(before.text) and not wrote(after.text) else 0


def _section(title: str, found: Sequence[Failure], labels: dict[str, str], bench: Bench) -> str:
    if not found:
        return f"<h2>{title}</h2>\n<p>None.</p>"
    more = f'<p class="note">The worst {SHOWN} of {len(found)}.</p>' if len(found) > SHOWN else ""
    return f"<h2>{title}</h2>\n{more}\n" + "\n".join(_article(one, labels, bench) for one in found[:SHOWN])


def _article(one: Failure, labels: dict[str, str], bench: Bench) -> str:
    sound = one.sound
    rows = [("said", sound.text or "", "said")] if sound.text else []
    rows += [(labels[name], text, "bad" if name in one.failed else "") for name, text in one.texts.items()]
    texts = "\n".join(
        f'<dt>{html.escape(label)}</dt><dd class="{style}">{html.escape(_short(text)) or "<em>(nothing)</em>"}</dd>'
        for label, text, style in rows
    )
    gate = ""
    if one.score is not None:
        state = "open" if one.score > 0 else "shut"
        chips = " ".join(
            f'<span class="chip {"up" if share > 0 else "down"}" title="pooled activation {value:.2f}">'
            f"<b>{number}</b> {share:+.2f}</span>"
            for number, value, share in one.features
        )
        gate = f'<p class="gate">gate {state}, score {one.score:+.2f} {chips}</p>'
    picture = spectrogram(bench, sound)
    return (
        f"<article>\n<h3>{html.escape(sound.name)} <small>{html.escape(sound.source)}, {sound.seconds:.1f} s</small>"
        f'</h3>\n<div class="row"><img src="data:image/png;base64,{picture}" alt="log-mel spectrogram" />\n'
        f"<div><dl>{texts}</dl>{gate}</div></div>\n</article>"
    )


def spectrogram(bench: Bench, sound: Sound) -> str:
    """The clip's log-mel spectrogram as base64 PNG.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("the page needs matplotlib; run: pip install 'audiosae-steer[evaluate]'") from error
    spectrum = mel(bench.model, [sound.samples()])[0].float().cpu().numpy()[:, : max(int(sound.seconds * 100), 1)]
    figure = Figure(figsize=(PICTURE[0] / 100, PICTURE[1] / 100))
    FigureCanvasAgg(figure)
    axis = figure.add_axes((0, 0, 1, 1))
    axis.imshow(spectrum, origin="lower", aspect="auto", cmap="magma")
    axis.axis("off")
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=150, metadata={"Software": None})
    return base64.b64encode(file.getvalue()).decode("ascii")


def _short(text: str, most: int = 240) -> str:
    return text if len(text) <= most else text[: most - 2].rstrip() + " …"


STYLE = """
:root { color-scheme: light; --ink: #1c2430; --muted: #5b6675; --line: #d9dee5; --soft: #f5f7f9; --bad: #b3261e; }
* { box-sizing: border-box; }
body { margin: 0; background: #fff; color: var(--ink);
  font: 15px/1.5 system-ui, "Segoe UI", Roboto, Helvetica, Arial, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 36px 24px 64px; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .4rem; }
h2 { font-size: 1.25rem; margin: 2.4rem 0 .8rem; padding-top: 1.2rem; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 0 0 .5rem; overflow-wrap: anywhere; }
small { color: var(--muted); font-weight: 400; margin-left: .4rem; }
.lead, .note { color: var(--muted); max-width: 80ch; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(200px, 1fr)); gap: 12px; margin: 1.4rem 0 0;
  padding: 0; list-style: none; }
.cards li { background: var(--soft); border: 1px solid var(--line); border-radius: 8px; padding: 12px 14px; }
.cards strong { display: block; font-size: 1.5rem; font-variant-numeric: tabular-nums; }
.cards span { color: var(--muted); font-size: .86rem; }
article { border: 1px solid var(--line); border-radius: 8px; padding: 12px 16px; margin: 0 0 14px;
  break-inside: avoid; }
.row { display: grid; grid-template-columns: 260px 1fr; gap: 18px; align-items: start; }
img { display: block; width: 260px; height: 80px; border-radius: 4px; }
dl { display: grid; grid-template-columns: 190px 1fr; gap: 3px 14px; margin: 0; }
dt { color: var(--muted); } dd { margin: 0; overflow-wrap: anywhere; }
dd.bad { color: var(--bad); font-weight: 600; } em { color: var(--muted); }
.gate { margin: .6rem 0 0; color: var(--muted); font-size: .86rem; line-height: 2; }
.chip { display: inline-block; border-radius: 999px; padding: 0 9px; line-height: 1.6; white-space: nowrap;
  font-variant-numeric: tabular-nums; background: #e8f1fb; color: #1a4f8a; }
.chip.up { background: #fbeae3; color: #8f3517; }
@media (max-width: 720px) { .row, dl { grid-template-columns: 1fr; } }
"""
