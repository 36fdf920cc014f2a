"""Edits that change several features of a frame together, each as the others require."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import EditError
from ..ops.joint import Joint, Led, Turned
from .affine import Affine
from .edit_arguments import Window, all_finite, numbers
from .edits import KINDS, FeatureEdit

NOTHING = torch.zeros(0)


@dataclass(frozen=True, init=False)
class JointEdit(FeatureEdit):
    """Base of the edits whose features are changed together; no clamped affine map stands for them."""

    @abstractmethod
    def rule(self, columns: Sequence[int]) -> Joint:
        """The rule, in float64, for features that are at these columns."""

    def affine(self, typical: Tensor | None) -> Affine:
        """EditError: there is none."""
        raise EditError(f"{type(self).__name__} changes its features together, and is no map of each by itself")


@dataclass(frozen=True, init=False)
class Turn(JointEdit):
    """f' = max(f + amount, 0), scaled so that the RMS over these features is as before.

    arXiv 2510.23802 steers so, f ← RMSNorm(f + α·w). A frame on which nothing would be left stays as it is.
    """

    amount: tuple[float, ...] = ()

    def __init__(
        self, features: int | Sequence[int], amount: float | Sequence[float], *, window: Window | None = None
    ) -> None:
        super().__init__(features, window)
        object.__setattr__(self, "amount", all_finite(self._full(amount, "amount"), "Turn", "amount"))

    def rule(self, columns: Sequence[int]) -> Joint:
        """`Turned`."""
        return Turned(torch.tensor(tuple(columns)), torch.tensor(self.amount, dtype=torch.float64))


@dataclass(frozen=True, init=False, eq=False)
class Toward(JointEdit):
    """f' = f + α·direction, with the least α of each frame, 0 to `most`, that makes every lead `margin` or more.

    A lead is rivals·f + bias: the logit of the class that is wanted less that of another. They are linear in α, so that
    α is known in closed form, and no frame is moved further than it takes.

    Args:
        features: indices of n features.
        direction: (n,).
        rivals: (classes − 1, n).
        bias: (classes − 1,).
        margin: logits by which the class is to lead.
        most: largest α.
        window: (start, end) in seconds.

    Raises:
        EditError: shapes disagree, a number is not finite, or no lead grows along the direction.
    """

    direction: Tensor = NOTHING
    rivals: Tensor = NOTHING
    bias: Tensor = NOTHING
    margin: float = 1.0
    most: float = math.inf

    def __init__(
        self,
        features: int | Sequence[int],
        direction: Tensor | Sequence[float],
        rivals: Tensor | Sequence[Sequence[float]],
        bias: Tensor | Sequence[float],
        *,
        margin: float = 1.0,
        most: float = math.inf,
        window: Window | None = None,
    ) -> None:
        super().__init__(features, window)
        along, rows = numbers(direction, "Toward: direction", (1,)), numbers(rivals, "Toward: rivals", (2,))
        offset = numbers(bias, "Toward: bias", (1,))
        n = len(self.features)
        if along.shape != (n,) or rows.shape != (len(offset), n) or not len(offset):
            raise EditError(
                f"Toward has {n} features, a direction of {tuple(along.shape)}, rivals of {tuple(rows.shape)} and a "
                f"bias of {tuple(offset.shape)}; expected ({n},), (classes, {n}) and (classes,)"
            )
        if not all(bool(torch.isfinite(each).all()) for each in (along, rows, offset)) or not math.isfinite(margin):
            raise EditError("Toward: direction, rivals, bias or margin hold NaN or infinite numbers")
        if math.isnan(most) or most < 0:
            raise EditError(f"Toward: most is {most}; expected the largest α, 0 or more")
        if not bool((rows @ along > 0).any()):
            raise EditError("Toward: no lead grows along this direction; take another, such as the class's own weights")
        for name, value in (("direction", along), ("rivals", rows), ("bias", offset)):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "margin", float(margin))
        object.__setattr__(self, "most", float(most))

    def rule(self, columns: Sequence[int]) -> Joint:
        """`Led`."""
        limits = torch.tensor([self.margin, self.most], dtype=torch.float64)
        return Led(
            torch.tensor(tuple(columns)), self.direction, self.rivals, self.bias, self.rivals @ self.direction, limits
        )


KINDS.update(turn=Turn, toward=Toward)
