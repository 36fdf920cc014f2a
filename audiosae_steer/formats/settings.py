"""JSON settings that lie beside an SAE's weights, read with suspicion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .. import strict_json
from ..errors import CheckpointError
from ..files import stays_inside

MAX_BYTES = 4_000_000


def read_settings(path: Path) -> dict[str, Any]:
    """The JSON object in a file; NaN and Infinity, which are not JSON, become None.

    Raises:
        CheckpointError: it is not a JSON object, too large to be settings, or a link to a file somewhere else, which
            an SAE would carry along in its `info`.
    """
    try:
        if not path.is_file():
            raise CheckpointError(f"{path} is no file; expected settings in JSON")
        if not stays_inside(path.parent, path):
            raise CheckpointError(f"{path} is a link that leaves its folder; put a copy of the settings there")
        if path.stat().st_size > MAX_BYTES:
            raise CheckpointError(f"{path} is larger than {MAX_BYTES / 1e6:.0f} MB, which no SAE's settings are")
        content = strict_json.parse(path.read_bytes(), lenient=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path} is not valid JSON ({error}); fetch it again") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} is not a JSON object; fetch it again")
    return content


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
