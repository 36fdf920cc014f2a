"""Any other model: its sites are paths, and nothing else is known of it."""

from __future__ import annotations

from torch import nn

from ..sites import Dims, Family, Site, Tap


class AnyModule(Family):
    """No layers; `Site(path=...)` names a module."""

    name = "module"
    library = "torch"

    def matches(self, model: nn.Module) -> bool:
        """Always; asked last, and only where sites are paths."""
        return True

    def dims(self, model: nn.Module) -> Dims:
        """None are known."""
        return Dims(0, 0, 0, 0)

    def tap(self, model: nn.Module, site: Site) -> Tap:
        """No layer is known to exist."""
        raise LookupError(site)

    def frame_rate(self, model: nn.Module, site: Site) -> float | None:
        """Not known."""
        return None
