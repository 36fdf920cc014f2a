"""Warnings of what fits together and is hardly meant: an SAE of another layer, a feature below zero."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable

from ..errors import EditWarning, LayerWarning
from ..models.sites import Site
from ..sae.autoencoder import SAE
from ..sae.formats.layers import hookpoint_layer, side_of
from .edits import Clamp, Edit, Set

_CALLER = 5
"""Frames from here to whoever called `steer`."""


def caution_layer(sae: SAE | None, site: Site) -> None:
    """LayerWarning if an SAE says that it is of another layer, side or module than `site`."""
    if sae is None:
        return
    said = _said(sae)
    here = {"path": site.path} if site.path is not None else {"layer": site.layer, "side": site.side}
    wrong = {name: said[name] for name in here if said.get(name) is not None and said[name] != here[name]}
    if wrong:
        of = " ".join(str(part) for part in (said.get("side"), "layer", said.get("layer")) if part is not None)
        warnings.warn(
            f"this SAE says that it is of {wrong.get('path', of)}, and is used at {site}, whose residuals "
            "it was not trained on; take the SAE of that layer, or steer where this one belongs",
            LayerWarning,
            stacklevel=_CALLER,
        )


def _said(sae: SAE) -> dict[str, object]:
    """Layer and side, or path, by the SAE's own record: as this package writes it, or as a hookpoint's name."""
    named = sae.info.get("hookpoint")
    hookpoint = named if isinstance(named, str) else ""
    layer, side, path = (sae.info.get(name) for name in ("layer", "side", "path"))
    layer = layer if layer is not None else hookpoint_layer(hookpoint)
    return {
        "layer": layer if isinstance(layer, int) else None,
        "side": side if isinstance(side, str) else side_of(hookpoint),
        "path": path if isinstance(path, str) else None,
    }


def caution_values(edits: Iterable[Edit], site: Site | str, *, stacklevel: int = _CALLER) -> None:
    """EditWarning if an edit puts a feature below zero: every gate here gives activations of zero or more."""
    for edit in edits:
        values = edit.value if isinstance(edit, Set) else edit.high if isinstance(edit, Clamp) else ()
        below = [
            (feature, value) for feature, value in zip(getattr(edit, "features", ()), values, strict=False) if value < 0
        ]
        if below:
            feature, value = below[0]
            number = f"{value:g}" if math.isfinite(value) else "minus infinity"
            warnings.warn(
                f"{type(edit).__name__} at {site} puts feature {feature} at {number}, which no gate gives: activations "
                "are 0 or more. What is written is the opposite of its direction, on every frame; to switch a feature "
                f"off take Ablate({feature}), to push against it Add({feature}, {number}) or Push",
                EditWarning,
                stacklevel=stacklevel,
            )
