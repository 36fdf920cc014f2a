"""Untrusted files in the place of an SAE: variants of a sound one, and a process of its own that reads them all.

    PYTHONPATH=. python tests/helpers/hostile.py WORK

reads every variant of every fixture under limits of memory and time and prints one line of JSON for each: what came of
it. Of a format's first fixture it takes every fourth variant, of the others one in 24; HOSTILE_SHARE=1 takes all.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pickles

SHARE = int(os.environ.get("HOSTILE_SHARE", "6"))
ADDRESS_SPACE = 2_000_000_000
"""Bytes that reading may take beyond what the process has before."""
PROCESSOR_SECONDS = 30.0
"""Of the process's own, for one variant: a busy machine is no fault of a file."""
WALL_SECONDS = 600.0
"""For one variant: a reader that waits, on a pipe say, takes no processor time."""


class Variant(NamedTuple):
    """One way in which a folder is not what it was."""

    name: str
    make: Callable[[Path], None]
    """Changes a copy of the folder."""
    refused: bool
    """It has to be; else it may be read, if the numbers are sound."""


def variants(folder: Path, canary: Path) -> Iterator[Variant]:
    """Hostile variants of the SAE in `folder`.

    Args:
        folder: of a sound SAE.
        canary: a file that appears if code in a file is run.
    """
    files = sorted(file for file in folder.iterdir() if file.is_file())
    for file in files:
        start = file.read_bytes()[:4]
        if file.suffix == ".json":
            yield from _settings(file)
        elif start == b"PK\x03\x04" and file.suffix == ".npz":
            yield from _arrays(file)
        elif start == b"PK\x03\x04" or start[:1] == b"\x80":
            yield from _torch(file, canary)
        else:
            yield from _safetensors(file)
        yield from _places(file)
    weights = [file for file in files if file.suffix != ".json"]
    yield Variant("a folder of many files", lambda f: [(f / f"{n}.txt").touch() for n in range(1001)] and None, True)
    for file in weights:
        yield from _cut(file)


def _put(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(content) and None


def _cut(file: Path) -> Iterator[Variant]:
    whole = file.read_bytes()
    for end in sorted({0, 1, 4, 8, 9, 30, 64, *(len(whole) * n // 12 for n in range(1, 12)), len(whole) - 1}):
        yield Variant(f"{file.name} cut after {end} bytes", _put(file.name, whole[:end]), True)


def _places(file: Path) -> Iterator[Variant]:
    """Things that are no file, and links."""

    def instead(make: Callable[[Path], None]) -> Callable[[Path], None]:
        def change(folder: Path) -> None:
            (folder / file.name).unlink()
            make(folder / file.name)

        return change

    weights = file.suffix != ".json"
    yield Variant(f"{file.name} is a pipe", instead(os.mkfifo), weights)
    yield Variant(f"{file.name} is a folder", instead(os.mkdir), weights)
    yield Variant(f"{file.name} is /dev/zero", instead(lambda path: path.symlink_to("/dev/zero")), weights)
    yield Variant(f"{file.name} is a link to itself", instead(lambda path: path.symlink_to(path.name)), weights)
    yield Variant(f"{file.name} is a link to nothing", instead(lambda path: path.symlink_to("nothing")), weights)
    yield Variant(f"{file.name} is a list of users", instead(lambda path: path.symlink_to("/etc/passwd")), weights)
    if not weights:
        data = Path(__file__).parents[1] / "sae" / "formats" / "data"
        other = next(iter(sorted(data.rglob("*.json"))))
        yield Variant(
            f"{file.name} is a link to settings elsewhere", instead(lambda path: path.symlink_to(other)), False
        )


WEIGHTS = ("W_enc", "W_dec", "encoder.weight", "decoder.weight")
STRANGE: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1 << 31,
    1 << 63,
    10**400,
    1e308,
    float("nan"),
    float("inf"),
    "\x1b]0;x\x07\x1b[2J\u202e",
    "!" * 100_000 + "a",
    [[]] * 3,
    {"a": {"b": []}},
    json.loads("[" * 90 + "]" * 90),
)


def _settings(file: Path) -> Iterator[Variant]:
    content = json.loads(file.read_text())
    as_text = file.read_text()
    wholly = {
        "nothing": b"",
        "a list": b"[]",
        "half": as_text[: len(as_text) // 2].encode(),
        "endless dicts": b'{"a":' * 100_000,
        "endless lists": b'{"a":' + b"[" * 200_000,
        "deep lists": b'{"a":' + b"[" * 900 + b"]" * 900 + b"}",
        "not UTF-8": b'{"a": "\xff"}',
        "a mark of byte order": b"\xef\xbb\xbf" + as_text.encode(),
        "UTF-16": as_text.encode("utf-16"),
        "zeros": bytes(1000),
        "a name twice": b'{"a": 1, "a": 2}',
        "a million digits": b'{"a": ' + b"9" * 1_000_000 + b"}",
        "half a surrogate": b'{"a": "\\ud800"}',
        "5 MB": b'{"a": "' + b"x" * 5_000_000 + b'"}',
    }
    for name, data in wholly.items():
        yield Variant(f"{file.name} is {name}", _put(file.name, data), False)
    if not isinstance(content, dict):
        return
    for key in content:
        without = {other: value for other, value in content.items() if other != key}
        yield Variant(f"{file.name} without {key}", _put(file.name, json.dumps(without).encode()), False)
        for number, value in enumerate(STRANGE):
            data = json.dumps({**content, key: value}).encode()
            yield Variant(f"{file.name} with strange {key} ({number})", _put(file.name, data), False)


def _safetensors(file: Path) -> Iterator[Variant]:
    whole = file.read_bytes()
    length = struct.unpack("<Q", whole[:8])[0]
    header, body = json.loads(whole[8 : 8 + length]), whole[8 + length :]
    names = [name for name in header if name != "__metadata__"]

    def made(content: Any, data: bytes = body) -> Callable[[Path], None]:
        text = content if isinstance(content, bytes) else json.dumps(content).encode()
        return _put(file.name, struct.pack("<Q", len(text)) + text + data)

    for claimed in (0, 1, length - 1, length + 1, 1 << 20, 1 << 39, (1 << 63) - 1, (1 << 64) - 1):
        yield Variant(
            f"{file.name} with a header of {claimed}", _put(file.name, struct.pack("<Q", claimed) + whole[8:]), True
        )
    yield Variant(f"{file.name} goes on", _put(file.name, whole + bytes(64)), True)
    yield Variant(f"{file.name} of endless dicts", made(b'{"a":' * 100_000), True)
    yield Variant(f"{file.name} of endless lists", made(b"{" + b"[" * 200_000), True)
    yield Variant(f"{file.name} of many small lists", made(b'{"a":[' + b"[]," * 300_000 + b"[]]}"), True)
    yield Variant(f"{file.name} of metadata that is none", made({**header, "__metadata__": {"format": ["pt"]}}), True)
    yield Variant(f"{file.name} of 5 MB of metadata", made({**header, "__metadata__": {"x": "y" * 5_000_000}}), True)
    twice = json.dumps(header)[:-1] + f', "{names[0]}": {json.dumps(header[names[0]])}}}'
    yield Variant(f"{file.name} with a name twice", made(twice.encode()), True)
    more = {"dtype": "F32", "shape": [0], "data_offsets": [len(body), len(body)]}
    yield Variant(f"{file.name} with a tensor more", made({**header, "\x1b[2J": more}), False)
    for name in names:
        entry = header[name]
        without = {other: value for other, value in header.items() if other != name}
        yield Variant(f"{file.name} without {name}", made(without), name in WEIGHTS)
        first, last = entry["data_offsets"]
        changes: dict[str, dict[str, Any]] = {
            f"shape {shape}": {"shape": shape}
            for shape in (
                [1 << 40, 1 << 40], [1 << 32, 1 << 32], [-4], [True], [2.0], "4", None, [1] * 64, [0], [[4]], [10**400],
                [1 << 63, 2],
            )
        }  # fmt: skip
        kinds = ("F8_E4M3", "C64", "U64", "BOOL", "F4", "f32", "", 3, None, ["F32"], "F32\x1b[2J")
        changes |= {f"type {kind!r}": {"dtype": kind} for kind in kinds}
        changes |= {
            f"offsets {offsets}": {"data_offsets": offsets}
            for offsets in (
                [last, first],
                [first + 1, last + 1],
                [0, 1 << 60],
                [-4, 0],
                [first],
                "08",
                [first, last, 0],
            )
            if offsets != entry["data_offsets"]
        }
        for what, change in changes.items():
            yield Variant(f"{file.name}: {name} of {what}", made({**header, name: {**entry, **change}}), True)
        if last - first >= 8 and entry["dtype"] == "F32":
            for what, bits in (("NaN", b"\0\0\xc0\x7f"), ("Inf", b"\0\0\x80\x7f")):
                data = body[:first] + bits + body[first + 4 :]
                yield Variant(f"{file.name}: {name} with {what}", made(header, data), name in WEIGHTS)
            tiny = body[:first] + b"\1\0\0\0" * ((last - first) // 4) + body[last:]
            yield Variant(f"{file.name}: {name} of denormal numbers", made(header, tiny), False)


def _torch(file: Path, canary: Path) -> Iterator[Variant]:
    whole = file.read_bytes()
    bad = pickles.bombs(f"touch {canary}")
    zipped = whole[:4] == b"PK\x03\x04"
    for name, pickle in bad.items():
        if zipped:
            yield Variant(f"{file.name}: {name}", _put(file.name, pickles.in_zip(pickle)), True)
        else:
            yield Variant(f"{file.name}: {name}", _put(file.name, pickles.in_row(pickle)), True)
            yield Variant(f"{file.name}, bare: {name}", _put(file.name, pickle), True)
    fine = pickles.state(x=pickles.tensor(4))
    rows = {
        "keys of another kind": pickles.in_row(fine, keys=b"K\x01"),
        "keys of nothing": pickles.in_row(fine, keys=b"](" + pickles.text("1") + b"e"),
        "keys twice": pickles.in_row(fine, keys=b"](" + pickles.text("0") * 2 + b"e"),
        "a size that lies": pickles.in_row(fine, body=struct.pack("<q", 1 << 60) + bytes(16)),
        "a size below nothing": pickles.in_row(fine, body=struct.pack("<q", -1) + bytes(16)),
        "no numbers": pickles.in_row(fine, body=b""),
        "too few numbers": pickles.in_row(fine, body=struct.pack("<q", 4) + bytes(15)),
    }
    zips = {
        "a bomb": pickles.in_zip(fine, {"data/1": bytes(50_000_000)}, compression=zipfile.ZIP_DEFLATED),
        "many entries": pickles.in_zip(fine, {f"x/{n}": b"" for n in range(60_000)}),
        "of the other order of bytes": pickles.in_zip(fine, {"byteorder": b"big"}),
        "an order of bytes that is none": pickles.in_zip(fine, {"byteorder": b"x" * 100_000}),
        "too large a pickle": pickles.in_zip(pickles.whole(b"N" * 5_000_000)),
        "a program": pickles.in_zip(fine, {"constants.pkl": pickles.whole(b")"), "code/__torch__.py": b"import os"}),
        "two pickles": _zip({"a/data.pkl": fine, "b/data.pkl": fine, "a/data/0": bytes(16)}),
        "numbers too few": pickles.in_zip(fine, {"data/0": bytes(8)}),
        "numbers too many": pickles.in_zip(fine, {"data/0": bytes(32)}),
        "not a torch file": _zip({"a/b.txt": b"x"}),
        "nothing": _zip({}),
    }  # fmt: skip
    for name, data in (zips if zipped else rows).items():
        yield Variant(f"{file.name} is {name}", _put(file.name, data), True)
    if zipped:
        at = whole.find(b"PK\x01\x02")
        end = whole.rfind(b"PK\x05\x06")
        patches = {
            "an entry that is encrypted": (at + 8, b"\x01"),
            "an entry of 4 GB": (at + 24, b"\xfe\xff\xff\xff"),
            "an entry of 4 GB, twice said": (at + 20, b"\xfe\xff\xff\xff\xfe\xff\xff\xff"),
            "an entry that is elsewhere": (at + 42, b"\x10\x27\0\0"),
            "an entry that is packed": (at + 10, b"\x08"),
            "a directory of 4 GB": (end + 12, b"\xfe\xff\xff\xff"),
            "a directory elsewhere": (end + 16, b"\x01\0\0\0"),
            "65,535 entries": (end + 8, b"\xff\xff\xff\xff"),
        }
        for name, (place, data) in patches.items():
            changed = whole[:place] + data + whole[place + len(data) :]
            yield Variant(f"{file.name} with {name}", _put(file.name, changed), name.startswith("an entry"))


def _zip(entries: dict[str, bytes]) -> bytes:
    import io

    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return file.getvalue()


def _arrays(file: Path) -> Iterator[Variant]:
    import io

    with zipfile.ZipFile(file) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}

    def packed(changed: dict[str, bytes]) -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in changed.items():
                archive.writestr(name, content)
        return out.getvalue()

    def header(text: str) -> bytes:
        return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()

    headers = {
        "objects": header("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}") + b"\x80\x02N.",
        "2^60 numbers": header("{'descr': '<f4', 'fortran_order': False, 'shape': (1152921504606846976,)}"),
        "a negative shape": header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 4)}"),
        "code": header("{'descr': __import__('os'), 'fortran_order': False, 'shape': ()}"),
        "endless brackets": header("(" * 9000),
        "complex numbers": header("{'descr': '<c8', 'fortran_order': False, 'shape': (1,)}") + bytes(8),
        "records": header("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}") + bytes(4),
        "nothing": b"",
        "zeros by the GB": header("{'descr': '<f4', 'fortran_order': False, 'shape': (12500000,)}") + bytes(50_000_000),
    }
    for name in list(entries)[:2]:
        for what, content in headers.items():
            yield Variant(f"{file.name}: {name} of {what}", _put(file.name, packed({**entries, name: content})), True)
        yield Variant(
            f"{file.name} without {name}",
            _put(file.name, packed({other: data for other, data in entries.items() if other != name})),
            False,
        )


def sources(work: Path) -> dict[str, Path]:
    """A folder with a sound SAE for each fixture, and for each way to write one that needs no other library."""
    import torch
    from fixtures import FIXTURES, fixture
    from make import make_sae

    found = {name: fixture(name, work) for name in FIXTURES}
    for kind in ("jumprelu", "batchtopk-threshold"):
        sae = make_sae(kind, d=6, F=9)
        sae.info = {"layer": 3, "of": ["a", 1.5]}
        found[f"native-{kind}"] = work / f"native-{kind}"
        sae.save(found[f"native-{kind}"] / "sae.safetensors")
    state = {
        "encoder.weight": torch.randn(9, 6),
        "encoder.bias": torch.randn(9),
        "decoder.weight": torch.randn(6, 9),
        "b_dec": torch.randn(6),
        "k": torch.tensor(3),
        "threshold": torch.tensor(0.4),
    }
    for name, new in (("audiosae-made", True), ("audiosae-long-ago", False)):
        found[name] = work / name
        found[name].mkdir()
        torch.save(state, found[name] / "ae.pt", _use_new_zipfile_serialization=new)
        (found[name] / "config.json").write_text(json.dumps({"activation_dim": 6, "dict_size": 9, "k": 3}))
    return found


def outcome(folder: Path) -> str:
    """`refused: …` with an error of this package, `read`, or what went wrong."""
    import warnings

    import torch

    from audiosae_steer import AudioSAESteerError, load_sae

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            sae = load_sae(folder)
    except AudioSAESteerError as error:
        said = str(error)
        clean = len(said) < 5000 and not any(character in said for character in "\x1b\x07\u202e")
        return f"refused: {said[:300]}" if clean else "not fit to print"
    except BaseException as error:  # what must not happen
        return f"{type(error).__name__}: {str(error)[:300]}"
    tensors = [tensor for tensor in (sae.W_enc, sae.b_enc, sae.W_dec, sae.b_dec, sae.threshold) if tensor is not None]
    return "read" if all(bool(torch.isfinite(tensor.float()).all()) for tensor in tensors) else "read with NaN"


@contextmanager
def limits(processor: float = PROCESSOR_SECONDS, wall: float = WALL_SECONDS) -> Iterator[None]:
    """End this process where what is within takes longer: by SIGPROF, or by SIGALRM."""
    import signal

    timers = {signal.ITIMER_PROF: (signal.SIGPROF, processor), signal.ITIMER_REAL: (signal.SIGALRM, wall)}
    for timer, (number, seconds) in timers.items():
        signal.signal(number, signal.SIG_DFL)  # which ends it even where the interpreter does not get to run
        signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        for timer in timers:
            signal.setitimer(timer, 0)


def main() -> None:
    """Read everything."""
    import resource

    work = Path(sys.argv[1])
    elsewhere, canary = work / "elsewhere", work / "canary"
    elsewhere.mkdir()
    os.chdir(elsewhere)
    found = sources(work / "sound")
    for folder in found.values():
        outcome(folder)  # everything is imported, and the limit is for what files take
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else None
    if pages is not None:
        limit = pages * resource.getpagesize() + ADDRESS_SPACE
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    seen: Counter[str] = Counter()
    for name, folder in found.items():
        kind = name.split("-")[0]
        chosen = list(variants(folder, canary))
        if SHARE > 1:  # of each fixture others; a quarter of all of a format's first
            step = 4 * SHARE if seen[kind] else 4
            chosen = chosen[seen[kind] % step :: step]
        seen[kind] += 1
        for variant in [Variant("as it is", lambda _: None, False), *chosen]:
            copy = work / "hostile" / name
            shutil.copytree(folder, copy)
            variant.make(copy)
            sys.stdout.write(json.dumps({"fixture": name, "variant": variant.name, "refused": variant.refused}) + "\n")
            sys.stdout.flush()
            began = time.monotonic()
            with limits():
                came = outcome(copy)
            if canary.exists() or any(elsewhere.iterdir()):
                came = "code ran"
                canary.unlink(missing_ok=True)
            sys.stdout.write(json.dumps({"outcome": came, "seconds": round(time.monotonic() - began, 3)}) + "\n")
            sys.stdout.flush()
            shutil.rmtree(copy)


if __name__ == "__main__":
    main()
