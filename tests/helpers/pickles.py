"""Pickles that nobody should trust, as bytes, and the torch files that carry them."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping

MAGIC = 0x1950A86A20F9469CFC6C


def name(full: str) -> bytes:
    """The opcode that asks for a module's attribute."""
    module, _, attribute = full.rpartition(".")
    return b"c" + module.encode() + b"\n" + attribute.encode() + b"\n"


def text(value: str) -> bytes:
    """A string."""
    raw = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(raw)) + raw


def number(value: int) -> bytes:
    """A whole number of any size."""
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def numbers(*values: int) -> bytes:
    """A tuple of whole numbers."""
    return b"(" + b"".join(map(number, values)) + b"t"


def call(full: str, *arguments: bytes) -> bytes:
    """A call, as pickle's REDUCE makes it."""
    return name(full) + b"(" + b"".join(arguments) + b"tR"


def storage(key: str = "0", kind: str = "torch.FloatStorage", count: int = 4) -> bytes:
    """A reference to numbers that lie elsewhere in the file."""
    return b"(" + text("storage") + name(kind) + text(key) + text("cpu") + number(count) + b"tQ"


def tensor(
    *shape: int, of: bytes | None = None, offset: int = 0, stride: tuple[int, ...] | None = None, more: bytes = b""
) -> bytes:
    """A tensor of that shape."""
    strides = stride if stride is not None else (1,) * len(shape)
    hooks = call("collections.OrderedDict")
    return call(
        "torch._utils._rebuild_tensor_v2",
        storage() if of is None else of,
        number(offset),
        numbers(*shape),
        numbers(*strides),
        b"\x89",
        hooks,
        more,
    )


def whole(value: bytes) -> bytes:
    """A pickle of that value."""
    return b"\x80\x02" + value + b"."


def state(**values: bytes) -> bytes:
    """A pickle of a state dict."""
    return whole(b"}(" + b"".join(text(key.replace("__", ".")) + value for key, value in values.items()) + b"u")


def in_zip(pickle: bytes, more: Mapping[str, bytes] | None = None, **options: int) -> bytes:
    """A torch file of today with that pickle, and 16 bytes of numbers for the storage "0"."""
    entries = {"data.pkl": pickle, "byteorder": b"little", "data/0": bytes(16), "version": b"3\n", **(more or {})}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", options.get("compression", zipfile.ZIP_STORED)) as archive:
        for entry, content in entries.items():
            archive.writestr(f"ae/{entry}", content)
    return file.getvalue()


def in_row(
    pickle: bytes, keys: bytes = b"](" + text("0") + b"e", body: bytes = struct.pack("<q", 4) + bytes(16)
) -> bytes:
    """A torch file of long ago with that pickle."""
    system = b"}(" + text("protocol_version") + number(1001) + text("little_endian") + b"\x88u"
    return whole(number(MAGIC)) + whole(number(1001)) + whole(system) + pickle + whole(keys) + body


def doubled(start: bytes, times: int, pair: bytes) -> bytes:
    """A value each of whose two halves is the one before: 2^times of them, in a few bytes."""
    value = start + b"q\x00"
    for _ in range(times):
        value += pair + b"q\x00"
    return value


def bombs(command: str) -> dict[str, bytes]:
    """Pickles by name. Those that run code run `command` in a shell."""
    run = text(command)
    tuples = doubled(b")", 60, b"h\x00\x86")  # ((), ()) and so on: (x, x)
    lists = doubled(b"]", 60, b"]h\x00ah\x00a")
    fine = tensor(4, of=storage())
    keys = {"encoder__weight": fine, "decoder__weight": fine}
    bad: dict[str, bytes] = {
        "os.system": call("os.system", run),
        "posix.system": call("posix.system", run),
        "subprocess": call("subprocess.getoutput", run),
        "eval": call("builtins.eval", text(f"__import__('os').system({command!r})")),
        "eval of python 2": call("__builtin__.eval", text(f"__import__('os').system({command!r})")),
        "runpy": call("runpy._run_code", text(f"import os; os.system({command!r})"), b"}"),
        "torch.load": call("torch.storage._load_from_bytes", b"C\x00"),
        "torch.jit": call("torch.jit.load", text("/dev/zero")),
        "torch.hub": call("torch.hub.load", text("user/repo"), text("model")),
        "numpy": call("numpy.core.multiarray._reconstruct", name("numpy.ndarray"), numbers(0), text("b")),
        "getattr": call("builtins.getattr", name("os.path"), text("os")),
        "instance": b"(" + run + b"ios\nsystem\n",
        "object": b"(" + name("os.system") + run + b"o",
        "extension": b"\x82\x01",
        "bytes to fill memory": call("builtins.bytearray", number(10**11)),
        "tensor to fill memory": call("torch.Tensor", number(10**6), number(10**6)),
        "storage to fill memory": call("torch.FloatTensor", number(10**11)),
        "quantised to fill memory": call(
            "torch._utils._rebuild_qtensor",
            storage(),
            number(0),
            numbers(10**6, 10**6),
            numbers(1, 1),
            b"(" + name("torch.per_tensor_affine") + b"G" + struct.pack(">d", 1.0) + number(0) + b"t",
            b"\x89",
            call("collections.OrderedDict"),
        ),
        "copy to fill memory": call(
            "torch._utils._rebuild_device_tensor_from_cpu_tensor",
            tensor(10**6, 10**6, stride=(0, 0)),
            name("torch.float64"),
            text("cpu"),
            b"\x89",
        ),
        "counter": call("collections.Counter", text("aaa")),
        "sets of one list": b"](" + b"".join(b"M" + struct.pack("<H", n) for n in range(5000)) + b"eq\x00("
        + b"".join(name("builtins.set") + b"h\x00\x85R" for _ in range(5000)) + b"t",
        "copies of one string": text("x" * 1_000_000) + b"q\x00]("
        + b"".join(name("_codecs.encode") + b"h\x00" + text("latin1") + b"\x86R" for _ in range(2000)) + b"e",
        "a codec that takes squares": call("_codecs.encode", text("x" * 100_000), text("idna")),
        "a device of any length": call("torch.device", text("x" * 3_000_000)),
        "a key whose hash is endless": b"}" + tuples + b"Ns",
        "a value whose text is endless": lists,
        "a call of what has endless text": lists + b")R",
        "an object of what has endless text": lists + b")\x81",
        "nested without end": b"(" * 40_000 + b"t" * 40_000,
        "lists in lists": b"]" * 40_000 + b"a" * 39_999,
        "marks": b"(" * 110_000,
        "a list in itself": b"]q\x00h\x00a",
        "a dict in itself": b"}q\x00" + text("a") + b"h\x00s",
        "many values": b"](" + b"N" * 110_000 + b"e",
        "many dicts": b"](" + b"}" * 110_000 + b"e",
        "a string longer than the file": b"X\xff\xff\xff\x7fabc",
        "a string of 8 bytes of length": b"\x8d" + struct.pack("<Q", 1 << 60) + b"abc",
        "bytes of 8 bytes of length": b"\x8e" + struct.pack("<Q", 1 << 60) + b"abc",
        "a bytearray of 8 bytes of length": b"\x96" + struct.pack("<Q", 1 << 60),
        "a frame longer than the file": b"\x95" + struct.pack("<Q", 1 << 60),
        "a number of 255 bytes": b"\x8a\xff" + b"\x7f" * 255,
        "a number of many bytes": b"\x8b" + struct.pack("<I", 1 << 30),
        "digits": b"I" + b"9" * 100_000 + b"\n",
        "a memo far out": b"Nr\xff\xff\xff\xff",
        "a memo that is not there": b"h\x09",
        "an empty stack": b"",
        "a tuple of too little": b"\x87",
        "append to nothing": b"Na",
        "items of nothing": b"N(NNu",
        "an odd number of items": b"}(Nu",
        "state of a tensor": fine + b"}b",
        "state of a dict": b"}" + text("x") + b"b",
        "a storage alone": storage(),
        "a function alone": name("collections.OrderedDict"),
        "a number": number(3),
        "a list": b"]",
        "half a surrogate": b"}" + text("\ud800") + b"Ns",
        "text that is none": b"X\x02\0\0\0\xff\xfe",
        "a key of many kinds": b"}NNs",
    }  # fmt: skip
    torch_only = {
        "of a storage of 8 TB": tensor(4, of=storage(count=1 << 41)),
        "of a negative storage": tensor(4, of=storage(count=-4)),
        "of a storage of no number": tensor(4, of=b"(" + text("storage") + name("torch.FloatStorage") + b"NNNtQ"),
        "of a storage of complex numbers": tensor(2, of=storage(kind="torch.ComplexFloatStorage", count=2)),
        "of a quantised storage": tensor(4, of=storage(kind="torch.QInt8Storage")),
        "of an untyped storage": tensor(4, of=storage(kind="torch.storage.UntypedStorage")),
        "of a storage that is not there": tensor(4, of=storage(key="1")),
        "of a storage outside": tensor(4, of=storage(key="../../../etc/passwd")),
        "of one storage in two ways": call(
            "torch._utils._rebuild_parameter", tensor(4), storage(kind="torch.IntStorage"), b"\x89"
        ),
        "of more than its storage": tensor(5),
        "of 2^60 numbers": tensor(1 << 30, 1 << 30),
        "of a product that overflows": tensor(1 << 32, 1 << 32),
        "of a stride of 0": tensor(1 << 20, 1 << 20, stride=(0, 0)),
        "of a stride out of it": tensor(2, 2, stride=(1 << 40, 1)),
        "of a negative stride": tensor(2, stride=(-1,)),
        "of an offset out of it": tensor(4, offset=1 << 40),
        "of a negative offset": tensor(4, offset=-1),
        "of a negative shape": tensor(-4),
        "of a shape of text": call("torch._utils._rebuild_tensor_v2", storage(), number(0), text("4"), numbers(1)),
        "of many axes": tensor(*[1] * 100),
        "of too few strides": tensor(2, 2, stride=(1,)),
        "with a conjugate bit": tensor(4, more=b"}" + text("conj") + b"\x88s"),
        "on meta": call("torch._utils._rebuild_meta_tensor_no_storage", name("torch.float32"), numbers(1 << 40)),
        "sparse": call("torch._utils._rebuild_sparse_tensor", b"NN"),
        "of a layout": call("torch.serialization._get_layout", text("torch.sparse_coo")),
        "nested": call("torch._utils._rebuild_nested_tensor", b"NNNN"),
        "of a class of theirs": call("torch._tensor._rebuild_from_type_v2", name("torch.Tensor"), b"NN"),
        "that wraps": call("torch._utils._rebuild_wrapper_subclass", b"N"),
    }  # fmt: skip
    pickles = {each: whole(value) for each, value in bad.items()}
    pickles |= {f"{each}, as a value": state(**keys, k=value) for each, value in bad.items()}
    pickles |= {
        f"a tensor {each}": state(encoder__weight=value, decoder__weight=fine) for each, value in torch_only.items()
    }
    pickles["no end"] = b"\x80\x02}"
    pickles["another protocol"] = b"\x80\x04\x95\0\0\0\0\0\0\0\0}."
    pickles["nothing"] = b""
    return pickles
