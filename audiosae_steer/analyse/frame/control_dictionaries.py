"""Dictionaries to hold an SAE against: the residual itself, random directions, and the SAE's own rows shuffled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from ...errors import SteeringError
from ...sae.autoencoder import SAE, Gate
from ...sae.given import Array, as_tensor
from .codes import Dictionary, fires
from .residual_clips import Residuals, check_fits

Control = Literal["dense", "random", "permuted"]
CONTROLS: tuple[str, ...] = get_args(Control)
BLOCK_BYTES = 64_000_000
"""Memory for the frames of as many features as are looked at in one pass."""


class Dense:
    """The residual's coordinates as features, `dense`: a coordinate's activation is its value.

    It fires where it is above `fires_above`, which is set so that a coordinate fires as often as the SAE's features do
    on average.

    Args:
        width: d_model.
        fires_above: (d_model,) threshold of each coordinate.
    """

    def __init__(self, width: int, fires_above: Tensor) -> None:
        self.n_features = self.d_model = width
        self.fires_above = fires_above

    def encode(self, x: Array) -> Tensor:
        """The residuals (frames, d_model) themselves."""
        return as_tensor(x, "the residual", SteeringError)

    def decode(self, f: Array, like: Array | None = None) -> Tensor:
        """The activations, which are residuals."""
        return as_tensor(f, "f", SteeringError)


def control(kind: Control | str, sae: SAE, residuals: Residuals, *, seed: int = 0) -> Dictionary:
    """A control of an SAE, whose features fire as often on these residuals as the SAE's do.

    `random` has rows drawn from a Gaussian, of the norms of the SAE's; `permuted` the SAE's rows, the entries of each
    shuffled, those of encoder and decoder alike. Biases are the SAE's, and a threshold of its own lets each feature
    fire on as many frames as the SAE's feature of that number; where it would have to lie below zero, the bias is
    raised by as much instead. Of an SAE with an rms gate the bias is moved either way, and the gate is its own: what
    the norm takes away, such as loudness, its controls do not have either. `dense` is the residual itself.

    Args:
        kind: `dense`, `random` or `permuted`.
        sae: the SAE.
        residuals: clips on which the thresholds are set; never labels.
        seed: seed of the draw.

    Raises:
        SteeringError: the kind is unknown.
        SiteError: the SAE reads residuals of another width.
    """
    if kind not in CONTROLS:
        raise SteeringError(f"control {kind!r} is unknown; expected one of {', '.join(CONTROLS)}")
    check_fits(sae, residuals)
    counts = _firing_counts(sae, residuals)
    if kind == "dense":
        mean = torch.full((sae.d_model,), round(float(counts.double().mean())))
        return Dense(sae.d_model, _thresholds(residuals, mean, lambda x, block: x[:, block]))
    # of its own stream: torch.manual_seed(0) and randn are how many an SAE began
    made = _redrawn(kind, sae, np.random.default_rng([seed, CONTROLS.index(kind)]))
    scored = made.altered(gate="jumprelu", threshold=torch.zeros(sae.n_features))
    w = scored.weights(torch.float32)

    def scores(x: Tensor, block: slice) -> Tensor:
        from ...ops import reference

        return (x * reference.input_scale(x, w.norm, w.scale) - w.b_dec) @ w.W_enc[block].T + w.b_enc[block]

    thresholds = _thresholds(residuals, counts, scores)
    if sae.gain is not None:
        return made.altered(b_enc=made.b_enc - thresholds, gate=sae.gate, gain=sae.gain.float().cpu())
    lifted = scored.b_enc.float() + (-thresholds).clamp(min=0)
    return scored.altered(b_enc=lifted, threshold=thresholds.clamp(min=0))


def _redrawn(kind: str, sae: SAE, rng: np.random.Generator) -> SAE:
    """An SAE with other rows, of the same norms and biases."""
    W_enc, W_dec = sae.W_enc.float().cpu(), sae.W_dec.float().cpu()
    if kind == "random":
        rows = torch.from_numpy(rng.standard_normal(W_enc.shape, np.float32))
        rows = rows / rows.norm(dim=1, keepdim=True)
        enc, dec = rows * W_enc.norm(dim=1, keepdim=True), rows * W_dec.norm(dim=1, keepdim=True)
    else:
        order = torch.from_numpy(rng.random(W_enc.shape).argsort(1))
        enc, dec = W_enc.gather(1, order), W_dec.gather(1, order)
    return SAE(
        enc, sae.b_enc.float().cpu(), dec, sae.b_dec.float().cpu(), gate=Gate("relu"),
        normalisation=sae.normalisation, info={"control": kind},
    )  # fmt: skip


def _firing_counts(sae: Dictionary, residuals: Residuals) -> Tensor:
    """Frames (F,) on which each feature fires."""
    counts = torch.zeros(sae.n_features, dtype=torch.long)
    with torch.no_grad():
        for x in residuals:
            if len(x):
                counts += fires(sae, sae.encode(x)).sum(0).cpu()
    return counts


def _thresholds(residuals: Residuals, counts: Tensor, scores: Callable[[Tensor, slice], Tensor]) -> Tensor:
    """Thresholds (features,) above which each score lies on so many frames; a few features at a time."""
    frames = int(residuals.frames.sum())
    step = max(int(BLOCK_BYTES / 4 / max(frames, 1)), 1)
    found = []
    for start in range(0, len(counts), step):
        block = slice(start, min(start + step, len(counts)))
        with torch.no_grad():
            values = torch.cat([scores(x, block) for x in residuals if len(x)])
        wanted = counts[block].clamp(max=frames)
        above, below = _beside(values, wanted)
        middle = (above + below) / 2
        middle = torch.where(wanted == 0, above + above.abs() * 1e-6 + 1e-6, middle)
        found.append(torch.where(wanted == frames, above - above.abs() * 1e-6 - 1e-6, middle))
    return torch.cat(found)


def _beside(values: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """The numbers of each column of values (frames, n) just above and below its `wanted` (n,) largest.

    Of none or of all wanted, both are the largest or the smallest.
    """
    frames = len(values)
    columns = values.T.contiguous().float().cpu().numpy()
    found = np.empty((2, len(columns)), np.float32)
    for at, (column, count) in enumerate(zip(columns, wanted.tolist(), strict=True)):
        places = [frames - max(count, 1), frames - min(count + 1, frames)]
        column.partition(sorted(set(places)))  # a sort would take most of an analysis's time
        found[:, at] = column[places]
    above, below = torch.from_numpy(found)
    return above, below
