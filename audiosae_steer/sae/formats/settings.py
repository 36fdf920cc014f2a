"""JSON settings that lie beside an SAE's weights, read with suspicion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...errors import CheckpointError


def whole_number(value: Any, what: str) -> int:
    """`value`, if it is a positive whole number, as 8 or 8.0.

    Raises:
        CheckpointError: it is not.
    """
    number = value if type(value) is int else int(value) if isinstance(value, float) and value.is_integer() else 0
    if not 0 < number < 1 << 31:
        raise CheckpointError(f"{what} is {value!r}; expected a whole number from 1")
    return number


def agree(where: Path | str, settings: dict[str, Any], found: dict[str, int]) -> None:
    """Hold sizes named in settings against those of the tensors.

    Raises:
        CheckpointError: they differ, so the settings belong to another SAE.
    """
    for name, size in found.items():
        said = settings.get(name)
        if said is not None and said != size:
            raise CheckpointError(
                f"{where}: its settings say {name} = {said!r}, its tensors {size}; they do not belong together"
            )
