"""Time means of what an SAE does not express, and of the residual before and after features are ablated."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ...io.progress import Tell
from ...sae.autoencoder import SAE
from ..frame.residual_clips import Residuals

Matrix = NDArray[np.float64]
ERROR = "error term"


def residual_means(
    sae: SAE, residuals: Residuals, removed: Sequence[int], progress: Tell | None = None
) -> dict[str, Matrix]:
    """Means over the frames of sound (clips, d_model): of the error term x − x̂, of the residual x, and, where features
    are removed, of x with them ablated and the error kept, as `Ablate` does it."""
    rows: dict[str, list[Matrix]] = {ERROR: [], "residual": []}
    if removed:
        rows["residual, features ablated"] = []
    for number, x in enumerate(residuals):
        if progress is not None:
            progress("reading the error term", number, len(residuals))
        with torch.no_grad():
            f = sae.encode(x)
            made = sae.decode(f, x)
            kept = f.clone()
            kept[:, list(removed)] = 0
            found = [x - made, x, x + sae.decode(kept, x) - made]
        for name, each in zip(rows, found, strict=False):
            rows[name].append(each.double().mean(0).numpy() if len(x) else np.zeros(x.shape[1]))
    if progress is not None:
        progress("reading the error term", len(residuals), len(residuals))
    return {name: np.stack(each) for name, each in rows.items()}
