"""Rows of an estimate, each of which says whether it was measured, assumed, or is arithmetic on the two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

Origin = Literal["measured", "assumed", "arithmetic"]
PREFIXES = ("", "k", "M", "G", "T", "P", "E")


class CostRow(NamedTuple):
    """A figure of an estimate."""

    origin: Origin
    what: str
    value: str
    """The figure with its unit."""
    how: str
    """Sample that it was measured on, or the formula."""


def cost_table(rows: Sequence[CostRow]) -> list[str]:
    """Lines of a table, the measured first, then the assumed, then arithmetic; each in the order given."""
    order: tuple[Origin, ...] = ("measured", "assumed", "arithmetic")
    ordered = [row for origin in order for row in rows if row.origin == origin]
    widths = [max((len(row[column]) for row in ordered), default=0) for column in range(3)]
    return [
        f"{row.origin:<{widths[0]}}  {row.what:<{widths[1]}}  {row.value:>{widths[2]}}  {row.how}".rstrip()
        for row in ordered
    ]


def in_bytes(count: float) -> str:
    """A number of bytes with a decimal prefix: 36 TB."""
    power = 0
    while count >= 1000 and power + 1 < len(PREFIXES):
        count, power = count / 1000, power + 1
    return f"{count:.3g} {PREFIXES[power]}B"


def in_figures(value: float) -> str:
    """A number with three digits that count, and commas: 2,480 or 0.0312."""
    if value >= 100:
        digits = len(str(int(value))) - 3
        return f"{round(value, -digits):,.0f}"
    return f"{value:.3g}"
