"""Text of strangers, on its way to a terminal or a log."""

from __future__ import annotations

import unicodedata

LONGEST = 4000
_KEPT = "\n\t"
# they turn the order of what follows them, so that a name reads as another
_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_ACTED_ON = frozenset(("Cc", "Cs", "Zl", "Zp"))


def printable(text: str, longest: int | None = LONGEST) -> str:
    """`text` with whatever a terminal would act on written as an escape: `\\x1b` and not the start of a command.

    Args:
        text: of anybody.
        longest: characters that are kept; the rest becomes an ellipsis. None: all.
    """
    if longest is not None and len(text) > longest:
        text = text[:longest] + "…"
    if text.isprintable():
        return text
    return "".join(_escaped(character) for character in text)


def is_one_line(text: str) -> bool:
    """Whether a name is one line of text that prints as it is."""
    return printable(text, None) == text and not any(character in text for character in _KEPT)


def _escaped(character: str) -> str:
    if character in _KEPT:
        return character
    if character in _TURNING or unicodedata.category(character) in _ACTED_ON:
        return character.encode("unicode_escape", "surrogatepass").decode("ascii")
    return character
