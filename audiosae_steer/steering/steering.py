"""`steer()` and the `Steering` that it returns: check everything, hook, steer, unhook."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
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
from .attach import attach_all, forget_compiled
from .bake import Baked, bake
from .build import build_hooks
from .edits import Edit
from .explanation import explained, in_vain, strength_in_words
from .hook import Hook
from .live import Life, claim, clear, outline_of, warn_if_stacked
from .numbers import number
from .pass_state import Shared
from .plan import ErrorMode
from .recipes.schema import Recipe
from .session import PerClip, Session, Settings, SettingTensors, checked_settings, settings_of
from .site_edits import AnyGate, ByHand, Choices, SiteEdits, by_path, given_parts


class Steering:
    """The live steering of one model. Leave it with `remove()`, or use it as a context manager.

    Not made directly: see `steer`.
    """

    def __init__(
        self, model: nn.Module, hooks: Mapping[Site, Hook], shared: Shared, recipe: Recipe | None, life: Life
    ) -> None:
        life.begin(self)
        self._life = life
        self._hooks = dict(hooks)
        self._shared = shared
        self._closers: list[Callable[[], None]] = []
        self._strength, self._enabled = 1.0, True
        self._clips = Settings()
        self._removed = False
        self._allows_empty = False
        self.recipe = recipe
        """The recipe it runs, or None if it was built by hand."""
        self.model = model
        """The module that is hooked."""

    def _begin(self, family: Family, allow_empty: bool, lock: bool, replace: bool) -> None:
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

    def _detach(self) -> None:
        for close in self._closers:
            close()
        self._closers.clear()

    @property
    def strength(self) -> float:
        """Share of the change that is applied: 0 is the unsteered model, bit for bit; 1 is the edits as written.

        Below 0 the change is turned round: what the edits add to the residual is taken from it.
        """
        return self._strength

    @strength.setter
    def strength(self, value: float) -> None:
        self._strength = number(value, "strength", "0 switches the steering off")
        self._fill("strength", self._strength if self._enabled else 0.0)

    @property
    def enabled(self) -> bool:
        """It changes something; the hooks stay either way."""
        return self._enabled

    @enabled.setter
    def enabled(self, value: bool) -> None:
        self._enabled = bool(value)
        self._fill("strength", self._strength if self._enabled else 0.0)
        for hook in self._hooks.values():
            hook.off = not self._enabled
        self._set_clips()

    @property
    def offset(self) -> float:
        """Seconds between the start of the input audio and the first frame that the model sees, for windows."""
        return float(next(iter(self._hooks.values())).offset)

    @offset.setter
    def offset(self, value: float) -> None:
        self._fill("offset", number(value, "offset", "it is in seconds"))

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

    def _fill(self, name: str, value: float) -> None:
        for hook in self._hooks.values():
            getattr(hook, name).fill_(value)

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

    def for_clips(
        self,
        choices: Sequence[str | None] | None,
        *,
        strength: Sequence[float] | None = None,
        offset: Sequence[float] | None = None,
    ) -> Steering:
        """Choose, clip by clip, what the next batches get, in every thread. Returns the steering itself.

        Args:
            choices: a name of `edits`, or the recipe's, for each clip; None in its place leaves that clip alone. None:
                no choice. `for_clips(None)` takes everything back.
            strength: of each clip, in the place of the steering's.
            offset: seconds of each clip's recording before its first frame, in the place of the steering's.

        Raises:
            SteeringError: a name is unknown, a number is not finite, or the lists are of different lengths.
        """
        self._clips = checked_settings(self._shared.names, choices, strength, offset)
        self._set_clips()
        return self

    def session(
        self,
        *,
        strength: PerClip | None = None,
        clips: Sequence[str | None] | None = None,
        offset: PerClip | None = None,
    ) -> Session:
        """Settings of one thread or asyncio task alone, for the length of a block: `with steering.session(strength=0)`.

        Args:
            strength: one number, or one for each clip of the batches; None: as it is without the session.
            clips: as `choices` of `for_clips`.
            offset: seconds of the recording before the first frame: one number, or one for each clip.

        Raises:
            SteeringError: as of `for_clips`; or the model was compiled, whose code is the same for all threads.
        """
        if any(hook.traced for hook in self._hooks.values()):
            raise SteeringError(
                "this model was compiled while it was steered, and compiled code reads the same settings in every "
                "thread; set steering.strength or call for_clips() instead"
            )
        return Session(id(self._shared), checked_settings(self._shared.names, clips, strength, offset))

    def _set_clips(self) -> None:
        tensors = SettingTensors(self._clips)
        for hook in self._hooks.values():
            hook.set_clips(tensors, enabled=self._enabled)

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
        """Gates, edits and cost at each site, in words."""
        return "\n".join([repr(self), *explained(self.model, self._hooks, self._shared)])

    def __repr__(self) -> str:
        what = "by hand" if self.recipe is None else f"recipe {self.recipe.name!r}"
        where = ", ".join(f"{site} ({hook.plan.path})" for site, hook in self._hooks.items() if hook.plan is not None)
        gate = "" if self._shared.gate_site is None else f", clip gate at {self._shared.gate_site}"
        if self._shared.frame_gate_site is not None:
            gate += f", frame gate at {self._shared.frame_gate_site}"
        state = "removed" if self._removed else "on" if self._enabled else "off"
        much = strength_in_words(self._strength)
        return f"<Steering of {type(self.model).__name__}: {what}; {where}{gate}; {much}, {state}>"


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
    if not replace:
        warn_if_stacked(inner, life, stacklevel=2)
    steering = Steering(inner, hooks, shared, used, life)
    steering.strength = strength if strength is not None else used.strength if used is not None else 1.0
    allow = allow_empty if allow_empty is not None else used is not None and used.allow_empty
    steering._begin(family, allow, lock, replace)
    return steering
