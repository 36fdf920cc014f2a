"""Splits of clips into parts that share no speaker, no recording and, on request, no kind of sound."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import AudioError, SteeringError
from .sources import Clip

Flags = NDArray[np.bool_]


def split(
    clips: Sequence[Clip], shares: Mapping[str, float], seed: int = 0, *, apart: Sequence[str] = ("group",)
) -> dict[str, list[int]]:
    """Split `clips` into parts of about these shares, so that no group is in two parts; returns positions.

    Args:
        clips: of one source or several.
        shares: names of the parts, with the share of the clips that each should get.
        seed: seed of the draw; the result does not depend on the clips' order.
        apart: attributes that no two parts share: "group" (speakers, recordings), and "label" for kinds of sound.

    Raises:
        AudioError: fewer groups than parts, no shares, or a share that is not positive.
    """
    if not shares or not all(share > 0 for share in shares.values()):
        raise AudioError(f"{dict(shares)} are no shares; expected a positive number for each part")
    if not set(apart) or set(apart) - {"group", "label"}:
        raise AudioError(f"clips are kept apart by group or label, or both, not by {', '.join(apart) or 'nothing'}")
    groups = _connected(clips, apart)
    if len(groups) < len(shares):
        raise AudioError(
            f"{len(groups)} speakers, recordings or kinds of sound cannot be split into {len(shares)} parts: "
            f"{', '.join(shares)}; files whose names differ in a number at the end count as one recording. Give more, "
            "or more different, clips, or say what they are in the columns speaker or recording of a labels.csv beside "
            "them"
        )
    order = sorted(groups, key=lambda key: (_drawn(key, seed), key))
    parts: dict[str, list[int]] = {part: [] for part in shares}
    whole = sum(shares.values())
    for done, key in enumerate(order):
        empty = [part for part in parts if not parts[part]]
        open_to = empty if len(order) - done <= len(empty) else list(parts)
        lacking = {part: shares[part] / whole * len(clips) - len(parts[part]) for part in open_to}
        parts[max(open_to, key=lacking.__getitem__)] += groups[key]
    return {part: sorted(positions) for part, positions in parts.items()}


def _drawn(key: str, seed: int) -> bytes:
    # without the source: a folder may lie elsewhere on another machine
    return hashlib.sha256(f"{seed}\0{key.rpartition(chr(0))[0]}".encode()).digest()


def _connected(clips: Sequence[Clip], apart: Sequence[str]) -> dict[str, list[int]]:
    """Positions of clips that must stay together, by the smallest key that they share."""
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        while parent.setdefault(key, key) != key:
            parent[key] = key = parent[parent[key]]
        return key

    keys = []
    for clip in clips:
        # a label is the same kind of sound wherever it is from; a group's name means something in its source only
        own = {"group": f"group\0{clip.group}\0{clip.source}", "label": clip.label and f"label\0{clip.label}\0"}
        linked = sorted(own[kind] or own["group"] or "" for kind in set(apart))
        keys.append(linked[0])
        first, *others = sorted(map(root, linked))
        for other in others:
            parent[max(root(first), root(other))] = min(root(first), root(other))
    groups: dict[str, list[int]] = {}
    for position, key in enumerate(keys):
        groups.setdefault(root(key), []).append(position)
    return groups


def hold_out(
    labels: Flags, groups: Sequence[str], share: float, seed: int, *, files: Sequence[Hashable] | None = None
) -> Flags:
    """Mask (n,) of the rows to hold out: about `share` of the groups of either kind, whole groups only.

    Args:
        labels: (n,), whether each row has what is looked for.
        groups: recording of each row.
        share: share of the groups to hold out.
        seed: seed of the draw.
        files: file of each row, for messages: a file may give several rows. None: each row is of its own.

    Raises:
        SteeringError: a side would be left without one of the two kinds.
    """
    if not 0 < share < 1:
        raise SteeringError(f"the share to hold out is {share}; expected one between 0 and 1, such as 0.3")
    if labels.all() or not labels.any():
        raise SteeringError(one_kind(labels))
    rng = np.random.default_rng(seed)
    names = np.asarray(groups)
    every, place = np.unique(names, return_inverse=True)
    mostly = np.bincount(place, labels) / np.bincount(place) > 0.5  # a group may hold clips of both kinds
    chosen: list[str] = []
    for kind in (True, False):
        own = every[mostly == kind]
        if len(own) > 1:
            count = min(max(round(share * len(own)), 1), len(own) - 1)
            chosen += own[rng.permutation(len(own))[:count]].tolist()
    held = np.isin(names, chosen)
    for kind, what in ((True, "with"), (False, "without")):
        for side in (True, False):
            if not (labels[held == side] == kind).any():
                rows = np.flatnonzero(labels == kind).tolist()
                of = len({row if files is None else files[row] for row in rows})
                recordings = len(set(names[rows]))
                raise SteeringError(
                    f"too few recordings {what} the concept to hold any out: all {of} clips are of {recordings} "
                    f"({str(names[rows[0]])!r}), and it takes at least 2; give more, or take each file as a recording "
                    "of its own (--groups file) if they are"
                )
    return held


def one_kind(labels: Flags) -> str:
    """Error message for clips that are all of one kind."""
    what = "have" if labels.all() else "lack"
    return f"all {len(labels)} clips {what} what is looked for; it takes clips of both kinds, at least two of each"
