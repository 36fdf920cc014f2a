"""Encodings on their way from an encoder to a decoder that may be run at another time."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from ..sites import Carry


def carry_encodings(
    last: nn.Module, decoder: nn.Module, name: str, encoded: Carry, decodes: Carry
) -> list[Callable[[], None]]:
    """Call `encoded` with what the encoder's last module gives, and `decodes` with the decoder's argument `name`."""
    place = list(inspect.signature(decoder.forward).parameters).index(name)

    def leaves(module: nn.Module, args: Any, output: Any) -> None:
        encoded(output)

    def enters(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        given = args[place] if len(args) > place else kwargs.get(name)
        if isinstance(given, Tensor):
            decodes(given)

    return [
        last.register_forward_hook(leaves).remove,
        decoder.register_forward_pre_hook(enters, with_kwargs=True).remove,
    ]
