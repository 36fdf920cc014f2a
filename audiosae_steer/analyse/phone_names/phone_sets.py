"""Labels of alignments as phones: stress marks and allophones, silence, and phones that are counted as one."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Literal

from ...errors import SteeringError

PhoneSet = Literal["as-is", "arpabet", "ipa", "sampa"]
SILENCE = ("", "sil", "sp", "spn", "pau", "h#", "#h", "epi", "<eps>", "SIL", "_", ".", "<p:>")
"""Labels of silence, in the writing of aligners in use."""
SAMPA_MARKER = re.compile(r"[+\-!_(\[].*|asp")
"""A word of a label by hand that is no phone: closure, manner, voicing, filled pause, aspiration."""


def phone_names(phone_set: PhoneSet, merges: tuple[str, ...]) -> Callable[[str], str]:
    """A function of a label that gives its phone; "" where it has none.

    `arpabet` strips stress (AH0, AH1: AH). `ipa` strips stress and tie bars, and writes length as ː. `sampa` takes the
    first word of a label that is no marker (`a  2`: a; `!t +asp`, a closure: none; `6`, a vowel: 6), counts an
    aspiration as its plosive (`tasp`: t), and strips marks of stress.

    Args:
        phone_set: writing of the labels.
        merges: `A=B`: A counts as B, after that.

    Raises:
        SteeringError: the writing is unknown, or a merge is not `A=B`.
    """
    writers: dict[str, Callable[[str], str]] = {
        "as-is": str.strip,
        "arpabet": lambda label: re.sub(r"\d+$", "", label.strip()),
        "ipa": _ipa,
        "sampa": _sampa,
    }
    if phone_set not in writers:
        raise SteeringError(f"phone set {phone_set!r} is unknown; expected one of {', '.join(writers)}")
    merged = _merges(merges)

    def name(label: str) -> str:
        written = writers[phone_set](label)
        return merged.get(written, written)

    return name


def _merges(merges: tuple[str, ...]) -> Mapping[str, str]:
    pairs = [merge.partition("=") for merge in merges]
    wrong = [merge for merge, (one, sign, other) in zip(merges, pairs, strict=True) if not (one and sign and other)]
    if wrong:
        raise SteeringError(f"{wrong[0]!r} is no merge; write for example AX=AH, to count AX as AH")
    return {one: other for one, _, other in pairs}


def _ipa(label: str) -> str:
    plain = unicodedata.normalize("NFC", label.strip())
    return re.sub("[ˈˌ'͜͡]", "", plain).replace(":", "ː")


def _sampa(label: str) -> str:
    words = [word for word in label.split() if not SAMPA_MARKER.fullmatch(word)]
    if not words or (words[0].isdigit() and words[0] != label.split()[0]):  # stress, after a marker
        return ""
    return words[0].strip("\"%'").removesuffix("asp")
