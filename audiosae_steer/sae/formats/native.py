"""The native format: one safetensors file with everything that is needed to run the SAE; nothing is guessed.

Tensors `W_enc` (F, d), `b_enc`, `W_dec` (F, d), `b_dec`, and optionally `threshold` and `typical`; in the header's
metadata `format`, `schema`, `gate`, `k`, `normalisation`, `scale`, and `info` as JSON. An rms gate has a tensor `gain`
and an `epsilon` in the metadata besides, and is refused without them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from ...errors import CheckpointError
from ...io import strict_json
from ...io.strict_json import read_settings
from ...io.tensors.safetensors_header import Header, check_shapes, is_safetensors, load_tensors, read_header
from ...io.tensors.sharded import (
    INDEX,
    SHARD_BYTES,
    is_index,
    is_shard,
    load_parts,
    parts_of,
    read_index,
)
from ..autoencoder import SAE, Gate, GateKind, Normalisation, NormKind
from ..save import FORMAT, OPTIONAL, REQUIRED, SCHEMA
from .format import Format, Parts, Shapes

_SHAPES: Shapes = {
    "W_enc": [("n_features", "d_model")],
    "b_enc": [("n_features",)],
    "W_dec": [("n_features", "d_model")],
    "b_dec": [("d_model",)],
    "threshold": [(), ("n_features",)],
    "typical": [("n_features",)],
    "gain": [(), ("n_features",)],
}
_METADATA = ("format", "schema", "gate", "k", "normalisation", "scale", "info")
_RMS = "epsilon"


class Native(Format):
    """Reads the native file, or a folder with one."""

    name = "native"
    content = "native SAE"
    states_normalisation = True

    def files(self, names: Sequence[str]) -> list[str]:
        """The one safetensors file, if there is just one; or an index with its parts.

        Raises:
            CheckpointError: there are more parts than an SAE has.
        """
        found = [name for name in names if name.endswith(".safetensors")]
        indices = [name for name in names if name.endswith(INDEX)]
        if len(indices) == 1 and found and all(is_shard(name) for name in found):
            return [*parts_of(indices[0], found), *indices]
        return found if len(found) == 1 else []

    def holds(self, file: Path) -> bool:
        """A safetensors file that says so in its header, or the index of one in parts."""
        if is_index(file):
            metadata = read_settings(file).get("metadata")
            if isinstance(metadata, dict) and metadata.get("format") != FORMAT:
                return False  # that of a model, whose parts have names of their own
            return bool(read_index(file))
        return is_safetensors(file) and read_header(file).metadata.get("format") == FORMAT

    def parts(self, file: Path) -> Parts:
        """As they were saved; CheckpointError for a forged header, another schema, or shapes that disagree."""
        header, shards = read_index(file) if is_index(file) else (read_header(file), None)
        _check_header(file, header)
        metadata = header.metadata
        gate = _gate(file, metadata)
        normalisation = _normalisation(file, metadata)
        info = _info(file, metadata["info"])
        tensors = load_tensors(file, (*REQUIRED, *OPTIONAL)) if shards is None else load_parts(file, shards)
        return Parts(
            tensors["W_enc"],
            tensors["b_enc"],
            tensors["W_dec"],
            tensors["b_dec"],
            gate,
            info,
            tensors.get("threshold"),
            normalisation,
            tensors.get("typical"),
            tensors.get("gain"),
        )


def save_sae(sae: SAE, path: str | Path, *, shard_bytes: int = SHARD_BYTES) -> None:
    """Write the native file of an SAE; see `SAE.save`.

    Raises:
        CheckpointError: the file cannot be written there, `info` is not JSON, or a weight is not finite.
    """
    sae.save(path, shard_bytes=shard_bytes)


def _check_header(path: Path, header: Header) -> None:
    schema = header.metadata.get("schema")
    if schema != SCHEMA:
        raise CheckpointError(f"{path} is of schema {schema}; this version reads schema {SCHEMA}: update the package")
    for what, found, required, optional in (
        ("tensors", header.shapes, REQUIRED, OPTIONAL),
        ("metadata", header.metadata, _METADATA, (_RMS,)),
    ):
        missing = sorted(set(required) - set(found))
        unknown = sorted(set(found) - {*required, *optional})
        if missing or unknown:
            raise CheckpointError(
                f"{path}: {what} missing: {', '.join(missing) or 'none'}; unknown: {', '.join(unknown[:5]) or 'none'}; "
                "the file is damaged, or was not written by save_sae()"
            )
    check_shapes(path, header.shapes, _SHAPES)


def _gate(path: Path, metadata: Mapping[str, str]) -> Gate:
    for kind in get_args(GateKind):
        if kind == metadata["gate"]:
            return Gate(kind, _whole_number(path, metadata["k"]), _epsilon(path, metadata.get(_RMS)))
    raise CheckpointError(f"{path}: gate {metadata['gate']!r} is unknown; expected {', '.join(get_args(GateKind))}")


def _normalisation(path: Path, metadata: Mapping[str, str]) -> Normalisation:
    try:
        scale = float(metadata["scale"])
    except ValueError as error:
        raise CheckpointError(f"{path}: the normalisation's scale is {metadata['scale'][:40]!r}, no number") from error
    for kind in get_args(NormKind):
        if kind == metadata["normalisation"]:
            return Normalisation(kind, scale)
    known = ", ".join(get_args(NormKind))
    raise CheckpointError(f"{path}: normalisation {metadata['normalisation']!r} is unknown; expected {known}")


def _epsilon(path: Path, text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError as error:
        raise CheckpointError(f"{path}: epsilon is {(text or '')[:40]!r}, no number") from error


def _whole_number(path: Path, text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise CheckpointError(f"{path}: k is {text[:40]!r}; expected a whole number")
    return int(text)


def _info(path: Path, text: str) -> dict[str, Any]:
    try:
        info = strict_json.parse(text)
    except ValueError as error:
        raise CheckpointError(f"{path}: its info is not JSON ({error}); the file is damaged") from error
    if not isinstance(info, dict):
        raise CheckpointError(f"{path}: its info is not a JSON object; the file is damaged")
    return info
