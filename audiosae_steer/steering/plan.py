"""The plan: what a list of edits compiles to, once, when the steering is built.

Edits that share a window are composed into one clamped affine map per feature and one constant vector; only the
edited rows of the SAE are kept. All of it lives in device buffers, for one or several *choices* of edits, so that a
batch may hold clips that are steered differently.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from ..errors import EditError
from ..ops import custom_ops, dispatch, eager, reference, selection
from ..ops.eager import Where
from ..sae.autoencoder import SAE
from .compose import Stage, as_push, check, compose
from .edits import Add, Affine, Edit, FeatureEdit, Push

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

    W_enc: Tensor
    bias: Tensor
    threshold: Tensor
    W_dec: Tensor
    index: Tensor
    firing: Tensor
    silent: Tensor | None
    vectors: Tensor
    start: Tensor | None
    end: Tensor | None
    all_W_enc: Tensor
    all_b_enc: Tensor
    all_bias: Tensor
    all_W_dec: Tensor | None
    all_b_dec: Tensor
    all_threshold: Tensor | None

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
        self.n_choices = len(choices)
        self.unit_norm = sae.normalisation.scale if sae is not None and sae.normalisation.kind == "unit_norm" else None
        self.path = dispatch.choose_path(
            edits=bool(edits),
            constant=all(isinstance(edit, (Add, Push)) for edit in edits),
            own_gates=sae is None or sae.has_own_gates,
            unit_norm=self.unit_norm is not None and not all(isinstance(edit, Push) for edit in edits),
            keep_error=error == "keep",
        )
        features = sorted({i for edit in edits if isinstance(edit, FeatureEdit) for i in edit.features})
        self.features: tuple[int, ...] = tuple(features)
        if self.path == "add":
            edits_as_vectors = [[as_push(edit, sae) for edit in choice] for choice in choices]
            stages = [compose(choice, [], None, d_model) for choice in edits_as_vectors]
        else:
            stages = [compose(choice, features, sae, d_model) for choice in choices]
        self._keep_stages(stages, len(features) if self.path != "add" else 0, d_model)
        if self.path in ("delta", "full") and sae is not None:
            self._keep_rows(sae, features)

    def _keep_stages(self, choices: list[list[Stage]], width: int, d_model: int) -> None:
        count = max((len(stages) for stages in choices), default=0)
        idle = Stage(None, Affine.identity(width), Affine.identity(width), torch.zeros(d_model, dtype=torch.float64))
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
        for map_ in (firing, silent):
            a, b, low, high = map_.unbind(2)
            infinite = ~torch.isfinite(a) | ~torch.isfinite(b) | ~(low < torch.inf) | ~(high > -torch.inf)
            if infinite.any():
                feature = self.features[int(infinite.nonzero()[0, -1])]
                raise EditError(
                    f"the edits of feature {feature} together are too large for {self.dtype}; take smaller numbers"
                )
        vectors = stack([[s.vector for s in stages] for stages in padded], d_model)
        if not torch.isfinite(vectors).all():
            raise EditError(f"the vectors to add are too large for {self.dtype}; take smaller numbers")
        self.pushes = bool(vectors.any())
        timed = bool(torch.isfinite(windows).any())
        self.register_buffer("firing", firing, persistent=False)
        self.register_buffer("silent", None if torch.equal(firing, silent) else silent, persistent=False)
        self.register_buffer("vectors", vectors, persistent=False)
        self.register_buffer("start", windows[..., 0].to(self.dtype) if timed else None, persistent=False)
        self.register_buffer("end", windows[..., 1].to(self.dtype) if timed else None, persistent=False)

    def _keep_rows(self, sae: SAE, features: list[int]) -> None:
        rows = sae.rows(features, self.dtype, self.products)
        for name in ("W_enc", "bias", "threshold", "W_dec"):
            self.register_buffer(name, getattr(rows, name), persistent=False)
        index = torch.tensor(features, dtype=torch.long, device=rows.W_enc.device)
        self.register_buffer("index", index, persistent=False)
        if self.path == "full":
            w = sae.folded(self.dtype, self.products)
            self.register_buffer("all_bias", w.b_enc - w.W_enc.to(self.dtype) @ w.b_dec, persistent=False)
            self.sae_kind = (w.kind, w.k, w.norm, w.scale)
            for name in ("W_enc", "b_enc", "W_dec", "b_dec", "threshold"):
                # decoding takes the rows of all features only where the reconstruction replaces x
                tensor = None if name == "W_dec" and self.error == "keep" else getattr(w, name)
                self.register_buffer(f"all_{name}", tensor, persistent=False)

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
            strength: (), 0 leaves x bit for bit as it is.
            live: (clips,) bool, which clips to steer at all; or (clips, frames) bool, which frames.
            choice: (clips,) long, which list of edits each clip takes.
            offset: () or (clips,) seconds between the start of the input audio and the first frame of x.
            times: (frames,) seconds of each frame after `offset`; None: (i + 0.5) / frame_rate.
        """
        if self.path == "identity":
            return x
        where = Where(live, choice, offset, self.frame_rate or 1.0, times)
        if self.path == "delta" and self._fused(x, strength):
            return custom_ops.delta(x, self._rows(), self._edits(), strength, where)
        if self._counts(x) and self._fused(x, strength):
            rank = custom_ops.rank(x, self.all_W_enc, self.all_bias, self.W_enc, self.bias, self.index)
            return custom_ops.delta(x, self._rows(), self._edits(), strength, where, rank, self.sae_kind[1] or 0)
        # a compiler fuses a plain addition into what comes next
        if self.path == "add" and not torch.compiler.is_compiling() and self._fused(x, strength):
            return custom_ops.add(x, self._edits(), strength, where)
        on = eager.applies(x, self.start, self.end, where)
        pushed = self._pushed(strength, on, choice) if self.pushes else self.vectors.new_zeros(())
        if self.path == "add" and on is None and live is None:
            # -0.0 is the number that changes nothing when added, not even the sign of a zero
            return eager.add(x, torch.where(strength == 0, -0.0, pushed))
        changes = eager.changes(strength, on if self.error == "keep" else None, live)
        everywhere = False
        if x.device.type == "cpu" and not torch.compiler.is_compiling():  # where asking the device for a number is free
            if not changes.any():
                return x
            everywhere = bool(changes.all())
        narrow = x.dtype == self.products and not self.pushes and self.path != "add"
        steered = self._steered(x if narrow else x.to(self.dtype), strength, pushed, on, choice).to(x.dtype)
        return steered if everywhere else torch.where(changes, steered, x)

    def _pushed(self, strength: Tensor, on: Tensor | None, choice: Tensor | None) -> Tensor:
        vectors = eager.pick(self.vectors, choice) * strength
        return vectors.sum(1, keepdim=True) if on is None else torch.where(on, vectors[:, :, None], 0.0).sum(1)

    def _steered(self, x: Tensor, strength: Tensor, pushed: Tensor, on: Tensor | None, choice: Tensor | None) -> Tensor:
        """The steered residual wherever it changes, in the plan's dtype."""
        changed = x if self.path == "add" else self._edited(x, strength, on, choice)
        return changed + pushed if self.pushes else changed

    def _edited(self, x: Tensor, strength: Tensor, on: Tensor | None, choice: Tensor | None) -> Tensor:
        rows = self._rows()
        silent = None if self.silent is None else eager.pick(self.silent, choice)
        maps = eager.Maps(eager.pick(self.firing, choice), silent, on)
        if self.path == "delta":
            f = eager.activations(x, rows)
            return eager.write(x, (eager.edit(f, maps) - f) * strength, rows)
        whole = self._whole()
        if self.error == "keep":
            f = selection.selected(x, whole, self.index)
            return eager.write(x, (eager.edit(f, maps) - f) * strength, rows)
        f, rest = selection.parted(x, whole, self.index)
        rebuilt = rest + whole.b_dec + eager.edit(f, maps) @ rows.W_dec.to(self.dtype)
        wide = x.to(self.dtype)
        return torch.lerp(wide, rebuilt / reference.input_scale(wide, whole.norm, whole.scale), strength)

    def _fused(self, x: Tensor, strength: Tensor) -> bool:
        differentiable = torch.is_grad_enabled() and (
            strength.requires_grad or (x.requires_grad and self.unit_norm is not None)
        )
        return not differentiable and dispatch.kernel_for(x) == "triton"

    def _counts(self, x: Tensor) -> bool:
        """Whether a topk's choice is made by counting, and the rest is `delta`."""
        if self.path != "full" or self.error == "drop" or self.unit_norm is not None:
            return False
        return dispatch.counts(x, self.sae_kind[0], len(self.features))

    def _rows(self) -> eager.Rows:
        return eager.Rows(self.W_enc, self.bias, self.threshold, self.W_dec, self.unit_norm)

    def _edits(self) -> eager.Edits:
        return eager.Edits(
            self.firing, self.silent, self.vectors if self.pushes or self.path == "add" else None, self.start, self.end
        )

    def _whole(self) -> reference.Weights:
        W_dec = self.all_W_enc[:0] if self.all_W_dec is None else self.all_W_dec
        return reference.Weights(
            self.all_W_enc, self.all_b_enc, W_dec, self.all_b_dec, *self.sae_kind[:2], self.all_threshold,
            *self.sae_kind[2:],
        )  # fmt: skip

    def cost(self, x: Tensor | None = None) -> dispatch.Cost:
        """What it takes, on a residual like x; None: one of the plan's own dtype, where its weights are."""
        d, count = self.vectors.shape[-1], len(self.features)
        like = self.vectors if x is None else x
        adds = {"identity": 0, "add": d, "delta": 2 * d * count}.get(self.path)
        if adds is None:
            width, (kind, k, *_) = len(self.all_b_enc), self.sae_kind
            selects = kind == "topk" or (kind == "batchtopk" and self.all_threshold is None)
            few = selects and selection.sums_kept(like.device, k or 0, width)
            written = count if self.error == "keep" else count + (k or 0) if few else width
            adds = d * (width + written)
        moved = 0 if self.path == "identity" else 2 * d * like.element_size()
        kernel = dispatch.kernel_for(like) if self.path in ("add", "delta") or self._counts(like) else "torch"
        return dispatch.Cost(kernel, adds, moved, adds * self.products.itemsize)  # each weight once a frame

    def describe(self, block: int | None = None) -> str:
        """The path, why it was taken, and what it costs, in words.

        Args:
            block: multiply-adds of the block whose output it edits, a frame, to compare with.
        """
        reason = {
            "identity": "nothing to do",
            "add": "constant additions; the SAE is not run at all",
            "delta": f"only the rows of {len(self.features)} edited features are computed",
            "full": "the whole SAE is run, for its selection or because the error is dropped",
        }[self.path]
        cost = self.cost()
        share = f" ({cost.multiply_adds / block:.2%} of the block's own)" if block else ""
        return (
            f"path {self.path}: {reason}; by {cost.kernel}, {cost.multiply_adds:,} multiply-adds{share} and "
            f"{cost.frame_bytes:,} bytes a frame, {cost.weight_bytes:,} bytes of weights"
        )
