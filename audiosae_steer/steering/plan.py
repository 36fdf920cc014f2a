"""A list of edits compiled to tensors, once, when the steering is built.

Edits that share a window are composed into one clamped affine map per feature and one constant vector; only the
edited rows of the SAE are kept. All of it lives in device buffers, for one or several *choices* of edits, so that a
batch may hold clips that are steered differently. `ops.plan_paths` runs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..errors import EditError
from ..ops import dispatch, eager, plan_paths
from ..ops.eager import CompiledEdits, Rows, Where
from ..ops.joint import RULES, Joint
from ..ops.reference import SAEWeights
from ..sae.autoencoder import SAE
from .affine import Affine
from .compose import Stage, as_push, check, compose
from .edits import Edit, features_of

ErrorMode = Literal["keep", "drop"]


class Plan(nn.Module):
    """Edits of one site as tensors.

    Args:
        choices: one list of edits, or several, among which each clip of a batch may choose.
        sae: the SAE whose features are edited; None if all edits are pushes.
        d_model: width of the residual.
        error: `keep` what the SAE cannot express, or `drop` it, as the AudioSAE paper does.
        frame_rate: frames per second of the site, or None where frames have no time (a decoder).
        dtype: what it computes in; inputs of lower precision are widened and the result is rounded once.
        products: what products with the SAE's rows take, summed wide, where x is of that dtype too; None: `dtype`.

    Raises:
        EditError: a feature is out of range, a vector is of the wrong width, or a window is used without a time axis.
    """

    firing: Tensor
    silent: Tensor | None
    vectors: Tensor
    start: Tensor | None
    end: Tensor | None
    W_enc: Tensor
    bias: Tensor
    threshold: Tensor
    W_dec: Tensor
    all_W_enc: Tensor
    all_b_enc: Tensor
    all_W_dec: Tensor
    all_b_dec: Tensor
    all_threshold: Tensor | None
    all_gain: Tensor | None
    all_bias: Tensor
    index: Tensor

    def __init__(
        self,
        choices: Sequence[Sequence[Edit]],
        sae: SAE | None,
        d_model: int,
        *,
        error: ErrorMode = "keep",
        frame_rate: float | None = None,
        dtype: torch.dtype = torch.float32,
        products: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if error not in ("keep", "drop"):
            raise EditError(f'error is {error!r}; expected "keep" or "drop"')
        if error == "drop" and sae is None:
            raise EditError('error="drop" replaces the residual by the SAE\'s reconstruction: pass sae=')
        edits = [edit for choice in choices for edit in choice]
        check(edits, sae, d_model, frame_rate)
        self.error, self.frame_rate, self.dtype, self.products = error, frame_rate, dtype, products or dtype
        self.d_model, self.n_choices = d_model, len(choices)
        self.features: tuple[int, ...] = features_of(edits)
        self.unit_norm = sae.normalisation.scale if sae is not None and sae.normalisation.kind == "unit_norm" else None
        self.path = dispatch.choose_path(
            edits=bool(edits),
            constant=all(edit.constant for edit in edits),
            own_gates=sae is None or sae.has_own_gates,
            unit_norm=self.unit_norm is not None and bool(self.features),
            keep_error=error == "keep",
        )
        self._run = self._spec.run
        columns = self.features if self.path in ("delta", "full") else ()
        if self.path == "add":
            choices = [[as_push(edit, sae) for edit in choice] for choice in choices]
        stages = [compose(choice, columns, sae, d_model) for choice in choices]
        self._keep_stages(stages, len(columns))
        self._keep_joints(stages)
        self._keep_rows(columns, sae)
        if self.path == "full" and sae is not None:
            self._keep_whole(sae)

    @property
    def _spec(self) -> plan_paths.PathSpec:
        return plan_paths.spec_of(self.path, keep_error=self.error == "keep")

    def _keep_stages(self, choices: Sequence[list[Stage]], width: int) -> None:
        """Keep the stages of every choice, stacked; choices of fewer stages get idle ones.

        Raises:
            EditError: numbers are too large for the plan's dtype.
        """
        count = max((len(stages) for stages in choices), default=0)
        nothing = torch.zeros(self.d_model, dtype=torch.float64)
        idle = Stage(None, Affine.identity(width), Affine.identity(width), nothing)
        padded = [stages + [idle] * (count - len(stages)) for stages in choices]
        never, always = (torch.inf, torch.inf), (-torch.inf, torch.inf)
        windows = torch.tensor(
            [[never if s is idle else s.window or always for s in stages] for stages in padded], dtype=torch.float64
        ).reshape(len(choices), count, 2)

        def stack(rows: list[list[Tensor]], *shape: int) -> Tensor:
            flat = [tensor for row in rows for tensor in row]
            stacked = torch.stack(flat) if flat else torch.zeros(0, dtype=torch.float64)
            return stacked.reshape(len(choices), count, *shape).to(self.dtype)

        firing = stack([[torch.stack(tuple(s.firing)) for s in stages] for stages in padded], 4, width)
        silent = stack([[torch.stack(tuple(s.silent)) for s in stages] for stages in padded], 4, width)
        vectors = stack([[s.vector for s in stages] for stages in padded], self.d_model)
        self._check_finite(firing, silent, vectors)
        self.pushes = self.path == "add" or bool(vectors.any())
        self.timed, self._maps_differ = bool(torch.isfinite(windows).any()), not torch.equal(firing, silent)
        self._keep(
            firing=firing,
            silent=silent if self._maps_differ else None,
            vectors=vectors,
            start=windows[..., 0].to(self.dtype) if self.timed else None,
            end=windows[..., 1].to(self.dtype) if self.timed else None,
        )

    def _keep_joints(self, choices: Sequence[list[Stage]]) -> None:
        """Keep the rules that change features together, tensor by tensor.

        Raises:
            EditError: there are several choices of edits.
        """
        rules = [stage.joint for stages in choices for stage in stages]
        self._rules = tuple(None if rule is None else type(rule).__name__ for rule in rules)
        if not any(self._rules):
            self._rules = ()
        elif len(choices) > 1:
            raise EditError("Turn and Toward are for one list of edits, not for several that clips choose among")
        for number, rule in enumerate(rules):
            for name, tensor in () if rule is None else rule._asdict().items():
                dtype = self.dtype if tensor.is_floating_point() else tensor.dtype
                self.register_buffer(f"joint_{number}_{name}", tensor.to(self.firing.device, dtype), persistent=False)

    def _joints(self) -> tuple[Joint | None, ...]:
        return tuple(
            None
            if name is None
            else RULES[name](*(getattr(self, f"joint_{i}_{field}") for field in RULES[name]._fields))
            for i, name in enumerate(self._rules)
        )

    def _check_finite(self, firing: Tensor, silent: Tensor, vectors: Tensor) -> None:
        for maps in (firing, silent):
            a, b, low, high = maps.unbind(2)
            infinite = ~torch.isfinite(a) | ~torch.isfinite(b) | ~(low < torch.inf) | ~(high > -torch.inf)
            if infinite.any():
                feature = self.features[int(infinite.nonzero()[0, -1])]
                raise EditError(
                    f"the edits of feature {feature} together are too large for {self.dtype}; take smaller numbers"
                )
        if not torch.isfinite(vectors).all():
            raise EditError(f"the vectors to add are too large for {self.dtype}; take smaller numbers")

    def _keep_rows(self, features: Sequence[int], sae: SAE | None) -> None:
        """Keep the rows of so many features, none where the path needs none."""
        if sae is None or not features:
            row, number = torch.zeros(0, self.d_model, dtype=self.products), torch.zeros(0, dtype=self.dtype)
            self._keep(W_enc=row, bias=number, threshold=number, W_dec=row)
            return
        rows = sae.rows(features, self.dtype, self.products)
        self._keep(W_enc=rows.W_enc, bias=rows.bias, threshold=rows.threshold, W_dec=rows.W_dec)

    def _keep_whole(self, sae: SAE) -> None:
        """Keep all rows: W_dec only where the reconstruction replaces x."""
        w = sae.folded(self.dtype, self.products)
        self._gate_and_norm, self._epsilon = ((w.kind, w.k), (w.norm, w.scale)), w.epsilon
        self._keep(
            all_W_enc=w.W_enc,
            all_b_enc=w.b_enc,
            all_W_dec=w.W_dec if self.error == "drop" else w.W_enc.new_zeros(0, self.d_model),
            all_b_dec=w.b_dec,
            all_threshold=w.threshold,
            all_gain=w.gain,
            all_bias=w.b_enc - w.W_enc.to(self.dtype) @ w.b_dec,
            index=torch.tensor(self.features, dtype=torch.long, device=w.W_enc.device),
        )

    def _keep(self, **buffers: Tensor | None) -> None:
        for name, tensor in buffers.items():
            self.register_buffer(name, tensor, persistent=False)

    def tensors(self) -> plan_paths.PlanTensors:
        """The compiled edits, and the rows that the path reads, on the device where the buffers are now."""
        # for each pass, as buffers move; and no more than the path reads, as a module is slow to look each of them up
        vectors = self.vectors if self.pushes else None
        silent = self.silent if self._maps_differ else None
        start, end = (self.start, self.end) if self.timed else (None, None)
        edits = CompiledEdits(self.firing, silent, vectors, start, end, self._joints())
        if self.path in ("identity", "add"):
            return plan_paths.PlanTensors(self.d_model, edits, None, None, self.dtype, self.products)
        rows = Rows(self.W_enc, self.bias, self.threshold, self.W_dec, self.unit_norm)
        whole = self._whole() if self.path == "full" else None
        return plan_paths.PlanTensors(self.d_model, edits, rows, whole, self.dtype, self.products)

    def _whole(self) -> plan_paths.WholeSAE:
        gate, norm = self._gate_and_norm
        rows = self.all_W_enc, self.all_b_enc, self.all_W_dec, self.all_b_dec
        weights = SAEWeights(*rows, *gate, self.all_threshold, *norm, self.all_gain, self._epsilon)
        return plan_paths.WholeSAE(weights, self.all_bias, self.index)

    def forward(
        self,
        x: Tensor,
        strength: Tensor,
        *,
        live: Tensor | None = None,
        choice: Tensor | None = None,
        offset: Tensor | None = None,
        times: Tensor | None = None,
    ) -> Tensor:
        """The steered residual, of the shape and dtype of x.

        Args:
            x: (clips, frames, d_model).
            strength: (), 0 leaves x unchanged, bit for bit.
            live: (clips,) bool, the clips to steer at all; or (clips, frames) bool, the frames.
            choice: (clips,) long, the list of edits that each clip takes.
            offset: () or (clips,) seconds between the start of the input audio and the first frame of x.
            times: (frames,) seconds of each frame after `offset`; None: (i + 0.5) / frame_rate.
        """
        where = Where(live, choice, offset, self.frame_rate or 1.0, times)
        return self._run(x, self.tensors(), strength, where)

    def steered_frames(self, x: Tensor, strength: Tensor, *, live: Tensor | None = None, **where: Any) -> Tensor:
        """The frames of x that `forward` steers, given the same: bool, broadcasting to (clips, frames, 1)."""
        given = Where(live, rate=self.frame_rate or 1.0, **where)
        start, end = (self.start, self.end) if self.timed else (None, None)
        return eager.changes(strength, eager.applies(x, start, end, given), live)

    @property
    def always_writes(self) -> bool:
        """It changes every residual that it steers, whatever fires there; or has nothing to do at all."""
        return self.path in ("identity", "add") or self.error == "drop"

    def cost(self, x: Tensor | None = None) -> dispatch.Cost:
        """Work and memory traffic on a residual like x; None: on one of the plan's dtype and device."""
        return self._spec.cost(self.tensors(), self.vectors if x is None else x)

    def describe(self, block: int | None = None) -> str:
        """The path, why it was taken, and its cost, in words.

        Args:
            block: multiply-adds of the block whose output it edits, a frame, to compare with.
        """
        reason = self._spec.reason.format(edited=len(self.features))
        cost = self.cost()
        share = f" ({cost.multiply_adds / block:.2%} of the block's own)" if block else ""
        return (
            f"path {self.path}: {reason}; by {cost.kernel}, {cost.multiply_adds:,} multiply-adds{share} and "
            f"{cost.frame_bytes:,} bytes a frame, {cost.weight_bytes:,} bytes of weights"
        )
