"""WAV files whose header does not know how long they are: written to a pipe, or by a program that was killed."""

from __future__ import annotations

import io
import os
import struct
from typing import BinaryIO, NamedTuple

CHUNKS = 1000
"""Chunks that are looked at, at most."""
LONGEST_HEADER = 1 << 24
"""Bytes before the samples, at most; pictures may be among them."""
FULL = 0xFFFFFFFF
UNKNOWN = (range(0x7FFFF000, 0x80000001), range(0xFFFFF000, 0x100000000), range(1 << 62, 1 << 64))
"""Bytes of samples that are written to a pipe as "a lot": by SoX 0x7FFFF000, by ffmpeg all bits, less the header."""


class _Data(NamedTuple):
    """The chunk of samples."""

    start: int
    """Place of its first sample in the file, in bytes."""
    size: int
    """Bytes of samples, as the header says."""
    sizes: int | None
    """Place of the 64-bit sizes (RF64), if it has them."""
    frame: int
    """Bytes of one sample of all channels."""
    told: int
    """Bytes of samples as the header says, of 64 bits if it has them."""


def mended(file: BinaryIO) -> BinaryIO | None:
    """The same file with the right length in its header, if it is a WAV that says less than one sample and holds some.

    As ffmpeg does, samples then go to the end of the file. Lengths that are too large need no mending: libsndfile
    stops at the end. A file without samples, with or without other chunks after them, is left as it is.
    """
    end = file.seek(0, os.SEEK_END)
    data = _data(file, end)
    if data is None or data.frame <= data.size < FULL or end - data.start < data.frame:
        return None
    if data.size < FULL and _are_chunks(file, data.start + data.size + data.size % 2, end):
        return None
    if data.size == FULL and data.sizes is None:
        return None  # libsndfile knows that one
    length = end - data.start
    file.seek(0)
    header = bytearray(file.read(data.start))
    struct.pack_into("<I", header, data.start - 4, FULL if data.sizes is not None else min(length, FULL - 1))
    struct.pack_into("<I", header, 4, FULL if data.sizes is not None else min(end - 8, FULL - 1))
    if data.sizes is not None:
        struct.pack_into("<QQQ", header, data.sizes, end - 8, length, length // data.frame)
    return io.BufferedReader(_Headed(bytes(header), file, end))


def shortened(file: BinaryIO) -> tuple[int, int] | None:
    """Bytes of samples that a WAV's header tells of, and the fewer bytes that are there; None if none are missing.

    None too for a header that does not know, with a number that programs write while they do not.
    """
    end = file.seek(0, os.SEEK_END)
    data = _data(file, end)
    if data is None or data.told <= end - data.start or any(data.told in span for span in UNKNOWN):
        return None
    return data.told, end - data.start


def _data(file: BinaryIO, end: int) -> _Data | None:
    """The chunk of samples of a WAV or RF64; None for anything else."""
    file.seek(0)
    front = file.read(12)
    if front[:4] not in (b"RIFF", b"RF64") or front[8:12] != b"WAVE":
        return None
    place, frame, sizes, told = 12, 0, None, 0
    for _ in range(CHUNKS):
        file.seek(place)
        head = file.read(8)
        if len(head) < 8 or place > LONGEST_HEADER:
            return None
        size = int(struct.unpack("<I", head[4:])[0])
        if head[:4] == b"fmt ":
            fields = file.read(14)
            frame = int(struct.unpack("<H", fields[12:])[0]) if len(fields) == 14 else 0
        elif head[:4] == b"ds64" and front[:4] == b"RF64":
            sizes = place + 8
            told = int(struct.unpack("<Q", file.read(16)[8:].ljust(8, b"\0"))[0])
        elif head[:4] == b"data":
            if not frame:
                return None
            wide = sizes is not None and size == FULL
            whole = told if wide else size
            size = (told if told <= end else FULL) if wide else size
            return _Data(place + 8, size, sizes, frame, whole)
        place += 8 + size + size % 2
    return None


def _are_chunks(file: BinaryIO, place: int, end: int) -> bool:
    """True if nothing but whole chunks lies between `place` and the end."""
    for _ in range(CHUNKS):
        if place >= end:
            return True
        file.seek(place)
        head = file.read(8)
        if len(head) < 8 or not all(0x20 <= byte < 0x7F for byte in head[:4]):
            return False
        size = int(struct.unpack("<I", head[4:])[0])
        place += 8 + size + size % 2
        if place > end + 1:
            return False
    return False


class _Headed(io.RawIOBase):
    """A file with other bytes at its beginning."""

    def __init__(self, header: bytes, file: BinaryIO, end: int) -> None:
        self._header, self._file, self._end, self._place = header, file, end, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._end}[whence]
        self._place = max(base + offset, 0)
        return self._place

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        if self._place < len(self._header):
            found = self._header[self._place : self._place + len(buffer)]
        else:
            self._file.seek(self._place)
            found = self._file.read(len(buffer))
        buffer[: len(found)] = found
        self._place += len(found)
        return len(found)
