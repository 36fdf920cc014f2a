"""SAELens: a folder with `cfg.json` and `sae_weights.safetensors`; `W_enc` is (d, F) there and `W_dec` (F, d).

Read are standard, topk, jumprelu and gated; batchtopk and matryoshka, which it saves as jumprelu when training has
ended, and which a checkpoint of the training holds with their threshold so far. Written against sae-lens 6.54; settings
of versions before 6 are understood too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...errors import CheckpointError
from ...io.strict_json import read_settings
from ...io.tensors.safetensors_header import check_shapes, is_safetensors, load_tensors, read_header
from ..autoencoder import Gate, Normalisation
from .folding import by_norms, gated_as_jumprelu, reading_raw
from .format import Format, Parts, Shapes
from .settings import agree, whole_number
from .thresholds import stored_threshold

_WEIGHTS = ("W_enc", "b_enc", "W_dec", "b_dec")
_BATCHED = (*_WEIGHTS, "topk_threshold")
_ARCHITECTURES = {
    "standard": _WEIGHTS,
    "topk": _WEIGHTS,
    "jumprelu": _WEIGHTS,
    "gated": ("W_enc", "W_dec", "b_dec", "r_mag", "b_gate", "b_mag"),
    "batchtopk": _BATCHED,
    "matryoshka_batchtopk": _BATCHED,
}
_OPTIONAL = ("scaling_factor", "finetuning_scaling_factor")
_THRESHOLDS = ("threshold", "log_threshold")
_SHAPES: Shapes = {
    "W_enc": [("d_in", "d_sae")],
    "b_enc": [("d_sae",)],
    "W_dec": [("d_sae", "d_in")],
    "b_dec": [("d_in",)],
    "r_mag": [("d_sae",)],
    "b_gate": [("d_sae",)],
    "b_mag": [("d_sae",)],
    "threshold": [("d_sae",)],
    "log_threshold": [("d_sae",)],
    "topk_threshold": [()],
    "scaling_factor": [("d_sae",)],
    "finetuning_scaling_factor": [("d_sae",)],
}
_SCALER = "activation_scaler.json"


class SAELens(Format):
    """Reads a folder that SAELens wrote, or its weights with the settings beside them."""

    name = "saelens"
    content = "SAE of SAELens"
    states_normalisation = True

    def files(self, names: Sequence[str]) -> list[str]:
        """The two files, and the activation scaler of a checkpoint."""
        by_name = {name.rsplit("/", 1)[-1]: name for name in names}
        weights = [name for name in by_name if name.endswith(".safetensors")]
        if "sae_weights.safetensors" in by_name:
            weights = ["sae_weights.safetensors"]
        if "cfg.json" not in by_name or len(weights) != 1:
            return []
        return [by_name[name] for name in ("cfg.json", _SCALER, *weights) if name in by_name]

    def holds(self, file: Path) -> bool:
        """Weights of its names, with its settings beside them."""
        if not is_safetensors(file) or not {"W_enc", "W_dec"} <= set(read_header(file).shapes):
            return False
        settings = file.parent / "cfg.json"
        return settings.is_file() and "d_in" in read_settings(settings)

    def parts(self, file: Path) -> Parts:
        """With their meaning kept exactly; CheckpointError for a normalisation or reshaping that is not read."""
        config = _modern(read_settings(file.parent / "cfg.json"))
        architecture = _architecture(file, config)
        shapes = read_header(file).shapes
        needed = _ARCHITECTURES[architecture]
        unknown = set(shapes) - {*needed, *_OPTIONAL, *(_THRESHOLDS if architecture == "jumprelu" else ())}
        if unknown or not set(needed) <= set(shapes):
            raise CheckpointError(f"{file} holds {', '.join(sorted(shapes))[:200]}; expected {', '.join(needed)}")
        check_shapes(file, shapes, _SHAPES)
        d_in, d_sae = shapes["W_enc"]
        agree(file, config, {"d_in": d_in, "d_sae": d_sae})
        normalisation = _normalisation(file, config, d_in)
        tensors = load_tensors(file, shapes)
        for name in _OPTIONAL:
            if name in tensors and not torch.allclose(tensors[name].double(), torch.ones(d_sae).double()):
                raise CheckpointError(f"{file} rescales its features by {name}, which is not read; fold it first")
        info: dict[str, Any] = {"format": self.name, "architecture": architecture, "metadata": _metadata(config)}
        named = _metadata(config).get("hook_name", config.get("hook_name", config.get("hook_point")))
        info.update({"hookpoint": named} if isinstance(named, str) else {})
        gate, threshold = _gate(file, config, architecture, tensors, info)
        W_enc, b_enc, W_dec, gated_threshold = _folded(tensors, config, architecture)
        return Parts(
            W_enc,
            b_enc,
            W_dec,
            tensors["b_dec"],
            gate,
            info,
            threshold if gated_threshold is None else gated_threshold,
            normalisation,
        )


def _modern(config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as version 6 names them; before it, one class had its activation function as a setting."""
    version = str(config.get("sae_lens_version") or _metadata(config).get("sae_lens_version") or "0")
    new = dict(config)
    if re.match(r"([6-9]|[1-9][0-9]+)(\.|$)", version):
        return new
    activation = config.get("activation_fn", config.get("activation_fn_str", "relu"))
    arguments = config.get("activation_fn_kwargs")
    if activation == "topk" and isinstance(arguments, dict):
        new.update(architecture="topk", k=arguments.get("k"))
    elif activation != "relu":
        new["architecture"] = f"{config.get('architecture', 'standard')} with {activation}"
    new.setdefault("architecture", "standard")
    if isinstance(config.get("normalize_activations"), bool):
        new["normalize_activations"] = "expected_average_only_in" if config["normalize_activations"] else "none"
    if "hook_z" in str(config.get("hook_name", config.get("hook_point", ""))):
        new.setdefault("reshape_activations", "hook_z")
    return new


def _metadata(config: Mapping[str, Any]) -> Mapping[str, Any]:
    metadata = config.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def _architecture(file: Path, config: Mapping[str, Any]) -> str:
    architecture = str(config.get("architecture"))
    if architecture not in _ARCHITECTURES:
        raise CheckpointError(
            f"{file} is of SAELens' architecture {architecture!r}, which is not read; read are "
            f"{', '.join(_ARCHITECTURES)}"
        )
    if config.get("reshape_activations") not in (None, "none"):
        raise CheckpointError(
            f"{file} reshapes its input ({config['reshape_activations']}): it reads attention heads, and the sites "
            "here are residuals"
        )
    return architecture


def _normalisation(file: Path, config: Mapping[str, Any], d_in: int) -> Normalisation:
    kind = config.get("normalize_activations") or "none"
    if kind == "none":
        return Normalisation("none")
    if kind == "constant_norm_rescale":
        return Normalisation("unit_norm", math.sqrt(d_in))
    if kind == "expected_average_only_in":
        scaler = file.with_name(_SCALER)
        factor = read_settings(scaler).get("scaling_factor") if scaler.is_file() else None
        if isinstance(factor, (int, float)) and not isinstance(factor, bool):
            return Normalisation("scalar", float(factor))
        raise CheckpointError(
            f"{file} scales its input by a factor that the file does not hold; in SAELens, call "
            f"fold_activation_norm_scaling_factor(factor) and save again, or put its {_SCALER} beside it"
        )
    raise CheckpointError(
        f"{file} normalises its input by {kind!r}, which is not read; read are none, constant_norm_rescale and "
        "expected_average_only_in"
    )


def _gate(
    file: Path, config: Mapping[str, Any], architecture: str, tensors: Mapping[str, Tensor], info: dict[str, Any]
) -> tuple[Gate, Tensor | None]:
    """The gate, and the threshold that the file holds for it."""
    if architecture == "topk":
        return Gate("topk", whole_number(config.get("k"), f"{file}: k")), None
    if architecture == "jumprelu":
        if "log_threshold" in tensors:  # as older checkpoints of its training have it
            return Gate("jumprelu"), tensors["log_threshold"].exp()
        if "threshold" not in tensors:
            raise CheckpointError(f"{file} is a jumprelu SAE without its threshold; fetch it again")
        return Gate("jumprelu"), tensors["threshold"]
    if architecture in ("batchtopk", "matryoshka_batchtopk"):
        gate = Gate("batchtopk", whole_number(config.get("k"), f"{file}: k"))
        threshold = stored_threshold(file, tensors["topk_threshold"], unset=0.0)
        info.update(read_as="a checkpoint of training", because=f"its architecture is {architecture}")
        info["threshold"] = "none" if threshold is None else "stored"
        return gate, threshold
    return Gate("jumprelu" if architecture == "gated" else "relu"), None


def _folded(
    tensors: Mapping[str, Tensor], config: Mapping[str, Any], architecture: str
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Weights in the convention of `SAE`, and a gated SAE's threshold; what is unchanged keeps its dtype."""
    W_enc, W_dec, threshold = tensors["W_enc"].T.contiguous(), tensors["W_dec"], None
    if architecture == "gated":
        W_enc, b_enc, threshold = gated_as_jumprelu(W_enc, *(tensors[name] for name in ("r_mag", "b_gate", "b_mag")))
    else:
        b_enc = tensors["b_enc"]
    if not config.get("apply_b_dec_to_input", True):  # there the encoder reads x itself, here x − b_dec
        b_enc = reading_raw(W_enc, b_enc, tensors["b_dec"])
    if "topk" in architecture and config.get("rescale_acts_by_decoder_norm", architecture != "topk"):
        W_enc, b_enc, W_dec = by_norms(W_enc, b_enc, W_dec)
    return W_enc, b_enc, W_dec, threshold
