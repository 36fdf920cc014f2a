"""Places of the tensors in a torch file: in a zip since torch 1.6, before that behind a row of pickles.

All that the file claims of its sizes is held against its own before any tensor is made. Both kinds are read here and
not by `torch.load`, because a check by one reader of zips says little of what another makes of the same bytes.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from .pickle_reader import MAX_BYTES, Unpickled, unpickle
from .safetensors_header import is_safetensors
from .zip_archive import is_npz, opened

_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


class Place(NamedTuple):
    """Bytes of a file."""

    first: int
    size: int


class TorchFile(NamedTuple):
    """Description of a torch file, from before any number is read."""

    value: Any
    """As in `Unpickled`, with its tensors on the device `meta`."""
    places: dict[str, Place]
    """Bytes of each storage, by its key."""
    pickle: tuple[bytes, int]
    """Source of `value`, to be read again with numbers in its tensors: bytes, and the position of the first."""


def is_torch_file(path: Path) -> bool:
    """True if a file begins as `torch.save` writes it, today (a zip) or long ago (a pickle); `.npz` is another zip."""
    try:
        if not path.is_file():  # opening a pipe would wait for its other end
            return False
        with path.open("rb") as file:
            start = file.read(4)
    except OSError:
        return False
    # one safetensors file in 256 begins like a pickle
    return (start[:1] == _PICKLE and not is_safetensors(path)) or (start == _ZIP and not is_npz(path))


def describe(path: Path, stand_ins: Iterable[type] = ()) -> TorchFile:
    """Names, dtypes and shapes in a torch file, and the place of each storage.

    Args:
        path: the file.
        stand_ins: see `unpickle`.

    Raises:
        ValueError: it is damaged or forged, is compressed, or would call functions.
        OSError: it cannot be read.
    """
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            zipped = file.read(4) == _ZIP
            file.seek(0)
            found, places, pickle = _in_zip(path, file, size, stand_ins) if zipped else _in_row(file, stand_ins)
    except (zipfile.BadZipFile, RuntimeError, EOFError, struct.error) as error:
        raise ValueError(f"the zip in it is damaged: {error}") from error
    used = {key: places[key] for key in found.storages if key in places}
    for key, storage in found.storages.items():
        claimed = storage.numel * storage.dtype.itemsize
        if key not in used or used[key].size != claimed:
            raise ValueError(f"its storage {key!r} claims {claimed} bytes and has others; it is truncated or forged")
    reached = 0
    for place in sorted(used.values()):
        if place.size and place.first < reached:
            raise ValueError("its storages lie over one another; it is forged")
        reached = max(reached, place.first + place.size)
    if reached > size:
        raise ValueError("its storages are larger than it is; it is truncated or forged")
    return TorchFile(found.value, used, pickle)


_Found = tuple[Unpickled, dict[str, Place], tuple[bytes, int]]


def _in_zip(path: Path, file: BinaryIO, size: int, stand_ins: Iterable[type]) -> _Found:
    with opened(path) as archive:
        entries = archive.infolist()
    names = [entry.filename for entry in entries]
    if len({name.lower() for name in names}) != len(names):
        raise ValueError("an entry's name occurs twice in it; it is forged")
    packed = any(entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 for entry in entries)
    if packed or sum(entry.file_size for entry in entries) > size:
        raise ValueError("it unpacks to more than its size, as torch files never do; do not trust it")
    pickles = [name for name in names if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise ValueError("it is a zip, but none that torch.save writes")
    folder = pickles[0].removesuffix("data.pkl")
    if f"{folder}constants.pkl" in names:
        raise ValueError("it is a program (TorchScript), of which no code is run here")
    places = {entry.filename: _place(file, entry) for entry in entries if entry.filename.startswith(folder)}
    order = places.get(f"{folder}byteorder")
    if order is not None and _content(file, order, 16) != b"little":
        raise ValueError("it was written on a big-endian machine; save it again on another")
    data = _content(file, places[pickles[0]], MAX_BYTES)
    found = unpickle(data, stand_ins=stand_ins)
    storages = {key: places[name] for key in found.storages if (name := f"{folder}data/{key}") in places}
    return found, storages, (data, 0)


def _place(file: BinaryIO, entry: zipfile.ZipInfo) -> Place:
    file.seek(entry.header_offset)
    head = file.read(30)
    if len(head) != 30 or head[:4] != _ZIP:
        raise ValueError(f"its entry {entry.filename!r} is not where its directory says; it is damaged")
    name, extra = struct.unpack("<HH", head[26:])
    return Place(entry.header_offset + 30 + name + extra, entry.file_size)


def _content(file: BinaryIO, place: Place, limit: int) -> bytes:
    if place.size > limit:
        raise ValueError(f"its description of the tensors is {place.size / 1e6:.0f} MB, as no state dict's is")
    file.seek(place.first)
    return file.read(place.size)


def _in_row(file: BinaryIO, stand_ins: Iterable[type]) -> _Found:
    data = file.read(MAX_BYTES)
    at = 0
    head = []
    for _ in range(3):
        part = unpickle(data, at)
        head.append(part.value)
        at = part.end
    magic, protocol, system = head
    if magic != _MAGIC or protocol != _PROTOCOL or type(system) is not dict or system.get("little_endian") is not True:
        raise ValueError("it is a pickle, but none that torch.save writes")
    found, start = unpickle(data, at, stand_ins=stand_ins), at
    keys = unpickle(data, found.end)
    if type(keys.value) is not list or not all(type(key) is str for key in keys.value):
        raise ValueError("its list of storages is malformed")
    places: dict[str, Place] = {}
    at = keys.end
    for key in keys.value:
        if key in places or key not in found.storages:
            raise ValueError(f"its list of storages has {key!r} twice, or for nothing")
        file.seek(at)
        raw = file.read(8)
        storage = found.storages[key]
        if len(raw) != 8 or struct.unpack("<q", raw)[0] != storage.numel:
            raise ValueError(f"its storage {key!r} is of another size than it claims; it is truncated or forged")
        places[key] = Place(at + 8, storage.numel * storage.dtype.itemsize)
        at += 8 + places[key].size
    return found, places, (data, start)
