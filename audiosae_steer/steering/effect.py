"""Note of whether a site's edits have ever changed a residual, taken without waiting for a device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..ops.dispatch import asks
from .frozen import is_tracing

GATED_LOOKS = 256
"""Passes of a gated site that are looked at on a GPU, where asking whether the gate opened would be a wait."""


class Effect:
    """The answer is looked for until a pass is known to have changed something, which is the first one as a rule.

    On processors the passes are compared with what came in. On a GPU two flags are kept there, and copied to the host
    while the GPU goes on; they are waited for once, when the steering is left.
    """

    def __init__(self, *, gated: bool) -> None:
        self._most = GATED_LOOKS if gated else None
        self._found = self._worked = False
        self._flags: dict[torch.device, Tensor] = {}
        self._coming: tuple[Tensor, Any] | None = None
        self._looks = 0

    def look(self, x: Tensor, steered: Tensor, works: Callable[[], Tensor]) -> None:
        """Compare a residual with the steered one, of the same shape, unless that is no longer needed.

        Args:
            x: the residual.
            steered: what the edits made of it; x itself where they were not at work.
            works: gives the frames that were steered, a mask of any shape.
        """
        if self._found or steered is x:
            return
        if asks(x):
            self._found = not torch.equal(steered, x)
            self._worked = self._worked or self._found or bool(works().any())
        elif x.device.type == "cuda" and not _is_frozen(x):
            self._look_there(x, steered, works)

    def _look_there(self, x: Tensor, steered: Tensor, works: Callable[[], Tensor]) -> None:
        if self._has_come() or self._looks == self._most:
            return
        self._looks += 1
        flags = self._flags.get(x.device)
        if flags is None:
            with torch.inference_mode(False):  # a tensor made inside it could not be written to outside it
                flags = self._flags[x.device] = torch.zeros(2, dtype=torch.bool, device=x.device)
        with torch.no_grad():
            flags.logical_or_(torch.stack(((steered != x).any(), works().any())))
        if self._coming is None:
            self._coming = _copied(flags)

    def _has_come(self) -> bool:
        """The host knows by now that something was changed."""
        coming = self._coming  # which another thread may take
        if coming is not None and coming[1].query():
            self._found, self._coming = self._found or bool(coming[0][0]), None
        return self._found

    @property
    def changed(self) -> bool | None:
        """Something was changed; None if the edits were never at work, or not all passes could be looked at."""
        if not self._found and self._flags:
            answers = torch.stack([flags.cpu() for flags in self._flags.values()]).any(0)
            self._found, self._worked = bool(answers[0]), self._worked or bool(answers[1])
        if self._found:
            return True
        return False if self._worked and self._looks != self._most else None


def _is_frozen(x: Tensor) -> bool:
    """The pass is compiled, traced, transformed or captured: what is done now would be repeated, or left out, later."""
    wrapped: bool = torch._C._functorch.is_functorch_wrapped_tensor(x)
    return torch.compiler.is_compiling() or is_tracing() or wrapped or torch.cuda.is_current_stream_capturing()


def _copied(flags: Tensor) -> tuple[Tensor, Any]:
    """A copy of flags on its way to the host, and the event that tells that it has come."""
    host = torch.zeros(flags.shape, dtype=flags.dtype, pin_memory=True)
    host.copy_(flags, non_blocking=True)
    event = torch.cuda.Event()  # type: ignore[no-untyped-call]
    event.record(torch.cuda.current_stream(flags.device))
    return host, event
