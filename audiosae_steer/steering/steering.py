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

from ..errors import SteeringError
from ..models.marker import mark
from ..models.registry import family_of, tap_at, unwrap
from ..models.sites import Family, Moment, Site, Tap
from ..sae.autoencoder import SAE
from .bake import Baked, bake
from .build import build_hooks
from .edits import Edit
from .explanation import explained, in_vain, strength_in_words
from .hook import Hook, Shared, attach, token_hook
from .live import Life, claim, clear, outline_of, warn_if_stacked
from .numbers import number
from .plan import ErrorMode
from .recipes.load import load_recipe
from .recipes.schema import Recipe
from .site_edits import AnyGate, ByHand, Choices, SiteEdits, by_path, parts_by_hand, parts_of


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
        self._removed = False
        self._allows_empty = False
        self.recipe = recipe
        """The recipe it runs, or None if it was built by hand."""
        self.model = model
        """The module that is hooked."""

    def _begin(self, family: Family, strength: float | None, allow_empty: bool | None, replace: bool) -> None:
        used = self.recipe
        self.strength = strength if strength is not None else used.strength if used is not None else 1.0
        allow = allow_empty if allow_empty is not None else used is not None and used.allow_empty
        self._attach(family, allow, replace)

    def _attach(self, family: Family, allow_empty: bool, replace: bool) -> None:
        taps = {site: tap_at(self.model, family, site) for site in self._hooks}
        earlier = clear(self.model) if replace else []
        try:
            windows = any(hook.plan is not None and hook.plan.start is not None for hook in self._hooks.values())
            self._closers += family.watch(self.model, self._told, windows=windows)
            if any(hook.when.first for hook in self._hooks.values()):
                embedding, after = family.text_start(self.model)
                self._closers.append(embedding.register_forward_hook(token_hook(self._shared, after)).remove)
            for site in self._hooks:
                self._closers.append(_register(taps[site], self._hooks[site]))
            if allow_empty:
                self._closers.append(family.allow_empty(self.model, self._edited))
            claim(self.model, self._life)
        except BaseException:
            self._detach()
            raise
        for steering in earlier:
            steering._leave(quiet=True)
        self._allows_empty = allow_empty
        self._forget_compiled()

    def _told(self, moment: Moment) -> None:
        self._shared.moment = moment

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

    @property
    def offset(self) -> float:
        """Seconds between the start of the input audio and the first frame that the model sees, for windows."""
        return float(next(iter(self._hooks.values())).offset)

    @offset.setter
    def offset(self, value: float) -> None:
        self._fill("offset", number(value, "offset", "it is in seconds"))

    def _edited(self, rows: int) -> Tensor | bool:
        """Mask (rows,) of texts whose clips it edits, or one answer for all; the others may not be empty."""
        if self._removed or not self._enabled or self._strength == 0:
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
        """(clips,) bool: what the clip gate decided for the last batch; None without a gate or before the first.

        Set it where the encoder, and so the gate, is not run for the batch that is decoded next.
        """
        return self._shared.opened

    @opened.setter
    def opened(self, value: Tensor | None) -> None:
        self._shared.opened = value

    @property
    def opened_frames(self) -> Tensor | None:
        """(clips, frames) bool: what the frame gate decided for the last batch; None without one or before the first.

        Where a clip gate opens, it is edited whole, whatever this says.
        """
        return self._shared.opened_frames

    def for_clips(self, choices: Sequence[str | None] | None) -> Steering:
        """Choose, clip by clip, what the next batches get: a name of `edits`, or the recipe's.

        None leaves that clip alone. `for_clips(None)` takes the choice back. Returns the steering itself.
        """
        if choices is None:
            indices = None
        else:
            names = self._shared.names
            unknown = [name for name in choices if name is not None and name not in names]
            if unknown:
                raise SteeringError(
                    f"{unknown[0]!r} is not among the edits to choose from: {', '.join(names)}, or None"
                )
            indices = [-1 if name is None else names.index(name) for name in choices]
        for hook in self._hooks.values():
            device = hook.strength.device
            hook.choice = None if indices is None else torch.tensor(indices, dtype=torch.long, device=device)
        return self

    def bake(self) -> Baked:
        """Write its constants, at the strength it has, into the model's own biases, and take the hooks away.

        The model then does by itself what it did with the hooks, to the rounding of its dtype; there is no way back but
        to load it anew. `audiosae_steer.export` writes it for the library that is to run it.

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
        self._forget_compiled()
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
        replace: remove every steering that this model has before, once the new one is known to fit: for a notebook's
            cell that is run again. Without it steerings add up, and one like an earlier one gives a `StackedWarning`.

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
    life = Life(None if used is None else used.name, outline_of(parts, gates))
    if not replace:
        warn_if_stacked(inner, life, stacklevel=2)
    steering = Steering(inner, hooks, shared, used, life)
    steering._begin(family, strength, allow_empty, replace)
    return steering


def _register(tap: Tap, hook: Hook) -> Callable[[], None]:
    try:
        return attach(tap, hook).remove
    except RuntimeError as error:
        raise SteeringError(
            f"{hook.site} is a {type(tap.module).__name__}, which takes no hook; steer the model before it is scripted"
        ) from error
