"""Untrusted pickles, read as data: an interpreter of what `torch.save` writes that calls nothing it is told to.

The unpickler behind `torch.load(weights_only=True)` runs no code either, but calls whatever it lists as safe with the
file's own arguments: forty bytes make it fill all memory (`bytearray(10**11)`) or never return (a nested tuple as a
key, whose hash takes 2^40 steps). Here a pickle yields plain values and descriptions of tensors, and costs no more
than its length. The interpreter stays in one file, longer than others here: its limits hold across all opcodes, and are
to be reviewed together.
"""

from __future__ import annotations

import math
import pickle
import struct
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor

# bounds of this package, each far above what a state dict takes, whose pickle has a few dozen opcodes for each tensor
MAX_BYTES = 4_000_000
"""Of a pickle, without the numbers of its tensors."""
MAX_STEPS = 100_000
"""Opcodes; and values in the result, some of which a pickle may name many times."""
MAX_DEPTH = 32
"""Of dicts and lists in one another; functions that walk through the result call themselves for each."""
_LONGEST = 1 << 48
"""Numbers in one storage: as many as a petabyte of float32 holds."""

_DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
        torch.uint8, torch.bool,
    )
}  # fmt: skip
_STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_CALLS = (
    "collections.OrderedDict",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_parameter",
    "torch.Size",
    "torch.device",
    "_codecs.encode",
    "__builtin__.set",
    "builtins.set",
)


class Storage(NamedTuple):
    """Numbers that lie elsewhere in the file."""

    key: str
    dtype: torch.dtype
    numel: int
    """Number of elements."""


class Stored(NamedTuple):
    """A tensor: a view of a storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class Unpickled(NamedTuple):
    """Content of a pickle."""

    value: Any
    """None, bool, int, float, str, bytes, dtypes, tensors, stand-ins, and tuples, lists, sets and dicts of these."""
    storages: dict[str, Storage]
    """The storages that its tensors lie in, by key."""
    end: int
    """Position after it in the data."""


def without_numbers(stored: Stored) -> Tensor:
    """A tensor on the device `meta`, which has a shape and a dtype and takes no memory."""
    return torch.empty(stored.shape, dtype=stored.storage.dtype, device="meta")


def unpickle(
    data: bytes,
    start: int = 0,
    *,
    make: Callable[[Stored], Tensor] = without_numbers,
    stand_ins: Iterable[type] = (),
) -> Unpickled:
    """The pickle that begins at `start`.

    Args:
        data: the file, or part of it.
        start: where the pickle begins.
        make: what becomes of a tensor's description.
        stand_ins: classes of this package to take for those of the same module and name that the pickle asks for;
            they are made from, and given as their state, whatever is in the file.

    Raises:
        ValueError: it is damaged, too large, would call anything else, or holds tensors that are not plain ones.
    """
    reader = _Reader(data, start, make, stand_ins)
    try:
        value = reader.run()
    except (IndexError, KeyError, TypeError, RuntimeError, struct.error) as error:
        raise ValueError(f"the pickle in it is damaged ({type(error).__name__})") from error
    _check_size(value, reader.stand_ins)
    return Unpickled(value, reader.storages, reader.at)


class _Call(NamedTuple):
    name: str


class _StorageType(NamedTuple):
    dtype: torch.dtype


class _Reader:
    def __init__(self, data: bytes, start: int, make: Callable[[Stored], Tensor], stand_ins: Iterable[type]) -> None:
        self.data, self.at, self.make = data, start, make
        self.stand_ins = {f"{each.__module__}.{each.__qualname__}": each for each in stand_ins}
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, Storage] = {}
        self.left = MAX_BYTES

    def run(self) -> Any:
        for _ in range(MAX_STEPS):
            code = self.take(1)
            if code == pickle.STOP:
                return self.stack.pop()
            step = _STEPS.get(code)
            if step is None:
                raise ValueError(f"its pickle has the operation {code!r}, which no tensors need")
            step(self)
        raise ValueError(f"its pickle takes more than {MAX_STEPS:,} steps, which no state dict does")

    def take(self, count: int) -> bytes:
        if count > len(self.data) - self.at:
            raise ValueError("the pickle in it is cut off, or too large")
        taken = self.data[self.at : self.at + count]
        self.at += count
        return taken

    def spend(self, count: int) -> None:
        """Account for what a step copies of something that is there once and may be asked for often."""
        self.left -= count
        if self.left < 0:
            raise ValueError("it holds more values than a state dict does")

    def number(self, code: str) -> Any:
        return struct.unpack(code, self.take(struct.calcsize(code)))[0]

    def line(self) -> str:
        end = self.data.find(b"\n", self.at, self.at + 200)
        if end < 0:
            raise ValueError("the pickle in it is damaged (a name without an end)")
        text = self.data[self.at : end].decode()
        self.at = end + 1
        return text

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.marks.pop()
        return items

    def mark(self) -> None:
        self.marks.append(self.stack)
        self.stack = []

    def protocol(self) -> None:
        self.take(1)

    def name(self) -> None:
        module, name = self.line(), self.line()
        full = f"{module}.{name}"
        if full in self.stand_ins:
            self.push(self.stand_ins[full])
        elif module in ("torch", "torch.cuda") and name in _STORAGES:
            self.push(_StorageType(_STORAGES[name]))
        elif module == "torch" and name in _DTYPES:
            self.push(_DTYPES[name])
        elif full in _CALLS:
            self.push(_Call(full))
        elif full.startswith(("torch._utils._rebuild", "torch._tensor._rebuild", "torch.")):
            raise ValueError(f"it holds {full}, which is no plain tensor of numbers")
        else:
            raise ValueError(f"it would call {full}")

    def reduce(self) -> None:
        arguments, call = self.stack.pop(), self.stack.pop()
        if type(arguments) is not tuple:
            raise ValueError("its pickle has arguments that are no tuple")
        self.spend(len(arguments))
        if isinstance(call, type):  # a stand-in, since no other classes get here
            self.push(call(*arguments))
        elif type(call) is _Call:
            self.push(self.called(call.name, arguments))
        else:
            raise ValueError("it would call what is no function")

    def new(self) -> None:
        arguments, kind = self.stack.pop(), self.stack.pop()
        if not isinstance(kind, type) or type(arguments) is not tuple:
            raise ValueError("it would make an object of a class that tensors do not need")
        self.spend(len(arguments))
        self.push(kind.__new__(kind, *arguments))

    def called(self, name: str, arguments: tuple[Any, ...]) -> Any:
        if name == "torch._utils._rebuild_tensor_v2":
            return self.make(_stored(*arguments))
        if name == "torch._utils._rebuild_parameter" and isinstance(arguments[0], Tensor):
            return arguments[0]
        if name == "collections.OrderedDict" and arguments == ():
            return {}
        if name == "torch.Size" and len(arguments) == 1:
            return _sizes(arguments[0])
        if name == "torch.device" and arguments and type(arguments[0]) is str:
            self.spend(len(arguments[0]))
            return ":".join((arguments[0], *(str(part) for part in arguments[1:2] if type(part) is int)))
        if name == "_codecs.encode" and len(arguments) == 2 and type(arguments[0]) is str and arguments[1] == "latin1":
            self.spend(len(arguments[0]))
            return arguments[0].encode("latin1")
        if name.endswith(".set") and (not arguments or type(arguments[0]) is list):
            keys = arguments[0] if arguments else []
            self.spend(32 * len(keys))
            _check_keys(keys)
            return set(keys)
        raise ValueError(f"it would call {name} with other arguments than torch.save writes")

    def build(self) -> None:
        state = self.stack.pop()
        if type(self.stack[-1]) in self.stand_ins.values():
            self.stack[-1].__setstate__(state)
        elif type(self.stack[-1]) is not dict:  # an OrderedDict's attributes, of which a state dict has `_metadata`
            raise ValueError("it sets attributes of what is no state dict")

    def persistent(self) -> None:
        kind, storage_type, key, _, count, *view = self.stack.pop()
        if kind not in ("storage", b"storage") or type(storage_type) is not _StorageType or any(view):
            raise ValueError("it holds a storage that is no plain one")
        if type(key) is not str or type(count) is not int or not 0 <= count < _LONGEST:
            raise ValueError("its description of a storage is malformed")
        storage = Storage(key, storage_type.dtype, count)
        if self.storages.setdefault(key, storage) != storage:
            raise ValueError(f"it describes the storage {key!r} in two ways")
        self.push(storage)

    def tuple_of(self, count: int) -> None:
        if len(self.stack) < count:
            raise IndexError
        self.stack[-count:] = [tuple(self.stack[-count:])]

    def extend(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise ValueError("it appends to what is no list")
        self.stack[-1].extend(items)

    def set_items(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not dict or len(items) % 2:
            raise ValueError("it sets items of what is no dict")
        _check_keys(items[::2])
        self.stack[-1].update(zip(items[::2], items[1::2], strict=True))

    def text(self) -> None:
        self.push(self.take(self.number("<I")).decode())

    def short_text(self) -> None:
        self.push(self.take(self.number("B")).decode())

    def long(self) -> None:
        count = self.number("B")
        if count > 10:
            raise ValueError("it holds a whole number of more than 80 bits")
        self.push(int.from_bytes(self.take(count), "little", signed=True))


_STEPS: dict[bytes, Callable[[_Reader], None]] = {
    pickle.PROTO: _Reader.protocol,
    pickle.MARK: _Reader.mark,
    pickle.GLOBAL: _Reader.name,
    pickle.REDUCE: _Reader.reduce,
    pickle.NEWOBJ: _Reader.new,
    pickle.BUILD: _Reader.build,
    pickle.BINPERSID: _Reader.persistent,
    pickle.TUPLE: lambda r: r.push(tuple(r.pop_mark())),
    pickle.TUPLE1: lambda r: r.tuple_of(1),
    pickle.TUPLE2: lambda r: r.tuple_of(2),
    pickle.TUPLE3: lambda r: r.tuple_of(3),
    pickle.EMPTY_TUPLE: lambda r: r.push(()),
    pickle.EMPTY_LIST: lambda r: r.push([]),
    pickle.EMPTY_DICT: lambda r: r.push({}),
    pickle.APPEND: lambda r: r.extend([r.stack.pop()]),
    pickle.APPENDS: lambda r: r.extend(r.pop_mark()),
    pickle.SETITEM: lambda r: r.set_items([r.stack.pop(), r.stack.pop()][::-1]),
    pickle.SETITEMS: lambda r: r.set_items(r.pop_mark()),
    pickle.NONE: lambda r: r.push(None),
    pickle.NEWTRUE: lambda r: r.push(True),
    pickle.NEWFALSE: lambda r: r.push(False),
    pickle.BININT: lambda r: r.push(r.number("<i")),
    pickle.BININT1: lambda r: r.push(r.number("B")),
    pickle.BININT2: lambda r: r.push(r.number("<H")),
    pickle.BINFLOAT: lambda r: r.push(r.number(">d")),
    pickle.BINUNICODE: _Reader.text,
    pickle.SHORT_BINSTRING: _Reader.short_text,
    pickle.LONG1: _Reader.long,
    pickle.BINPUT: lambda r: r.memo.__setitem__(r.number("B"), r.stack[-1]),
    pickle.LONG_BINPUT: lambda r: r.memo.__setitem__(r.number("<I"), r.stack[-1]),
    pickle.BINGET: lambda r: r.push(r.memo[r.number("B")]),
    pickle.LONG_BINGET: lambda r: r.push(r.memo[r.number("<I")]),
}


def _stored(
    storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any, hooks: Any, metadata: Any = None
) -> Stored:
    shape, strides = _sizes(size), _sizes(stride)
    if type(storage) is not Storage or type(offset) is not int or not 0 <= offset < _LONGEST:
        raise ValueError("its description of a tensor is malformed")
    if len(shape) != len(strides) or metadata:
        raise ValueError("it holds a tensor that is no plain tensor of numbers")
    elements = math.prod(shape)
    reached = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True)) + 1 if elements else 0
    if elements > storage.numel or reached > storage.numel:  # as by a stride of 0
        raise ValueError(f"a tensor claims shape {shape} but stores less; it is forged")
    return Stored(storage, offset, shape, strides)


def _sizes(sizes: Any) -> tuple[int, ...]:
    right = type(sizes) is tuple and len(sizes) < 9 and all(type(n) is int and 0 <= n < _LONGEST for n in sizes)
    if not right:
        raise ValueError("its description of a tensor's shape is malformed")
    plain: tuple[int, ...] = sizes
    return plain


def _check_keys(keys: list[Any]) -> None:
    for key in keys:
        if type(key) not in (str, int):  # whose hashes take no time
            raise ValueError(f"it has a {type(key).__name__} for a key")


def _check_size(value: Any, stand_ins: dict[str, type]) -> None:
    """Refuse what is small only because its parts are shared, and would be endless to walk through or to print."""
    kinds = tuple(stand_ins.values())
    waiting, steps = [value], 0
    for _ in range(MAX_DEPTH):
        deeper: list[Any] = []
        for each in waiting:
            if type(each) in (list, tuple):
                deeper += each
            elif type(each) is dict:
                deeper += each.values()
            elif type(each) in kinds:
                deeper += vars(each).values()
            elif type(each) in (_Call, _StorageType, Storage):
                raise ValueError("it holds functions or types where values belong")
            if len(deeper) > MAX_STEPS:
                break
        steps += len(deeper)
        if steps > MAX_STEPS:
            raise ValueError("it holds more values than a state dict does")
        if not deeper:
            return
        waiting = deeper
    raise ValueError("it is nested too deeply")
