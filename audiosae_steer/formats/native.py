"""The native format: one safetensors file with everything that is needed to run the SAE; nothing is guessed.

Tensors `W_enc` (F, d), `b_enc`, `W_dec` (F, d), `b_dec`, and optionally `threshold` and `typical`; in the header's
metadata `format`, `schema`, `gate`, `k`, `normalisation`, `scale`, and `info` as JSON.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from torch import Tensor

from ..errors import CheckpointError
from ..sae import SAE, Gate, Normalisation
from .header import read_header

FORMAT = "audiosae-steer"
_REQUIRED = ("W_enc", "b_enc", "W_dec", "b_dec")
_OPTIONAL = ("threshold", "typical")


class Native:
    """Reads and writes the native file."""

    name = "native"

    def recognises(self, path: Path) -> bool:
        """A safetensors file that says so in its header."""
        if not path.is_file() or path.suffix != ".safetensors":
            return False
        return read_header(path).metadata.get("format") == FORMAT

    def read(self, path: Path) -> SAE:
        """The SAE in a native file.

        Raises:
            CheckpointError: the header is forged, of another schema, or tensors are missing or of the wrong shape.
        """
        header = read_header(path)
        metadata = header.metadata
        if metadata.get("schema") != "1":
            raise CheckpointError(
                f"{path} is of schema {metadata.get('schema')}, this version reads schema 1; update audiosae-steer"
            )
        missing = [name for name in _REQUIRED if name not in header.shapes]
        unknown = sorted(set(header.shapes) - {*_REQUIRED, *_OPTIONAL})
        if missing or unknown:
            raise CheckpointError(f"{path}: tensors missing: {missing or 'none'}, unknown: {unknown or 'none'}")
        _check_shapes(path, header.shapes)
        tensors = load_tensors(path)
        gate = Gate(metadata.get("gate"), _integer(path, metadata.get("k")))  # type: ignore[arg-type]
        normalisation = Normalisation(metadata.get("normalisation"), _number(path, metadata.get("scale")))  # type: ignore[arg-type]
        try:
            info = json.loads(metadata.get("info", "{}"))
        except (ValueError, RecursionError) as error:
            raise CheckpointError(f"{path}: its `info` is not JSON ({error}); the file is damaged") from error
        if not isinstance(info, dict):
            raise CheckpointError(f"{path}: its `info` is not a JSON object; the file is damaged")
        return SAE(
            tensors["W_enc"],
            tensors["b_enc"],
            tensors["W_dec"],
            tensors["b_dec"],
            gate=gate,
            threshold=tensors.get("threshold"),
            normalisation=normalisation,
            typical=tensors.get("typical"),
            info=info,
        )


def save_sae(sae: SAE, path: str | Path) -> None:
    """Write the native file: whole, or not at all.

    Raises:
        CheckpointError: the file cannot be written there, or `info` is not JSON.
    """
    from safetensors.torch import save

    path = Path(path)
    tensors: dict[str, Tensor] = {name: getattr(sae, name).detach().cpu().contiguous() for name in _REQUIRED}
    for name in _OPTIONAL:
        tensor = getattr(sae, name)
        if tensor is not None:
            tensors[name] = tensor.detach().cpu().contiguous()
    try:
        info = json.dumps(sae.info, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            f"the SAE's info is not plain JSON ({error}); keep to strings, numbers, lists, dicts"
        ) from error
    metadata = {
        "format": FORMAT,
        "schema": "1",
        "gate": sae.gate.kind,
        "k": "" if sae.gate.k is None else str(sae.gate.k),
        "normalisation": sae.normalisation.kind,
        "scale": repr(sae.normalisation.scale),
        "info": info,
    }
    write_whole(path, save(tensors, metadata))


def write_whole(path: Path, data: bytes) -> None:
    """Put `data` at `path` in one step: a reader, or a crash, sees the old file or the new one."""
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    except OSError as error:
        raise CheckpointError(f"cannot write {path}: {error.strerror}; choose a folder that exists") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def load_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, with its errors as ours."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(path))
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is truncated or damaged ({error}); fetch it again") from error


def _check_shapes(path: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    wide = shapes["W_enc"]
    if len(wide) != 2:
        raise CheckpointError(f"{path}: W_enc has shape {wide}; expected (n_features, d_model)")
    expected: dict[str, list[tuple[int, ...]]] = {
        "b_enc": [(wide[0],)],
        "W_dec": [wide],
        "b_dec": [(wide[1],)],
        "threshold": [(), (wide[0],)],
        "typical": [(wide[0],)],
    }
    for name, allowed in expected.items():
        if name in shapes and shapes[name] not in allowed:
            raise CheckpointError(f"{path}: {name} has shape {shapes[name]}; expected {allowed[0]}")


def _integer(path: Path, text: Any) -> int | None:
    if not text:
        return None
    try:
        return int(text)
    except ValueError as error:
        raise CheckpointError(f"{path}: k is {text!r}; expected a whole number") from error


def _number(path: Path, text: Any) -> float:
    try:
        return float(text)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: the normalisation's scale is {text!r}; expected a number") from error
