"""The index that the explorer opens on by itself: tiny.en, its shipped SAEs, and the bundled clips."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ...io.progress import Tell
from ...models.load import load_whisper
from .index_assembly import assemble
from .index_build import SQLITE, findings_of
from .index_building import DIGEST, IndexJob, claim, collect_part
from .index_corpus import shipped_corpus
from .index_settings import IndexSettings
from .index_source import open_sae

MODEL = "tiny.en"
LAYERS = (3, 4)
SETTINGS = IndexSettings(effects=8, effect_clips=1)
"""Settings with which it is built in well under a minute."""


def index_cache() -> Path:
    """The folder of indices that the explorer makes by itself: $AUDIOSAE_STEER_CACHE, or in the user's cache."""
    own = os.environ.get("AUDIOSAE_STEER_CACHE")
    if own:
        return Path(own) / "explorer"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "audiosae-steer" / "explorer"


def build_default(folder: str | Path | None = None, *, model: Any = None, progress: Tell | None = None) -> Path:
    """The index of tiny.en on the bundled clips, built in less than a minute unless it is there already.

    It is held in memory, so that pyarrow is not needed.

    Args:
        folder: folder for it; None takes the user's cache.
        model: tiny.en of openai-whisper, where it is loaded already.
        progress: called with what is being done, how much is done, and how much there is.

    Returns:
        Path of the SQLite file; the SAEs lie beside it.

    Raises:
        ModelError: tiny.en is neither on this machine nor to be downloaded.
        SteeringError: the folder cannot be written, or holds something else.
    """
    home = index_cache() / MODEL if folder is None else Path(folder)
    corpus = shipped_corpus()
    saes = [open_sae(MODEL, layer) for layer in LAYERS]
    loaded = load_whisper(MODEL, library="openai") if model is None else model
    job = IndexJob.of(loaded, MODEL, saes, corpus, SETTINGS)
    # another version of the package may choose otherwise: an index in the cache is replaced, not refused
    digest = job.digest
    place = home / digest[:16] if folder is None else home
    path = place / SQLITE
    if path.is_file() and (place / DIGEST).is_file() and (place / DIGEST).read_text("utf-8").strip() == digest:
        return path
    claim(place, digest)
    index = collect_part(job, range(len(corpus)), progress)
    found = {own.site.layer or 0: findings_of(index, own, SETTINGS, job, progress) for own in job.saes}
    for own in job.saes:
        own.put(place)
    assemble(index, found, path, progress)
    return path
