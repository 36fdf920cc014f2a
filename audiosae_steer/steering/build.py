"""Building of hooks from sites, edits and gates; everything is checked before a model is touched."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, get_args

import torch
from torch import nn

from ..errors import EditError, GateError, SiteError, SteeringError
from ..models.registry import frame_rate_at, in_order, tap_at
from ..models.sites import Family, Passes, Site, Tap
from ..models.storage import held
from ..ops.dispatch import products_for
from ..sae.autoencoder import SAE
from .cautions import caution_layer, caution_values
from .edits import Edit, Push
from .gates import ClipGate, FrameGate, FrameProbe, Probe, TimestampGate, TimestampProbe
from .hook import Hook, Probes, When
from .pass_state import Shared
from .plan import Plan
from .site_edits import Choices, SiteEdits, SiteGate


class _Place(NamedTuple):
    """A site in a model, and the numbers that flow there."""

    site: Site
    tap: Tap
    d_model: int | None
    """Width of the residual; None where only an SAE or a Push can tell, at a path."""
    frame_rate: float | None
    weights: torch.dtype
    """Of the module's parameters."""
    device: torch.device

    @property
    def dtype(self) -> torch.dtype:
        """Of the computation: float32 or wider."""
        return torch.promote_types(self.weights, torch.float32)


def build_hooks(
    model: nn.Module, family: Family, parts: Sequence[SiteEdits], gates: Sequence[SiteGate]
) -> tuple[dict[Site, Hook], Shared]:
    """The modules that run at each site, in the order of a forward pass, and the state that they share.

    Everything is checked, and the model is not touched.

    Raises:
        SiteError, EditError, GateError, SteeringError: something does not fit the model, or the rest.
    """
    gate, frame_gate, timestamp_gate = _by_kind(gates)
    edited = {part.site: part for part in parts}
    if len(edited) != len(parts):
        raise SiteError("a site is listed twice; put its edits into one list, in order")
    if not parts:
        raise EditError("there is nothing to steer: the list of SiteEdits is empty")
    names = tuple(dict.fromkeys(name for part in parts for name in _choices(part)))
    if not names:
        raise EditError("there is nothing to choose from: the mapping of names to edits is empty")
    where = [None if each is None else each.site for each in (gate, frame_gate, timestamp_gate)]
    shared = Shared(names, *where)
    every = in_order(model, family, {*edited, *(each.site for each in gates)})
    hooks: dict[Site, Hook] = {}
    for site in every:
        place = _place(model, family, site)
        plan, when = None, When()
        if site in edited:
            plan = _plan(place, edited[site], names)
            when = _when(edited[site], family, model)
            for each in gates:
                if not isinstance(each.gate, TimestampGate):
                    _check_governs(each, site, model, family, every)
        probe = None if gate is None or gate.site != site else _probe(place, gate)
        probes = Probes(probe)
        for framed in (frame_gate, timestamp_gate):
            if framed is not None and framed.site == site:
                probes = _with_frames(probes, place, framed, _gate_rate(model, family, site))
        hooks[site] = Hook(site, plan, probes, shared, tap=place.tap, when=when).to(place.device)
        hooks[site].words = _words(edited[site]) if site in edited else ()
    return hooks, shared


def _by_kind(gates: Sequence[SiteGate]) -> tuple[SiteGate | None, SiteGate | None, SiteGate | None]:
    """The clip gate, the frame gate and the timestamp gate."""
    kinds: dict[type, SiteGate] = {}
    for each in gates:
        if not isinstance(each, SiteGate) or not isinstance(each.gate, (ClipGate, FrameGate)):
            odd = each.gate if isinstance(each, SiteGate) else each
            raise GateError(f"gate is a ClipGate, FrameGate, TimestampGate or SiteGate, not {type(odd).__name__}")
        if type(each.gate) in kinds:
            raise GateError(
                "there are two gates of one kind; a steering takes one ClipGate, one FrameGate and one TimestampGate "
                "at most"
            )
        kinds[type(each.gate)] = each
    return kinds.get(ClipGate), kinds.get(FrameGate), kinds.get(TimestampGate)


def _choices(part: SiteEdits) -> Choices:
    return part.edits if isinstance(part.edits, Mapping) else {"edits": part.edits}


def _words(part: SiteEdits) -> tuple[str, ...]:
    """A part's edits, each with the name of the list it is in where clips choose between several."""
    choices = _choices(part)
    front = {name: f"for clips that take {name!r}, " if len(choices) > 1 else "" for name in choices}
    dropped = "" if part.error == "keep" else "; the SAE's error is dropped"
    return tuple(f"{front[name]}{edit.words()}{dropped}" for name, edits in choices.items() for edit in edits)


def _place(model: nn.Module, family: Family, site: Site) -> _Place:
    tap = tap_at(model, family, site)
    weights = held(tap.module, model)
    d_model = tap.size or family.dims(model).d_model if site.path is None else None
    return _Place(site, tap, d_model, frame_rate_at(model, family, site), weights.dtype, weights.device)


def _plan(place: _Place, part: SiteEdits, names: Sequence[str]) -> Plan:
    """The compiled edits of a site, one list for each name."""
    choices = _choices(part)
    lists = [_edit_list(choices.get(name, ())) for name in names]
    _check_kind(part.sae)
    d_model = place.d_model or _width_told(part, lists)
    _check_width(part.sae, d_model, place.site)
    plan = Plan(
        lists,
        part.sae,
        d_model,
        error=part.error,
        frame_rate=place.frame_rate,
        dtype=place.dtype,
        products=products_for(place.weights, place.device),
    )
    _check_selection(plan, part.sae, place.site)
    caution_layer(part.sae, place.site)
    caution_values([edit for edits in lists for edit in edits], place.site)
    return plan


def _width_told(part: SiteEdits, lists: Sequence[Sequence[Edit]]) -> int:
    """Width of the residual at a path, as the SAE or a Push tells."""
    if part.sae is not None:
        return part.sae.d_model
    pushes = [len(edit.vector) for edits in lists for edit in edits if isinstance(edit, Push)]
    if not pushes:
        raise SiteError(f"how wide the residual at {part.site} is, its SAE or a Push tells: pass sae=")
    return pushes[0]


def _probe(place: _Place, gate: SiteGate) -> Probe | None:
    _check_gate_sae(place, gate)
    return Probe(gate.gate, gate.sae, place.dtype) if isinstance(gate.gate, ClipGate) else None


def _with_frames(probes: Probes, place: _Place, each: SiteGate, frame_rate: float) -> Probes:
    _check_gate_sae(place, each)
    if isinstance(each.gate, TimestampGate):
        return probes._replace(timestamp=TimestampProbe(each.gate, each.sae, frame_rate, place.dtype))
    if isinstance(each.gate, FrameGate):
        return probes._replace(frame=FrameProbe(each.gate, each.sae, frame_rate, place.dtype))
    return probes


def _check_gate_sae(place: _Place, gate: SiteGate) -> None:
    _check_kind(gate.sae)
    if place.d_model is not None:
        _check_width(gate.sae, place.d_model, place.site)
    caution_layer(gate.sae, place.site)


def _gate_rate(model: nn.Module, family: Family, site: Site) -> float:
    """Frames per second at a frame gate's site."""
    rate = frame_rate_at(model, family, site)
    if rate is None or tap_at(model, family, site).times is not None:
        raise GateError(
            f"a frame gate needs frames that have a time, one after the other, and {site} has none: let it "
            "read an encoder layer"
        )
    return rate


def _check_governs(each: SiteGate, site: Site, model: nn.Module, family: Family, every: Sequence[Site]) -> None:
    kind = "clip gate" if isinstance(each.gate, ClipGate) else "frame gate"
    if each.site != site and family.in_chunks(model):
        raise GateError(
            f"this {type(model).__name__} takes its input in pieces, and has read all of them before {site} is "
            f"reached: the {kind} at {each.site} can govern edits there alone"
        )
    if every.index(each.site) > every.index(site):
        raise GateError(f"the {kind} at {each.site} comes after the edits at {site}, which it cannot govern")
    if kind == "frame gate" and frame_rate_at(model, family, site) != _gate_rate(model, family, each.site):
        raise GateError(
            f"the frame gate at {each.site} decides by frames of the audio, which {site} does not have: it cannot "
            "govern edits there; move them to an encoder layer, or take a clip gate"
        )


def _when(part: SiteEdits, family: Family, model: nn.Module) -> When:
    """The passes in which a part is at work."""
    if part.passes not in get_args(Passes):
        raise EditError(f"passes are {part.passes!r}; expected {', '.join(get_args(Passes))}")
    steps = None if isinstance(part.steps, str) else _span(part.steps, "steps")
    flow = None if part.flow is None else _span(part.flow, "flow")
    if (steps or flow or part.passes != "both") and not family.diffuses:
        raise SiteError(f"ranges of steps, flow and passes are for diffusion models; {family.name} runs once")
    if steps and not hasattr(model, "sample"):
        raise SiteError(
            f"a {type(model).__name__} alone does not know which step it is at: steer the model that samples, or take "
            "flow=(from, up to)"
        )
    if steps is None and part.steps not in ("all", "first"):
        raise EditError(f'steps are {part.steps!r}; expected "all", "first", or two numbers')
    if part.steps == "first" and part.site.side != "decoder":
        raise SiteError(f'steps="first" is for a decoder, which writes tokens one by one; {part.site} is no such site')
    whole = None if steps is None else (int(steps[0]), int(steps[1]))
    return When(part.steps == "first", whole, flow, part.passes)


def _span(given: Any, name: str) -> tuple[float, float]:
    try:
        start, end = (float(number) for number in given)
    except (TypeError, ValueError) as error:
        raise EditError(f"{name} are {given!r}; expected two numbers, from and up to") from error
    if not start < end or not all(map(math.isfinite, (start, end))):
        raise EditError(f"{name} from {start:g} up to {end:g} are not a range; expected two finite numbers, rising")
    return start, end


def _edit_list(edits: Any) -> list[Edit]:
    if not isinstance(edits, Sequence) or isinstance(edits, str):
        raise EditError(f"edits must be a list, or a mapping from names to lists, not {type(edits).__name__}")
    return list(edits)


def _check_selection(plan: Plan, sae: SAE | None, site: Site) -> None:
    if site.side == "encoder" or plan.path != "full" or sae is None or sae.has_own_gates:
        return
    if sae.gate.kind == "batchtopk":
        raise SiteError(
            f"a batchtopk gate without a threshold selects among all the frames of a clip, but {site} may see one at "
            "a time, and would write another text with a cache than without: calibrate a threshold with "
            "`audiosae-steer calibrate-threshold`, or SAE.calibrate_threshold()"
        )


def _check_kind(sae: Any) -> None:
    if sae is not None and not isinstance(sae, SAE):
        raise SteeringError(f"sae is a {type(sae).__name__}, not an SAE; load_sae(...) makes one of a file or a folder")


def _check_width(sae: SAE | None, d_model: int, site: Site) -> None:
    if sae is not None and sae.d_model != d_model:
        raise SiteError(
            f"the SAE reads residuals of width {sae.d_model}, but {site} of this model is {d_model} wide; "
            "take an SAE that was trained for this model"
        )
