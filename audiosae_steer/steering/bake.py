"""Baking: a steering of constants becomes a change of biases that the weights have anyway, and needs no hook.

An addition to the output of a block that ends in a biased map is the same as that much more of the map's bias.
Everything is checked, and computed, before the first parameter is touched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..errors import SiteError, SteeringError
from ..models.registry import family_of, tap_at
from ..models.sites import Site
from .hook import Hook
from .live import LocalHook
from .plan import Plan
from .recipes.load import recipes
from .recipes.schema import Recipe


class BiasChange(NamedTuple):
    """A constant that one parameter carries now."""

    sites: tuple[Site, ...]
    """The sites whose constants it carries; one, unless two sites are the same place."""
    parameter: str
    """Its name, as `model.named_parameters()` has it."""
    norm: float
    """Euclidean norm of what was added."""
    before: float
    """Euclidean norm of the parameter before."""
    rounding: float
    """Distance of the parameter from the exact sum, at most, for want of digits of its dtype."""


class Baked(NamedTuple):
    """A record of the parameters that `Steering.bake` changed."""

    changes: tuple[BiasChange, ...]
    """A parameter each."""
    strength: float
    """The strength that was baked in; it cannot be changed any more."""
    recipe: Recipe | None
    """The recipe that was baked, if it was one."""
    allow_empty: bool
    """The steering let the model write an empty text. Weights cannot say so; `publishing.export` writes it
    into the settings of formats that have some for it."""


class _Change(NamedTuple):
    sites: tuple[Site, ...]
    name: str
    bias: nn.Parameter
    exact: Tensor
    """float64, on the CPU."""


def bake(
    model: nn.Module, hooks: Mapping[Site, Hook], strength: float, *, recipe: Recipe | None, allow_empty: bool
) -> Baked:
    """Write the constants of `hooks`, at this strength, into the biases of `model`; the hooks stay where they are.

    Args:
        model: the module that is steered.
        hooks: the hook at each site.
        strength: by which the constants are multiplied; not 0.
        recipe: that the hooks are of, if any, for the record.
        allow_empty: whether the steering allows an empty text, for the record.

    Raises:
        SteeringError, SiteError: as `Steering.bake`; the model is unchanged.
    """
    obstacles = list(_obstacles(model, hooks))
    if obstacles:
        raise SteeringError(_refusal(model, recipe, obstacles))
    changes = _changes(model, hooks, strength)
    if not any((change.exact - change.bias.detach().cpu().double()).any() for change in changes):
        raise SteeringError("all that this steering adds is 0, and changes nothing; give its edits amounts")
    before = [change.bias.detach().clone() for change in changes]
    after = [change.exact.to(change.bias.dtype) for change in changes]
    for change, value in zip(changes, after, strict=True):
        if not torch.isfinite(value).all():
            raise SteeringError(
                f"{change.name} is {change.bias.dtype}, too narrow for the sum; load the model in float32, or lower "
                "the strength"
            )
    try:
        for change, value in zip(changes, after, strict=True):
            _write(change.bias, value)
    except BaseException:
        for change, value in zip(changes, before, strict=True):
            _write(change.bias, value)
        raise
    found = [
        BiasChange(
            change.sites,
            change.name,
            (change.exact - old.cpu().double()).norm().item(),
            old.cpu().double().norm().item(),
            (new.double() - change.exact).abs().max().item(),
        )
        for change, old, new in zip(changes, before, after, strict=True)
    ]
    return Baked(tuple(found), strength, recipe, allow_empty)


def bakes(recipe: Recipe) -> bool:
    """A recipe can be baked: it holds nothing but constants, for all clips and steps."""
    if recipe.gates:
        return False
    plain = all(edit.constant and edit.window is None for site in recipe.sites for edit in site.build())
    return plain and all(site.error == "keep" and site.steps == "all" for site in recipe.sites)


class _Obstacle(NamedTuple):
    reason: str
    without: str
    """The part that would have to go."""


def _obstacles(model: nn.Module, hooks: Mapping[Site, Hook]) -> Iterator[_Obstacle]:
    """Reasons why a steering is no constant, in words that follow "cannot be baked:"."""
    shared = next(iter(hooks.values())).shared
    if shared.gate_site is not None:
        yield _Obstacle(f"its clip gate at {shared.gate_site} decides clip by clip", "the clip gate")
    if shared.frame_gate_site is not None:
        yield _Obstacle(f"its frame gate at {shared.frame_gate_site} decides frame by frame", "the frame gate")
    if shared.timestamp_gate_site is not None:
        yield _Obstacle("its timestamp gate limits what the decoding may write", "the timestamp gate")
    for site, hook in hooks.items():
        if hook.plan is not None:
            yield from _of_site(site, hook, hook.plan)
            if _preceded(model, hooks, site):
                yield _Obstacle(f"another steering is at {site}, and runs before it", "the other steering")


def _of_site(site: Site, hook: Hook, plan: Plan) -> Iterator[_Obstacle]:
    when = hook.when
    if hook.by_clip:
        names = ", ".join(hook.shared.names)
        yield _Obstacle(f"at {site} each clip chooses among {names}", "the choice of each clip")
    if plan.error == "drop":
        yield _Obstacle(f'at {site} error="drop" puts the SAE\'s reconstruction in the place of x', 'error="drop"')
    elif plan.path in ("delta", "full"):
        if plan.unit_norm is not None:
            reason = f"at {site} the SAE measures each frame by its own norm, so that an addition differs by frame"
        else:
            reason = f"at {site} there are edits that depend on what the features are (path {plan.path})"
        yield _Obstacle(reason, "all edits but Add and Push")
    if plan.start is not None:
        yield _Obstacle(f"at {site} edits have windows of time", "windows")
    if when.first:
        yield _Obstacle(f"at {site} only the step that writes a text's first token is edited", 'steps="first"')
    elif when.words():
        yield _Obstacle(f"at {site} edits are at work {when.words().removeprefix('; ')}", "steps, flow and passes")


def _preceded(model: nn.Module, own: Mapping[Site, Hook], site: Site) -> bool:
    """Another steering runs at the same place before this one: baked, this one would come first."""
    module = tap_at(model, family_of(model, paths=site.path is not None), site).module
    for run in [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]:
        ours = run.function if isinstance(run, LocalHook) else run
        held = [cell.cell_contents for cell in getattr(ours, "__closure__", None) or ()]
        hooks = [each for each in held if isinstance(each, Hook)]
        if any(each is own[site] for each in hooks):
            return False
        if any(all(each is not mine for mine in own.values()) for each in hooks):
            return True
    return False


def _refusal(model: nn.Module, recipe: Recipe | None, obstacles: list[_Obstacle]) -> str:
    dropped = list(dict.fromkeys(obstacle.without for obstacle in obstacles))
    fitting = [] if recipe is None else [each.name for each in recipes(model) if bakes(each)]
    nearest = (
        f"of the recipes for this model {', '.join(map(repr, fitting))} can be, unchanged"
        if fitting
        else "`audiosae-steer learn --decoder all` learns constants that can be"
    )
    reasons = "; ".join(obstacle.reason for obstacle in obstacles)
    return (
        f"this steering cannot be baked: {reasons}. Only constants that are added to every frame of every clip can be; "
        f"without {' and '.join(dropped)} it could be; {nearest}"
    )


def _changes(model: nn.Module, hooks: Mapping[Site, Hook], strength: float) -> list[_Change]:
    """The parameters with their new values; nothing is touched.

    Raises:
        SiteError: a site has no bias to take a constant.
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found: dict[int, _Change] = {}
    for site, hook in hooks.items():
        plan = hook.plan
        if plan is None or plan.path == "identity":
            continue
        bias = _bias(model, site)
        constant = plan.vectors[0].cpu().double().sum(0) * strength
        if bias.shape != constant.shape:
            raise SiteError(f"the bias at {site} has shape {tuple(bias.shape)}, not {tuple(constant.shape)}")
        known = found.get(id(bias))
        exact = bias.detach().cpu().double() if known is None else known.exact
        sites = (site,) if known is None else (*known.sites, site)
        found[id(bias)] = _Change(sites, names[id(bias)], bias, exact + constant)
    return list(found.values())


def _bias(model: nn.Module, site: Site) -> nn.Parameter:
    family = family_of(model, paths=site.path is not None)
    if site.path is None:
        module = family.bias_module(model, site)
    else:
        module = tap_at(model, family, site).module
        if not isinstance(module, (nn.Linear, nn.LayerNorm)) or site.layout != "bfd":
            raise SiteError(
                f"{site} is a {type(module).__name__}, of which it is not known how it ends; name a linear map or a "
                "layer norm in it, or a layer that the model's family knows"
            )
    kind = type(module).__name__
    if not isinstance(module, (nn.Linear, nn.LayerNorm)):
        raise SiteError(f"{site} ends in a {kind}, which is no linear map of torch (adapted, or quantised?)")
    bias, weight = module.bias, module.weight
    if weight is not None and not weight.is_floating_point():
        raise SiteError(f"the {kind} that {site} ends in is quantised ({weight.dtype}); bake it before it is")
    if not isinstance(bias, nn.Parameter) or not bias.is_floating_point():
        raise SiteError(f"the {kind} that {site} ends in has no bias that could take a constant")
    if bias.is_meta:
        raise SiteError(f"the weights of {site} are not in memory (offloaded?); load the model whole")
    holders = [each for each in model.modules() if any(p is bias for p in each.parameters(recurse=False))]
    if len(holders) != 1:
        raise SiteError(f"the bias at {site} is shared by {len(holders)} modules, and would change all of them")
    return bias


def _write(bias: nn.Parameter, value: Tensor) -> None:
    # tensors made in inference mode can be changed in it alone
    with torch.inference_mode() if bias.is_inference() else torch.no_grad():
        bias.copy_(value)


def described(change: BiasChange) -> str:
    """A change in words."""
    where = ", ".join(map(str, change.sites))
    share = f" ({change.norm / change.before:.1%} of its own)" if change.before else ""
    return f"{change.parameter} ({where}): a vector of norm {change.norm:.4g}{share}"


def as_json(baked: Baked) -> Mapping[str, Any]:
    """The record for JSON, to be kept beside baked weights."""
    return {
        "strength": baked.strength,
        "recipe": None if baked.recipe is None else baked.recipe.name,
        "allow_empty": baked.allow_empty,
        "changes": [
            {
                "sites": [str(site) for site in change.sites],
                "parameter": change.parameter,
                "norm": change.norm,
                "before": change.before,
                "rounding": change.rounding,
            }
            for change in baked.changes
        ],
    }
