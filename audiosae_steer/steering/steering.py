"""`steer()` and the `Steering` that it returns: check everything, hook, steer, unhook."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..errors import SteeringError
from ..models.lock import lock_calls
from ..models.marker import mark
from ..models.registry import family_of, unwrap
from ..models.sites import Family, Site
from ..sae.autoencoder import SAE
from .attach import attach_all, forget_compiled, note_removed
from .bake import Baked, bake
from .build import build_hooks
from .controls import Controls
from .edits import Edit
from .explanation import explained, in_vain, summary
from .hook import Hook
from .live import Life, claim, clear, outline_of, warn_if_stacked
from .opening import Threshold, gate_sites
from .pass_state import Shared
from .plan import ErrorMode
from .recipes.schema import Recipe
from .recorder import Listener, Recorder
from .session import settings_of
from .site_edits import AnyGate, ByHand, Choices, SiteEdits, by_path, given_parts

_LOG = logging.getLogger("audiosae_steer.recipes")


class Steering(Controls):
    """The live steering of one model. Leave it with `remove()`, or use it as a context manager.

    Not made directly: see `steer`.
    """

    def __init__(
        self,
        model: nn.Module,
        hooks: Mapping[Site, Hook],
        shared: Shared,
        recipe: Recipe | None,
        life: Life,
        recorder: Recorder,
    ) -> None:
        super().__init__(hooks, shared, recorder, life)
        life.begin(self)
        self._closers: list[Callable[[], None]] = []
        self._removed = False
        self._allows_empty = False
        self.recipe = recipe
        """The recipe it runs, or None if it was built by hand."""
        self.model = model
        """The module that is hooked."""

    def _set(self, strength: float | None, threshold: Threshold | None) -> None:
        if threshold is not None:
            self.threshold = threshold
        self.strength = strength if strength is not None else 1.0 if self.recipe is None else self.recipe.strength

    def _begin(self, family: Family, allow_empty: bool | None, lock: bool, replace: bool) -> Steering:
        if allow_empty is None:
            allow_empty = self.recipe is not None and self.recipe.allow_empty
        earlier = clear(self.model) if replace else []
        try:
            if lock:
                self._closers.append(lock_calls(self.model))
            attach_all(self.model, family, self._hooks, self._shared, self._closers)
            if allow_empty:
                self._closers.append(family.allow_empty(self.model, self._edited))
            if self._shared.timestamp_gate_site is not None:
                self._closers.append(family.limit_timestamps(self.model, self._unspoken))
            claim(self.model, self._life)
        except BaseException:
            self._detach()
            raise
        for steering in earlier:
            steering._leave(quiet=True)
        self._allows_empty = allow_empty
        forget_compiled()
        _LOG.info("steering begins: %r", self)
        return self

    def _detach(self) -> None:
        for close in self._closers:
            close()
        self._closers.clear()
        note_removed(self._hooks)

    def _edited(self, rows: int) -> Tensor | bool:
        """Mask (rows,) of texts whose clips it edits, or one answer for all; the others may not be empty."""
        own = settings_of(id(self._shared))
        strength = self._clips.strength if own is None or own.settings.strength is None else own.settings.strength
        if self._removed or not self._enabled or (self._strength if strength is None else strength) == 0:
            return False
        hook = next((hook for hook in self._hooks.values() if hook.plan is not None), None)
        return hook is not None and hook.edits(rows)

    def _unspoken(self, rows: int) -> Tensor | None:
        """Frames (rows, frames) in which these texts may have no timestamps."""
        return None if self._removed else next(iter(self._hooks.values())).unspoken(rows)

    @property
    def path(self) -> str:
        """`identity`, `add`, `delta` or `full`; with several sites, one for each, joined by commas."""
        return ", ".join(hook.plan.path for hook in self._hooks.values() if hook.plan is not None)

    @property
    def sites(self) -> tuple[Site, ...]:
        """The sites it edits, in the order in which a forward pass reaches them."""
        return tuple(site for site, hook in self._hooks.items() if hook.plan is not None)

    @property
    def hooks(self) -> Mapping[Site, nn.Module]:
        """The module that runs at each site, from residual to residual, for timing and for tests."""
        return dict(self._hooks)

    @property
    def opened(self) -> Tensor | None:
        """(clips,) bool: what the clip gate decided for this thread's last batch; None without one or before the first.

        A decision goes with the encoding that it was made on, whenever that is decoded. Set it to decode encodings that
        were made without the steering: it then holds for this thread, until something is encoded.
        """
        return self._shared.newest.opened

    @opened.setter
    def opened(self, value: Tensor | None) -> None:
        self._shared.set_by_hand(value)

    @property
    def opened_frames(self) -> Tensor | None:
        """(clips, frames) bool: what the frame gate decided for this thread's last batch; None as of `opened`.

        Where a clip gate opens, it is edited whole, whatever this says.
        """
        return self._shared.newest.opened_frames

    def of_rows(self, rows: Tensor) -> AbstractContextManager[None]:
        """A context in which a decoder runs on these rows (long) of its batch alone, for decoding loops of one's own.

        The gates' decisions are those for these rows; after it, those for all rows again. Not for settings of
        `for_clips`, which stay one for each clip.
        """
        return self._shared.of_rows(rows)

    def bake(self) -> Baked:
        """Write its constants, at the strength it has, into the model's own biases, and take the hooks away.

        The model then does by itself what it did with the hooks, to the rounding of its dtype; there is no way back but
        to load it anew. `publishing.export` writes it for the library that is to run it.

        Raises:
            SteeringError: something in it is not constant over clips and frames; says what, and what could be baked.
            SiteError: a site has no bias that could take one. In either case the model is unchanged, hooks and all.
        """
        if self._removed:
            raise SteeringError("this steering was removed, and has nothing to bake any more; call steer() again")
        if not self._enabled or self._strength == 0:
            state = "strength 0" if self._enabled else "switched off"
            raise SteeringError(
                f"this steering is at {state}, and changes nothing; give it a strength before it is baked"
            )
        baked = bake(self.model, self._hooks, self._strength, recipe=self.recipe, allow_empty=self._allows_empty)
        self._leave(quiet=True)
        if self.recipe is not None:
            mark(self.model, [self.recipe.name])
        return baked

    def remove(self) -> None:
        """Remove its own hooks, and no others. Calling it again does nothing."""
        self._leave(quiet=False)

    def _leave(self, quiet: bool) -> None:
        if self._removed:
            return
        self._removed = self._life.removed = True
        for hook in self._hooks.values():
            hook.removed = True
        self._detach()
        forget_compiled()
        _LOG.info("steering ends: %r", self)
        for warning in () if quiet else in_vain(self._hooks):
            warnings.warn(warning, stacklevel=3)

    def __enter__(self) -> Steering:
        if self._removed:
            raise SteeringError("this steering was removed and changes nothing any more; call steer() again")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave(quiet=kind is not None)

    def __reduce__(self) -> Any:
        raise SteeringError(
            "a steering stays with its model in this process, and is neither copied nor pickled; copy or pickle the "
            "model, and steer that"
        )

    def explain(self) -> str:
        """Behaviour, in words: gates with what their thresholds trade, and edits; and at the end the cost of each."""
        about = [] if self.recipe is None or not self.recipe.description else [self.recipe.description]
        return "\n".join([*about, repr(self), *explained(self.model, self._hooks, self._shared, self.recipe)])

    def __repr__(self) -> str:
        state = "removed" if self._removed else "on" if self._enabled else "off"
        what = "by hand" if self.recipe is None else f"recipe {self.recipe.name!r}"
        said = summary(self._hooks, self._shared, self._strength)
        return f"<Steering of {type(self.model).__name__}: {what}; {said}, {state}>"


def steer(
    model: Any,
    recipe: str | Path | Recipe | Sequence[SiteEdits] | None = None,
    *,
    sae: SAE | None = None,
    layer: int | None = None,
    side: Literal["encoder", "decoder"] = "encoder",
    site: Site | None = None,
    edits: Sequence[Edit] | Choices | None = None,
    error: ErrorMode = "keep",
    gate: AnyGate | Sequence[AnyGate] | None = None,
    strength: float | None = None,
    threshold: Threshold | None = None,
    on_gate: Listener | None = None,
    allow_empty: bool | None = None,
    lock: bool = False,
    replace: bool = False,
) -> Steering:
    """Steer a model until the steering is removed.

    Three forms: with a recipe; by hand at one site (`sae`, `layer`, `edits`); or a list of `SiteEdits`.

    Args:
        model: a model of a known family (`audiosae-steer sites` lists what can be steered in it), a transformers
            pipeline, a compiled model; or any module, whose sites are paths.
        recipe: a recipe's name, path, Hub id or object; or the sites and edits themselves.
        sae: the SAE whose features `edits` name.
        layer: which block's output to edit, counted from 1.
        side: `encoder` or `decoder`.
        site: in the place of `layer` and `side`: `Site(path="encoder.layers.7", layout="bfd", frame_rate=50.0)`.
        edits: what to change, in order; or a mapping of names to such lists, for `for_clips`.
        error: `keep` what the SAE cannot express, or `drop` it.
        gate: edits only clips, or with a `FrameGate` only frames, for which it opens; a bare one reads the site and
            SAE given by hand. A list of one of each edits a frame if either opens: the clip gate for the whole clip,
            or the frame gate for that frame.
        strength: 0 leaves the model as it is, 1 applies the edits, below 0 turns them round. None: the recipe's, or 1.
        threshold: score above which the gate opens, in the place of its own; see `Steering.threshold`.
        on_gate: called with each `GateEvent` in the thread that runs the model, which waits for it; if it raises, a
            `CallbackWarning` says so, and the model goes on. See `Steering.events`.
        allow_empty: let the model write an empty text for the clips that are edited, which Whisper's decoding otherwise
            forbids in some modes; where a gate stays shut, it stays forbidden. None: as the recipe says, or False.
        lock: let one thread at a time call the model, which openai-whisper's needs, steered or not; see `locked`.
        replace: remove every steering that this model has before, once the new one is known to fit: for a notebook's
            cell that is run again. Without it steerings add up, and one like an earlier one gives a `StackedWarning`.

    Raises:
        UnknownModelError, SiteError, EditError, GateError, RecipeError: before the model is touched.
    """
    inner = unwrap(model)
    family = family_of(inner, paths=by_path(recipe, site))
    by_hand = ByHand(sae=sae, layer=layer, side=side, site=site, edits=edits, error=error, gate=gate)
    used, parts, gates = given_parts(recipe, by_hand, inner)
    with torch.inference_mode(False):  # tensors made inside it could never be changed outside it
        hooks, shared = build_hooks(inner, family, parts, gates)
    life = Life(None if used is None else used.name, outline_of(parts, gates))
    steering = Steering(inner, hooks, shared, used, life, Recorder(inner, family, gate_sites(hooks), on_gate))
    steering._set(strength, threshold)
    if not replace:
        warn_if_stacked(inner, life, stacklevel=2)
    return steering._begin(family, allow_empty, lock, replace)
