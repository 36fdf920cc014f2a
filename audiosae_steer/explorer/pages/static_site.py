"""Pages of an index as files, from a web server or the disk, and one feature as a single file."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from ...errors import SteeringError
from ...evaluate.page_parts.single_page import PARTS, data_address, page_policy
from ...evaluate.page_parts.sound_bytes import sound_type
from ...evaluate.page_parts.stage_clips import page_state, player
from ...io.files import MARK, atomic_folder, write_atomic
from ..index.index_rows import Clip
from ..index.index_search import Query
from .classic_scripts import SCRIPTS, classic_script
from .explorer_site import STATIC, STATIC_FILES, Site
from .shown_examples import grouped
from .views.clip_view import clip_page, clips_page
from .views.feature_view import feature_page, feature_values, sound_path
from .views.features_view import features_page
from .views.map_view import map_page

NONCE = "explorer"
"""Of the styles in files without a server, whose policy stands in the page itself."""
CLIPS_EACH = 4
"""Clips of each kind in the single file of a feature."""


class Written(NamedTuple):
    """Numbers of what was written, and of what was left out."""

    pages: int
    sounds: int
    kept_back: int
    """Clips whose sound is not there, since they are not marked as redistributable."""


def write_static(
    site: Site, folder: str | Path, layers: Iterable[int] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Written:  # fmt: skip
    """Write the pages of all features, clips and maps to a folder; sounds only of clips that may be passed on.

    Args:
        site: of `explorer_site`. Notes are the user's own and are left out.
        folder: a new or empty one, or one that this wrote before, which it replaces.
        layers: whose features have pages; None: all.
        progress: called with what is being done, how much is done, and how much there is.

    Raises:
        SteeringError: there is no such layer, or it cannot be written.
    """
    chosen = frozenset(site.index.layers if layers is None else layers)
    if not chosen or chosen - set(site.index.layers):
        known = ", ".join(map(str, site.index.layers))
        raise SteeringError(f"the index has layers {known}, and not {', '.join(map(str, sorted(chosen)))}")
    site = dataclasses.replace(site, static=True, chosen=chosen, notes=site.notes.none())
    tell = progress or (lambda what, done, total: None)
    with atomic_folder(Path(folder)) as part:
        writer = _Writer(part)
        for name, body in STATIC_FILES.bodies.items():
            if not name.endswith(".js"):
                writer.put(f"static/{name}", body)
        for view in SCRIPTS:
            writer.put(f"static/{view}.js", classic_script(view))
        kept_back, sounds = _write_clips(site, writer, tell)
        for layer in sorted(chosen):
            _write_layer(site, writer, layer, tell)
        if site.joined:
            writer.put("features-all.html", features_page(site, Query(None), path="features-all.html", nonce=NONCE))
        writer.put("index.html", features_page(site, Query(min(chosen)), nonce=NONCE))
        if not (part / MARK).exists():
            writer.put(MARK, json.dumps({"kind": "explorer", "model": site.index.meta.get("model")}))
    return Written(writer.pages, sounds, kept_back)


def write_single(site: Site, layer: int, feature: int, path: str | Path, clips: int = CLIPS_EACH) -> Written:
    """Write the page of a feature as one HTML file with its pictures and sounds inside.

    Args:
        site: of `explorer_site`.
        layer: number.
        feature: number.
        path: the file.
        clips: of each kind at most. Those that are not marked as redistributable are left out.

    Raises:
        SteeringError: there is no such feature, none of its clips may be passed on, or it cannot be written.
    """
    index = site.index

    def address(clip: Clip, kind: str) -> str:
        if not clip.redistributable:
            return ""
        body = index.mel(clip.id) if kind == "mel" else index.sound(clip.id)
        return "" if body is None else data_address("image/png" if kind == "mel" else sound_type(body), body)

    values = feature_values(site, layer, feature, address, most=clips)
    if values is None:
        raise SteeringError(f"layer {layer} has no feature {feature} in {index.path.name}")
    free = [each for each in values["examples"] if each.clip.redistributable]
    kept_back = len({each.clip.id for each in values["examples"] if not each.clip.redistributable})
    if values["examples"] and not free:
        raise SteeringError(
            f"none of the clips of feature {feature} is marked as redistributable, so there is nothing to export; "
            "mark them when the index is built, if their licence allows it"
        )
    known = {each.clip.id for each in free}
    for edit in values["effects"]:  # texts are of the clips
        edit["rows"] = [(each, change) for each, change in edit["rows"] if each.clip in known]
    values |= {"examples": free, "groups": grouped(free)}
    script = player()
    style = "\n".join(each.read_text(encoding="utf-8") for each in (PARTS / "parts.css", STATIC / "explorer.css"))
    page = site.page(
        "single.html", "single.html", **values, now=0, script=script, style=style,
        policy=page_policy(script, style), note=site.notes.of(layer, feature),
        state=page_state(free), kept_back=kept_back,
    )  # fmt: skip
    write_atomic(path, page, SteeringError)
    return Written(1, len({each.clip.id for each in free if each.sound}), kept_back)


class _Writer:
    """Files below a folder that is being written."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.pages = folder, 0

    def put(self, name: str, body: bytes | str | None) -> None:
        if body is None:
            return
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body.encode() if isinstance(body, str) else body)
        self.pages += name.endswith(".html")


def _write_clips(site: Site, writer: _Writer, tell: Callable[[str, int, int], None]) -> tuple[int, int]:
    """Clips whose sound is kept back, and those whose sound is written."""
    clips, sounds, kept_back = site.index.clips(), 0, 0
    for number, clip in enumerate(clips, 1):
        writer.put(f"mel/{clip.id}.png", site.index.mel(clip.id))
        sound = site.index.sound(clip.id) if clip.redistributable else None
        writer.put(sound_path(clip), sound)
        sounds += sound is not None
        kept_back += not clip.redistributable and site.index.keeps_sound
        for layer in sorted(site.chosen):
            writer.put(f"clip/{layer}/{clip.id}.html", clip_page(site, layer, clip.id, nonce=NONCE))
        tell("clips", number, len(clips))
    return kept_back, sounds


def _write_layer(site: Site, writer: _Writer, layer: int, tell: Callable[[str, int, int], None]) -> None:
    writer.put(f"clips/{layer}.html", clips_page(site, layer, nonce=NONCE))
    writer.put(f"map/{layer}.html", map_page(site, layer, nonce=NONCE))
    name = f"features-{layer}.html"
    writer.put(name, features_page(site, Query(layer), path=name, nonce=NONCE))
    features: Sequence[int] = site.index.table(layer).feature.tolist()
    for number, feature in enumerate(features, 1):
        writer.put(f"feature/{layer}/{feature}.html", feature_page(site, layer, feature, nonce=NONCE))
        tell(f"features of layer {layer}", number, len(features))
