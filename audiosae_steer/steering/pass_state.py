"""State of the forward pass under way: gate decisions, starting tokens, moments.

It belongs to the pass that made it, and not to the steering: one model may be called from several threads at once, and
an encoding may be decoded later, in another order or another thread. Within a pass it is kept by thread. From the
encoder to the decoder it goes with the encoding itself: a clip's encoding is recognised by its numbers.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..errors import GateError
from ..models.sites import Moment, Site
from .frozen import is_tracing
from .memory import REMEMBERED, Decision, Memory
from .recorder import Recorder


@dataclass
class PassState:
    """State of the pass under way in a thread, or of the last."""

    opened: Tensor | None = None
    """(clips,) bool: the clip gate's last decision."""
    opened_frames: Tensor | None = None
    """(clips, frames) bool: the frame gate's last decision."""
    unspoken: Tensor | None = None
    """(clips, frames) bool: the timestamp gate's last decision."""
    decoding: Decision | None = None
    """Decision for each row that the decoder was given; None: that for the last batch, in order."""
    unknown: bool = False
    """The decoder was given an encoding for which no decision is known."""
    given: bool = False
    """The decision was set by hand."""
    compiled: bool = False
    """The decision was made by compiled code."""
    starting: Tensor | None = None
    """(rows, steps) bool: decoder steps that write a text's first token."""
    moment: Moment = field(default_factory=Moment)
    """State of the pass as the model's family tells it."""

    @property
    def encoded(self) -> Decision:
        """The gates' last decisions, for what was encoded last."""
        return Decision(self.opened, self.opened_frames, self.unspoken)


class _OfThread(threading.local):
    """Each thread's own state; None where it has run nothing yet."""

    state: PassState | None = None


class Shared:
    """State that the hooks of one steering share: names and gates, and the state of each thread's pass.

    Code that a compiler traces sees one state for all threads, and what runs outside of a steering's own hooks (a
    trace of nnsight) has no thread of its own either.
    """

    def __init__(
        self,
        names: tuple[str, ...],
        gate_site: Site | None,
        frame_gate_site: Site | None = None,
        timestamp_gate_site: Site | None = None,
        *,
        by_thread: bool = True,
    ) -> None:
        self.names = names
        """Of the lists of edits that clips may choose from."""
        self.gate_site = gate_site
        """Site that the clip gate reads."""
        self.frame_gate_site = frame_gate_site
        """Site that the frame gate reads."""
        self.timestamp_gate_site = timestamp_gate_site
        """Site that the timestamp gate reads."""
        self.by_thread = by_thread
        """Each thread has its own state."""
        self.last = PassState()
        """State of compiled code; and of the last pass in any thread."""
        self.memory = Memory()
        """Decisions for encodings that may be decoded later."""
        self.recorder: Recorder | None = None
        """Notes what the gates decide."""
        self._local = _OfThread()

    def __deepcopy__(self, memo: Any) -> Shared:  # a copied model's hooks run the original's steering
        return self

    @property
    def gated(self) -> bool:
        """There is a gate of edits."""
        return self.gate_site is not None or self.frame_gate_site is not None

    @property
    def gate(self) -> Site | None:
        """Site that a gate reads, for messages."""
        return self.gate_site or self.frame_gate_site or self.timestamp_gate_site

    @property
    def decides(self) -> bool:
        """There is a gate, of edits or of timestamps, whose decisions go with encodings."""
        return self.gated or self.timestamp_gate_site is not None

    @property
    def state(self) -> PassState:
        """State of the pass under way in this thread."""
        if torch.compiler.is_compiling() or not self.by_thread:
            return self.last
        found = self._local.state
        if found is None:
            found = self._local.state = PassState()
        return found

    def decided(
        self, *, clips: Tensor | None = None, frames: Tensor | None = None, unspoken: Tensor | None = None
    ) -> None:
        """Note a gate's decision for the batch whose pass is under way."""
        compiling = torch.compiler.is_compiling()
        state = self.state
        for each in (self.last,) if state is self.last else (state, self.last):
            if clips is not None:
                each.opened = clips
            if frames is not None:
                each.opened_frames = frames
            if unspoken is not None:
                each.unspoken = unspoken
            each.compiled, each.given, each.unknown, each.decoding = compiling, False, False, None

    def set_by_hand(self, clips: Tensor | None) -> None:
        """Take this decision of the clip gate for what this thread decodes, until it encodes something."""
        state = self.state
        state.opened, state.given, state.unknown, state.decoding = clips, clips is not None, False, None

    def encoded(self, encoding: Tensor) -> None:
        """Keep the decision of this pass for the decoding of what it made (clips, frames, d)."""
        if not (torch.compiler.is_compiling() or is_tracing()):
            state = self.state
            self.memory.remember(encoding, state.encoded)

    def decodes(self, encoding: Tensor) -> None:
        """Take the decision that was made for this encoding (rows, frames, d)."""
        state = self.state
        if torch.compiler.is_compiling() or state.given:
            return
        if is_tracing():  # whose encodings have no numbers yet
            state.decoding, state.unknown = None, False
            return
        state.decoding = self.memory.recall(encoding)
        state.unknown = state.decoding is None and not self.last.compiled
        if state.unknown:
            check_numbers(encoding)
        if state.decoding is None and self.last.compiled:  # whose encodings cannot be noted
            state.opened, state.opened_frames, state.unspoken = self.last.encoded

    def decision(self) -> Decision:
        """The gates' decision for the rows of the pass under way, or for the clips that they belong to, in order.

        Raises:
            GateError: the decoder was given an encoding that these gates have not decided.
        """
        state = self.state
        if torch.compiler.is_compiling():
            return state.encoded
        if state.unknown:
            raise GateError(
                f"the gate at {self.gate} has not run for the encoding that reached the "
                "decoder: run the encoder first, in the same model, while this steering is in force and in the same "
                f"dtype (decisions for {REMEMBERED:,} clips are kept), or set steering.opened"
            )
        if state.decoding is not None:
            return state.decoding
        if not state.encoded.made and torch._C._current_graph_task_id() != -1:
            state = self.last  # recomputed in a thread of autograd
        return state.encoded

    @contextmanager
    def of_rows(self, rows: Tensor) -> Iterator[None]:
        """Take the decisions for these rows (long) of what is being decoded, for the length of a block."""
        state = self.state
        kept = state.decoding, state.given, state.unknown
        found = self.decision()
        if found.made:
            state.decoding, state.given, state.unknown = found.of(rows), False, False
        try:
            yield
        finally:
            state.decoding, state.given, state.unknown = kept

    @property
    def newest(self) -> PassState:
        """The last decision of this thread, of compiled code if that was later, or of any thread."""
        own = self.state
        return self.last if self.last.compiled or not own.encoded.made else own


def check_numbers(encoding: Tensor) -> None:
    """Refuse an encoding (rows, frames, d) that holds NaN: no decision is found by its numbers.

    Raises:
        GateError: names the rows.
    """
    rows = encoding.isnan().flatten(1).any(1).nonzero()[:, 0].tolist()
    if rows:
        which = ", ".join(map(str, rows[:8])) + (", …" if len(rows) > 8 else "")
        raise GateError(
            f"the encoding of row {which} of {len(encoding)} (counted from 0) holds NaN, of which no text can be made: "
            "its audio holds NaN or infinite samples, or the model overflows in its dtype; leave it out, or check with "
            "numpy.isfinite"
        )
