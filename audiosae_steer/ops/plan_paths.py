"""Running a plan: one function for each path, over tensors alone.

Each takes a residual x (clips, frames, d), the tensors that the plan was compiled to, the strength, () or (clips,), and
the frames to steer; it returns the steered residual, of the shape and dtype of x. Frames that are not steered, and all
of them at strength 0, keep their bits. What a path costs stands beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from . import custom_ops, dispatch, eager, reference, selection
from .dispatch import Cost, Kernel, Path
from .eager import CompiledEdits, Rows, Where


class WholeSAE(NamedTuple):
    """All rows of an SAE, where a path needs all of its features."""

    weights: reference.SAEWeights
    """With the input normalisation folded in where it is one number; W_dec is empty where the error is kept."""
    bias: Tensor
    """(F,): b_enc − W_enc·b_dec."""
    edited: Tensor
    """(E,) long: the edited features."""


class PlanTensors(NamedTuple):
    """A compiled plan: d is the width of the residual, E the number of edited features."""

    d_model: int
    """d."""
    edits: CompiledEdits
    """`vectors` is None where nothing is added to x."""
    rows: Rows | None
    """Of the edited features; None for `identity` and `add`."""
    whole: WholeSAE | None
    """For `full` and `reconstruct` alone."""
    dtype: torch.dtype
    """Of the computation: x of lower precision is widened, and the result rounded once."""
    products: torch.dtype
    """Of products with the SAE's rows, which are summed in `dtype`, where x is of it too."""


Change = Callable[[Tensor, Tensor | None], Tensor]
"""From x in the dtype of the computation, and where each stage applies as in `eager.Maps`, to x without its vectors."""


def identity(x: Tensor, plan: PlanTensors, strength: Tensor, where: Where) -> Tensor:
    """x itself."""
    return x


def add(x: Tensor, plan: PlanTensors, strength: Tensor, where: Where) -> Tensor:
    """x and one vector for each choice and window: the SAE is not run at all."""
    # a compiler fuses a plain addition into what comes next
    if not torch.compiler.is_compiling() and _takes_kernel(x, strength, None):
        return custom_ops.add(x, plan.edits, strength, where)
    on = eager.applies(x, plan.edits.start, plan.edits.end, where)
    if on is None and where.live is None:
        # -0.0 is the number that changes nothing when added, not even the sign of a zero
        pushed = _pushed(plan.edits, strength, None, where.choice)
        return eager.add(x, torch.where(eager.by_clip(strength) == 0, -0.0, pushed))
    return _where_steered(x, plan, strength, where, lambda wide, on: wide)


def delta(x: Tensor, plan: PlanTensors, strength: Tensor, where: Where) -> Tensor:
    """x and the change of the edited features, of which alone the rows are computed."""
    rows = _rows(plan)
    if not plan.edits.joints and _takes_kernel(x, strength, rows.unit_norm):
        return custom_ops.delta(x, rows, plan.edits, strength, where)

    def change(wide: Tensor, on: Tensor | None) -> Tensor:
        return _written(wide, eager.activations(wide, rows), plan, strength, on, where.choice)

    return _where_steered(x, plan, strength, where, change)


def full(x: Tensor, plan: PlanTensors, strength: Tensor, where: Where) -> Tensor:
    """x and the change of the edited features, after a selection among all features, or a norm over them."""
    whole, rows = _whole(plan), _rows(plan)
    if not plan.edits.joints and _counts(x, plan) and _takes_kernel(x, strength, rows.unit_norm):
        rank = custom_ops.rank(x, whole.weights.W_enc, whole.bias, rows.W_enc, rows.bias, whole.edited)
        return custom_ops.delta(x, rows, plan.edits, strength, where, rank, whole.weights.k or 0)

    def change(wide: Tensor, on: Tensor | None) -> Tensor:
        f = selection.selected(wide, whole.weights, whole.edited)
        return _written(wide, f, plan, strength, on, where.choice)

    return _where_steered(x, plan, strength, where, change)


def reconstruct(x: Tensor, plan: PlanTensors, strength: Tensor, where: Where) -> Tensor:
    """The SAE's reconstruction from edited features in the place of x: what the SAE cannot express is dropped."""
    whole, rows = _whole(plan), _rows(plan)

    def change(wide: Tensor, on: Tensor | None) -> Tensor:
        f, rest = selection.parted(wide, whole.weights, whole.edited)
        edited = eager.edit(f, _maps(plan.edits, on, where.choice))
        rebuilt = rest + whole.weights.b_dec + edited @ rows.W_dec.to(plan.dtype)
        wide = wide.to(plan.dtype)
        scale = reference.input_scale(wide, whole.weights.norm, whole.weights.scale)
        return torch.lerp(wide, rebuilt / scale, eager.by_clip(strength))

    return _where_steered(x, plan, strength, where, change, within_windows=False)


def _where_steered(
    x: Tensor, plan: PlanTensors, strength: Tensor, where: Where, change: Change, *, within_windows: bool = True
) -> Tensor:
    """`change` of x and the vectors of the edits, on the frames that are steered; x on the others.

    Frames outside of all windows count as not steered, but for `within_windows=False`.
    """
    on = eager.applies(x, plan.edits.start, plan.edits.end, where)
    steered = eager.changes(strength, on if within_windows else None, where.live)
    everywhere = False
    if dispatch.asks(x):  # where asking the device for a number is free
        if not steered.any():
            return x
        everywhere = bool(steered.all())
    pushes = plan.edits.vectors is not None
    changed = change(x if x.dtype == plan.products and not pushes else x.to(plan.dtype), on)
    if pushes:
        changed = changed + _pushed(plan.edits, strength, on, where.choice)
    changed = changed.to(x.dtype)
    return changed if everywhere else torch.where(steered, changed, x)


def _pushed(edits: CompiledEdits, strength: Tensor, on: Tensor | None, choice: Tensor | None) -> Tensor:
    """Sum of the vectors of all stages, times the strength: (clips or 1, frames or 1, d), or () without vectors."""
    if edits.vectors is None:
        return strength.new_zeros(())
    vectors = eager.pick(edits.vectors, choice) * eager.by_clip(strength)
    return vectors.sum(1, keepdim=True) if on is None else torch.where(on, vectors[:, :, None], 0.0).sum(1)


def _written(
    x: Tensor, f: Tensor, plan: PlanTensors, strength: Tensor, on: Tensor | None, choice: Tensor | None
) -> Tensor:
    """x and what the change of the activations f (clips, frames, E) writes."""
    edited = eager.edit(f, _maps(plan.edits, on, choice))
    return eager.write(x, (edited - f) * eager.by_clip(strength), _rows(plan))


def _maps(edits: CompiledEdits, on: Tensor | None, choice: Tensor | None) -> eager.Maps:
    silent = None if edits.silent is None else eager.pick(edits.silent, choice)
    return eager.Maps(eager.pick(edits.firing, choice), silent, on, edits.joints)


def _takes_kernel(x: Tensor, strength: Tensor, unit_norm: float | None) -> bool:
    """Triton computes it, unless a gradient is wanted that its operators do not give."""
    differentiable = torch.is_grad_enabled() and (strength.requires_grad or (x.requires_grad and unit_norm is not None))
    return not differentiable and dispatch.kernel_for(x) == "triton"


def _counts(x: Tensor, plan: PlanTensors) -> bool:
    """A topk's selection is made by counting, so that the rest of `full` is `delta`."""
    weights, rows = _whole(plan).weights, _rows(plan)
    return rows.unit_norm is None and dispatch.counts(x, weights.kind, len(rows.bias))


def _rows(plan: PlanTensors) -> Rows:
    if plan.rows is None:
        raise ValueError("this path needs the rows of edited features, and the plan was compiled for another")
    return plan.rows


def _whole(plan: PlanTensors) -> WholeSAE:
    if plan.whole is None:
        raise ValueError("this path needs the whole SAE, and the plan was compiled for another")
    return plan.whole


class PathSpec(NamedTuple):
    """A path: how it is run, what it costs, and why it is taken."""

    run: Callable[[Tensor, PlanTensors, Tensor, Where], Tensor]
    """Of x, the plan's tensors, the strength and the frames to steer."""
    multiply_adds: Callable[[PlanTensors, Tensor], int]
    """Of a frame of a residual like the second argument."""
    kernel: Callable[[PlanTensors, Tensor], Kernel]
    """Kernel on such a residual."""
    reason: str
    """In words, with {edited} for the number of edited features."""

    def cost(self, plan: PlanTensors, like: Tensor) -> Cost:
        """Cost of a plan on a residual like this one."""
        adds = self.multiply_adds(plan, like)
        moved = 2 * plan.d_model * like.element_size() if adds else 0
        return Cost(self.kernel(plan, like), adds, moved, adds * plan.products.itemsize)  # each weight once a frame


def _adds_of_full(plan: PlanTensors, like: Tensor) -> int:
    return plan.d_model * (len(_whole(plan).bias) + len(_rows(plan).bias))


def _adds_of_reconstruction(plan: PlanTensors, like: Tensor) -> int:
    weights = _whole(plan).weights
    width, k = len(weights.b_enc), weights.k or 0
    selects = weights.kind == "topk" or (weights.kind == "batchtopk" and weights.threshold is None)
    few = selects and selection.sums_kept(like.device, k, width)
    return plan.d_model * (width + (len(_rows(plan).bias) + k if few else width))


_WHOLE_SAE = "the whole SAE is run, for its selection or norm or because the error is dropped"
_SPECS: dict[Path, PathSpec] = {
    "identity": PathSpec(identity, lambda plan, like: 0, lambda plan, like: "torch", "nothing to do"),
    "add": PathSpec(
        add,
        lambda plan, like: plan.d_model,
        lambda plan, like: dispatch.kernel_for(like),
        "constant additions; the SAE is not run at all",
    ),
    "delta": PathSpec(
        delta,
        lambda plan, like: 2 * plan.d_model * len(_rows(plan).bias),
        lambda plan, like: "torch" if plan.edits.joints else dispatch.kernel_for(like),
        "only the rows of {edited} edited features are computed",
    ),
    "full": PathSpec(
        full,
        _adds_of_full,
        lambda plan, like: "triton" if not plan.edits.joints and _counts(like, plan) else "torch",
        _WHOLE_SAE,
    ),
}
_RECONSTRUCTION = PathSpec(reconstruct, _adds_of_reconstruction, lambda plan, like: "torch", _WHOLE_SAE)


def spec_of(path: Path, *, keep_error: bool) -> PathSpec:
    """The functions of a path; `full` with the error dropped is `reconstruct`."""
    return _SPECS[path] if keep_error else _RECONSTRUCTION
