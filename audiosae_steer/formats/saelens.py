"""SAELens 6: a folder with `cfg.json` and `sae_weights.safetensors`; `W_enc` is (d, F) there and `W_dec` (F, d)."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch

from ..errors import CheckpointError
from ..sae import SAE, Gate, Normalisation
from .header import read_header
from .native import load_tensors

_ARCHITECTURES = ("standard", "topk", "jumprelu")
_ACTIVATIONS = {
    "none": Normalisation("none"),
    "expected_average_only_in": Normalisation("none"),  # folded into the weights when SAELens saves them
}


class SAELens:
    """Reads SAELens' inference checkpoints. Its BatchTopK and Matryoshka SAEs are saved as jumprelu."""

    name = "saelens"

    def recognises(self, path: Path) -> bool:
        """By the two files and the tensors' names."""
        weights = path / "sae_weights.safetensors"
        if not (path.is_dir() and weights.is_file() and (path / "cfg.json").is_file()):
            return False
        return {"W_enc", "W_dec", "b_enc"} <= set(read_header(weights).shapes)

    def read(self, path: Path) -> SAE:
        """The SAE in a folder, with its meaning kept exactly.

        Raises:
            CheckpointError: an architecture, an input normalisation or a reshaping that is not read.
        """
        config = _config(path / "cfg.json")
        architecture = str(config.get("architecture", "standard"))
        if architecture not in _ARCHITECTURES:
            raise CheckpointError(
                f"{path} is a SAELens SAE of architecture {architecture!r}; read are {', '.join(_ARCHITECTURES)} "
                "(SAELens saves batchtopk as jumprelu)"
            )
        if config.get("reshape_activations", "none") != "none":
            raise CheckpointError(
                f"{path} reshapes its activations ({config['reshape_activations']}), which no layer here does"
            )
        tensors = load_tensors(path / "sae_weights.safetensors")
        try:
            W_enc, W_dec = tensors["W_enc"].T.contiguous(), tensors["W_dec"]
            b_enc, b_dec = tensors["b_enc"], tensors["b_dec"]
        except KeyError as error:
            raise CheckpointError(f"{path} lacks the tensor {error}; fetch it again") from error
        if not config.get("apply_b_dec_to_input", True):  # there the encoder reads x itself, here x − b_dec
            b_enc = b_enc + (W_enc.double() @ b_dec.double()).to(b_enc.dtype)
        if architecture == "topk" and config.get("rescale_acts_by_decoder_norm", False):
            norms = W_dec.norm(dim=-1)
            W_enc, b_enc, W_dec = W_enc * norms[:, None], b_enc * norms, W_dec / norms.clamp(min=1e-12)[:, None]
        threshold = tensors.get("threshold")
        if architecture == "jumprelu" and threshold is None:
            raise CheckpointError(f"{path} is a jumprelu SAE without its threshold; fetch it again")
        gate = {"standard": Gate("relu"), "jumprelu": Gate("jumprelu")}.get(architecture) or Gate(
            "topk", _k(config, path)
        )
        return SAE(
            W_enc,
            b_enc,
            W_dec,
            b_dec,
            gate=gate,
            threshold=threshold.clamp(min=0) if threshold is not None and gate.kind == "jumprelu" else None,
            normalisation=_normalisation(config, W_enc.shape[1], path),
            info={"format": self.name, "architecture": architecture, "metadata": _plain(config.get("metadata", {}))},
        )


def _config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not valid JSON ({error}); fetch it again") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{path} is not a JSON object; fetch it again")
    return config


def _k(config: dict[str, Any], path: Path) -> int:
    try:
        return int(config["k"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is a topk SAE, but its cfg.json has no whole number k") from error


def _normalisation(config: dict[str, Any], d_model: int, path: Path) -> Normalisation:
    kind = config.get("normalize_activations", "none")
    if kind == "constant_norm_rescale":
        return Normalisation("unit_norm", math.sqrt(d_model))
    if kind not in _ACTIVATIONS:
        known = ", ".join((*_ACTIVATIONS, "constant_norm_rescale"))
        raise CheckpointError(f"{path} normalises its input by {kind!r}, which is not read; read are {known}")
    return _ACTIVATIONS[kind]


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str)) if not isinstance(value, torch.Tensor) else None
