"""From activations to pooled SAE features, clip by clip, and what the model itself writes meanwhile."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...data.activations.capture import frames_of, residuals
from ...data.windows import Window, read_window
from ...errors import AudioError, SiteError, SteeringError
from ...io.files import whole
from ...io.progress import Tell
from ...io.tensors.digest import sha256_of_tensors
from ...models.families.whisper_mel import Pad
from ...models.registry import family_of, fingerprint, tap_at, unwrap
from ...models.sites import Site
from ...sae.autoencoder import SAE
from ...steering.gates import Pool, pool

Frames = Literal["audio", "window"]
CHUNK, BATCH = 32, 8


class Pooled(NamedTuple):
    """Clips as pooled features; row by row the clips that were given, in order."""

    features: NDArray[np.float64]
    """(clips, F), pooled as asked."""
    peaks: NDArray[np.float64]
    """(clips, F), the highest activation: above 0 where a feature fires at all."""
    texts: tuple[str, ...]
    """What the unsteered model writes, Whisper's filters off; empty unless it was asked."""
    no_speech: NDArray[np.float64]
    """(clips,) its no_speech_prob; empty unless it was asked."""


def pool_clips(
    model: Any,
    sae: SAE,
    layer: int,
    clips: Sequence[Window],
    kind: Pool = "max",
    pad: Pad = "zeros",
    *,
    frames: Frames = "audio",
    write: int | None = None,
    cache: Path | None = None,
    progress: Tell | None = None,
) -> Pooled:
    """Pool the SAE's features of each clip over its frames.

    Args:
        model: a Whisper of either library, unsteered.
        sae: the SAE of that layer.
        layer: encoder layer, counted from 1.
        clips: stretches of at most 30 s; see `windows_of`.
        kind: how to pool: `max`, `mean`, or `nonzero_mean` over the frames where a feature fires.
        pad: how the 30 s are filled up; see `mel`.
        frames: `audio` pools over the frames that hold the clip, so that its length tells nothing; `window` over all
            30 s with their padding, as a clip gate does.
        write: also let the model write so many tokens at most, with timestamps if `pad` is `zeros`, as Whisper's
            `transcribe` does, and without if it is `silence`. openai-whisper only.
        cache: folder for what is found, in chunks of 32 clips, so that an interrupted run goes on.
        progress: called with what is being done, how many are done, and how many there are.

    Raises:
        SiteError: there is no such layer, or the SAE does not fit the model.
        AudioError: there are no clips, or one cannot be read.
        SteeringError: a choice is unknown, the features are not finite, or the model is steered.
    """
    check(model, sae, layer)
    if not clips:
        raise AudioError("there are no clips to pool; give at least one")
    for name, value, known in (("pool", kind, Pool), ("pad", pad, Pad), ("frames", frames, Frames)):
        if value not in get_args(known):
            raise SteeringError(f"{name} {value!r} is unknown; expected one of {', '.join(get_args(known))}")
    settings = [fingerprint(model), _digest(sae), layer, pad, frames, write]
    found: list[dict[str, Tensor]] = []
    texts: list[str] = []
    for start in range(0, len(clips), CHUNK):
        chunk = clips[start : start + CHUNK]
        if progress is not None:
            progress(f"pooling features, {pad}", start, len(clips))
        tensors, said = _cached(
            None if cache is None else cache / f"pooled-{_key(settings, chunk)}.safetensors",
            partial(_chunk, model, sae, layer, chunk, pad, frames, write),
        )
        found.append(tensors)
        texts += said
    if progress is not None:
        progress(f"pooling features, {pad}", len(clips), len(clips))
    joined = {key: torch.cat([part[key] for part in found]).double().numpy() for key in (kind, "max", "no_speech")}
    return Pooled(joined[kind], joined["max"], tuple(texts), joined["no_speech"])


def check(model: Any, sae: SAE, layer: int) -> None:
    """Refuse a layer that the model has not, and an SAE that does not fit it.

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


def _chunk(
    model: Any, sae: SAE, layer: int, clips: Sequence[Window], pad: Pad, frames: Frames, write: int | None
) -> tuple[dict[str, Tensor], list[str]]:
    kinds: tuple[Pool, ...] = get_args(Pool)
    pooled: dict[str, list[Tensor]] = {kind: [] for kind in kinds}
    texts: list[str] = []
    no_speech: list[float] = []
    for start in range(0, len(clips), BATCH):
        samples = [read_window(clip) for clip in clips[start : start + BATCH]]
        rows = residuals(model, samples, [layer], pad)[layer]
        if not torch.isfinite(rows).all():  # a gate would make zeros of them
            names = f"{clips[start].path.name} and the {len(samples) - 1} clips after it"
            raise SteeringError(f"the model's residuals hold NaN or infinite numbers for {names}; check its weights")
        for row, heard in zip(rows, samples, strict=True):
            with torch.no_grad():
                f = sae.encode(row)[None]
            kept = f if frames == "window" else f[:, : frames_of(len(heard), f.shape[1])]
            for kind in kinds:
                pooled[kind].append(pool(kept, kind)[0].float().cpu())
        if write is not None:
            from ...evaluate.transcription.from_residuals import write as write_texts

            written = write_texts(model, list(rows), layer, timestamps=pad == "zeros", limit=write)
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
    with whole(path) as part:
        save_file(tensors, part, metadata={"texts": json.dumps(texts)})
    return tensors, texts


def _key(settings: Sequence[Any], clips: Sequence[Window]) -> str:
    """Names a chunk by all that its content depends on; a file that was changed has another size or date."""
    seen = [(str(clip.path.resolve()), clip.start, *_stamp(clip.path)) for clip in clips]
    return hashlib.sha256(json.dumps([*settings, seen]).encode()).hexdigest()[:24]


def _stamp(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


def _digest(sae: SAE) -> str:
    return sha256_of_tensors((sae.W_enc, sae.b_enc, sae.b_dec, sae.threshold), f"{sae.gate} {sae.normalisation}")
