"""The edits: small immutable descriptions of a change to a feature, or to the residual itself.

Every edit of a feature is a *clamped affine map*, f' = min(max(a·f + b, low), high). Such maps are closed under
composition, so any number of edits of one feature costs as much as one (see `affine.py`). A new edit is one class here
with one method, `affine`; recipes know it by its name in lower case, and by the arguments of its `__init__`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from ..errors import EditError
from .affine import INF, Affine
from .edit_arguments import Window, all_finite, checked_features, checked_window, numbers, window_words


@dataclass(frozen=True)
class FeatureEdit:
    """Base of the edits that act on SAE features.

    `features` is one index or several. Where an edit takes a number, it is one for all features or one for each.
    `window` is (start, end) in seconds of the input audio; None means always.
    """

    features: tuple[int, ...]
    window: Window | None = None

    def __init__(self, features: int | Sequence[int], window: Window | None) -> None:
        object.__setattr__(self, "features", checked_features(features))
        object.__setattr__(self, "window", checked_window(window))

    constant: ClassVar[bool] = False
    """It adds the same to every frame, whatever the feature's activation: `affine` gives b alone."""

    @property
    def only_active(self) -> bool:
        """It acts only where the SAE's own activation is above zero."""
        return False

    def affine(self, typical: Tensor | None) -> Affine:
        """The map it stands for; `typical` (n,) are the typical activations of its features, if known."""
        raise EditError(f"{type(self).__name__} is a base class; use {listed(FeatureEdit.__subclasses__())}")

    def words(self) -> str:
        """A line about it, for people."""
        shown = ", ".join(map(str, self.features[:8])) + (", …" if len(self.features) > 8 else "")
        return f"{type(self).__name__} of {len(self.features)} features ({shown}){window_words(self.window)}"

    def _full(self, value: float | Sequence[float], name: str) -> tuple[float, ...]:
        given = numbers(value, f"{type(self).__name__}: {name}")
        values = tuple(given.tolist()) if given.dim() else (given.item(),) * len(self.features)
        if len(values) != len(self.features):
            raise EditError(
                f"{type(self).__name__} has {len(self.features)} features but {len(values)} values of {name}; "
                "give one number for all or one for each"
            )
        if any(math.isnan(v) for v in values):
            raise EditError(f"{type(self).__name__}: {name} holds NaN; expected numbers")
        return values


@dataclass(frozen=True, init=False)
class Ablate(FeatureEdit):
    """f' = 0."""

    def __init__(self, features: int | Sequence[int], *, window: Window | None = None) -> None:
        super().__init__(features, window)

    def affine(self, typical: Tensor | None) -> Affine:
        """a = 0."""
        base = Affine.identity(len(self.features))
        return base._replace(a=torch.zeros_like(base.a))


@dataclass(frozen=True, init=False)
class Scale(FeatureEdit):
    """f' = factor·f."""

    factor: tuple[float, ...] = ()

    def __init__(
        self, features: int | Sequence[int], factor: float | Sequence[float], *, window: Window | None = None
    ) -> None:
        super().__init__(features, window)
        object.__setattr__(self, "factor", all_finite(self._full(factor, "factor"), "Scale", "factor"))

    def affine(self, typical: Tensor | None) -> Affine:
        """a = factor."""
        return Affine.identity(len(self.features))._replace(a=torch.tensor(self.factor, dtype=torch.float64))


@dataclass(frozen=True, init=False)
class Clamp(FeatureEdit):
    """f' = f limited to [low, high]. With `low` above 0 it also raises features that do not fire."""

    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()

    def __init__(
        self,
        features: int | Sequence[int],
        low: float | Sequence[float] | None = None,
        high: float | Sequence[float] | None = None,
        *,
        window: Window | None = None,
    ) -> None:
        super().__init__(features, window)
        if low is None and high is None:
            raise EditError("Clamp needs `low`, `high` or both; to set a feature to one value use Set")
        lows = self._full(-INF if low is None else low, "low")
        highs = self._full(INF if high is None else high, "high")
        if any(a > b for a, b in zip(lows, highs, strict=True)):
            raise EditError("Clamp has a `low` above its `high`; swap them")
        if INF in lows or -INF in highs:
            raise EditError("Clamp would set a feature to infinity; give a finite `low` or `high`")
        object.__setattr__(self, "low", lows)
        object.__setattr__(self, "high", highs)

    def affine(self, typical: Tensor | None) -> Affine:
        """The bounds themselves."""
        bounds = torch.tensor([self.low, self.high], dtype=torch.float64)
        return Affine.identity(len(self.features))._replace(low=bounds[0], high=bounds[1])


@dataclass(frozen=True, init=False)
class Set(FeatureEdit):
    """f' = value on every frame; with `only_active`, only where the SAE's own f > 0."""

    value: tuple[float, ...] = ()
    firing_only: bool = False

    def __init__(
        self,
        features: int | Sequence[int],
        value: float | Sequence[float],
        *,
        only_active: bool = False,
        window: Window | None = None,
    ) -> None:
        super().__init__(features, window)
        object.__setattr__(self, "value", all_finite(self._full(value, "value"), "Set", "value"))
        object.__setattr__(self, "firing_only", bool(only_active))

    @property
    def only_active(self) -> bool:
        """As given."""
        return self.firing_only

    def affine(self, typical: Tensor | None) -> Affine:
        """a = 0, b = value."""
        base = Affine.identity(len(self.features))
        return base._replace(a=torch.zeros_like(base.a), b=torch.tensor(self.value, dtype=torch.float64))


@dataclass(frozen=True, init=False)
class Add(FeatureEdit):
    """f' = f + amount on every frame.

    With `units="typical"` the amount counts typical activations of the feature, which the SAE file carries.
    """

    constant = True
    amount: tuple[float, ...] = ()
    units: Literal["raw", "typical"] = "raw"

    def __init__(
        self,
        features: int | Sequence[int],
        amount: float | Sequence[float],
        *,
        units: Literal["raw", "typical"] = "raw",
        window: Window | None = None,
    ) -> None:
        super().__init__(features, window)
        if units not in ("raw", "typical"):
            raise EditError(f'Add has units {units!r}; expected "raw" or "typical"')
        object.__setattr__(self, "amount", all_finite(self._full(amount, "amount"), "Add", "amount"))
        object.__setattr__(self, "units", units)

    def affine(self, typical: Tensor | None) -> Affine:
        """b = amount."""
        amount = torch.tensor(self.amount, dtype=torch.float64)
        if self.units == "typical":
            if typical is None:
                raise EditError(
                    'Add(units="typical") needs the SAE\'s typical activations, which this SAE does not carry; '
                    'use units="raw", or build the SAE with typical=(n_features,)'
                )
            amount = amount * typical.double()
        return Affine.identity(len(self.features))._replace(b=amount)

    def words(self) -> str:
        """A line about it, for people."""
        return f"{super().words()}, amounts {min(self.amount):.3g} to {max(self.amount):.3g} ({self.units})"


@dataclass(frozen=True, init=False, eq=False)
class Push:
    """x' = x + amount·vector: a raw vector (d_model,) added to the residual, past the SAE."""

    constant: ClassVar[bool] = True
    vector: Tensor
    amount: float = 1.0
    window: Window | None = None

    def __init__(self, vector: Tensor | Sequence[float], amount: float = 1.0, *, window: Window | None = None) -> None:
        values = numbers(vector, "Push: the vector")
        if values.dim() != 1 or not len(values):
            raise EditError(f"Push has a vector of shape {tuple(values.shape)}; expected (d_model,)")
        if not torch.isfinite(values).all():
            raise EditError("Push: the vector holds NaN or infinite numbers")
        object.__setattr__(self, "vector", values)
        object.__setattr__(
            self, "amount", all_finite((numbers(amount, "Push: amount", (0,)).item(),), "Push", "amount")[0]
        )
        object.__setattr__(self, "window", checked_window(window))

    def words(self) -> str:
        """A line about it, for people."""
        norm = float(self.vector.norm())
        return f"Push of a vector of norm {norm:.3g}, {self.amount:g} times{window_words(self.window)}"


Edit = FeatureEdit | Push
KINDS: dict[str, type[Edit]] = {cls.__name__.lower(): cls for cls in (*FeatureEdit.__subclasses__(), Push)}
"""Every edit, by its name in a recipe."""


def listed(classes: Iterable[type[Edit]]) -> str:
    """Names of classes, for messages: "Ablate, Scale or Clamp"."""
    *names, last = (cls.__name__ for cls in classes)
    return f"{', '.join(names)} or {last}"


def features_of(edits: Iterable[Edit]) -> tuple[int, ...]:
    """The features that edits name, each once, in rising order."""
    return tuple(sorted({i for edit in edits if isinstance(edit, FeatureEdit) for i in edit.features}))


def from_spec(spec: dict[str, Any]) -> Edit:
    """The edit that a recipe writes as `{"kind": "add", "features": [3], "amount": 0.5}`: a kind and its arguments.

    Raises:
        EditError: the kind is unknown, or the arguments are not that edit's.
    """
    arguments = dict(spec)
    kind = arguments.pop("kind", None)
    if not isinstance(kind, str) or kind not in KINDS:
        raise EditError(f"edit kind {kind!r} is unknown; expected one of {', '.join(KINDS)}")
    try:
        return KINDS[kind](**arguments)
    except (TypeError, OverflowError) as error:
        raise EditError(f"the arguments {sorted(arguments)} do not make an edit of kind {kind!r}: {error}") from error
