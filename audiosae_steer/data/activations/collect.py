"""Activations of a model on a folder of audio, as shards on disk: what SAEs and probes are trained on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import AudioError, SteeringError
from ...io.files import whole, write_whole
from ...io.progress import track
from ...models.registry import family_of, fingerprint, tap_at, unwrap
from ...models.sites import Family, Site
from ..audio import SAMPLE_RATE, WINDOW
from ..audio_paths import list_audio
from ..windows import Clip, clips_of, read_clip
from .capture import passing, residuals
from .shards import _manifest, shard_key

CLIPS_PER_SHARD = 64


class Activations(NamedTuple):
    """Residual frames of one layer."""

    train: Tensor
    """(frames, d_model) float16."""
    held_out: Tensor
    """(frames, d_model) float16, of recordings that `train` has no part of."""


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
    progress: bool = True,
) -> Path:
    """Write the residuals of `layers` on `audio` to safetensors shards in `out`, and return it.

    Whisper sees 30 s whatever the clip's length. Frames that hold audio are all kept, of the padding only a random
    `padding_share`. Other models hear each clip as long as it is. Interrupted, it goes on where it stopped; a finished
    folder is taken as it is. One clip in twenty, told by its recording, is kept from training.

    Args:
        model: a model of a known family that hears sound.
        audio: folders, files, or `.txt` lists of them.
        layers: encoder layers, counted from 1; or sites, of other models than Whisper.
        out: folder for the shards and `manifest.json`.
        augment: seeded gain of −20 to +6 dB, a random position in the window, and for every third clip another one
            mixed in at 0 to 20 dB.
        padding_share: share of the padding's frames to keep.
        batch: clips per forward pass.
        seed: of everything random.
        nnsight: read them in nnsight's traces rather than in hooks of torch: clip by clip, every frame.
        progress: show a progress bar.

    Raises:
        AudioError: there is no audio, or a file is none.
        SiteError: the model has no such layer, or nothing passes there when it hears.
        SteeringError: `out` holds activations of other weights, of other audio or collected otherwise, or is no folder
            that can be written.
        MissingExtraError: nnsight was asked for, and is not installed.
    """
    from safetensors.torch import save

    out = Path(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SteeringError(f"cannot make the folder {out}: {error.strerror}; choose another") from error
    inner = unwrap(model)
    files = list_audio(audio)
    family = family_of(inner)
    sites = [layer if isinstance(layer, Site) else Site(layer) for layer in layers]
    for site in sites:
        tap_at(inner, family, site)
    settings = {
        "layers": [shard_key(site) for site in sites],
        "augment": augment,
        "padding_share": padding_share,
        "seed": seed,
        "files": _state_of(files),
        "dims": list(family.dims(inner)),
        "weights": fingerprint(inner),
        **({"nnsight": True} if nnsight else {}),
    }
    manifest = out / "manifest.json"
    begun = manifest.is_file() and any(out.glob("shard-*.safetensors"))
    if begun:
        before = _manifest(manifest)
        kept = before["settings"]
        other = sorted(key for key in {*kept, *settings} if kept.get(key) != settings.get(key))
        if other:
            raise SteeringError(
                f"{out} holds activations collected with other settings ({', '.join(other)}); give another folder or "
                "empty it"
            )
        if before["complete"]:
            return out
    clips = clips_of(files)
    if not begun:
        _write_json(manifest, {"settings": settings, "complete": False})
    shards = [clips[i : i + CLIPS_PER_SHARD] for i in range(0, len(clips), CLIPS_PER_SHARD)]
    for number, shard in enumerate(track(shards, "collecting activations", progress)):
        path = out / f"shard-{number:05d}.safetensors"
        if path.is_file():
            continue
        rng = np.random.default_rng(seed + 7919 * number)
        if family.takes_windows and not nnsight and all(site.path is None and site.side == "encoder" for site in sites):
            tensors = _shard(inner, shard, clips, [site.layer for site in sites], augment, padding_share, batch, rng)
        else:
            tensors = _clip_by_clip(inner, family, shard, clips, sites, augment, nnsight, rng)
        with whole(path, SteeringError) as part:
            part.write_bytes(save(tensors))  # of a full disk, save_file's error is no OSError
    _write_json(manifest, {"settings": settings, "complete": True, "clips": len(clips), "shards": len(shards)})
    return out


def load_activations(folder: str | Path, layer: int | Site) -> Activations:
    """Everything `collect` wrote of one layer.

    Raises:
        SteeringError: the folder is incomplete or lacks that layer.
    """
    from safetensors import safe_open

    folder = Path(folder)
    manifest = folder / "manifest.json"
    if not manifest.is_file() or not _manifest(manifest)["complete"]:
        raise SteeringError(f"{folder} holds no complete set of activations; run collect() on it to the end")
    parts: dict[str, list[Tensor]] = {"train": [], "held_out": []}
    for path in sorted(folder.glob("shard-*.safetensors")):
        with safe_open(path, framework="pt") as file:
            names = set(file.keys())
            for side, tensors in parts.items():
                key = f"layer_{shard_key(layer if isinstance(layer, Site) else Site(layer))}.{side}"
                if key not in names:
                    raise SteeringError(f"{folder} holds no activations of layer {layer}; collect them anew")
                tensors.append(file.get_tensor(key))
    return Activations(torch.cat(parts["train"]), torch.cat(parts["held_out"]))


def _clip_by_clip(
    model: Any,
    family: Family,
    shard: Sequence[Clip],
    every: Sequence[Clip],
    sites: Sequence[Site],
    augment: bool,
    nnsight: bool,
    rng: np.random.Generator,
) -> dict[str, Tensor]:
    sides = ("train", "held_out")
    kept: dict[str, list[Tensor]] = {f"layer_{shard_key(site)}.{side}": [] for site in sites for side in sides}
    widths: dict[str, int] = {}
    rate = family.sample_rate(model)
    for clip in shard:
        samples = read_clip(clip, rate)
        if augment:
            samples = _mix(samples, clip, every, rng, rate) if rng.random() < 1 / 3 else samples
            samples = np.clip(samples * 10 ** (rng.uniform(-20, 6) / 20), -1, 1).astype(np.float32)
        side = "held_out" if clip.held_out else "train"
        longest = family.max_seconds(model)
        step = len(samples) if longest is None else int(longest * rate)
        for start in range(0, len(samples), step):
            piece = samples[start : start + step]
            module, args, kwargs = family.prepare(model, piece)
            for site, taken in passing(model, sites, module, *args, nnsight=nnsight, **kwargs).items():
                heard = family.valid_frames(model, site, taken.shape[1], len(piece) / rate).to(taken.device)
                kept[f"layer_{shard_key(site)}.{side}"].append(taken[:, heard].flatten(0, 1).cpu().half())
                widths.update({f"layer_{shard_key(site)}.{each}": taken.shape[-1] for each in sides})
    return {key: torch.cat(rows) if rows else torch.zeros(0, widths[key]).half() for key, rows in kept.items()}


def _shard(
    model: Any,
    shard: Sequence[Clip],
    every: Sequence[Clip],
    layers: Sequence[int],
    augment: bool,
    padding_share: float,
    batch: int,
    rng: np.random.Generator,
) -> dict[str, Tensor]:
    kept: dict[str, list[Tensor]] = {f"layer_{layer}.{side}": [] for layer in layers for side in ("train", "held_out")}
    for start in range(0, len(shard), batch):
        group = shard[start : start + batch]
        heard = [_hear(clip, every, augment, rng) for clip in group]
        taken = residuals(model, [samples for samples, _, _ in heard], layers)
        for row, (clip, (_, first, last)) in enumerate(zip(group, heard, strict=True)):
            frames = taken[layers[0]].shape[1]
            keep = rng.random(frames) < padding_share
            keep[int(first / WINDOW * frames) : int(last / WINDOW * frames) + frames // 60] = True
            chosen = torch.from_numpy(np.flatnonzero(keep))
            side = "held_out" if clip.held_out else "train"
            for layer in layers:
                kept[f"layer_{layer}.{side}"].append(taken[layer][row].cpu()[chosen].half())
    width = next(iter(taken.values())).shape[-1]
    return {key: torch.cat(rows) if rows else torch.zeros(0, width).half() for key, rows in kept.items()}


def _hear(
    clip: Clip, every: Sequence[Clip], augment: bool, rng: np.random.Generator
) -> tuple[NDArray[np.float32], int, int]:
    samples = read_clip(clip)
    if not augment:
        return samples, 0, len(samples)
    if rng.random() < 1 / 3:
        samples = _mix(samples, clip, every, rng)
    samples = samples * 10 ** (rng.uniform(-20, 6) / 20)
    before = int(rng.uniform(0, WINDOW - len(samples))) if rng.random() < 0.5 else 0
    return np.clip(np.pad(samples, (before, 0)), -1, 1).astype(np.float32), before, before + len(samples)


def _mix(
    samples: NDArray[np.float32],
    clip: Clip,
    every: Sequence[Clip],
    rng: np.random.Generator,
    sample_rate: int = SAMPLE_RATE,
) -> NDArray[np.float32]:
    other = every[int(rng.integers(len(every)))]
    if other.held_out != clip.held_out:  # what is held out must not be heard in training
        return samples
    noise = np.resize(read_clip(other, sample_rate), len(samples))
    power, noise_power = float(np.mean(samples**2)), float(np.mean(noise**2))
    if power == 0 or noise_power == 0:
        return samples
    ratio = rng.uniform(0, 20)
    gain = np.float32(np.sqrt(power / noise_power * 10 ** (-ratio / 10)))
    mixed: NDArray[np.float32] = samples + noise * gain
    return mixed


def _state_of(files: Sequence[Path]) -> str:
    """A hash of where they are, how large, and when they were written."""
    digest = hashlib.sha256()
    for file in files:
        try:
            found = file.stat()
        except OSError as error:
            raise AudioError(f"cannot read {file}: {error.strerror}; check its permissions") from error
        digest.update(f"{file}\0{found.st_size}\0{found.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _write_json(path: Path, content: dict[str, Any]) -> None:
    write_whole(path, json.dumps(content, indent=1) + "\n", SteeringError)
