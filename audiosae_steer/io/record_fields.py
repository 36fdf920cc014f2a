"""Fields of records in the order in which people read them."""

from __future__ import annotations

import dataclasses
from typing import Any


def own_first(kind: type[Any]) -> list[dataclasses.Field[Any]]:
    """Fields of a dataclass, its own before those of its bases, which `dataclasses.fields` puts first."""
    inherited = {field.name for base in kind.__mro__[1:] if dataclasses.is_dataclass(base) for field in
                 dataclasses.fields(base)}  # fmt: skip
    return sorted(dataclasses.fields(kind), key=lambda field: field.name in inherited)
