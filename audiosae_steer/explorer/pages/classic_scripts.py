"""Scripts of the pages as single classic ones, since browsers load no ES modules from files on the disk."""

from __future__ import annotations

import re

from ...evaluate.page_parts.single_page import PARTS, joined_modules
from .explorer_site import STATIC

WAVESURFER = "wavesurfer.esm.js"
STAGE = (PARTS / "curve.js", PARTS / "clip_stage.js", STATIC / "waveform.js")
SCRIPTS = {
    "feature": (*STAGE, STATIC / "feature.js"), "clip": (*STAGE, STATIC / "clip.js"),
    "features": (STATIC / "play_buttons.js", STATIC / "features.js"), "map": (PARTS / "curve.js", STATIC / "map.js"),
}  # fmt: skip
"""Modules of each view that has pages without a server, each after those that it imports."""


def classic_script(view: str) -> str:
    """The script of a view, with all that it imports, for `<script defer src>`.

    Raises:
        ValueError: a module imports or exports in a way that cannot be joined.
    """
    modules = SCRIPTS[view]
    waved = STATIC / "waveform.js" in modules
    vendored = f"const WaveSurfer = {_wavesurfer()};\n" if waved else ""
    body = joined_modules(modules, (WAVESURFER,) if waved else ())
    return f'(async () => {{\n"use strict";\n{vendored}{body}\n}})();\n'


def _wavesurfer() -> str:
    text = (STATIC / "vendor" / "wavesurfer" / WAVESURFER).read_text(encoding="utf-8")
    body, changed = re.subn(r"export\{(\w+) as default\};?\s*$", r"return \1;", text)
    if not changed:
        raise ValueError(f"{WAVESURFER} does not end as it should, with its default export")
    return f"(() => {{{body}}})()"
