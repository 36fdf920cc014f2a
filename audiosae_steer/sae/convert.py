"""SAEs of any format into native files: a file, or every layer of a repository, measured on the way."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from ..errors import AudioSAESteerError, CheckpointError, HubError
from ..io.paths import local
from ..io.progress import Tell
from ..io.tensors.digest import sha256_of_tensors
from ..io.tensors.safetensors_header import is_safetensors, read_header
from ..io.tensors.sharded import index_of, read_index
from .autoencoder import SAE
from .formats.layers import Side, files_in, files_of, folders_of, layers_of, several
from .formats.native import Native
from .load import hub_place, load_sae
from .quality import Figures, blocks, measure

Precision = Literal["keep", "float32", "float16", "bfloat16"]
Frames = Callable[[int | None], Tensor]
"""The residuals (frames, d_model) that a layer's SAE is measured on."""


@dataclass(frozen=True, kw_only=True)
class ConvertSettings:
    """Form of the native files, and what they say of themselves."""

    precision: Precision = "keep"
    """Of W_enc and W_dec; biases and thresholds keep theirs, as they weigh next to nothing."""
    side: Side | None = None
    """The stack of blocks that layers are counted in, for the file's `info`; None: what the SAE or its folder says,
    else the encoder."""
    measured_on: str = ""
    """Origin of the activations, for the file's `info`."""


class Converted(NamedTuple):
    """The native file of one SAE."""

    path: Path
    """The file that was written, or was there already."""
    sae: SAE | None
    """As it was written; None if the file was there already."""
    before: Figures | None
    """As it was read, on the activations; None without activations."""
    after: Figures | None
    """As it was written, in its precision; None without activations."""


class _Job(NamedTuple):
    """All that the conversions of one source have in common."""

    source: str | Path
    has_layers: bool
    """The source holds an SAE for each layer."""
    commit: str | None
    """On the Hub; None on this machine."""
    frames: Frames | None
    settings: ConvertSettings


def convert(
    source: str | Path,
    out: str | Path,
    layer: int | None = None,
    *,
    revision: str | None = None,
    activations: Tensor | Frames | None = None,
    settings: ConvertSettings = ConvertSettings(),
    progress: Tell = lambda what, done, total: None,
) -> list[Converted]:
    """Write an SAE, or each layer's of a folder or repository, as native files. Interrupted, it resumes.

    Args:
        source: a file, a folder, or "user/repo" or "user/repo/folder" on the Hub.
        out: the file to write, `.safetensors`; or the folder that gets `layer-N.safetensors` of each layer.
        layer: which one, where there are several; of a single SAE whose file does not say, which layer it is of.
        revision: branch, tag or commit on the Hub.
        activations: residuals (frames, d_model) of the model that it is for, or a function of the layer that gives
            them. What the file leaves open is measured on them (see `load_sae`), and FVU before and after.
        settings: the precision, and what the files say of themselves.
        progress: is told the stage, how many are done, and of how many.

    Raises:
        CheckpointError, HubError: a source cannot be read, or says another layer or side; or a target cannot be
            written, is the source itself, or is there and no native SAE. With several layers the others are converted
            first.
    """
    out = local(out)
    layers, commit = _layers(source, revision)
    wanted: list[int | None] = [layer] if layer is not None or not layers else list(layers)
    single = len(wanted) == 1 and out.suffix == ".safetensors"
    if len(wanted) > 1 and out.suffix == ".safetensors" and not out.is_dir():
        raise CheckpointError(
            f"{out} is the name of one file, and {source} holds {len(wanted)} layers; say which by "
            "layer=N, or --layer N, or name a folder"
        )
    if out.is_file() and not single:
        what = "does not end in .safetensors" if len(wanted) == 1 else f"{len(wanted)} layers are to be written"
        raise CheckpointError(f"{out} is a file, and {what}; name a folder")
    frames = (lambda _: activations) if isinstance(activations, Tensor) else activations
    job = _Job(source, bool(layers), commit, frames, settings)
    done: list[Converted] = []
    failed: list[str] = []
    for number, each in enumerate(wanted):
        progress("converting", number, len(wanted))
        path = out if single else out / ("sae.safetensors" if each is None else f"layer-{each}.safetensors")
        try:
            done.append(_convert_one(job, each, path))
        except AudioSAESteerError as error:
            if len(wanted) == 1:
                raise
            failed.append(f"layer {each}: {error}")
    progress("converting", len(wanted), len(wanted))
    if failed:
        raise CheckpointError(
            f"{len(failed)} of {len(wanted)} layers of {source} were not converted; the others are in {out}:\n  "
            + "\n  ".join(failed)
        )
    return done


def _convert_one(job: _Job, layer: int | None, path: Path) -> Converted:
    """Write the SAE of one layer to `path`, unless it is there as this conversion would write it."""
    settings, own = job.settings, layer if job.has_layers else None
    activations = None if job.frames is None else job.frames(layer)
    key = {
        "from": _identity(job.source, own, job.commit),
        "layer": layer,
        "side": settings.side,
        "precision": settings.precision,
        "measured_on": settings.measured_on if job.frames is not None else None,
        "activations": None if activations is None else _digest(activations),
    }
    if _is_made(path, key):
        return Converted(path, None, None, None)
    _check_free(path, _files(job.source, own) if job.commit is None else [])
    sae = load_sae(job.source, own, revision=job.commit, activations=activations)
    state_layer(sae, layer, settings.side)
    before = None if activations is None else measure(sae, activations)
    narrow = _narrowed(sae, settings.precision)
    after = before if activations is None or narrow is sae else measure(narrow, activations)
    narrow.info["converted"] = key
    if before is not None and after is not None:
        narrow.info["measured"] = {"on": key["measured_on"], **after._asdict()}
        if narrow is not sae:
            narrow.info["measured"]["fvu_before_rounding"] = before.fvu
    narrow.save(path)
    return Converted(path, narrow, before, after)


def layers_in(source: str | Path, revision: str | None = None) -> list[int]:
    """Numbers of the layers that a folder or repository holds an SAE of; none of a single SAE."""
    return list(_layers(source, revision)[0])


def recalibrated(sae: SAE, activations: Tensor, k: int | None = None) -> SAE:
    """A batchtopk SAE with a threshold that lets `k` features fire per frame of these activations, on average.

    Args:
        sae: with a batchtopk gate.
        activations: residuals (frames, d_model) of the model and layer that it is for.
        k: the number; None: the SAE's own.

    Raises:
        CheckpointError: its gate has no threshold to calibrate, or k is below 1.
        ActivationError: the activations are empty or of another width.
    """
    if sae.gate.kind != "batchtopk":
        raise CheckpointError(
            f"only a batchtopk gate has a threshold to calibrate, and this one is {sae.gate.kind}"
            + (": it always keeps k features of each frame" if sae.gate.kind == "topk" else "")
        )
    again = sae.altered(gate=sae.gate if k is None else replace(sae.gate, k=k), threshold=None)
    calibrated = again.calibrate_threshold(blocks(activations.float()))
    calibrated.info["threshold"] = f"calibrated on {len(activations)} frames"
    return calibrated


def _layers(source: str | Path, revision: str | None) -> tuple[dict[int, list[str]], str | None]:
    """The files of each layer, and the commit on the Hub that they are of."""
    path = local(source)
    if path.is_dir():
        if revision is not None:
            raise CheckpointError(f"{source} is on this machine, where there are no revisions; leave `revision` out")
        return layers_of(files_in(path)), None
    place = None if path.exists() or os.path.isfile(index_of(path)) else hub_place(source)
    if place is None:
        return {}, revision  # a file, or nothing: loading it says what
    from ..io.hub.read import listing

    found = listing(place.repo, revision)
    names = place.inside(found.files)
    if len(folders := folders_of(names)) > 1:
        raise HubError(several(str(place), folders))
    return layers_of(names), found.commit


def _identity(source: str | Path, layer: int | None, commit: str | None) -> dict[str, Any]:
    """The name and commit that tell this source from every other, or the sha256 of its files."""
    if commit is not None:
        return {"repo": str(source), "revision": commit, "layer": layer}
    digest = hashlib.sha256()
    for file in _files(source, layer):
        try:
            digest.update(f"{file.name}\0{file.stat().st_size}\0".encode())
            with file.open("rb") as content:
                while block := content.read(1 << 20):
                    digest.update(block)
        except OSError as error:
            raise CheckpointError(f"cannot read {file}: {error.strerror}; check its permissions") from error
    return {"file": local(source).name, "sha256": digest.hexdigest(), "layer": layer}


def _files(source: str | Path, layer: int | None) -> list[Path]:
    """The files on this machine that an SAE is read from."""
    path = local(source)
    files = [path]
    if path.is_dir():
        files = [path / name for name in files_of(files_in(path), layer, str(path))]
    elif not path.exists():
        files = [index_of(path)]
    return [file for file in files if os.path.isfile(file)]


def _digest(activations: Tensor) -> str:
    return sha256_of_tensors((activations,), f"{activations.dtype} {tuple(activations.shape)}", dtype=None)


def _check_free(path: Path, sources: Sequence[Path]) -> None:
    """CheckpointError if writing would replace the source, or a file that is not a native SAE."""
    for file in (path, index_of(path)):
        if any(os.path.samefile(file, source) for source in sources if os.path.exists(file)):
            raise CheckpointError(f"{file} is the source itself; write the converted SAE somewhere else")
        if os.path.lexists(file) and not _is_native(file):
            raise CheckpointError(f"{file} is there already, and no native SAE; remove it or choose another name")


def _is_native(file: Path) -> bool:
    try:
        return file.is_file() and Native().recognises(file)
    except CheckpointError:
        return False


def _is_made(path: Path, key: dict[str, Any]) -> bool:
    """True if `path` was written by this very conversion."""
    try:
        if os.path.isfile(index_of(path)):
            metadata = read_index(index_of(path))[0].metadata
        elif is_safetensors(path):
            metadata = read_header(path).metadata
        else:
            return False
        return bool(json.loads(metadata.get("info", "{}")).get("converted") == key)
    except (CheckpointError, ValueError, AttributeError):
        return False


def state_layer(sae: SAE, layer: int | None, side: Side | None) -> None:
    """Put layer and side into the SAE's info.

    Raises:
        CheckpointError: it says another layer or side already.
    """
    for name, given in (("layer", layer), ("side", side)):
        if given is not None and sae.info.setdefault(name, given) != given:
            raise CheckpointError(f"the SAE itself says that it is of {name} {sae.info[name]}, not {given}")
    if "layer" in sae.info:
        sae.info.setdefault("side", "encoder")


def _narrowed(sae: SAE, precision: Precision) -> SAE:
    if precision == "keep":
        return sae
    dtype = getattr(torch, precision)
    if sae.W_enc.dtype == sae.W_dec.dtype == dtype:
        return sae
    W_enc, W_dec = sae.W_enc.to(dtype), sae.W_dec.to(dtype)
    if not (torch.isfinite(W_enc).all() and torch.isfinite(W_dec).all()):
        largest = float(max(sae.W_enc.abs().max(), sae.W_dec.abs().max()))
        raise CheckpointError(
            f"a weight of {largest:.3g} does not fit into {precision}; take --precision bfloat16 or float32"
        )
    return sae.altered(W_enc=W_enc, W_dec=W_dec)
