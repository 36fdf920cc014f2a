"""A page that shows what discovery found: one HTML file with everything in it."""

from __future__ import annotations

import html
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...io.files import write_whole
from ...io.progress import Tell
from ...sae.autoencoder import SAE
from ...steering.recipes.schema import Recipe
from . import images
from .results import ContrastResult, Feature

SHOWN = 12
"""Features with a picture of their own."""
STEADY = 0.8
"""Share of resamples from which on a feature counts as steady."""
STYLE = """
:root { color-scheme: light; --ink: #1c2430; --muted: #5b6675; --line: #d9dee5; --soft: #f5f7f9;
  --with: #b3471e; --without: #1f5fa8; }
* { box-sizing: border-box; }
body { margin: 0; background: #fff; color: var(--ink); font: 16px/1.55 system-ui, "Segoe UI", Roboto, Helvetica, Arial,
  sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 40px 24px 72px; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.25rem; margin: 2.6rem 0 .5rem; padding-top: 1.4rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.02rem; margin: 0; }
p { max-width: 75ch; margin: .4rem 0 1rem; }
.lead, .note { color: var(--muted); }
.note { font-size: .9rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(170px, 1fr)); gap: 14px; margin: 1.6rem 0 0;
  padding: 0; list-style: none; }
.cards li { background: var(--soft); border: 1px solid var(--line); border-radius: 8px; padding: 14px 16px; }
.cards strong { display: block; font-size: 1.75rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
.cards span { display: block; color: var(--muted); font-size: .88rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--muted); font-size: .9rem; padding-bottom: .5rem; }
th, td { padding: 6px 10px; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { font-weight: 600; vertical-align: bottom; }
thead th { border-bottom: 2px solid var(--ink); }
tbody tr:nth-child(even) { background: var(--soft); }
th:first-child, td:first-child, .says { text-align: left; }
.with { color: var(--with); } .without { color: var(--without); }
img { display: block; max-width: 100%; height: auto; }
figure { margin: 1rem 0 0; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(430px, 1fr)); gap: 24px; align-items: start; }
article { border: 1px solid var(--line); border-radius: 8px; padding: 14px 18px 12px; margin: 0 0 18px;
  break-inside: avoid; }
article p { margin: .1rem 0 .6rem; color: var(--muted); font-size: .92rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 4px 20px; font-size: .92rem; }
dt { color: var(--muted); } dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 520px) { main { padding: 24px 14px; } .pair { grid-template-columns: 1fr; } }
"""


def write_report(
    found: ContrastResult,
    model: Any,
    sae: SAE,
    layer: int,
    path: str | Path,
    recipe: Recipe,
    *,
    progress: Tell | None = None,
) -> Path:
    """Write the page, whole or not at all, and return its path. The model hears the clips that are drawn once more.

    Args:
        found: what `find` gave.
        model: the Whisper that it was found with, unsteered.
        sae: the SAE.
        layer: encoder layer that it reads, counted from 1.
        path: the file, .html.
        recipe: what was made of it.
        progress: called with what is being done, how many are done, and how many there are.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    path = Path(path)
    shown = found.features[:SHOWN]
    pictures = images.of_features(found, shown, model, sae, layer, progress)
    parts = [
        _head(found, recipe, sae.n_features),
        _cards(found),
        _separability(found),
        _table(found),
        "<h2>What the features hear</h2>",
        _legend(found, len(shown)),
        *(_article(feature, picture) for feature, picture in zip(shown, pictures, strict=True)),
        _made(recipe),
    ]
    page = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8" />\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1" />\n'
        f"<title>{html.escape(recipe.name)}: discovered features</title>\n<style>{STYLE}</style>\n"
        "</head>\n<body>\n<main>\n" + "\n".join(parts) + "\n</main>\n</body>\n</html>\n"
    )
    write_whole(path, page)
    return path


def _head(found: ContrastResult, recipe: Recipe, features: int) -> str:
    site = recipe.sites[0]
    lead = (
        f"Features of {recipe.model.name}, {site.side} layer {site.layer}, that tell {_what(found)}. "
        f"The recipe edits {len(found.features)} of {features:,} by <code>{found.settings.edit}"
        "</code>; what that does to the model's output is for calibration to measure."
    )
    return f'<h1>{html.escape(recipe.name)}</h1>\n<p class="lead">{lead}</p>'


def _what(found: ContrastResult) -> str:
    return {
        "labels": "clips with the concept from clips without",
        "text": "clips for which the model writes text from clips for which it writes none",
        "words": "clips for which the model writes words from clips for which it writes none",
        "no_speech_prob": f"clips with a no_speech_prob below {found.settings.tau:g} from the others",
    }[found.settings.target]


def _cards(found: ContrastResult) -> str:
    steady = sum(feature.stability >= STEADY for feature in found.features)
    held = set(found.rows.groups_of(held=True))
    cards = [
        (
            f"{found.probe.auc:.3f}",
            f"AUC of the {len(found.features)} features together on held-out clips "
            f"(95 %: {found.probe.low:.3f} to {found.probe.high:.3f})",
        ),
        (f"{found.best.auc:.3f}", f"AUC of feature {found.best.number} alone, the most telling one"),
        (f"{found.random_auc:.3f}", f"AUC of {len(found.features)} random features, for comparison"),
        (
            f"{steady} of {len(found.features)}",
            f"features return in at least {STEADY:.0%} of {found.settings.resamples} resamples",
        ),
        (
            f"{len(set(found.rows.groups))}",
            f"recordings, {len(held)} of them held out: {_clips(found, False)} to fit, {_clips(found, True)} to test",
        ),
    ]
    items = "\n".join(f"<li><strong>{value}</strong><span>{html.escape(text)}</span></li>" for value, text in cards)
    return f'<ul class="cards">\n{items}\n</ul>'


def _clips(found: ContrastResult, held: bool) -> str:
    present, absent = found.rows.tally(held)
    return f"{present} + {absent} clips"


def _separability(found: ContrastResult) -> str:
    scores = _image(
        images.of_scores(found),
        f"Scores of the probe on held-out clips of both kinds; area under the curve {found.probe.auc:.3f}",
    )
    bars = _image(
        images.of_stability(found),
        "Bars: in what share of resamples each feature is again among the top ones; the table below has the numbers",
    )
    text = (
        "Left: log odds of a logistic regression on the top features, fitted on one part of the recordings and shown "
        "for the other. Right: how often each feature is again among as many top ones when recordings are drawn anew, "
        "with replacement; a feature that owes its place to one recording comes back rarely."
        + (" Each clip is there twice, once for each way to fill up its 30 s." if len(set(found.rows.pads)) > 1 else "")
    )
    return f'<h2>Separability and stability</h2>\n<p>{text}</p>\n<div class="pair">\n{scores}\n{bars}\n</div>'


def _table(found: ContrastResult) -> str:
    heads = (
        "feature", "indicates", "weight", "AUC alone", "mean, with", "mean, without", "fires, with", "fires, without",
        "stability",
    )  # fmt: skip
    rows = []
    for feature in found.features:
        kind = "with" if feature.weight > 0 else "without"
        cells = (
            f"{feature.weight:+.3f}", f"{feature.auc:.3f}", f"{feature.mean_present:.2f}", f"{feature.mean_absent:.2f}",
            f"{feature.fires_present:.0%}", f"{feature.fires_absent:.0%}", f"{feature.stability:.0%}",
        )  # fmt: skip
        rows.append(
            f'<tr><th scope="row">{feature.number}</th><td class="says {kind}">{_indicates(feature)}</td>'
            + "".join(f"<td>{cell}</td>" for cell in cells)
            + "</tr>"
        )
    head = "".join(
        f'<th scope="col" class="says">{text}</th>' if text == "indicates" else f'<th scope="col">{text}</th>'
        for text in heads
    )
    caption = (
        f"The top features by {_RANKS[found.settings.rank]}. Means are of the clips' pooled activation "
        f"({found.settings.pool.replace('_', '-')}); a feature fires in a clip if it is above zero anywhere. AUC is of "
        "held-out clips: 0.5 tells nothing, below it the feature is higher without the concept."
    )
    return (
        "<h2>The top features</h2>\n"
        f'<div class="scroll"><table>\n<caption>{caption}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n'
        + "\n".join(rows)
        + "\n</tbody>\n</table></div>"
    )


_RANKS = {
    "l1": "size of their weight in an L1 logistic regression",
    "l2": "size of their weight in an L2 logistic regression",
    "fisher": "Fisher score",
    "difference": "difference of means",
}


def _indicates(feature: Feature) -> str:
    return "the concept" if feature.weight > 0 else "its absence"


def _legend(found: ContrastResult, shown: int) -> str:
    more = "" if shown == len(found.features) else f"The first {shown} of {len(found.features)} features. "
    return (
        f"<p>{more}For each, the clips in which it is highest, each of another recording: the log-mel spectrogram, and "
        "below it the feature's activation over the same time. The dashed line is its typical activation.</p>"
    )


def _article(feature: Feature, picture: str) -> str:
    kind = "with" if feature.weight > 0 else "without"
    said = (
        f'indicates <span class="{kind}">{_indicates(feature)}</span>: weight {feature.weight:+.3f}, AUC alone '
        f"{feature.auc:.3f}; fires in {feature.fires_present:.0%} of clips with the concept and "
        f"{feature.fires_absent:.0%} of those without; stability {feature.stability:.0%}"
    )
    alt = f"Spectrograms of the three clips in which feature {feature.number} is highest, and its activation over time"
    return f"<article>\n<h3>Feature {feature.number}</h3>\n<p>{said}</p>\n{_image(picture, alt)}\n</article>"


def _made(recipe: Recipe) -> str:
    rows = "\n".join(
        f"<dt>{html.escape(key)}</dt><dd>{html.escape(text)}</dd>" for key, text in _flat(recipe.provenance)
    )
    return f"<h2>How it was made</h2>\n<dl>\n{rows}\n</dl>"


def _flat(content: dict[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Keys and values of nested dictionaries, as words."""
    for key, value in content.items():
        name = f"{before}{key.replace('_', ' ')}"
        if isinstance(value, dict):
            yield from _flat(value, f"{name}: ")
        elif value is not None:
            yield name, ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _image(data: str, alt: str) -> str:
    return f'<figure><img src="data:image/png;base64,{data}" alt="{html.escape(alt)}" /></figure>'
