"""Random changes to a file: of its bytes, and of what its format makes of them."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

INTERESTING = (0, 1, 2, 7, 8, 64, 127, 128, 255, 1 << 15, 1 << 16, 1 << 31, (1 << 32) - 1, 1 << 40, 1 << 63)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 8, 1 << 31, 1 << 48, 1 << 63, 1 << 64, 10**30, 0.5, -1.0, 1e30, 1e308, 1e-320),
    *(float("nan"), float("inf"), "", "a", "none", "../x", "/etc/passwd", "C:x", "\x1b[2J", "\u202e", "é", "x" * 3000),
    *([], {}, [[]], [0], [1, 2], {"a": 1}, {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}),
)


def mutate(random: Random, content: bytes, others: Sequence[bytes] = ()) -> bytes:
    """`content` with one to four changes; `others` are files to take pieces of."""
    for _ in range(random.choice((1, 1, 1, 2, 2, 4))):
        content = random.choice((_bytes, _structure, _structure))(random, content, others)
    return content


def _bytes(random: Random, content: bytes, others: Sequence[bytes]) -> bytes:
    data = bytearray(content)
    kind = random.choice(("flip", "flip", "set", "number", "cut", "drop", "double", "splice", "insert"))
    at = random.randrange(len(data) + 1)
    if random.random() < 0.5:  # what decides stands at the beginning and at the end
        at = min(at, random.randrange(200)) if random.random() < 0.7 else max(0, len(data) - random.randrange(1, 200))
    span = random.choice((1, 2, 4, 8, 30, 200))
    if kind == "flip" and data:
        data[at % len(data)] ^= 1 << random.randrange(8)
    elif kind == "set" and data:
        data[at % len(data)] = random.randrange(256)
    elif kind == "number":
        code = random.choice(("<B", "<H", "<I", "<Q", ">I"))
        number = random.choice(INTERESTING) % (1 << 8 * struct.calcsize(code))
        data[at : at + struct.calcsize(code)] = struct.pack(code, number)
    elif kind == "cut":
        del data[at:]
    elif kind == "drop":
        del data[at : at + span]
    elif kind == "double":
        data[at:at] = data[at : at + span]
    elif kind == "splice" and others:
        other = random.choice(others)
        start = random.randrange(len(other) + 1)
        data[at : at + span] = other[start : start + span]
    else:
        data[at:at] = random.randbytes(span)
    return bytes(data)


def _structure(random: Random, content: bytes, others: Sequence[bytes]) -> bytes:
    change: Callable[[Random, bytes, Sequence[bytes]], bytes] = _bytes
    if content[:1] in (b"{", b"["):
        change = _json
    elif content[:4] == b"PK\x03\x04":
        change = _zip
    elif content[8:9] == b"{":
        change = _safetensors
    try:
        return change(random, content, others)
    except Exception:
        return _bytes(random, content, others)  # it was changed too much to have a structure


def _json(random: Random, content: bytes, _: Sequence[bytes]) -> bytes:
    value = _changed(random, json.loads(content))
    return json.dumps(value).encode("utf-8", "surrogatepass")


def _changed(random: Random, value: Any) -> Any:
    """`value` with one thing in it changed, taken away, doubled or put elsewhere."""
    if isinstance(value, dict) and value and random.random() < 0.9:
        key = random.choice(sorted(value))
        kind = random.choice(("in", "in", "in", "set", "drop", "rename", "swap"))
        new = dict(value)
        if kind == "in":
            new[key] = _changed(random, value[key])
        elif kind == "set":
            new[key] = random.choice(VALUES)
        elif kind == "drop":
            del new[key]
        elif kind == "rename":
            new[random.choice(("__metadata__", "x", key + "x", "W_enc", "k", "\ud800"))] = new.pop(key)
        else:
            other = random.choice(sorted(value))
            new[key], new[other] = value[other], value[key]
        return new
    if isinstance(value, list) and value and random.random() < 0.9:
        at = random.randrange(len(value))
        kind = random.choice(("in", "in", "drop", "double", "set"))
        new_list = list(value)
        if kind == "in":
            new_list[at] = _changed(random, value[at])
        elif kind == "drop":
            del new_list[at]
        elif kind == "double":
            new_list *= random.choice((2, 3, 50)) if len(new_list) < 1000 else 1
        else:
            new_list[at] = random.choice(VALUES)
        return new_list
    if isinstance(value, (int, float)) and random.random() < 0.5:
        return random.choice((value + 1, value - 1, -value, value * 2, float(value) / 3))
    return random.choice(VALUES)


def _safetensors(random: Random, content: bytes, _: Sequence[bytes]) -> bytes:
    length = struct.unpack("<Q", content[:8])[0]
    header = json.dumps(_changed(random, json.loads(content[8 : 8 + length]))).encode("utf-8", "surrogatepass")
    body = content[8 + length :]
    if random.random() < 0.2:  # to go with a header that says more, or less
        body = body[: random.randrange(len(body) + 1)] + bytes(random.choice((0, 0, 4, 64)))
    return struct.pack("<Q", len(header)) + header + body


def _zip(random: Random, content: bytes, others: Sequence[bytes]) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        infos = [info for info in archive.infolist() if info.file_size < 1_000_000]
        entries = [(info.filename, archive.read(info), info.compress_type) for info in infos]
    if not entries:
        raise ValueError
    at = random.randrange(len(entries))
    if random.random() < 0.6:  # where most is decided
        at = next((n for n, (name, *_) in enumerate(entries) if name.endswith("data.pkl")), at)
    name, data, method = entries[at]
    kind = random.choice(("bytes", "bytes", "bytes", "bytes", "drop", "twice", "rename", "method"))
    if kind == "drop":
        del entries[at]
    elif kind == "twice":
        entries.append((name.upper(), data, method))
    elif kind == "rename":
        entries[at] = (random.choice(("data.pkl", "a/data.pkl", "../x", "a/byteorder", name + "x")), data, method)
    elif kind == "method":
        entries[at] = (name, data, zipfile.ZIP_DEFLATED if method == zipfile.ZIP_STORED else zipfile.ZIP_STORED)
    else:
        entries[at] = (name, _bytes(random, data, others), method)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for entry, content_, method in entries:
            archive.writestr(entry, content_, method)
    return out.getvalue()
