"""The three paths, and the choice between them. Tensors only.

`reference` is the truth; `eager` the fast forms in plain PyTorch. Triton kernels will stand beside them, behind the
same functions.
"""

from __future__ import annotations

from typing import Literal

Path = Literal["identity", "add", "delta", "full"]


def choose_path(*, edits: bool, constant: bool, own_gates: bool, unit_norm: bool, keep_error: bool) -> Path:
    """The cheapest path that gives the reference's answer.

    Args:
        edits: there is something to do at all.
        constant: every edit is an `Add` or a `Push`.
        own_gates: each feature's activation depends on that feature alone.
        unit_norm: each frame is normalised on its way in, so that a constant in feature space is none in x.
        keep_error: what the SAE cannot express is kept.
    """
    if not keep_error:
        return "full"
    if not edits:
        return "identity"
    if constant and not unit_norm:
        return "add"
    return "delta" if own_gates else "full"
