"""Steerings that a model carries, as its own hooks tell: which they are, and what becomes of them in a copy.

A model keeps no list of its steerings. Every hook of one holds a `Life`, and knows its steering only weakly, so that
copies and pickles of a model drag no second model along.
"""

from __future__ import annotations

import contextlib
import hashlib
import warnings
import weakref
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from torch import nn

from ..errors import PickledWarning, StackedWarning, SteeringError
from ..models.families.empty_text import forget
from .edits import Edit, Push, features_of
from .site_edits import SiteEdits, SiteGate

OURS = ("audiosae_steer.models.", "audiosae_steer.steering.")
"""Modules whose functions are registered as hooks by a steering."""


class Life:
    """Identity of one steering, held by each of its hooks."""

    def __init__(self, name: str | None, outline: Hashable) -> None:
        self.name, self.outline = name, outline
        self.removed = False
        self.steering: Callable[[], Any] = lambda: None

    def begin(self, steering: Any) -> None:
        """Note whose it is, weakly: a copy of its model would keep the model alive otherwise."""
        self.steering = weakref.ref(steering)

    @property
    def words(self) -> str:
        """Its recipe, for messages."""
        return "the same edits" if self.name is None else f"recipe {self.name!r}"

    @property
    def whose(self) -> str:
        """The steering, for messages."""
        return "this steering" if self.name is None else f"recipe {self.name!r}"

    def equals(self, other: Life) -> bool:
        """They steer alike: by the same edits at the same sites, or by recipes of the same name."""
        return self.outline == other.outline or (self.name is not None and self.name == other.name)


class _UnscriptableError(SteeringError, AttributeError):
    """To others who ask for the attribute, it is not there."""


class LocalHook:
    """A hook that stays in this process, since it runs a steering that lives here.

    A deep copy of its module keeps it, and follows the original's steering; in a pickle, a hook that does nothing and
    needs no class of this package takes its place.
    """

    def __init__(self, function: Callable[..., Any], life: Life) -> None:
        self.function, self.life = function, life

    def __call__(self, *args: Any) -> Any:
        """The function's answer."""
        return self.function(*args)

    @property
    def __name__(self) -> str:
        """Refused: `torch.jit.script` asks for it, to translate the function of that name, which it cannot."""
        raise _UnscriptableError(
            "a steered module cannot be scripted: TorchScript takes no hooks of this kind; call .remove() first, or "
            "torch.jit.trace or torch.export it"
        )

    def __deepcopy__(self, memo: Any) -> LocalHook:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        if not self.life.removed:
            warnings.warn(
                f"a steered model ({self.life.words}) is being pickled, and its steering stays behind: the model is "
                "unsteered where it is unpickled; call steer() there, or .remove() here first",
                PickledWarning,
                stacklevel=2,
            )
        return getattr, (contextlib.nullcontext(), "__exit__")  # takes anything, and gives None


def outline_of(parts: Sequence[SiteEdits], gates: Sequence[SiteGate]) -> Hashable:
    """A value that is equal for edits and gates that do the same, without their tensors."""
    edited = [
        (part.site, part.error, _span(part.steps), _span(part.flow), part.passes, _choices(part.edits), _rows(part))
        for part in parts
    ]
    return tuple(edited), tuple((each.site, each.gate) for each in gates)


def _span(given: Any) -> Hashable:
    return given if given is None or isinstance(given, str) else tuple(float(number) for number in given)


def _choices(edits: Sequence[Edit] | Mapping[str, Sequence[Edit]]) -> Hashable:
    lists = edits if isinstance(edits, Mapping) else {"": edits}
    # recipes of another name may hold the same edits
    return tuple(tuple(_edit(edit) for edit in each) for each in lists.values())


def _edit(edit: Edit) -> Hashable:
    if isinstance(edit, Push):
        return edit.amount, edit.window, hashlib.sha256(edit.vector.numpy().tobytes()).digest()
    return edit


def _rows(part: SiteEdits) -> bytes | None:
    """Digest of what the edited features write: the SAE that they are of, and not where it was loaded."""
    lists = part.edits.values() if isinstance(part.edits, Mapping) else [part.edits]
    features = features_of(edit for each in lists for edit in each)
    if part.sae is None or not features:
        return None
    return hashlib.sha256(part.sae.W_dec[list(features)].float().cpu().numpy().tobytes()).digest()


def claim(model: nn.Module, life: Life) -> None:
    """Make local hooks of the functions that this package registered in `model` just now."""
    for hooks in _tables(model):
        for key, run in list(hooks.items()):
            if not isinstance(run, LocalHook) and getattr(run, "__module__", "").startswith(OURS):
                hooks[key] = LocalHook(run, life)


def lives(model: nn.Module) -> list[Life]:
    """The steerings that `model` carries, its original's among them where it is a copy; none that was removed."""
    found = [run.life for hooks in _tables(model) for run in hooks.values() if isinstance(run, LocalHook)]
    return [life for life in dict.fromkeys(found) if not life.removed]


def warn_if_stacked(model: nn.Module, new: Life, stacklevel: int) -> None:
    """StackedWarning if the model carries a steering like `new` already."""
    if any(life.equals(new) for life in lives(model)):
        warnings.warn(
            f"this model is steered by {new.words} already, and both steerings are applied, one after the other; call "
            ".remove() on the first, or steer(..., replace=True)",
            StackedWarning,
            stacklevel=stacklevel + 1,
        )


def clear(model: nn.Module) -> list[Any]:
    """Take away what a copy has of its original's steerings, and return the steerings that are the model's own."""
    own = [steering for life in lives(model) if (steering := life.steering()) and steering.model is model]
    theirs = {id(steering._life) for steering in own}
    left = [run for hooks in _tables(model) for run in hooks.values() if isinstance(run, LocalHook)]
    if any(id(run.life) not in theirs for run in left):
        for hooks in _tables(model):
            for key, run in list(hooks.items()):
                if isinstance(run, LocalHook) and id(run.life) not in theirs:
                    del hooks[key]
        if not own:
            forget(model)
    return own


def _tables(model: nn.Module) -> list[dict[int, Any]]:
    """The tables of hooks of all its modules."""
    return [
        table
        for module in model.modules()
        for table in (module._forward_hooks, module._forward_pre_hooks)
        if table  # most have none
    ]
