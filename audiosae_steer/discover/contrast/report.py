"""Self-contained HTML page of what discovery found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...evaluate.html_page import render
from ...evaluate.page_parts.stage_clips import page_state, player
from ...io.files import write_atomic
from ...io.progress import Tell
from ...sae.autoencoder import SAE
from ...steering.recipes.schema import Recipe
from . import images
from .feature_clips import clips_of_features
from .results import ContrastResult, Feature
from .settings import STEADY, DiscoverSettings

SHOWN = 12
"""Features with clips of their own."""
FRAME_RATE = 50.0
"""Frames per second of a Whisper's encoder."""
RANKINGS = {
    "l1": "size of their weight in an L1 logistic regression",
    "l2": "size of their weight in an L2 logistic regression",
    "fisher": "Fisher score",
    "difference": "difference of means",
}


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
    """Write the page atomically, and return its path. The model encodes the clips that are shown once more.

    Args:
        found: result of `find`.
        model: the Whisper that it was found with, unsteered.
        sae: the SAE.
        layer: encoder layer that it reads, counted from 1.
        path: the file, .html.
        recipe: the recipe that was made of it.
        progress: called with what is being done, how many are done, and how many there are.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    path = Path(path)
    shown = found.features[:SHOWN]
    by_feature = clips_of_features(found, shown, model, sae, layer, progress)
    clips = [clip for own in by_feature for clip in own]
    page = render(
        Path(__file__).with_suffix(".html"),
        title=f"{recipe.name}: discovered features",
        recipe=recipe,
        site=recipe.sites[0],
        n_features=sae.n_features,
        found=found,
        settings=found.settings,
        count=len(found.features),
        told=_told(found.settings),
        ranking=RANKINGS[found.settings.rank],
        steady=sum(feature.stability >= STEADY for feature in found.features),
        steady_share=STEADY,
        recordings=_recordings(found),
        padded_twice=len(set(found.rows.pads)) > 1,
        scores_png=images.of_scores(found),
        stability_png=images.of_stability(found),
        shown=[(feature, _typical(sae, feature), own) for feature, own in zip(shown, by_feature, strict=True)],
        clips=clips,
        rate=FRAME_RATE,
        state=page_state(clips),
        player=player(),
        provenance=list(_flat(recipe.provenance)),
    )
    write_atomic(path, page)
    return path


def _typical(sae: SAE, feature: Feature) -> float | None:
    """Typical activation of a feature, where the SAE knows it."""
    return None if sae.typical is None else float(sae.typical[feature.number])


def _told(settings: DiscoverSettings) -> str:
    return {
        "labels": "clips with the concept from clips without",
        "text": "clips for which the model writes text from clips for which it writes none",
        "words": "clips for which the model writes words from clips for which it writes none",
        "no_speech_prob": f"clips with a no_speech_prob below {settings.tau:g} from the others",
    }[settings.target]


def _recordings(found: ContrastResult) -> dict[str, Any]:
    """Recordings, and clips with and without the concept, on both sides of the split."""
    rows = found.rows
    return {
        "all": len(set(rows.groups)),
        "held": len(set(rows.groups_of(held=True))),
        "fit_clips": rows.tally(held=False),
        "held_clips": rows.tally(held=True),
    }


def _flat(content: dict[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Keys and values of nested dictionaries, as words."""
    for key, value in content.items():
        name = f"{before}{key.replace('_', ' ')}"
        if isinstance(value, dict):
            yield from _flat(value, f"{name}: ")
        elif value is not None:
            yield name, ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
