"""Plans: the inputs of corpus work cut into units, with a digest of all that changes the output."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

from ...errors import WorkError
from ..strict_json import parse
from .unit_store import Store, steadily

PLAN = "plan.json"
"""Name of the plan in the folder of its output."""
FORMAT = 1
HOUR = 3600.0
"""Seconds of audio in a unit by default: what an interruption costs a worker at most."""
DIGITS = 12
"""Hex digits of the digest that are in the names of files."""


class Item(NamedTuple):
    """One input, such as a recording."""

    name: str
    """Its name, the same on every machine: its path below the source."""
    seconds: float
    """Its length, or an estimate; by it units are cut."""
    mark: str
    """Mark of its content: a sha256 or an etag, with its size."""


@dataclass(frozen=True)
class Plan:
    """Units of work, in order."""

    kind: str
    """Name of the work, such as "transcribe"."""
    settings: Mapping[str, Any]
    """All that changes the output beside the inputs, as JSON holds it."""
    items: tuple[Item, ...]
    """Inputs in the order of the units."""
    sizes: tuple[int, ...]
    """Number of inputs of each unit."""
    source: str = ""
    """Place of the inputs; not in the digest, since data may move."""
    _starts: tuple[int, ...] = field(init=False, repr=False, compare=False)
    _digest: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        starts = (0, *accumulate(self.sizes))
        if starts[-1] != len(self.items) or not all(size > 0 for size in self.sizes):
            raise WorkError(f"the units hold {starts[-1]} inputs, and there are {len(self.items)}; make the plan anew")
        object.__setattr__(self, "_starts", starts)
        object.__setattr__(self, "_digest", hashlib.sha256(_canonical(self._content()).encode()).hexdigest())

    @classmethod
    def of(
        cls, kind: str, settings: Mapping[str, Any], items: Iterable[Item], *, seconds: float = HOUR, source: str = ""
    ) -> Plan:
        """A plan of inputs in any order: sorted by name, and cut where a unit would be longer than so many seconds.

        Args:
            kind: name of the work.
            settings: all that changes the output beside the inputs.
            items: the inputs; an input that is longer than a unit is a unit of its own.
            seconds: of audio in a unit, at most.
            source: place of the inputs.

        Raises:
            WorkError: there are no inputs, two are of one name, a unit has no length, or the source holds a password.
        """
        ordered = tuple(sorted(items))
        if not ordered:
            raise WorkError("there is nothing to work on; name a folder or a place with at least one recording")
        for one, other in pairwise(ordered):
            if one.name == other.name:
                raise WorkError(f"{one.name} is there twice; name each folder once")
        if not seconds > 0:
            raise WorkError(f"a unit of {seconds:g} seconds holds nothing; expected a number above 0, such as 3600")
        if re.match(r"\w+://[^/]*@", source) and not source.startswith("hf://"):
            raise WorkError("the place of the audio holds a user or password, which plans never do; set the "
                            "environment variables of that service instead")  # fmt: skip
        sizes, length = [0], 0.0
        for item in ordered:
            if sizes[-1] and length + item.seconds > seconds:
                sizes.append(0)
                length = 0.0
            sizes[-1] += 1
            length += item.seconds
        return cls(kind, json.loads(_canonical(dict(settings))), ordered, tuple(sizes), source)

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def digest(self) -> str:
        """sha256, in hex, of all that changes the output: kind, settings, inputs, and how they are cut."""
        return self._digest

    def unit(self, number: int) -> tuple[Item, ...]:
        """Inputs of a unit, counted from 0."""
        return self.items[self._starts[number] : self._starts[number + 1]]

    def stem(self, number: int) -> str:
        """Name of a unit's files without folder and ending: its number and the digest."""
        return f"{number:06d}-{self.digest[:DIGITS]}"

    def to_json(self) -> str:
        """The plan as a file; columns rather than rows, since a corpus has millions."""
        return json.dumps({"format": FORMAT, "digest": self.digest, "source": self.source, **self._content()},
                          indent=1, ensure_ascii=False) + "\n"  # fmt: skip

    @classmethod
    def from_json(cls, text: str | bytes, name: str = PLAN) -> Plan:
        """A plan from its file.

        Raises:
            WorkError: it is no plan, of another format, or damaged.
        """
        try:
            content = parse(text)
            if content["format"] != FORMAT:
                raise WorkError(f"{name} is a plan of another format; make it anew with this version")
            columns = content["items"]
            items = tuple(map(Item, columns["name"], columns["seconds"], columns["mark"]))
            plan = cls(content["kind"], content["settings"], items, tuple(content["units"]), content["source"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise WorkError(f"{name} is no plan that can be read ({error}); make it anew") from error
        if plan.digest != content["digest"]:
            raise WorkError(f"{name} was changed or damaged: its digest is not that of its content; make it anew")
        return plan

    def _content(self) -> dict[str, Any]:
        columns = {name: [getattr(item, name) for item in self.items] for name in Item._fields}
        return {"kind": self.kind, "settings": dict(self.settings), "items": columns, "units": list(self.sizes)}


def differences(one: Plan, other: Plan) -> str:
    """A phrase on what differs between the plan in a folder and another: settings by name, inputs, units."""
    found = [] if one.kind == other.kind else [f"the work ({one.kind}, not {other.kind})"]
    for name in sorted({*one.settings, *other.settings}):
        kept, new = (each.settings.get(name) for each in (one, other))
        if kept != new:
            found.append(f"{name} ({_short(kept)}, not {_short(new)})")
    before, now = ({item.name: item for item in each.items} for each in (one, other))
    gone, more = before.keys() - now.keys(), now.keys() - before.keys()
    changed = sorted(name for name in before.keys() & now.keys() if before[name].mark != now[name].mark)
    for names, what in ((sorted(gone), "gone"), (sorted(more), "new"), (changed, "changed")):
        if names:
            found.append(f"{len(names)} recordings that are {what} (such as {names[0]})")
    if not found:
        found.append(f"how recordings are cut into units ({len(one)} units, not {len(other)}), or their lengths")
    return ", ".join(found)


def claim(store: Store, plan: Plan) -> None:
    """Note in a folder what its output is of; drivers that start at once agree on one plan.

    Raises:
        WorkError: it holds output of another plan, with what differs; or other files, or cannot be written.
    """
    steadily(lambda: _claim(store, plan))


def _claim(store: Store, plan: Plan) -> None:
    if not store.has(PLAN):
        if store.names(""):
            raise WorkError(f"{store} holds other files, which are left unchanged; name a new folder")
        store.put(PLAN, plan.to_json().encode())
    kept = read_plan(store)
    if kept.digest != plan.digest:
        raise WorkError(
            f"{store} holds output of another plan: other are {differences(kept, plan)}; name another folder, or go on "
            "with the same settings"
        )


def read_plan(store: Store) -> Plan:
    """The plan of a folder. WorkError: there is none, or it is damaged."""
    try:
        content = store.read(PLAN)
    except FileNotFoundError as error:
        raise WorkError(f"there is no {PLAN} in {store}; expected the output of a command with --engine") from error
    return Plan.from_json(content, f"{store}/{PLAN}")


def _canonical(content: Mapping[str, Any]) -> str:
    return json.dumps(content, sort_keys=True, ensure_ascii=True, separators=(",", ":"), allow_nan=False)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 24 else f"{text[:16]}…"


def share(numbers: Sequence[int], part: tuple[int, int]) -> list[int]:
    """The numbers of one part of several, such as (3, 8). WorkError: there is no such part."""
    own, parts = part
    if not 1 <= own <= parts:
        raise WorkError(f"part {own}/{parts} does not exist; expected 1/{parts} to {parts}/{parts}")
    return [number for number in numbers if number % parts == own - 1]
