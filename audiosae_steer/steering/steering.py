"""`steer()` and the `Steering` that it returns: check everything, hook, steer, unhook."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..errors import NeverCalledWarning, SteeringError
from ..models.lock import lock_calls
from ..models.marker import mark
from ..models.registry import family_of, tap_at, unwrap
from ..models.sites import Family, Moment, Site, Tap
from ..sae.autoencoder import SAE
from .bake import Baked, bake
from .build import build_hooks
from .edits import Edit
from .hook import Hook, attach, token_hook
from .pass_state import Shared
from .plan import ErrorMode
from .recipes.load import load_recipe
from .recipes.schema import Recipe
from .session import PerClip, Session, Settings, SettingTensors, settings_of
from .site_edits import AnyGate, ByHand, Choices, SiteEdits, by_path, parts_by_hand, parts_of


class Steering:
    """The live steering of one model. Leave it with `remove()`, or use it as a context manager.

    Not made directly: see `steer`.
    """

    def __init__(self, model: nn.Module, hooks: Mapping[Site, Hook], shared: Shared, recipe: Recipe | None) -> None:
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

    def _attach(self, taps: Mapping[Site, Tap], family: Family, allow_empty: bool, lock: bool) -> None:
        try:
            if lock:
                self._closers.append(lock_calls(self.model))
            windows = any(hook.plan is not None and hook.plan.start is not None for hook in self._hooks.values())
            self._closers += family.watch(self.model, self._told, windows=windows)
            if self._shared.gated:
                self._closers += family.carry(self.model, self._shared.encoded, self._shared.decodes)
            if any(hook.when.first for hook in self._hooks.values()):
                embedding, after = family.text_start(self.model)
                self._closers.append(embedding.register_forward_hook(token_hook(self._shared, after)).remove)
            for site in self._hooks:
                self._closers.append(_register(taps[site], self._hooks[site]))
            if allow_empty:
                self._closers.append(family.allow_empty(self.model, self._edited))
        except BaseException:
            self._detach()
            raise
        self._allows_empty = allow_empty
        self._forget_compiled()

    def _told(self, moment: Moment) -> None:
        self._shared.state.moment = moment

    def _detach(self) -> None:
        for close in self._closers:
            close()
        self._closers.clear()

    def _forget_compiled(self) -> None:
        # compiled code has hooks inlined and, by default, no guard on them (pytorch#117758); which code came from
        # which module cannot be told from here, so all of it is compiled anew on its next call
        if "torch._dynamo" in sys.modules:
            torch._dynamo.reset()

    @property
    def strength(self) -> float:
        """Share of the change that is applied: 0 is the unsteered model, bit for bit; 1 is the edits as written."""
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
        self._clips = self._settings(choices, strength, offset)
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
        return Session(id(self._shared), self._settings(clips, strength, offset))

    def _settings(
        self, choices: Sequence[str | None] | None, strength: PerClip | None, offset: PerClip | None
    ) -> Settings:
        """Checked settings."""
        indices = None
        if choices is not None:
            names = self._shared.names
            unknown = [name for name in choices if name is not None and name not in names]
            if unknown or isinstance(choices, str):
                named = choices if isinstance(choices, str) else unknown[0]
                raise SteeringError(f"{named!r} is not among the edits to choose from: {', '.join(names)}, or None")
            indices = tuple(-1 if name is None else names.index(name) for name in choices)
        return Settings(
            strength=per_clip(strength, "strength", "0 switches the steering off"),
            choice=indices,
            offset=per_clip(offset, "offset", "it is in seconds"),
        ).checked()

    def _set_clips(self) -> None:
        """Put the settings clip by clip into the hooks' buffers."""
        tensors = SettingTensors(self._clips)
        for hook in self._hooks.values():
            device = hook.strength.device
            hook.choice = tensors.choice(device)
            amounts = tensors.strength(hook.strength.dtype, device)
            hook.amounts = amounts if amounts is None or self._enabled else torch.zeros_like(amounts)
            hook.offsets = tensors.offset(device)

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
        self._removed = True
        for hook in self._hooks.values():
            hook.removed = True
        self._detach()
        self._forget_compiled()
        missed = [str(site) for site in self.sites if not self._hooks[site].ran]
        if missed and not quiet:
            warnings.warn(
                f"this steering never ran at {', '.join(missed)}: the model was not called, or another copy of it was",
                NeverCalledWarning,
                stacklevel=3,
            )

    def __enter__(self) -> Steering:
        if self._removed:
            raise SteeringError("this steering was removed and changes nothing any more; call steer() again")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave(quiet=kind is not None)

    def explain(self) -> str:
        """Gates, edits and cost at each site, in words."""
        lines = [repr(self)]
        for site, hook in self._hooks.items():
            if hook.probe is not None:
                lines.append(
                    f"  {site}: a clip gate decides from {len(hook.probe.weights)} features ({hook.probe.pool})"
                )
            if hook.frame_probe is not None:
                also = "" if self._shared.gate_site is None else ", in clips for which the clip gate stays shut"
                lines.append(
                    f"  {site}: a frame gate decides frame by frame from {len(hook.frame_probe.weights)} features "
                    f"within {hook.frame_probe.reach:g} s{also}"
                )
            if hook.plan is not None:
                # a block's products take each of its weights once a frame; attention comes on top
                block = tap_at(self.model, family_of(self.model, paths=True), site).module
                weights = sum(p.numel() for p in block.parameters() if p.dim() > 1)
                lines.append(f"  {site}: {hook.plan.describe(weights)}{hook.when.words()}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        what = "by hand" if self.recipe is None else f"recipe {self.recipe.name!r}"
        where = ", ".join(f"{site} ({hook.plan.path})" for site, hook in self._hooks.items() if hook.plan is not None)
        gate = "" if self._shared.gate_site is None else f", clip gate at {self._shared.gate_site}"
        if self._shared.frame_gate_site is not None:
            gate += f", frame gate at {self._shared.frame_gate_site}"
        state = "removed" if self._removed else "on" if self._enabled else "off"
        return f"<Steering of {type(self.model).__name__}: {what}; {where}{gate}; strength {self._strength:g}, {state}>"


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
        strength: 0 leaves the model unchanged, 1 applies the edits as written. None: the recipe's, or 1.
        allow_empty: let the model write an empty text for the clips that are edited, which Whisper's decoding otherwise
            forbids in some modes; where a gate stays shut, it stays forbidden. None: as the recipe says, or False.
        lock: let one thread at a time call the model, which openai-whisper's needs, steered or not; see `locked`.

    Raises:
        UnknownModelError, SiteError, EditError, GateError, RecipeError: before the model is touched.
    """
    inner = unwrap(model)
    family = family_of(inner, paths=by_path(recipe, site))
    by_hand = ByHand(sae=sae, layer=layer, side=side, site=site, edits=edits, error=error, gate=gate)
    used: Recipe | None = None
    if isinstance(recipe, (str, Path, Recipe)):
        if by_hand.given or gate is not None:
            raise SteeringError("pass either a recipe, or sae, layer, edits and gate by hand; not both")
        used = load_recipe(recipe, inner)
        parts, gates = parts_of(used, inner)
    else:
        parts, gates = parts_by_hand(recipe, by_hand)
    with torch.inference_mode(False):  # tensors made inside it could never be changed outside it
        hooks, shared = build_hooks(inner, family, parts, gates)
    steering = Steering(inner, hooks, shared, used)
    given = strength if strength is not None else used.strength if used is not None else 1.0
    steering.strength = given
    taps = {each: tap_at(inner, family, each) for each in hooks}
    allow = allow_empty if allow_empty is not None else used is not None and used.allow_empty
    steering._attach(taps, family, allow, lock)
    return steering


def number(value: float, name: str, hint: str) -> float:
    """A finite number.

    Raises:
        SteeringError: it is not.
    """
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise SteeringError(f"{name} must be a finite number, not {value!r}; {hint}") from error
    if not torch.isfinite(torch.tensor(number, dtype=torch.float32)):  # which is what the narrowest plans hold
        raise SteeringError(f"{name} must be a finite number, not {number}; {hint}")
    return number


def per_clip(value: PerClip | None, name: str, hint: str) -> float | tuple[float, ...] | None:
    """One finite number, or one for each clip.

    Raises:
        SteeringError: it is neither.
    """
    if isinstance(value, Tensor):
        value = value.tolist()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(number(each, name, hint) for each in value)
    return None if value is None else number(value, name, hint)


def _register(tap: Tap, hook: Hook) -> Callable[[], None]:
    try:
        return attach(tap, hook).remove
    except RuntimeError as error:
        raise SteeringError(
            f"{hook.site} is a {type(tap.module).__name__}, which takes no hook; steer the model before it is scripted"
        ) from error
