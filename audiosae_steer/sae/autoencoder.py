"""The sparse autoencoder: weights, gate, encode, decode. Knows no model and no file format."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ActivationError, CheckpointError
from ..io.tensors.digest import sha256_of_tensors
from ..io.tensors.sharded import SHARD_BYTES
from ..ops import eager, reference
from .given import Array, Gate, GateKind, Normalisation, NormKind, as_gate, as_normalisation, as_tensor
from .save import OPTIONAL, REQUIRED, write_native

__all__ = ["SAE", "Gate", "GateKind", "NormKind", "Normalisation"]


class SAE(nn.Module):
    """f = gate(W_enc·(s·x − b_dec) + b_enc), x̂ = (W_dec·f + b_dec)/s, with s the input normalisation.

    Both `W_enc` and `W_dec` are (n_features, d_model): row i is what feature i reads, and what it writes.

    Args:
        W_enc: (n_features, d_model); a tensor or a NumPy array, as all of them.
        b_enc: (n_features,).
        W_dec: (n_features, d_model).
        b_dec: (d_model,).
        gate: the nonlinearity that makes the activations sparse: a `Gate`, or "relu" or "jumprelu", which need no k.
        threshold: () or (n_features,), for `jumprelu` and a calibrated `batchtopk`.
        normalisation: scaling of the residual on its way in.
        typical: (n_features,), each feature's mean activation where it fires; the unit of `Add(units="typical")`.
        gain: () or (n_features,), not below 0, for `rms`: 1.0 where its RMSNorm has none.
        info: its origin and its measurements; plain JSON.

    Raises:
        CheckpointError: shapes disagree, a number is not finite, or the gate lacks its k, threshold, epsilon or gain.
    """

    W_enc: Tensor
    b_enc: Tensor
    W_dec: Tensor
    b_dec: Tensor
    threshold: Tensor | None
    typical: Tensor | None
    gain: Tensor | None

    def __init__(
        self,
        W_enc: Array,
        b_enc: Array,
        W_dec: Array,
        b_dec: Array,
        *,
        gate: Gate | GateKind,
        threshold: Array | float | None = None,
        normalisation: Normalisation | NormKind | None = None,
        typical: Array | None = None,
        gain: Array | float | None = None,
        info: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.gate = as_gate(gate)
        self.normalisation = as_normalisation(normalisation)
        self.info: dict[str, Any] = dict(info or {})
        W_enc, b_enc, W_dec, b_dec = (
            as_tensor(each, name, CheckpointError)
            for name, each in {"W_enc": W_enc, "b_enc": b_enc, "W_dec": W_dec, "b_dec": b_dec}.items()
        )
        tensors: dict[str, Tensor | None] = {"W_enc": W_enc, "b_enc": b_enc, "W_dec": W_dec, "b_dec": b_dec}
        for name, each in {"threshold": threshold, "typical": typical, "gain": gain}.items():
            tensors[name] = None if each is None else as_tensor(each, name, CheckpointError)
        _check(W_enc, tensors, self.gate)
        for name, tensor in tensors.items():
            self.register_buffer(name, None if tensor is None else tensor.detach())

    @property
    def d_model(self) -> int:
        """Width of the residual it reads."""
        return self.W_enc.shape[1]

    @property
    def n_features(self) -> int:
        """Number of features, F."""
        return self.W_enc.shape[0]

    @property
    def has_own_gates(self) -> bool:
        """True if each feature's activation depends on that feature alone, so that a few rows suffice to compute it.

        Not of `rms`, where every feature that fires makes all others smaller.
        """
        return self.gate.kind in ("relu", "jumprelu") or (self.gate.kind == "batchtopk" and self.threshold is not None)

    def weights(self, dtype: torch.dtype | None = None, device: torch.device | None = None) -> reference.SAEWeights:
        """The SAE as bare tensors, in `dtype`, as the functions of `ops` take it."""

        def move(tensor: Tensor) -> Tensor:
            return tensor.to(device=device or tensor.device, dtype=dtype or tensor.dtype)

        return reference.SAEWeights(
            move(self.W_enc),
            move(self.b_enc),
            move(self.W_dec),
            move(self.b_dec),
            self.gate.kind,
            self.gate.k,
            None if self.threshold is None else move(self.threshold),
            self.normalisation.kind,
            self.normalisation.scale,
            None if self.gain is None else move(self.gain),
            self.gate.epsilon or 0.0,
        )

    def folded(self, dtype: torch.dtype, products: torch.dtype | None = None) -> reference.SAEWeights:
        """The same SAE with a normalisation by one number folded into its weights.

        W_enc and W_dec are of the dtype `products`, all else of `dtype`.
        """
        w = self.weights(torch.float64)
        factor = w.scale if w.norm == "scalar" else 1.0
        return reference.SAEWeights(
            (w.W_enc * factor).to(products or dtype),
            w.b_enc.to(dtype),
            (w.W_dec / factor).to(products or dtype),
            (w.b_dec / factor).to(dtype),
            w.kind,
            w.k,
            None if w.threshold is None else w.threshold.to(dtype),
            "none" if w.norm == "scalar" else w.norm,
            1.0 if w.norm == "scalar" else w.scale,
            None if w.gain is None else w.gain.to(dtype),
            w.epsilon,
        )

    def rows(self, features: Sequence[int], dtype: torch.dtype, products: torch.dtype | None = None) -> eager.Rows:
        """The rows of a few features, with the input scale and b_dec folded in, as the fast paths take them.

        W_enc and W_dec are of the dtype `products`, all else of `dtype`.
        """
        index = torch.tensor(tuple(features), dtype=torch.long, device=self.W_enc.device)
        factor = self.normalisation.scale if self.normalisation.kind == "scalar" else 1.0
        W_enc = (self.W_enc[index].double() * factor).to(products or dtype)
        threshold = torch.zeros(self.n_features, dtype=torch.float64, device=index.device)
        if self.threshold is not None and self.gate.kind in ("jumprelu", "batchtopk"):
            threshold = threshold + self.threshold.double().clamp(min=0)
        return eager.Rows(
            W_enc,
            # of the rows as rounded, so that what they miss is multiplied by x − b_dec and not by x
            (self.b_enc[index].double() - W_enc.double() @ (self.b_dec.double() / factor)).to(dtype),
            threshold[index].to(dtype),
            (self.W_dec[index].double() / factor).to(products or dtype),
            self.normalisation.scale if self.normalisation.kind == "unit_norm" else None,
        )

    def encode(self, x: Array) -> Tensor:
        """Activations (..., frames, n_features) of residuals (..., frames, d_model), in float32 or wider.

        For a `batchtopk` gate without a threshold, the last-but-one axis is one clip's time.

        Raises:
            ActivationError: x is of another width, or no tensor or array.
        """
        x = self._residual(x)
        dtype = self._dtype(x)
        clips = x.to(dtype).reshape(-1, *x.shape[-2:]) if x.dim() > 1 else x.to(dtype)[None, None]
        f = reference.encode(clips, self.weights(dtype))
        return f.reshape(*x.shape[:-1], self.n_features)

    def decode(self, f: Array, like: Array | None = None) -> Tensor:
        """Residuals (..., d_model) of activations (..., n_features).

        `like` is the residual that was encoded: with per-frame normalisation its norms are needed to come back.

        Raises:
            ActivationError: they are needed, and `like` is missing; or f is of another number of features.
        """
        f = as_tensor(f, "f", ActivationError)
        if not f.dim() or f.shape[-1] != self.n_features:
            raise ActivationError(f"these activations are {tuple(f.shape)}; expected (..., {self.n_features})")
        like = None if like is None else self._residual(like)
        dtype = self._dtype(f)
        norm, scale = self.normalisation.kind, self.normalisation.scale
        if norm == "unit_norm" and like is None:
            raise ActivationError(
                "this SAE normalises each frame: decode(f, like=x) needs the residual x that was encoded, for its norms"
            )
        back = reference.input_scale(f if like is None else like.to(dtype), norm, scale)
        return reference.decode(f.to(dtype), self.weights(dtype), back)

    def forward(self, x: Array) -> Tensor:
        """The reconstruction x̂ of x, in the dtype of x."""
        x = self._residual(x)
        return self.decode(self.encode(x), like=x).to(x.dtype)

    def fvu(self, x: Array) -> float:
        """Fraction of variance unexplained: Σ‖x − x̂‖² / Σ‖x − mean(x)‖², the mean taken over all frames of x."""
        x = self._residual(x)
        flat = x.double().reshape(-1, self.d_model)
        missing = (flat - self(x).double().reshape(-1, self.d_model)).square().sum()
        return float(missing / (flat - flat.mean(0)).square().sum())

    def calibrate_threshold(self, batches: Iterable[Array]) -> SAE:
        """A copy whose threshold lets k features fire per frame, on average over the residuals given.

        Args:
            batches: residuals (..., frames, d_model), as many as it takes to be representative.

        Raises:
            CheckpointError: the gate is not `batchtopk`.
            ActivationError: there are no frames, or they are of another width.
        """
        if self.gate.kind != "batchtopk" or self.gate.k is None:
            raise CheckpointError(f"only a batchtopk gate has a threshold to calibrate; this one is {self.gate.kind}")
        kept, frames = [], 0
        for batch in batches:
            x = self._residual(batch)
            w = self.weights(self._dtype(x))._replace(kind="relu", threshold=None)
            f = reference.encode(x.to(w.W_enc.dtype).reshape(1, -1, self.d_model), w).flatten()
            frames += x.numel() // self.d_model
            # eight times the share that one batch would keep on its own is ample for its share of the whole
            kept.append(torch.topk(f, min(f.numel(), 8 * self.gate.k * (x.numel() // self.d_model))).values)
        if not frames:
            raise ActivationError("no activations to calibrate the threshold on; give at least one batch of frames")
        ranked = torch.cat(kept).sort(descending=True).values
        wanted = min(self.gate.k * frames, ranked.numel() - 1)
        threshold = (ranked[wanted - 1] + ranked[wanted]) / 2
        info = {**self.info, "threshold_calibration": {"frames": frames, "k": self.gate.k}}
        return self.altered(threshold=threshold, info=info)

    def altered(self, **parts: Any) -> SAE:
        """A copy with other parts, named as the constructor names them. CheckpointError: they do not fit together."""
        names = ("W_enc", "b_enc", "W_dec", "b_dec", "gate", "threshold", "normalisation", "typical", "gain", "info")
        return SAE(**{name: getattr(self, name) for name in names} | parts)

    def digest(self) -> str:
        """sha256, in hex, of all that encoding, decoding and edits depend on; a copy in another dtype keeps it if its
        numbers are the same in float32."""
        tensors = (self.W_enc, self.b_enc, self.W_dec, self.b_dec, self.threshold, self.typical, self.gain)
        norm = "" if self.gate.epsilon is None else f" {self.gate.epsilon!r}"
        return sha256_of_tensors(tensors, f"{self.gate} {self.normalisation}{norm}")

    def save(self, path: str | Path, *, shard_bytes: int = SHARD_BYTES) -> None:
        """Write the native safetensors file atomically; missing folders are made.

        Above `shard_bytes` it is written in parts with an index, `NAME.safetensors.index.json`; `load_sae` takes either
        that or the name given here.

        Raises:
            CheckpointError: the file cannot be written there, `info` is not JSON, or a weight is not finite.
        """
        numbers = {
            "gate": self.gate.kind,
            "k": "" if self.gate.k is None else str(self.gate.k),
            "normalisation": self.normalisation.kind,
            "scale": repr(float(self.normalisation.scale)),
            **({} if self.gate.epsilon is None else {"epsilon": repr(float(self.gate.epsilon))}),
        }
        tensors = {name: getattr(self, name) for name in (*REQUIRED, *OPTIONAL)}
        write_native(path, tensors, numbers, self.info, shard_bytes)

    def extra_repr(self) -> str:
        """Sizes and gate, for `print(sae)`."""
        k = "" if self.gate.k is None else f", k={self.gate.k}"
        k += "" if self.gate.epsilon is None else f", epsilon={self.gate.epsilon:g}"
        known = self.threshold is not None and self.threshold.dim() == 0
        threshold = f", threshold={float(self.threshold):.4g}" if known and self.threshold is not None else ""
        return f"d_model={self.d_model}, n_features={self.n_features}, gate={self.gate.kind}{k}{threshold}"

    def _dtype(self, x: Tensor) -> torch.dtype:
        return torch.promote_types(torch.promote_types(x.dtype, self.W_enc.dtype), torch.float32)

    def _residual(self, x: Array) -> Tensor:
        x = as_tensor(x, "the residual", ActivationError)
        if not x.dim() or x.shape[-1] != self.d_model:
            width = f"{x.shape[-1]} wide" if x.dim() else "one number"
            raise ActivationError(
                f"this SAE reads residuals of width {self.d_model}, but these are {width}; "
                "take the SAE that was trained for this model and layer"
            )
        return x


def _check(W_enc: Tensor, tensors: Mapping[str, Tensor | None], gate: Gate) -> None:
    if W_enc.dim() != 2 or 0 in W_enc.shape:
        raise CheckpointError(f"W_enc has shape {tuple(W_enc.shape)}; expected (n_features, d_model)")
    n_features, d_model = W_enc.shape
    expected: dict[str, tuple[tuple[int, ...], ...]] = {
        "b_enc": ((n_features,),),
        "W_dec": ((n_features, d_model),),
        "b_dec": ((d_model,),),
        "threshold": ((), (n_features,)),
        "typical": ((n_features,),),
        "gain": ((), (n_features,)),
    }
    for name, shapes in expected.items():
        tensor = tensors[name]
        if tensor is not None and tuple(tensor.shape) not in shapes:
            wanted = " or ".join(str(shape) for shape in shapes)
            raise CheckpointError(
                f"{name} has shape {tuple(tensor.shape)}; expected {wanted}, since W_enc is {tuple(W_enc.shape)}"
            )
    for name, tensor in tensors.items():
        if tensor is None:
            continue
        if not tensor.is_floating_point():
            raise CheckpointError(f"{name} is {tensor.dtype}; expected float32, float16 or bfloat16")
        # what computes with it may be float32
        if not torch.isfinite(tensor.float() if tensor.dtype == torch.float64 else tensor).all():
            raise CheckpointError(f"{name} holds NaN or infinite numbers; the file is damaged: fetch or train it anew")
    if gate.k is not None and gate.k > n_features:
        raise CheckpointError(f"k = {gate.k} is more than the {n_features} features there are")
    _check_gate(gate, tensors["threshold"], tensors["gain"])


def _check_gate(gate: Gate, threshold: Tensor | None, gain: Tensor | None) -> None:
    if gate.kind == "jumprelu" and threshold is None:
        raise CheckpointError("a jumprelu gate needs a threshold, one number per feature; the checkpoint has none")
    if gate.kind == "batchtopk" and threshold is not None and bool((threshold < 0).any()):
        raise CheckpointError(
            "the batchtopk threshold is negative, which means it was never set; pass threshold=None to run the true "
            "selection, or calibrate it with calibrate_threshold()"
        )
    if (gate.kind == "rms") != (gain is not None):
        raise CheckpointError(
            "an rms gate needs its gain, and no other gate has one: of a checkpoint whose RMSNorm has none, gain=1.0"
        )
    if gain is not None and bool((gain < 0).any()):
        raise CheckpointError(
            "the gain is below 0 somewhere, where features would be negative; turn the sign of those rows of W_dec "
            "and take gain.abs()"
        )
