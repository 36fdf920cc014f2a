"""Collection of a model's activations on audio, as shards on disk: what SAEs and probes are trained on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...errors import SteeringError
from ...io.progress import telling, track
from ...io.units.engine_pool import Engine
from ...io.units.named_engine import EngineName, engine_named
from ...models.registry import family_of, fingerprint, tap_at, unwrap
from ...models.sites import Family, Site
from ..audio_paths import list_audio
from ..windows import Window, windows_of
from .collect_units import Collected, collect_in_units, in_units
from .extraction import LONGEST, CollectSettings, Extractor
from .manifest import DRAWS, file_state, resumable, shard_path, site_key, write_manifest
from .shards import write_shard

WINDOWS_PER_SHARD = 64
"""Half an hour of audio, which is what an interruption costs at most."""
BY_WINDOW = "by window"
"""Scheme of the random choices, as manifests name it; earlier versions drew them by shard, and named none."""


def collect(
    model: Any,
    audio: Sequence[str | Path],
    layers: Sequence[int | Site],
    out: str | Path,
    *,
    augment: bool = True,
    padding_share: float = 0.1,
    batch: int = 8,
    seed: int = 0,
    nnsight: bool = False,
    pool_seconds: float | None = None,
    engine: Engine | EngineName | None = None,
    progress: bool = True,
) -> Path:
    """Write the residuals of `layers` on `audio` to safetensors shards (frames, d_model) in `out`, and return it.

    Whisper encodes 30 s whatever the clip's length: frames that hold audio are all kept, of the padding a random share.
    Other models encode each clip at its own length. An interrupted collection resumes; a finished folder is left
    unchanged. One recording in twenty, told by its name, is held out from training.

    Args:
        model: a model of a known family that reads audio.
        audio: folders, files, or `.txt` lists of them.
        layers: encoder layers, counted from 1; or sites, of other models than Whisper.
        out: folder for the shards and `manifest.json`.
        augment: seeded gain of −20 to +6 dB, place in Whisper's window, and for a third another clip at 0 to 20 dB.
        padding_share: share of the padding's frames to keep.
        batch: clips per forward pass.
        seed: of everything random.
        nnsight: read residuals in nnsight's traces rather than in hooks of torch: clip by clip, every frame.
        pool_seconds: keep one vector for each stretch of so many seconds, 0.25 to 30: the mean of its frames, without
            padding and tokens of no time (Mariotte et al.).
        engine: collect shard by shard, with retries, to the same files; each worker has one thread.
        progress: show a progress bar.

    Raises:
        AudioError: there is no audio, or a file is not audio.
        SiteError: the model has no such layer, or nothing passes there when it encodes audio.
        SteeringError: `out` holds activations of other weights or audio or collected otherwise, or cannot be written.
        WorkError: a shard could not be made after retries, or the model cannot be sent to workers.
        MissingExtraError: nnsight or Ray was asked for, and is not installed.
    """
    folder = _made(Path(out))
    model = unwrap(model)
    files = list_audio(audio)
    family = family_of(model)
    sites = _sites(model, family, layers)
    settings = CollectSettings(
        augment=augment, padding_share=padding_share, batch=batch, seed=seed, nnsight=nnsight, pool_seconds=pool_seconds
    )
    known = _manifest_settings(settings, model, sites, files)
    begun = resumable(folder, known)
    if begun is None or not begun["complete"]:
        windows = windows_of(files, pool_seconds or LONGEST)
        if begun is None:
            write_manifest(folder, {"settings": known, "complete": False})
        extractor = Extractor(model=model, sites=sites, windows=windows, settings=settings)
        _write_shards(extractor, folder, known, engine, progress)
    return folder


def _sites(model: Any, family: Family, layers: Sequence[int | Site]) -> list[Site]:
    """SiteError: the model has no such site."""
    sites = [layer if isinstance(layer, Site) else Site(layer) for layer in layers]
    for site in sites:
        tap_at(model, family, site)
    return sites


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SteeringError(f"cannot make the folder {folder}: {error.strerror}; choose another") from error
    return folder


def _manifest_settings(
    settings: CollectSettings, model: Any, sites: Sequence[Site], files: Sequence[Path]
) -> dict[str, Any]:
    """All that the shards depend on, but for the batch; named as in folders of all versions."""
    return {
        "layers": [site_key(site) for site in sites],
        "augment": settings.augment,
        "padding_share": settings.padding_share,
        "seed": settings.seed,
        "files": file_state(files),
        "dims": list(family_of(model).dims(model)),
        "weights": fingerprint(model),
        **({DRAWS: BY_WINDOW} if settings.augment or 0 < settings.padding_share < 1 else {}),
        **({"nnsight": True} if settings.nnsight else {}),
        **({} if settings.pool_seconds is None else {"pool_seconds": settings.pool_seconds}),
    }


def _write_shards(
    extractor: Extractor, folder: Path, known: dict[str, Any], engine: Engine | EngineName | None, progress: bool
) -> None:
    """Write the shards that are not there yet, and the manifest; what was begun in units goes on in units."""
    windows = extractor.windows
    pooled = extractor.settings.pool_seconds
    size = WINDOWS_PER_SHARD if pooled is None else int(WINDOWS_PER_SHARD * LONGEST / pooled)
    if engine is not None or in_units(folder):
        with telling("collecting activations", progress) as tell:
            found = collect_in_units(extractor, known, folder, size, engine_named(engine or "local"), progress=tell)
    else:
        found = _one_by_one(extractor, folder, [windows[i : i + size] for i in range(0, len(windows), size)], progress)
    done = {"complete": True, "clips": len(windows) - found.failed, "shards": found.shards}
    write_manifest(folder, {"settings": known, **done, **({"failed": found.failed} if found.failed else {})})


def _one_by_one(extractor: Extractor, folder: Path, shards: Sequence[Sequence[Window]], progress: bool) -> Collected:
    for number, shard in enumerate(track(shards, "collecting activations", progress)):
        path = shard_path(folder, number)
        if not path.is_file():
            write_shard(path, extractor.shard(shard))
    return Collected(len(shards), 0)
