"""Two texts as one, word by word: what stayed, what went, what came."""

from __future__ import annotations

from difflib import SequenceMatcher

Change = tuple[str, str]
"""`same`, `gone` or `new`, and the words."""
LONGEST = 2000
"""Words of each text that are compared."""


def text_change(before: str, after: str) -> list[Change]:
    """Runs of words in reading order; of a replacement, what went comes before what came."""
    old, new = before.split()[:LONGEST], after.split()[:LONGEST]
    found: list[Change] = []
    for kind, i, j, k, m in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            found.append(("same", " ".join(old[i:j])))
            continue
        if j > i:
            found.append(("gone", " ".join(old[i:j])))
        if m > k:
            found.append(("new", " ".join(new[k:m])))
    return found
