"""`steer()` and what it returns: check everything, hook, steer, unhook."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from .clip_gate import ClipGate, Probe
from .edits import Edit
from .errors import EditError, FingerprintWarning, GateError, NeverCalledWarning, RecipeError, SiteError, SteeringError
from .hook import Hook, Shared, forward_hook
from .plan import ErrorMode, Plan
from .recipes import Recipe, load_recipe, site_of
from .sae import SAE
from .sites import Family, Site, block_at, family_of, fingerprint, unwrap

Choices = Mapping[str, Sequence[Edit]]


@dataclass(frozen=True)
class SiteEdits:
    """What to do at one site. `edits` may be a mapping from names to lists, for `Steering.for_clips` to choose from."""

    site: Site
    sae: SAE | None
    edits: Sequence[Edit] | Choices
    error: ErrorMode = "keep"


@dataclass(frozen=True)
class SiteGate:
    """A clip gate, with the site whose residual it reads and the SAE whose features it pools."""

    site: Site
    sae: SAE
    gate: ClipGate


class Steering:
    """The live steering of one model. Leave it with `remove()`, or use it as a context manager.

    Not made directly: see `steer`.
    """

    def __init__(self, model: nn.Module, hooks: Mapping[Site, Hook], shared: Shared, recipe: Recipe | None) -> None:
        self._hooks = dict(hooks)
        self._shared = shared
        self._handles: list[RemovableHandle] = []
        self._closers: list[Any] = []
        self._strength, self._enabled = 1.0, True
        self._removed = False
        self.recipe = recipe
        """The recipe it runs, or None if it was built by hand."""
        self.model = model
        """The module that is hooked."""

    def _attach(self, blocks: Mapping[Site, nn.Module], family: Family, allow_empty: bool) -> None:
        try:
            for site in sorted(self._hooks, key=lambda site: site.order):
                self._handles.append(_register(blocks[site], self._hooks[site]))
            if allow_empty:
                self._closers.append(family.allow_empty(self.model))
        except BaseException:
            self._detach()
            raise
        self._forget_compiled()

    def _detach(self) -> None:
        for handle in self._handles:
            handle.remove()
        for close in self._closers:
            close()
        self._handles.clear()
        self._closers.clear()

    def _forget_compiled(self) -> None:
        # compiled code has hooks inlined and, by default, no guard on them (pytorch#117758); which code came from
        # which module cannot be told from here, so all of it is compiled anew on its next call
        if "torch._dynamo" in sys.modules:
            torch._dynamo.reset()

    @property
    def strength(self) -> float:
        """How much of the change is applied: 0 is the model as it was, bit for bit; 1 is the edits as written."""
        return self._strength

    @strength.setter
    def strength(self, value: float) -> None:
        self._strength = _number(value, "strength", "0 switches the steering off")
        self._fill("strength", self._strength if self._enabled else 0.0)

    @property
    def enabled(self) -> bool:
        """Whether it changes anything; the hooks stay either way."""
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
        self._fill("offset", _number(value, "offset", "it is in seconds"))

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
        """What runs at each site: a module from residual to residual, for timing and for tests."""
        return dict(self._hooks)

    @property
    def opened(self) -> Tensor | None:
        """(clips,) bool: what the clip gate decided for the last batch; None without a gate or before the first."""
        return self._shared.opened

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

    def remove(self) -> None:
        """Take away its own hooks, and nobody else's. Calling it again does nothing."""
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
        """What happens at each site, in words."""
        lines = [repr(self)]
        for site, hook in self._hooks.items():
            if hook.probe is not None:
                lines.append(
                    f"  {site}: a clip gate decides from {len(hook.probe.weights)} features ({hook.probe.pool})"
                )
            if hook.plan is not None:
                lines.append(f"  {site}: {_cost(hook.plan)}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        what = "by hand" if self.recipe is None else f"recipe {self.recipe.name!r}"
        where = ", ".join(f"{site} ({hook.plan.path})" for site, hook in self._hooks.items() if hook.plan is not None)
        gate = "" if self._shared.gate_site is None else f", clip gate at {self._shared.gate_site}"
        state = "removed" if self._removed else "on" if self._enabled else "off"
        return f"<Steering of {type(self.model).__name__}: {what}; {where}{gate}; strength {self._strength:g}, {state}>"


def steer(
    model: Any,
    recipe: str | Path | Recipe | Sequence[SiteEdits] | None = None,
    *,
    sae: SAE | None = None,
    layer: int | None = None,
    side: Literal["encoder", "decoder"] = "encoder",
    edits: Sequence[Edit] | Choices | None = None,
    error: ErrorMode = "keep",
    gate: ClipGate | SiteGate | None = None,
    strength: float | None = None,
    allow_empty: bool | None = None,
) -> Steering:
    """Steer a model until the steering is removed.

    Three forms: with a recipe; by hand at one site (`sae`, `layer`, `edits`); or a list of `SiteEdits`.

    Args:
        model: a Whisper of openai-whisper or transformers, a transformers pipeline, or a compiled model.
        recipe: a recipe's name, path, Hub id or object; or the sites and edits themselves.
        sae: the SAE whose features `edits` name.
        layer: which block's output to edit, counted from 1.
        side: `encoder` or `decoder`.
        edits: what to change, in order; or a mapping of names to such lists, for `for_clips`.
        error: `keep` what the SAE cannot express, or `drop` it.
        gate: edits only clips for which it opens; a bare `ClipGate` reads the site and SAE given by hand.
        strength: 0 leaves the model as it is, 1 applies the edits as written. None: the recipe's, or 1.
        allow_empty: let the model write an empty text, which Whisper's decoding otherwise forbids in some modes.
            None: as the recipe says, or False.

    Raises:
        UnknownModelError, SiteError, EditError, GateError, RecipeError: before the model is touched.
    """
    inner = unwrap(model)
    family = family_of(inner)
    used: Recipe | None = None
    if isinstance(recipe, (str, Path, Recipe)):
        if any(given is not None for given in (sae, layer, edits, gate)):
            raise SteeringError("pass either a recipe, or sae, layer, edits and gate by hand; not both")
        used = load_recipe(recipe, inner)
        parts, site_gate = _from_recipe(used, inner)
    else:
        parts, site_gate = _by_hand(recipe, sae, layer, side, edits, error, gate)
    with torch.inference_mode(False):  # tensors made inside it could never be changed outside it
        steering = _build(inner, family, parts, site_gate, used)
    given = strength if strength is not None else used.strength if used is not None else 1.0
    steering.strength = given
    blocks = {site: block_at(inner, family, site) for site in steering._hooks}
    allow = allow_empty if allow_empty is not None else used is not None and used.allow_empty
    steering._attach(blocks, family, allow)
    return steering


def _from_recipe(recipe: Recipe, model: nn.Module) -> tuple[list[SiteEdits], SiteGate | None]:
    misfit = recipe.misfit(model)
    if misfit is not None:
        raise RecipeError(f"{recipe} does not fit this model: {misfit}; recipes(model) lists those that do")
    found = fingerprint(model)
    if recipe.model.fingerprint is not None and found is not None and found != recipe.model.fingerprint:
        warnings.warn(
            f"{recipe} was made with other weights of the same shape; steering a fine-tune may work less well: "
            "measure it with `audiosae-steer demo --model ... --audio ...`",
            FingerprintWarning,
            stacklevel=4,
        )
    saes = recipe.load_saes()
    parts = [
        SiteEdits(site_of(spec), saes[spec.sae] if spec.sae else None, {recipe.name: spec.build()}, spec.error)
        for spec in recipe.sites
    ]
    gate = recipe.gate
    return parts, None if gate is None else SiteGate(site_of(gate), saes[gate.sae], gate.build())


def _by_hand(
    sites: Sequence[SiteEdits] | None,
    sae: SAE | None,
    layer: int | None,
    side: Literal["encoder", "decoder"],
    edits: Sequence[Edit] | Choices | None,
    error: ErrorMode,
    gate: ClipGate | SiteGate | None,
) -> tuple[list[SiteEdits], SiteGate | None]:
    if sites is not None:
        if not isinstance(sites, Sequence) or not all(isinstance(part, SiteEdits) for part in sites):
            raise SteeringError(
                "the second argument is a recipe, or a list of SiteEdits(Site(4), sae, edits); a bare list of edits "
                "goes with its site: steer(model, sae=..., layer=4, edits=[...])"
            )
        if any(given is not None for given in (sae, layer, edits)):
            raise SteeringError("pass either a list of SiteEdits, or sae, layer and edits; not both")
        if isinstance(gate, ClipGate):
            raise GateError("with a list of SiteEdits, say where the gate reads: SiteGate(Site(3), sae, gate)")
        return list(sites), gate
    if layer is None or edits is None:
        raise SteeringError('steer() needs a recipe ("no-false-speech"), or by hand: sae=..., layer=4, edits=[...]')
    site = Site(layer, side)
    if isinstance(gate, ClipGate):
        if sae is None:
            raise GateError("a clip gate reads SAE features: pass sae=")
        gate = SiteGate(site, sae, gate)
    return [SiteEdits(site, sae, edits, error)], gate


def _build(
    model: nn.Module,
    family: Family,
    parts: list[SiteEdits],
    gate: SiteGate | None,
    recipe: Recipe | None,
) -> Steering:
    if gate is not None and not isinstance(gate, SiteGate):
        raise GateError(f"gate is a ClipGate or a SiteGate, not {type(gate).__name__}")
    sites = [part.site for part in parts]
    if len(set(sites)) != len(sites):
        raise SiteError("a site is listed twice; put its edits into one list, in order")
    named = [part.edits if isinstance(part.edits, Mapping) else {"edits": part.edits} for part in parts]
    names = tuple(dict.fromkeys(name for choices in named for name in choices))
    if sites and not names:
        raise EditError("there is nothing to choose from: the mapping of names to edits is empty")
    shared = Shared(names, None if gate is None else gate.site)
    hooks: dict[Site, Hook] = {}
    for site in sorted({*sites, *([gate.site] if gate else [])}, key=lambda site: site.order):
        block = block_at(model, family, site)
        weight = next(block.parameters())
        # offloaded and empty models keep their weights on the meta device, where the edits' numbers would be lost
        device = torch.device("cpu") if weight.is_meta else weight.device
        dtype = torch.promote_types(weight.dtype, torch.float32)
        d_model = family.dims(model).d_model
        plan = None
        if site in sites:
            part, choices = parts[sites.index(site)], named[sites.index(site)]
            _check_width(part.sae, d_model, site)
            lists = [_edit_list(choices.get(name, ())) for name in names]
            rate = family.frame_rate(model, site)
            plan = Plan(lists, part.sae, d_model, error=part.error, frame_rate=rate, dtype=dtype)
            _check_selection(plan, part.sae, site)
        if gate is not None and gate.site.order > site.order:
            raise GateError(f"the clip gate at {gate.site} comes after the edits at {site}, which it cannot govern")
        probe = None
        if gate is not None and gate.site == site:
            _check_width(gate.sae, d_model, site)
            probe = Probe(gate.gate, gate.sae, dtype)
        hooks[site] = Hook(site, plan, probe, shared).to(device)
    if not sites:
        raise EditError("there is nothing to steer: the list of SiteEdits is empty")
    return Steering(model, hooks, shared, recipe)


def _edit_list(edits: Any) -> list[Edit]:
    if not isinstance(edits, Sequence) or isinstance(edits, str):
        raise EditError(f"edits must be a list, or a mapping from names to lists, not {type(edits).__name__}")
    return list(edits)


def _number(value: float, name: str, hint: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise SteeringError(f"{name} must be a finite number, not {value!r}; {hint}") from error
    if not torch.isfinite(torch.tensor(number, dtype=torch.float32)):  # which is what the narrowest plans hold
        raise SteeringError(f"{name} must be a finite number, not {number}; {hint}")
    return number


def _register(block: nn.Module, hook: Hook) -> RemovableHandle:
    try:
        return block.register_forward_hook(forward_hook(hook))
    except RuntimeError as error:
        raise SteeringError(
            f"{hook.site} is a {type(block).__name__}, which takes no hook; steer the model before it is scripted"
        ) from error


def _check_selection(plan: Plan, sae: SAE | None, site: Site) -> None:
    if site.side == "encoder" or plan.path != "full" or sae is None or sae.has_own_gates:
        return
    if sae.gate.kind == "batchtopk":
        raise SiteError(
            f"a batchtopk gate without a threshold selects among all the frames of a clip, but {site} may see one at "
            "a time, and would write another text with a cache than without: calibrate a threshold with "
            "SAE.calibrate_threshold()"
        )


def _check_width(sae: SAE | None, d_model: int, site: Site) -> None:
    if sae is not None and not isinstance(sae, SAE):
        raise SteeringError(f"sae is a {type(sae).__name__}, not an SAE; load_sae(...) makes one of a file or a folder")
    if sae is not None and sae.d_model != d_model:
        raise SiteError(
            f"the SAE reads residuals of width {sae.d_model}, but {site} of this model is {d_model} wide; "
            "take an SAE that was trained for this model"
        )


def _cost(plan: Plan) -> str:
    d = plan.vectors.shape[-1]
    count = len(plan.features)
    per_frame = {"identity": 0, "add": d, "delta": 2 * d * count}.get(plan.path)
    if per_frame is None:
        per_frame = plan.all_W_enc.numel() + (plan.all_W_enc.numel() if plan.error == "drop" else d * count)
    reason = {
        "identity": "nothing to do",
        "add": "constant additions; the SAE is not run at all",
        "delta": f"only the rows of {count} edited features are computed",
        "full": "the whole SAE is run, for its selection or because the error is dropped",
    }[plan.path]
    return f"path {plan.path}: {reason}; {per_frame:,} multiply-adds a frame"
