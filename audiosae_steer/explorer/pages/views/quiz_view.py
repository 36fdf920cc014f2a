"""Quiz: clips of a feature among clips on which it stays silent; which are which is said once the user has chosen."""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlencode

import numpy as np
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from ....evaluate.page_parts.drawn_parts import number
from ....evaluate.page_parts.stage_clips import StageClip
from ...index.index_rows import Clip, Example
from ..explorer_site import Site, View, nonce_of, site_of, whole_number
from ..shown_examples import shown
from .feature_view import clip_address

if TYPE_CHECKING:
    from starlette.requests import Request

STUDIED = 2
"""Clips that show beforehand what the feature fires on."""
ASKED = 6
FIRING = (2, 3, 4)
"""Numbers of clips with firing among those that are asked, each as likely: half of the clips on average."""
NEAR = 2
"""Near misses at most among the silent clips."""
TRIES = 60
"""Features that are drawn until one has clips enough; and clips for each silent one."""
SEEDS = 1_000_000


class AskedClip(NamedTuple):
    """A clip that the user decides on."""

    number: int
    """1 to `ASKED`, its name until all is shown."""
    fires: bool
    shown: StageClip
    said: str
    """Behaviour of the feature on it, in words."""


class Quiz(NamedTuple):
    """A round: a feature, clips that show it, and clips to decide on."""

    layer: int
    feature: int
    seed: int
    studied: list[StageClip]
    asked: list[AskedClip]


def quiz(request: Request) -> Response:
    """A round, as the address's query names it; with no seed there, a random one is put into it."""
    site, at = site_of(request), request.query_params
    layer, feature, seed = (whole_number(at.get(name)) for name in ("layer", "feature", "seed"))
    if layer is None or not site.has_layer(layer):
        layer = site.layers[0].layer
    if seed is None:
        place = {"layer": layer} | ({} if feature is None else {"feature": feature})
        return RedirectResponse("?" + urlencode(place | {"seed": secrets.randbelow(SEEDS)}), 303)
    if feature is not None and site.index.feature(layer, feature) is None:
        raise HTTPException(404, "there is no feature of that number in that layer")
    picked = [found for each in at.getlist("picked")[:ASKED] if (found := whole_number(each)) is not None]
    page = quiz_page(site, layer, feature, seed, picked, at.get("shown") == "1", nonce=nonce_of(request))
    return HTMLResponse(page)


def quiz_page(
    site: Site, layer: int, feature: int | None, seed: int, picked: Iterable[int] = (), told: bool = False, *,
    nonce: str = "",
) -> str:  # fmt: skip
    """The page of a round as HTML.

    Args:
        site: whose index it is from.
        layer: number.
        feature: number; None: one that the seed draws.
        seed: of the round.
        picked: numbers of the clips that the user chose.
        told: with the curves and what was right.
        nonce: of the page's styles.
    """
    found = drawn_quiz(site, layer, seed) if feature is None else quiz_of(site, layer, feature, seed)
    chosen, one = set(picked), site.index.feature(layer, found.feature) if found else None
    right = sum(each.fires == (each.number in chosen) for each in found.asked) if found else 0
    label = (site.notes.of(layer, one.feature).label or one.label) if one else ""
    return site.page(
        "quiz.html", "quiz.html", nonce=nonce, title="Quiz", layer=layer, quiz=found, picked=chosen, told=told,
        right=right, named=feature is not None, label=label, seed=seed, next_seed=(seed + 1) % SEEDS,
    )  # fmt: skip


def drawn_quiz(site: Site, layer: int, seed: int) -> Quiz | None:
    """A round on a feature that the seed draws; None if no feature that was drawn has clips enough."""
    row, table = site.index.layers[layer], site.index.table(layer)
    fit = table.feature[(table.clips >= STUDIED + max(FIRING)) & (table.clips <= row.clips - ASKED + min(FIRING))]
    draw = random.Random(f"{row.sae_sha256} {seed}")
    for feature in draw.sample(fit.tolist(), min(TRIES, len(fit))):
        found = quiz_of(site, layer, feature, seed)
        if found is not None:
            return found
    return None


def quiz_of(site: Site, layer: int, feature: int, seed: int) -> Quiz | None:
    """A round on a feature; None if it fires, or stays silent, on too few clips.

    The two strongest clips are studied. Of those that are asked, two to four are clips on which it fires, from all
    heights; the others are near misses and clips on which it is silent, drawn at random.
    """
    index, peak = site.index, site.index.feature(layer, feature)
    if peak is None:
        return None
    row = index.layers[layer]
    draw = random.Random(f"{row.sae_sha256} {feature} {seed}")
    own = index.examples(layer, feature)
    firing = _once([each for each in own if each.kind != "near"])
    known = {each.clip.id for each in firing}
    near = _once([each for each in own if each.kind == "near" and each.clip.id not in known])
    wanted = draw.choice(FIRING)
    left = firing[STUDIED:]
    if len(left) < max(FIRING):
        return None
    silent = draw.sample(near, min(NEAR, len(near)))
    silent += _silent(
        site, layer, feature, known | {each.clip.id for each in silent}, ASKED - wanted - len(silent), draw
    )
    if len(silent) < ASKED - wanted:
        return None
    examples = draw.sample(left, wanted) + silent[: ASKED - wanted]
    draw.shuffle(examples)

    def address(clip: Clip, kind: str) -> str:
        return clip_address(site, "./", clip, kind)

    pages = [shown(each, row.rate, peak.peak, address) for each in examples]
    asked = [
        AskedClip(place, each.kind != "near" and each.peak > 0, page, _said(each))
        for place, (each, page) in enumerate(zip(examples, pages, strict=True), 1)
    ]
    return Quiz(layer, feature, seed, [shown(each, row.rate, peak.peak, address) for each in firing[:STUDIED]], asked)


def _once(examples: list[Example]) -> list[Example]:
    """The first example of each clip."""
    found: dict[int, Example] = {}
    for each in examples:
        found.setdefault(each.clip.id, each)
    return list(found.values())


def _silent(site: Site, layer: int, feature: int, but: set[int], most: int, draw: random.Random) -> list[Example]:
    """Clips on which the feature does not fire, drawn at random, as examples with a flat curve."""
    index, found = site.index, list[Example]()
    number = index.layers[layer].clips
    for clip_id in draw.sample(range(1, number + 1), min(TRIES, number)):
        if len(found) >= most:
            break
        clip = index.clip(clip_id)
        if clip is None or clip_id in but or feature in index.peaks(layer, clip_id)[0]:
            continue
        flat = np.zeros(max(int(clip.seconds * index.layers[layer].rate), 1))
        found.append(Example("top", 0, clip, 0.0, 0.0, flat))
    return found


def _said(example: Example) -> str:
    if example.kind == "near":
        return f"silent, a near miss: {number(example.peak)} below the threshold"
    return f"fires, at most {number(example.peak)} at {example.at:.1f} s" if example.peak > 0 else "silent"


VIEW = View(
    "Quiz", lambda site, layer: f"quiz.html?layer={layer}", ("quiz",),
    [Route("/quiz", quiz), Route("/quiz.html", quiz)], live=True,
)  # fmt: skip
