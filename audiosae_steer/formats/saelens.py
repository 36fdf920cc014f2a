"""SAELens: a folder with `cfg.json` and `sae_weights.safetensors`; `W_enc` is (d, F) there and `W_dec` (F, d).

Read are its inference SAEs: standard, topk, and jumprelu, which is also how it saves batchtopk and matryoshka. Written
against sae-lens 6.54; settings of versions before 6 are understood too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import CheckpointError
from ..sae import SAE, Gate, Normalisation
from .header import check_shapes, is_safetensors, load_tensors, read_header
from .settings import agree, read_settings, whole_number

_ARCHITECTURES = ("standard", "topk", "jumprelu")
_TENSORS = ("W_enc", "b_enc", "W_dec", "b_dec", "threshold", "scaling_factor", "finetuning_scaling_factor")
_SHAPES: dict[str, list[tuple[str, ...]]] = {
    "W_enc": [("d_in", "d_sae")],
    "b_enc": [("d_sae",)],
    "W_dec": [("d_sae", "d_in")],
    "b_dec": [("d_in",)],
    "threshold": [("d_sae",)],
    "scaling_factor": [("d_sae",)],
    "finetuning_scaling_factor": [("d_sae",)],
}
_SCALER = "activation_scaler.json"


class SAELens:
    """Reads a folder that SAELens wrote, or its weights with the settings beside them."""

    name = "saelens"

    def files(self, names: Sequence[str]) -> list[str]:
        """The two files, and the activation scaler of a checkpoint."""
        by_name = {name.rsplit("/", 1)[-1]: name for name in names}
        if not {"cfg.json", "sae_weights.safetensors"} <= set(by_name):
            return []
        return [by_name[name] for name in ("cfg.json", _SCALER, "sae_weights.safetensors") if name in by_name]

    def recognises(self, path: Path) -> bool:
        """Weights of its names and shapes, with its settings beside them.

        Raises:
            CheckpointError: the weights or the settings are damaged.
        """
        return _file_of(path) is not None

    def read(self, path: Path) -> SAE:
        """The SAE in a folder, with its meaning kept exactly.

        Raises:
            CheckpointError: an architecture, an input normalisation or a reshaping that is not read.
        """
        file = _file_of(path)
        if file is None:
            raise CheckpointError(f"{path} holds no SAE of SAELens; load_sae() reads the other formats")
        config = _modern(read_settings(file.parent / "cfg.json"))
        architecture = _architecture(file, config)
        shapes = read_header(file).shapes
        unknown = sorted(set(shapes) - set(_TENSORS))
        if unknown or not {"W_enc", "b_enc", "W_dec", "b_dec"} <= set(shapes):
            raise CheckpointError(
                f"{file} holds {', '.join(sorted(shapes))[:200]}; expected W_enc, b_enc, W_dec, b_dec"
            )
        check_shapes(file, shapes, _SHAPES)
        d_in, d_sae = shapes["W_enc"]
        agree(file, config, {"d_in": d_in, "d_sae": d_sae})
        normalisation = _normalisation(file, config, d_in)
        tensors = load_tensors(file, _TENSORS)
        for name in ("scaling_factor", "finetuning_scaling_factor"):
            if name in tensors and not torch.allclose(tensors[name].double(), torch.ones(d_sae).double()):
                raise CheckpointError(f"{file} rescales its features by {name}, which is not read; fold it first")
        if architecture == "jumprelu" and "threshold" not in tensors:
            raise CheckpointError(f"{file} is a jumprelu SAE without its threshold; fetch it again")
        gate = Gate("topk", whole_number(config.get("k"), f"{file}: k")) if architecture == "topk" else None
        W_enc, b_enc, W_dec = _folded(tensors, config, architecture)
        metadata = config.get("metadata")
        try:
            return SAE(
                W_enc,
                b_enc,
                W_dec,
                tensors["b_dec"],
                gate=gate or Gate("jumprelu" if architecture == "jumprelu" else "relu"),
                threshold=tensors["threshold"] if architecture == "jumprelu" else None,
                normalisation=normalisation,
                info={"format": self.name, "architecture": architecture, "metadata": metadata or {}},
            )
        except CheckpointError as error:
            raise CheckpointError(f"{file}: {error}") from error


def _file_of(path: Path) -> Path | None:
    files = [path] if path.is_file() else sorted(path.iterdir()) if path.is_dir() else []
    found = []
    for file in files:
        if is_safetensors(file) and {"W_enc", "W_dec"} <= set(read_header(file).shapes):
            settings = file.parent / "cfg.json"
            if settings.is_file() and "d_in" in read_settings(settings):
                found.append(file)
    return found[0] if len(found) == 1 else None


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
        hint = ""
        if "batchtopk" in architecture:
            hint = "; this is a checkpoint of its training: save_inference_model() writes the jumprelu that is read"
        raise CheckpointError(
            f"{file} is of SAELens' architecture {architecture!r}; read are {', '.join(_ARCHITECTURES)}{hint}"
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


def _folded(
    tensors: Mapping[str, Tensor], config: Mapping[str, Any], architecture: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Encoder and decoder in the convention of `SAE`, computed in float64; what is unchanged keeps its dtype."""
    W_enc, b_enc, W_dec = tensors["W_enc"].T.contiguous(), tensors["b_enc"], tensors["W_dec"]
    dtype = torch.promote_types(W_enc.dtype, torch.float32)
    if not config.get("apply_b_dec_to_input", True):  # there the encoder reads x itself, here x − b_dec
        b_enc = (b_enc.double() + W_enc.double() @ tensors["b_dec"].double()).to(dtype)
    if architecture == "topk" and config.get("rescale_acts_by_decoder_norm", False):
        norms = W_dec.double().norm(dim=-1)
        W_enc, b_enc = (W_enc * norms[:, None]).to(dtype), (b_enc * norms).to(dtype)
        norms[norms == 0] = 1.0
        W_dec = (W_dec / norms[:, None]).to(dtype)
    return W_enc, b_enc, W_dec
