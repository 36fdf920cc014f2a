"""Whisper weights out of a CTranslate2 folder, the format of faster-whisper.

The file, little-endian: u32 format version, string spec name, u32 revision, u32 count; per variable a string name,
u8 rank, u32 x rank shape, u8 dtype, u32 byte length, bytes; then u32 alias count and pairs of strings, a further name
and the variable that it stands for. A string is a u16 length, with a final NUL counted in. Read against the writer,
`ctranslate2.specs.model_spec`.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...errors import ModelError
from ...io import strict_json
from .weights import Weights

_DTYPES = {0: torch.float32, 1: torch.int8, 2: torch.int16, 3: torch.int32, 4: torch.float16}
MAX_BYTES, MAX_SETTINGS = 16_000_000_000, 4_000_000
_NORM = {"gamma": "weight", "beta": "bias"}


def is_folder(path: Path) -> bool:
    """True if `path` is a folder with a CTranslate2 model in it."""
    return path.is_dir() and (path / "model.bin").is_file()


def read(model: Path | Sequence[Path], folder: Path | None = None) -> Weights:
    """The weights in a `model.bin`, or in its parts, with the settings beside it in `folder`.

    Raises:
        ModelError: the file is truncated, forged, not a Whisper, or holds variables that nothing here knows.
    """
    parts = [model] if isinstance(model, Path) else list(model)
    folder = folder or parts[0].parent
    try:
        if sum(part.stat().st_size for part in parts) > MAX_BYTES:
            raise ModelError(f"{parts[0]} is larger than {MAX_BYTES / 1e9:.0f} GB, which no Whisper is")
        data = b"".join(part.read_bytes() for part in parts)
    except OSError as error:
        raise ModelError(f"cannot read {parts[0]}: {error}") from error
    variables = _variables(data, parts[0])
    try:
        state = _openai_names(_dequantised(variables, parts[0]), parts[0])
        heads = int(variables["encoder/num_heads"]) if "encoder/num_heads" in variables else 0
    except (RuntimeError, ValueError, TypeError) as error:
        reason = str(error).split("\n")[0][:200]
        raise ModelError(
            f"{parts[0]} holds variables that do not belong together ({reason}): fetch it again"
        ) from error
    settings = _settings(folder / "config.json")
    return Weights.from_state(state, heads, str(parts[0]), settings.get("alignment_heads") or None)


def _settings(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        if path.stat().st_size > MAX_SETTINGS:
            raise ModelError(f"{path} is larger than {MAX_SETTINGS / 1e6:.0f} MB, which no model's settings are")
        settings = strict_json.parse(path.read_bytes(), lenient=True)
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} is not valid JSON ({error}); fetch the model's folder again") from error
    return settings if isinstance(settings, dict) else {}


class _Cursor:
    def __init__(self, data: bytes, path: Path) -> None:
        self.data, self.path, self.at = data, path, 0

    def take(self, count: int) -> memoryview:
        if count > len(self.data) - self.at:
            raise ModelError(
                f"{self.path} ends at byte {len(self.data)}, in the middle of a model; it is truncated, or no "
                "CTranslate2 model at all: fetch it again"
            )
        view = memoryview(self.data)[self.at : self.at + count]
        self.at += count
        return view

    def number(self, code: str) -> int:
        return int(struct.unpack("<" + code, self.take(struct.calcsize(code)))[0])

    def string(self) -> str:
        raw = bytes(self.take(self.number("H")))
        try:
            return raw.rstrip(b"\0").decode()
        except UnicodeDecodeError as error:
            raise ModelError(f"{self.path} holds a name that is no text; it is no CTranslate2 model") from error


def _variables(data: bytes, path: Path) -> dict[str, Tensor]:
    cursor = _Cursor(data, path)
    version, spec = cursor.number("I"), cursor.string()
    if spec != "WhisperSpec" or version != 6:
        raise ModelError(
            f"{path} is {spec[:40]!r}, format version {version}; expected a CTranslate2 Whisper (WhisperSpec, "
            "version 6), as ct2-transformers-converter writes it"
        )
    cursor.number("I")
    variables = {}
    for _ in range(cursor.number("I")):
        name = cursor.string()
        shape = [cursor.number("I") for _ in range(cursor.number("B"))]
        kind, length = cursor.number("B"), cursor.number("I")
        dtype = _DTYPES.get(kind)
        if dtype is None:
            raise ModelError(f"{path}: {name!r} has dtype {kind}, which is unknown; expected float32, float16 or int8")
        raw = cursor.take(length)
        if len(shape) > 4 or length != math.prod(shape) * dtype.itemsize:
            raise ModelError(
                f"{path}: {name!r} has shape {shape} but {length} bytes; the file is damaged: fetch it again"
            )
        variables[name] = torch.frombuffer(bytearray(raw), dtype=dtype).reshape(shape) if length else torch.zeros(0)
    shared = 0
    for _ in range(cursor.number("I")):
        alias, name = cursor.string(), cursor.string()
        if alias.startswith("decoder/projection/"):  # the embedding once more
            continue
        if name not in variables or alias in variables:
            raise ModelError(f"{path} says that {alias!r} is {name!r}; it is damaged: fetch it again")
        variables[alias] = variables[name]
        if f"{name}_scale" in variables:
            variables.setdefault(f"{alias}_scale", variables[f"{name}_scale"])
        shared += variables[name].nbytes
        if shared > len(data):  # its writer shares what is equal: norms and biases, a small part
            raise ModelError(f"{path} names more weights than it holds, which no model does: fetch it from elsewhere")
    if cursor.at != len(data):
        raise ModelError(
            f"{path} continues for {len(data) - cursor.at} bytes after its end; it is damaged: fetch it again"
        )
    return variables


def _dequantised(variables: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    out = {}
    for name, tensor in variables.items():
        if name.endswith("_scale") and name.removesuffix("_scale") in variables:
            continue
        if not tensor.dim():  # a setting, of which newer converters write more
            continue
        scale = variables.get(f"{name}_scale")
        if scale is not None:  # one scale a row, or one for all
            rows = scale.float().reshape(-1, *[1] * (tensor.dim() - 1)) if scale.numel() > 1 else scale.float()
            tensor = tensor.float() / rows
        elif not tensor.is_floating_point():
            raise ModelError(
                f"{path}: {name!r} is {tensor.dtype} and has no scale; convert the model to float16 or int8"
            )
        out[name] = tensor
    return out


def _openai_names(tensors: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    unknown = []
    for name, tensor in tensors.items():
        renamed = _rename(name, tensor)
        if not renamed:
            unknown.append(name)
        state.update(renamed)
    if unknown:
        raise ModelError(f"{path} holds variables that no Whisper has: {', '.join(sorted(unknown)[:5])}")
    return {name: tensor for name, tensor in state.items() if not name.endswith("key.bias")}


def _rename(name: str, tensor: Tensor) -> dict[str, Tensor]:
    fixed = {
        "decoder/embeddings/weight": "decoder.token_embedding.weight",
        "encoder/position_encodings/encodings": "encoder.positional_embedding",
        "decoder/position_encodings/encodings": "decoder.positional_embedding",
    }
    if name in fixed:
        return {fixed[name]: tensor}
    kind = name.split("/")[-1]
    if match := re.fullmatch(r"encoder/(conv[12])/(weight|bias)", name):
        return {f"encoder.{match[1]}.{kind}": tensor}
    if match := re.fullmatch(r"(encoder|decoder)/layer_norm/(gamma|beta)", name):
        return {f"{match[1]}.{'ln_post' if match[1] == 'encoder' else 'ln'}.{_NORM[kind]}": tensor}
    match = re.fullmatch(r"(encoder|decoder)/layer_(\d+)/(self_attention|attention|ffn)/(\w+)/(\w+)", name)
    if not match:
        return {}
    block = f"{match[1]}.blocks.{match[2]}"
    part = {"self_attention": "attn", "attention": "cross_attn", "ffn": "mlp"}[match[3]]
    if match[4] == "layer_norm" and kind in _NORM:
        return {f"{block}.{part}_ln.{_NORM[kind]}": tensor}
    stacks = {
        ("attn", "linear_0"): ("query", "key", "value"),
        ("attn", "linear_1"): ("out",),
        ("cross_attn", "linear_0"): ("query",),
        ("cross_attn", "linear_1"): ("key", "value"),
        ("cross_attn", "linear_2"): ("out",),
        ("mlp", "linear_0"): ("0",),
        ("mlp", "linear_1"): ("2",),
    }
    names = stacks.get((part, match[4]))
    if names is None or kind not in ("weight", "bias") or len(tensor) % len(names):
        return {}
    return {f"{block}.{part}.{n}.{kind}": piece for n, piece in zip(names, tensor.chunk(len(names)), strict=True)}
