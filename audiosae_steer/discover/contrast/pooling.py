"""SAE features pooled clip by clip, and the unsteered model's texts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...data.activations.capture import frames_of, residuals
from ...data.windows import Window, read_window
from ...errors import AudioError, SiteError, SteeringError
from ...io.files import atomic_file
from ...io.progress import Tell
from ...io.tensors.digest import sha256_of_tensors
from ...models.registry import family_of, fingerprint, tap_at, unwrap
from ...models.sites import Site
from ...sae.autoencoder import SAE
from ...steering.gates import Pool, pool
from .settings import PoolSettings

CHUNK = 32
"""Clips of one file of the cache."""
BATCH = 8
"""Clips of one pass of the model."""


class Pooled(NamedTuple):
    """Clips as pooled features; row by row the clips that were given, in order."""

    features: NDArray[np.float64]
    """(clips, F), pooled as asked."""
    peaks: NDArray[np.float64]
    """(clips, F), the highest activation: above 0 where a feature fires at all."""
    texts: tuple[str, ...]
    """Texts of the unsteered model, Whisper's filters off; empty unless asked for."""
    no_speech: NDArray[np.float64]
    """(clips,) its no_speech_prob; empty unless asked for."""


def pool_clips(
    model: Any,
    sae: SAE,
    layer: int,
    clips: Sequence[Window],
    settings: PoolSettings | None = None,
    *,
    cache: Path | None = None,
    progress: Tell | None = None,
) -> Pooled:
    """Pool the SAE's features of each clip over its frames.

    Args:
        model: a Whisper of either library, unsteered.
        sae: the SAE of that layer.
        layer: encoder layer, counted from 1.
        clips: stretches of at most 30 s; see `windows_of`.
        settings: pooling, padding, frames, and how much text to write.
        cache: folder for what is found, in chunks of 32 clips, so that an interrupted run resumes.
        progress: called with what is being done, how many are done, and how many there are.

    Raises:
        SiteError: there is no such layer, or the SAE does not fit the model.
        AudioError: there are no clips, or one cannot be read.
        SteeringError: the features are not finite, or the model is steered.
    """
    check(model, sae, layer)
    if not clips:
        raise AudioError("there are no clips to pool; give at least one")
    settings = settings or PoolSettings()
    kind, pad = settings.pool, settings.pad
    known = [fingerprint(model), _encoder_digest(sae), layer, pad, settings.frames, settings.write]
    found: list[dict[str, Tensor]] = []
    texts: list[str] = []
    for start in range(0, len(clips), CHUNK):
        chunk = clips[start : start + CHUNK]
        if progress is not None:
            progress(f"pooling features, {pad}", start, len(clips))
        tensors, said = _cached(
            None if cache is None else cache / f"pooled-{_key(known, chunk)}.safetensors",
            partial(_pool_chunk, model, sae, layer, chunk, settings),
        )
        found.append(tensors)
        texts += said
    if progress is not None:
        progress(f"pooling features, {pad}", len(clips), len(clips))
    joined = {key: torch.cat([part[key] for part in found]).double().numpy() for key in (kind, "max", "no_speech")}
    return Pooled(joined[kind], joined["max"], tuple(texts), joined["no_speech"])


def check(model: Any, sae: SAE, layer: int) -> None:
    """Refuse a layer that the model does not have, and an SAE that does not fit it.

    Raises:
        SiteError: it does not fit.
    """
    inner = unwrap(model)
    family = family_of(inner)
    tap_at(inner, family, Site(layer))
    width = family.dims(inner).d_model
    if sae.d_model != width:
        raise SiteError(
            f"this SAE reads residuals of width {sae.d_model}, but the model's are {width} wide; take an SAE that was "
            "trained for this model"
        )
    said = sae.info.get("layer")
    if said is not None and said != layer:
        raise SiteError(f"this SAE was trained on layer {said}, not {layer}; give layer {said}, or another SAE")


def _pool_chunk(
    model: Any, sae: SAE, layer: int, clips: Sequence[Window], settings: PoolSettings
) -> tuple[dict[str, Tensor], list[str]]:
    kinds: tuple[Pool, ...] = get_args(Pool)
    pooled: dict[str, list[Tensor]] = {kind: [] for kind in kinds}
    texts: list[str] = []
    no_speech: list[float] = []
    for start in range(0, len(clips), BATCH):
        samples = [read_window(clip) for clip in clips[start : start + BATCH]]
        rows = residuals(model, samples, [layer], settings.pad)[layer]
        if not torch.isfinite(rows).all():  # a gate would make zeros of them
            names = f"{clips[start].path.name} and the {len(samples) - 1} clips after it"
            raise SteeringError(f"the model's residuals hold NaN or infinite numbers for {names}; check its weights")
        for row, clip in zip(rows, samples, strict=True):
            with torch.no_grad():
                f = sae.encode(row)[None]
            kept = f if settings.frames == "window" else f[:, : frames_of(len(clip), f.shape[1])]
            for kind in kinds:
                pooled[kind].append(pool(kept, kind)[0].float().cpu())
        if settings.write is not None:
            from ...evaluate.transcription.from_residuals import write

            timestamps = settings.pad == "zeros"
            written = write(model, list(rows), layer, timestamps=timestamps, limit=settings.write)
            texts += [one.text for one in written]
            no_speech += [one.no_speech_prob for one in written]
    tensors = {kind: torch.stack(parts) for kind, parts in pooled.items()}
    return {**tensors, "no_speech": torch.tensor(no_speech, dtype=torch.float64)}, texts


def _cached(
    path: Path | None, make: Callable[[], tuple[dict[str, Tensor], list[str]]]
) -> tuple[dict[str, Tensor], list[str]]:
    from safetensors import safe_open
    from safetensors.torch import save_file

    if path is None:
        return make()
    if path.is_file():
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            return {name: file.get_tensor(name) for name in names}, json.loads(file.metadata()["texts"])
    tensors, texts = make()
    with atomic_file(path) as part:
        save_file(tensors, part, metadata={"texts": json.dumps(texts)})
    return tensors, texts


def _key(known: Sequence[Any], clips: Sequence[Window]) -> str:
    """Name of a chunk by all that its content depends on; a file that was changed has another size or date."""
    seen = [(str(clip.path.resolve()), clip.start, *_stamp(clip.path)) for clip in clips]
    return hashlib.sha256(json.dumps([*known, seen]).encode()).hexdigest()[:24]


def _stamp(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


def _encoder_digest(sae: SAE) -> str:
    """sha256 of all that encoding depends on; the decoder may differ."""
    return sha256_of_tensors((sae.W_enc, sae.b_enc, sae.b_dec, sae.threshold), f"{sae.gate} {sae.normalisation}")
