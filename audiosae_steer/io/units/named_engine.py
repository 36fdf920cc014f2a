"""Engines by their names, as commands and calls give them."""

from __future__ import annotations

from typing import Literal, get_args

from ...errors import WorkError
from .engine_pool import Engine
from .local_engine import Local
from .process_engine import Processes
from .ray_engine import Ray

EngineName = Literal["local", "processes", "ray"]


def engine_named(
    name: EngineName | Engine, workers: int | None = None, *, gpus: float = 0.0, address: str | None = None
) -> Engine:
    """The engine of a name; an engine is returned as it is.

    Args:
        name: "local" is this process, "processes" are several on this machine, and "ray" is a cluster or this machine.
        workers: number of workers; default: one a core, two on Ray.
        gpus: of each worker on Ray.
        address: of a Ray cluster, such as "auto"; default: this machine.

    Raises:
        WorkError: there is no engine of that name.
    """
    if not isinstance(name, str):
        return name
    if name == "processes":
        return Processes(workers)
    if name == "ray":
        return Ray(address, workers or 2, gpus)
    if name != "local":
        raise WorkError(f"there is no engine {name!r}; expected one of {', '.join(get_args(EngineName))}")
    return Local()
