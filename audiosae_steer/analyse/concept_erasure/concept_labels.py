"""Settings of an erasure, checked, and labels by the part they play in it: concept, other concepts, background."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ...errors import SteeringError
from ..frame.control_dictionaries import CONTROLS
from ..probes.nonlinear_probes import NONLINEAR
from .erasure_records import ErasureSettings

CLOSED = (
    "closed mode: one regression tells the concepts from each other, so that one whose every feature is gone is still "
    "told as none of the others; what is read as entanglement may be elimination. Use the open mode to say what is gone"
)


def check_settings(settings: ErasureSettings) -> None:
    """Refuse settings that mean nothing. SteeringError: a name is unknown, or a number is not above 0."""
    for given, known, what in (
        (settings.controls, CONTROLS, "control"), (settings.nonlinear, NONLINEAR, "nonlinear probe"),
        ((settings.mode,), ("open", "closed"), "mode"),
    ):  # fmt: skip
        unknown = [name for name in given if name not in known]
        if unknown:
            raise SteeringError(f"{what} {unknown[0]!r} is unknown; expected one of {', '.join(known)}")
    if not settings.penalties or min(settings.penalties) <= 0 or settings.margin <= 0:
        raise SteeringError(
            f"penalties are {settings.penalties} and the margin is {settings.margin}; give numbers above 0"
        )


class Roles(NamedTuple):
    """Labels by the part they play."""

    concept: str
    others: tuple[str, ...]
    background: tuple[str, ...]
    """None in closed mode."""


def roles_of(labels: Sequence[str | None], concept: str, settings: ErasureSettings) -> Roles:
    """The labels' parts. In open mode those that are not named as concepts are background; in closed mode, where none
    are named, all are concepts.

    Raises:
        SteeringError: a clip has no label, a name is no label or plays two parts, or there is nothing to tell the
            concept from.
    """
    if any(label is None for label in labels):
        raise SteeringError("some clips have no label; name the labels in a CSV (--labels: file,label,group)")
    known = sorted({str(label) for label in labels})
    named = (concept, *settings.concepts, *settings.background)
    unknown = [name for name in named if name not in known]
    if unknown:
        raise SteeringError(f"no clip has the label {unknown[0]!r}; the labels are {', '.join(known[:20])}")
    both = sorted({concept, *settings.concepts} & set(settings.background))
    if both:
        raise SteeringError(f"{both[0]!r} is named as concept and as background; name it once")
    others = tuple(dict.fromkeys(name for name in settings.concepts if name != concept))
    if settings.mode == "closed":
        others = others or tuple(name for name in known if name != concept and name not in settings.background)
        if not others:
            raise SteeringError("closed mode tells concepts from each other; give clips of two at least")
        return Roles(concept, others, ())
    background = settings.background or tuple(name for name in known if name not in (concept, *others))
    if not background:
        raise SteeringError(
            "each label is a concept, and open mode tells one from a background without any; give clips of none, and "
            "name their label as background"
        )
    return Roles(concept, others, background)
