"""Offset in its recording of the window that a model is given, from the loop that cuts it.

No library tells its model: openai-whisper's `transcribe` and transformers' `generate` keep the place in a local
variable, and the pipeline throws it away. They are read where they are, up the stack, and only for edits with windows.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from ..sites import Moment, Places, Watch

SAMPLE_RATE = 16000
MEL_FRAMES_PER_SECOND = 100
_PIPELINE = "transformers.pipelines.automatic_speech_recognition"
_GENERATE = "transformers.models.whisper.generation_whisper"


class Recording:
    """Follows the loops that cut one recording after the other."""

    def __init__(self) -> None:
        self._strides: Any = None  # of the pipeline's last batch, kept alive so that the next is another object
        self._next: float | None = None  # seconds at which the next chunk's own part begins; None: a new recording
        self._starts: list[float] = []

    def offset(self, rows: int, sample_rate: int) -> float | Tensor:
        """Seconds of the recording before the window of each of so many rows: one number, or (rows,)."""
        return self.place(rows, sample_rate)[0]

    def place(self, rows: int, sample_rate: int) -> tuple[float | Tensor, list[int]]:
        """The offset; and the row of the batch that the loop was given, for each: rows that are done are left out."""
        found: list[list[float]] = []
        rows_of: list[int] = list(range(rows))
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            module, name = frame.f_globals.get("__name__"), frame.f_code.co_name
            if (module, name) == ("whisper.transcribe", "transcribe"):
                return float(frame.f_locals.get("time_offset", 0.0)), rows_of
            if (module, name) == (_GENERATE, "generate_with_fallback"):
                repeated = frame.f_locals["fallback_index_map"]
                rows_of = [_of(repeated, row) for row in rows_of]
            elif (module, name) == (_GENERATE, "generate") and "batch_idx_map" in (known := frame.f_locals):
                rows_of = [_of(known["batch_idx_map"], row) for row in rows_of]
                found.append([float(known["seek"][row]) / MEL_FRAMES_PER_SECOND for row in rows_of])
            elif (module, name) == (_PIPELINE, "_forward") and (known := frame.f_locals).get("stride") is not None:
                of_batch = self._chunks(known["stride"], known.get("is_last"), sample_rate)
                found.append([of_batch[min(row, len(of_batch) - 1)] for row in rows_of])
            frame = frame.f_back
        return (torch.tensor(found, dtype=torch.float64).sum(0) if found else 0.0), rows_of

    def _chunks(self, strides: Any, lasts: Any, sample_rate: int) -> list[float]:
        """Seconds at which each chunk of a pipeline's batch begins; chunks come in order, recording after recording."""
        if strides is self._strides:  # the same batch, decoded once more
            return self._starts
        self._strides, self._starts = strides, []
        listed: Sequence[Any] = [strides] if isinstance(strides, tuple) else strides
        ends: Sequence[Any] = lasts if isinstance(lasts, (list, tuple)) else [lasts]
        for number, stride in enumerate(listed):
            length, left, right = (int(samples) for samples in stride)
            start = 0.0 if self._next is None else self._next - left / sample_rate
            last = bool(ends[number]) if number < len(ends) else False
            self._next = None if last else start + (length - right) / sample_rate
            self._starts.append(start)
        return self._starts


def _of(map_: Sequence[int], row: int) -> int:
    return map_[row] if row < len(map_) else 0  # a static cache keeps the rows of clips that are done


class Offset(threading.local):
    """Each thread's own recording, and the offset of the window that it is at."""

    def __init__(self) -> None:
        self.recording = Recording()
        self.seconds: float | Tensor = 0.0


def window_places(sample_rate: int = SAMPLE_RATE) -> Places:
    """A function of a pass's rows, for `Family.window_places`."""
    timed = Offset()
    return lambda rows: timed.recording.place(rows, sample_rate)


def watch_windows(encoder: nn.Module, tell: Watch) -> Callable[[], None]:
    """Call `tell` with the offset and the filling of each of a Whisper's windows; returns a function that ends that."""
    timed = Offset()

    def look(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        given = args[0] if args else kwargs["input_features"]
        compiling = torch.compiler.is_compiling()
        offset = 0.0 if compiling else timed.recording.offset(len(given), SAMPLE_RATE)
        tell(Moment(offset=offset, filled=filling(given)))

    return encoder.register_forward_pre_hook(look, with_kwargs=True).remove


def filling(spectrograms: Tensor) -> Tensor:
    """(rows, n) bool: columns at the end of log-mel spectrograms (rows, mels, n) that are all alike.

    Both libraries fill a window up so, with digital silence or zeros, which is constant to the last bit. A recording is
    not, unless it ends in digital silence itself.
    """
    alike = (spectrograms == spectrograms[..., -1:]).all(1)
    found: Tensor = alike.flip(1).int().cumprod(1).flip(1).bool()
    return found
