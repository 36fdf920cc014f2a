"""Differences of two texts, word by word."""

from __future__ import annotations

from difflib import SequenceMatcher
from typing import Literal, NamedTuple

MOST = 4000
"""Words of a text that are compared; comparing takes time in proportion to the product of both numbers."""


class Stretch(NamedTuple):
    """Words that follow each other, and whether both texts have them."""

    kind: Literal["same", "gone", "new"]
    words: str


def word_diff(before: str, after: str) -> list[Stretch]:
    """The stretches of words that both texts have, that only the first has, and that only the second has, in order.

    Words are what is between white space; they are the same if they are letter by letter.
    """
    old, new = before.split(), after.split()
    if len(old) > MOST or len(new) > MOST:
        return _kept([Stretch("gone", before), Stretch("new", after)] if old != new else [Stretch("same", after)])
    found: list[Stretch] = []
    for kind, a, b, c, d in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            found.append(Stretch("same", " ".join(new[c:d])))
        else:
            found += [Stretch("gone", " ".join(old[a:b])), Stretch("new", " ".join(new[c:d]))]
    return _kept(found)


def _kept(found: list[Stretch]) -> list[Stretch]:
    return [each for each in found if each.words]
