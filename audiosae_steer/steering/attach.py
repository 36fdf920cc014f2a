"""Registration of a steering's hooks in its model, and of those of the model's family that it needs."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from ..errors import SteeringError
from ..models.registry import tap_at
from ..models.sites import Family, Moment, Site, Tap
from .hook import Hook
from .pass_state import Shared

_LOG = logging.getLogger("audiosae_steer.hooks")


def attach_all(
    model: nn.Module, family: Family, hooks: Mapping[Site, Hook], shared: Shared, closers: list[Callable[[], None]]
) -> None:
    """Register all hooks of a steering. What undoes each step is added to `closers` as it is made."""
    taps = {site: tap_at(model, family, site) for site in hooks}

    def told(moment: Moment) -> None:
        shared.state.moment = moment

    windows = any(hook.plan is not None and hook.plan.start is not None for hook in hooks.values())
    closers += family.watch(model, told, windows=windows or shared.timestamp_gate_site is not None)
    if shared.decides:
        closers += family.carry(model, shared.encoded, shared.decodes)
    if any(hook.when.first for hook in hooks.values()):
        embedding, after = family.text_start(model)
        closers.append(embedding.register_forward_hook(token_hook(shared, after)).remove)
    for site, hook in hooks.items():
        closers.append(attach(taps[site], hook).remove)
        _LOG.debug("hook attached at %s, %s of a %s", site, taps[site].place, type(taps[site].module).__name__)


def note_removed(hooks: Mapping[Site, Hook]) -> None:
    """Log that a steering's hooks are gone."""
    _LOG.debug("hooks removed at %s", ", ".join(map(str, hooks)))


def forget_compiled() -> None:
    """Have everything that was compiled compiled anew, with the hooks as they are now.

    Compiled code has hooks inlined and, by default, no guard on them (pytorch#117758); which code came from which
    module cannot be told from here.
    """
    if "torch._dynamo" in sys.modules:
        torch._dynamo.reset()


def token_hook(shared: Shared, after: range) -> Callable[[nn.Module, Any, Any], None]:
    """A hook of the token embedding that notes after which tokens a text's first one is written."""

    def note(module: nn.Module, args: Any, output: Any) -> None:
        (ids,) = args
        shared.state.starting = (ids >= after.start) & (ids < after.stop)

    return note


def _check_original(module: nn.Module) -> None:
    """SteeringError in a replica: several would run this steering at once, each on a device of its own."""
    if getattr(module, "_is_replica", False):
        raise SteeringError(
            "DataParallel has replicated this model on several devices, and a steering is of one model on one of them; "
            "run one process for each with DistributedDataParallel, and steer in it, or DataParallel on one device"
        )


def attach(tap: Tap, hook: Hook) -> RemovableHandle:
    """Register a hook at a tap.

    Raises:
        SteeringError: the tap's module takes no hook.
    """
    try:
        return _register(tap, hook)
    except RuntimeError as error:
        raise SteeringError(
            f"{hook.site} is a {type(tap.module).__name__}, which takes no hook; steer the model before it is scripted"
        ) from error


def _register(tap: Tap, hook: Hook) -> RemovableHandle:
    if tap.place == "output":

        def steer_output(module: nn.Module, args: Any, output: Any) -> Any:
            _check_original(module)
            if isinstance(output, tuple):  # transformers 4 returns (residual, ...)
                return (hook(output[0]), *output[1:])
            return hook(output)

        handle = tap.module.register_forward_hook(steer_output)
        # transformers 5 notes hidden states in hooks that stay for good: they are to see what the next block reads
        hooks = tap.module._forward_hooks
        for key, theirs in list(hooks.items()):
            if getattr(theirs, "__module__", "").startswith("transformers."):
                hooks[key] = hooks.pop(key)  # now last
        return handle

    def steer_input(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> Any:
        _check_original(module)
        if args:
            return (hook(args[0]), *args[1:]), kwargs
        name = "hidden_states" if "hidden_states" in kwargs else next(iter(kwargs))
        return args, {**kwargs, name: hook(kwargs[name])}

    return tap.module.register_forward_pre_hook(steer_input, with_kwargs=True)
