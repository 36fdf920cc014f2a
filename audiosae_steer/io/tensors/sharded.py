"""Native files above a size are written as several, with an index as transformers and the Hub have it.

`sae.safetensors` becomes `sae-3f9c02d1-00001-of-00002.safetensors`, … and `sae.safetensors.index.json`, whose
`metadata` is that of the native header, with the sha256 of each part, and whose `weight_map` names each tensor's file:
so the sha256 of the index stands for the whole SAE. The index is written last and
the shards of a write have a name of their own, so that a reader, or a crash, sees the old SAE or the new one.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import Tensor

from ...errors import CheckpointError
from ..files import write_atomic
from ..hub.read import sha256_of, verify_sha256
from ..strict_json import read_settings
from .safetensors_header import Header, Shape, load_tensors, read_header

SHARD_BYTES = 2_000_000_000
"""Of a part that is written: far below what the Hub takes in one file, and resumed sooner where a download breaks."""
MAX_PARTS = 64
"""An SAE has six tensors at most, so that parts of whole tensors are fewer."""
INDEX = ".safetensors.index.json"
_SHARD = re.compile(r"(.+)-[0-9a-f]{8}-\d{5}-of-(\d{5})\.safetensors")


def index_of(path: Path) -> Path:
    """Path of the index of a native file: `sae.safetensors.index.json` for `sae.safetensors`."""
    return path.with_name(path.name.removesuffix(".safetensors") + INDEX)


def is_index(path: Path) -> bool:
    """True if a file is such an index, by its name and content."""
    return path.name.endswith(INDEX) and path.is_file() and "weight_map" in read_settings(path)


def is_shard(name: str) -> bool:
    """True if a file is a part of an SAE, by its name."""
    return _SHARD.fullmatch(name.rsplit("/", 1)[-1]) is not None


def parts_of(index: str, names: Iterable[str]) -> list[str]:
    """Of the names of a repository's files, those that look like the parts of an index; none of another file.

    Raises:
        CheckpointError: there are more than an SAE has.
    """
    if not index.endswith(INDEX):
        return []
    stem = index.removesuffix(INDEX)
    found = [name for name in names if (part := _SHARD.fullmatch(name)) and part[1] == stem]
    if len(found) > MAX_PARTS:
        raise CheckpointError(
            f"{index} lies among {len(found):,} parts, where an SAE has at most {MAX_PARTS}; take away those that the "
            "index does not name"
        )
    return found


def split(tensors: Mapping[str, Tensor], most: int) -> list[dict[str, Tensor]]:
    """Tensors in parts of at most `most` bytes, or of one tensor."""
    parts: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, tensor in tensors.items():
        if parts[-1] and size + tensor.nbytes > most:
            parts.append({})
            size = 0
        parts[-1][name] = tensor
        size += tensor.nbytes
    return parts


def write_shards(path: Path, parts: Sequence[Mapping[str, Tensor]], metadata: Mapping[str, str]) -> None:
    """Write parts and index, and then remove the files of an earlier write.

    Args:
        path: of the SAE, as if it were one file.
        parts: what goes into each file.
        metadata: of the native header.

    Raises:
        CheckpointError: it cannot be written there; what was there before is still there.
    """
    from safetensors.torch import save

    index = index_of(path)
    stem, token = index.name.removesuffix(INDEX), secrets.token_hex(4)
    names = [f"{stem}-{token}-{n + 1:05d}-of-{len(parts):05d}.safetensors" for n in range(len(parts))]
    sums = {}
    try:
        for name, part in zip(names, parts, strict=True):
            data = save(dict(part), {"format": "audiosae-steer part"})
            sums[name] = hashlib.sha256(data).hexdigest()
            write_atomic(path.with_name(name), data, CheckpointError)
        total = sum(t.nbytes for part in parts for t in part.values())
        content = {
            "metadata": {**metadata, "total_size": total, "sha256": sums},
            "weight_map": {key: name for name, part in zip(names, parts, strict=True) for key in part},
        }
        write_atomic(index, json.dumps(content, indent=1) + "\n", CheckpointError)
    except BaseException:
        for name in names:
            with suppress(OSError):
                path.with_name(name).unlink(missing_ok=True)
        raise
    with suppress(OSError):
        path.unlink(missing_ok=True)
    clear_shards(path, keep=names)


def clear_shards(path: Path, keep: Sequence[str] = ()) -> None:
    """Remove the parts of older writes of `path`, and with `keep` empty the index too."""
    index = index_of(path)
    if not keep:
        with suppress(OSError):
            index.unlink(missing_ok=True)
    stem = index.name.removesuffix(INDEX)
    for other in path.parent.glob(f"{_escaped(stem)}-*-of-*.safetensors"):
        found = _SHARD.fullmatch(other.name)
        if found is not None and found[1] == stem and other.name not in keep:
            with suppress(OSError):
                other.unlink()


def read_index(path: Path) -> tuple[Header, dict[str, Path]]:
    """The index as if it were the header of one file, and the file of each tensor.

    Raises:
        CheckpointError: it is damaged, names a file outside its folder or one that is not there.
    """
    content = read_settings(path)
    metadata, names = content.get("metadata"), content.get("weight_map")
    if not isinstance(metadata, dict) or not isinstance(names, dict) or not names or len(names) > MAX_PARTS:
        raise CheckpointError(f"{path} is no index of an SAE's parts; fetch it again")
    files: dict[str, Path] = {}
    headers: dict[str, Header] = {}
    shapes: dict[str, Shape] = {}
    for tensor, name in names.items():
        if not isinstance(name, str) or not is_shard(name) or "/" in name or "\\" in name:
            raise CheckpointError(f"{path} names {name!r} as a part, which no part is called; the index is forged")
        files[tensor] = path.with_name(name)
        if not files[tensor].is_file():
            raise CheckpointError(f"{path} names {name}, which is not there; fetch every part of the SAE")
        if name not in headers:
            headers[name] = read_header(files[tensor])
        if tensor not in headers[name].shapes:
            raise CheckpointError(f"{path} looks for {tensor} in {name}, which does not hold it; fetch them again")
        shapes[tensor] = headers[name].shapes[tensor]
    text = {key: value for key, value in metadata.items() if key not in ("total_size", "sha256")}
    if not all(isinstance(value, str) for value in text.values()):
        raise CheckpointError(f"{path}: its metadata is not text by name; the file is damaged")
    return Header(shapes, text), files


def sha256_of_sae(path: Path) -> str | None:
    """sha256 of an SAE's one file, or of an index that holds those of its parts; None of an index that does not.

    Raises:
        CheckpointError: the index is damaged.
    """
    return None if is_index(path) and not _sums(path) else sha256_of(path)


def load_parts(index: Path, files: Mapping[str, Path]) -> dict[str, Tensor]:
    """The tensors, each from its file.

    Raises:
        CheckpointError: a part is damaged, or another than that whose sha256 is in the index.
    """
    found: dict[str, Tensor] = {}
    sums = _sums(index)
    for path in dict.fromkeys(files.values()):
        if sums:
            verify_sha256(path, str(sums.get(path.name, "none")))
        found |= load_tensors(path, [tensor for tensor, file in files.items() if file == path])
    return found


def _sums(index: Path) -> dict[str, Any]:
    """sha256 of each part, by its name; empty where the index, as of another program, has none."""
    metadata = read_settings(index).get("metadata")
    sums = metadata.get("sha256", {}) if isinstance(metadata, dict) else {}
    if not isinstance(sums, dict):
        raise CheckpointError(f"{index}: its sha256 are not by the parts' names; the file is damaged")
    return sums


def _escaped(stem: str) -> Any:
    from glob import escape

    return escape(stem)
