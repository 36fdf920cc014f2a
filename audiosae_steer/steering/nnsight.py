"""Steering inside an nnsight trace.

    from nnsight import NNsight
    traced = NNsight(model)
    with traced.trace(mel):
        audiosae_steer.nnsight.apply(traced, "no-false-speech")
        residual = traced.encoder.blocks[3].output.save()

It runs the same hooks on the tensors of the trace; the result is that of `steer()`, bit for bit.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import MissingExtraError, SteeringError
from ..models.registry import family_of, tap_at
from ..models.sites import Tap
from .build import build_hooks
from .hook import Hook
from .numbers import number
from .recipes.load import load_recipe
from .recipes.schema import Recipe
from .site_edits import ByHand, SiteEdits, by_path, parts_by_hand, parts_of


def apply(
    traced: Any,
    recipe: str | Path | Recipe | list[SiteEdits] | None = None,
    *,
    strength: float | None = None,
    **by_hand: Any,
) -> None:
    """Steer the pass that is being traced: call it inside `with traced.trace(...)`, before reading what it changes.

    Args:
        traced: an `nnsight.NNsight` of a model.
        recipe: as for `steer`.
        strength: as for `steer`.
        by_hand: `sae`, `layer`, `side`, `site`, `edits`, `error` and `gate`, as for `steer`.

    Raises:
        SteeringError: `traced` is not an nnsight model; or the edits need a text's decoding loop, or a model that
            takes its input in pieces, which a trace of one pass does not hold.
        UnknownModelError, SiteError, EditError, GateError, RecipeError: as of `steer`.
    """
    model = _module(traced)
    family = family_of(model, paths=by_path(recipe, by_hand.get("site")))
    if isinstance(recipe, (str, Path, Recipe)):
        used = load_recipe(recipe, model)
        parts, gates = parts_of(used, model)
        strength = used.strength if strength is None else strength
    else:
        known = [field.name for field in fields(ByHand)]
        unknown = sorted(set(by_hand) - set(known))
        if unknown:
            raise SteeringError(f"apply() takes no {unknown[0]!r}; expected {', '.join(known)}")
        parts, gates = parts_by_hand(recipe, ByHand(**by_hand))
    if any(part.steps == "first" for part in parts):
        raise SteeringError(
            'steps="first" edits the step that writes a text\'s first token, and nnsight traces one pass: it follows '
            "neither openai-whisper's decoding loop nor generate(); use steer(), whose hooks do"
        )
    if family.in_chunks(model):
        raise SteeringError(
            f"this {type(model).__name__} takes its input in pieces and runs each module once for every one, of which "
            "a trace holds the first; use steer(), whose hooks see all"
        )
    with torch.inference_mode(False):
        hooks, shared = build_hooks(model, family, parts, gates)
    # nnsight runs the pass in its own frames: no recording is cut in windows there
    given_strength = number(1.0 if strength is None else strength, "strength", "0 switches the steering off")
    shared.by_thread = False  # which nnsight runs in threads of its own
    closers = family.watch(model, lambda moment: setattr(shared.state, "moment", moment), windows=False)
    try:
        for site, hook in hooks.items():
            hook.strength.fill_(given_strength)
            _within(traced, model, tap_at(model, family, site), hook)
    finally:
        for close in closers:
            close()


def _module(traced: Any) -> nn.Module:
    try:
        from nnsight import NNsight
    except ImportError as error:
        raise MissingExtraError("nnsight is not installed; run: pip install 'audiosae-steer[nnsight]'") from error
    if not isinstance(traced, NNsight):
        kind = "a TorchScript module, which nnsight cannot trace" if _scripted(traced) else f"a {type(traced).__name__}"
        raise SteeringError(f"apply() takes an nnsight.NNsight of a model, not {kind}; use steer() outside of nnsight")
    model: nn.Module = traced._module
    return model


def _scripted(model: Any) -> bool:
    return isinstance(model, torch.jit.ScriptModule)


def _within(traced: Any, model: nn.Module, tap: Tap, hook: Hook) -> None:
    path = next(name for name, module in model.named_modules() if module is tap.module)
    envoy = traced.get(path)
    if tap.place == "input":
        envoy.input = hook(envoy.input)
        return
    output = envoy.output
    envoy.output = hook(output) if isinstance(output, Tensor) else (hook(output[0]), *output[1:])
