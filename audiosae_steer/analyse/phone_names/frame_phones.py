"""Phone of every frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import SteeringError
from .phone_records import PhoneSettings
from .phone_sets import phone_names
from .textgrid import PhoneSpan

UNALIGNED = -2
"""A frame that no label covers, or that lies too near a border."""
SILENT = -1
NEAR = 0.02
"""Seconds from a border between phones within which a frame is one of the border."""


@dataclass(frozen=True)
class FramePhones:
    """Phones of the frames of clips, one after the other."""

    names: tuple[str, ...]
    """The phones that there are."""
    of: NDArray[np.int64]
    """(frames,) number of its phone; SILENT; or UNALIGNED."""
    at_border: NDArray[np.bool_]
    """(frames,) within 20 ms of the beginning or end of a phone."""
    onsets: tuple[NDArray[np.int64], ...]
    """(stretches, 2) clip and first frame of each stretch, by phone."""
    offsets: tuple[NDArray[np.int64], ...]
    """(stretches, 2) clip and first frame after it."""

    @classmethod
    def read(
        cls, spans: Sequence[Sequence[PhoneSpan]], starts: Any, rate: float | None, settings: PhoneSettings
    ) -> FramePhones:
        """Phones of frames from the phones of clips: a frame belongs to the phone at its centre, (t + 0.5) / rate.

        Args:
            spans: phones of each clip, in seconds of it.
            starts: (clips + 1,) first frame of each clip, and the number of frames.
            rate: frames per second.
            settings: writing of the phones, silence, merges, and frames near borders.

        Raises:
            SteeringError: frames have no time, or no frame has a phone.
        """
        if rate is None:
            raise SteeringError("frames of this site have no time, so that no phone can be at them; take another site")
        named = phone_names(settings.phone_set, settings.merge)
        # a label is looked up as it is written and by its phone: '' is silence in TextGrids, and in SAMPA no phone
        silence = set(settings.silence)
        known = [
            [(each, "" if each.phone.strip() in silence else named(each.phone)) for each in clip] for clip in spans
        ]
        names = tuple(sorted({phone for clip in known for _, phone in clip} - silence - {""}))
        number = {name: place for place, name in enumerate(names)}
        of = np.full(int(starts[-1]), UNALIGNED, np.int64)
        border = np.zeros(len(of), bool)
        onsets: list[list[tuple[int, int]]] = [[] for _ in names]
        offsets: list[list[tuple[int, int]]] = [[] for _ in names]
        for place, (clip, first, last) in enumerate(zip(known, starts[:-1], starts[1:], strict=True)):
            centre = (np.arange(last - first) + 0.5) / rate
            for span, phone in clip:
                begin, end = np.searchsorted(centre, [span.start, span.end])
                own = number.get(phone, SILENT)
                of[first + begin : first + end] = own
                edges = np.minimum(np.abs(centre - span.start), np.abs(centre - span.end))
                border[first:last] |= edges <= NEAR
                if own >= 0 and end > begin:
                    onsets[own].append((place, int(first + begin)))
                    offsets[own].append((place, int(first + end)))
            for span, _ in clip if settings.border else ():
                edges = np.minimum(np.abs(centre - span.start), np.abs(centre - span.end))
                of[first:last][edges < settings.border] = UNALIGNED
        if not (of >= 0).any():
            raise SteeringError(
                "no frame has a phone; see that the alignments' times are in seconds, and their labels no silence"
            )
        events = [tuple(np.array(each, np.int64).reshape(-1, 2) for each in kind) for kind in (onsets, offsets)]
        return cls(names, of, border, events[0], events[1])

    def counts(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """(phones,) frames of each phone among these."""
        own = self.of[rows]
        return np.bincount(own[own >= 0], minlength=len(self.names)).astype(np.int64)
