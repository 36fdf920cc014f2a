"""FREUD (github.com/ksadov/FREUD): a `.pth` checkpoint of its training, with all settings in it or in a `.json` beside.

    L1AutoEncoder      relu; tied: encoder and decoder share one matrix, which is brought to directions of norm 1 each
                       time it encodes, but was saved before that; nothing is subtracted from x, nothing added to x̂
    TopKAutoEncoder    topk, on x − b_dec; W_dec unchanged

Its `layer_name` counts openai-whisper's blocks from 0: "encoder.blocks.2" is layer 3 here. A checkpoint carries the
optimizer too, and numbers of NumPy's; neither is read. The whole model that it also saves, `model.bestval`, is code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...errors import CheckpointError
from ...io.strict_json import read_settings
from ...io.tensors.safetensors_header import check_shapes
from ...io.tensors.state_dict import NUMBERS, load_state, names_of
from ..autoencoder import Gate
from .format import Parts, Shapes, TorchFormat, shapes_of, tensors_of
from .settings import agree, whole_number

_L1: Shapes = {
    "decoder.weight": [("activation_size", "n_dict_components")],
    "encoder_bias": [("n_dict_components",)],
}
_TOPK: Shapes = {
    "encoder.weight": [("n_dict_components", "activation_size")],
    "encoder.bias": [("n_dict_components",)],
    "W_dec": [("n_dict_components", "activation_size")],
    "b_dec": [("activation_size",)],
}
_VARIANTS = {"l1": _L1, "topk": _TOPK}
_CLASS = {"l1": "L1AutoEncoder", "topk": "TopKAutoEncoder"}
_USUAL_K = 32  # of its TopKAutoEncoderConfig, where settings name none


class Freud(TorchFormat):
    """Reads a checkpoint, or a folder with one."""

    name = "freud"
    content = "SAE of FREUD"

    def names(self, file: Path) -> Mapping[str, Any]:
        """The content with its numbers left on disk, NumPy's skipped."""
        return names_of(file, NUMBERS)

    def fits(self, _: Path, content: Mapping[str, Any]) -> bool:
        """The tensors of one of its two autoencoders, at the top or as `model`."""
        model = _model(content)
        return any(
            set(model) == set(shapes) and all(isinstance(model[name], Tensor) for name in shapes)
            for shapes in _VARIANTS.values()
        )

    def parts(self, file: Path) -> Parts:
        """By its variant, with the settings of its training."""
        state = load_state(file, NUMBERS)
        model = _model(state)
        variant = "l1" if set(model) == set(_L1) else "topk"
        tensors = tensors_of(model)
        check_shapes(file, shapes_of(tensors), _VARIANTS[variant])
        settings, where = _settings(file, state)
        if settings.get("autoencoder_variant", variant) != variant:
            raise CheckpointError(
                f"{file} has the tensors of its {variant} autoencoder, {where} says "
                f"{settings['autoencoder_variant']!r}; they do not belong together"
            )
        config = settings.get("autoencoder_config")
        config = config if isinstance(config, dict) else {}
        n_features, d_model = (tensors["decoder.weight"].T if variant == "l1" else tensors["W_dec"]).shape
        agree(file, settings, {"activation_size": d_model})
        if config.get("n_dict_components"):
            agree(file, config, {"n_dict_components": n_features})
        info: dict[str, Any] = {"format": self.name, "read_as": _CLASS[variant], "because": "the names of its tensors"}
        info.update(_site(settings))
        if variant == "l1":
            W = _unit(tensors["decoder.weight"]).contiguous()
            return Parts(W, tensors["encoder_bias"].contiguous(), W.clone(), W.new_zeros(d_model), Gate("relu"), info)
        gate = Gate("topk", _k(file, config, where, info))
        W_enc, b_enc, W_dec, b_dec = (tensors[name].contiguous() for name in _TOPK)
        return Parts(W_enc, b_enc, W_dec, b_dec, gate, info)


def _model(state: Mapping[str, Any]) -> Mapping[str, Any]:
    model = state.get("model")
    return model if isinstance(model, Mapping) and all(isinstance(name, str) for name in model) else state


def _settings(file: Path, state: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """The settings of its training, from the checkpoint or from the file that it was trained by; and which."""
    hparams = state.get("hparams")
    if isinstance(hparams, dict):
        return hparams, "its hparams"
    for path in sorted(file.parent.glob("*.json")):
        settings = read_settings(path)
        if "autoencoder_config" in settings or "autoencoder_variant" in settings:
            return settings, path.name
    return {}, "nothing"


def _k(file: Path, config: Mapping[str, Any], where: str, info: dict[str, Any]) -> int:
    if "k" in config:
        return whole_number(config["k"], f"{file}: k")
    if where == "nothing":
        raise CheckpointError(
            f"{file} is a TopK autoencoder of FREUD that names no k; put the .json that it was trained by beside it"
        )
    info["because"] += f", and k = {_USUAL_K} is what FREUD takes where settings name none"
    return _USUAL_K


def _unit(decoder: Tensor) -> Tensor:
    """Rows of norm 1, from columns of any, as `torch.nn.functional.normalize` makes them before each encoding."""
    W = decoder.T.double()
    norms: Tensor = W.norm(dim=-1, keepdim=True).clamp(min=1e-12)
    return (W / norms).to(torch.promote_types(decoder.dtype, torch.float32))


def _site(settings: Mapping[str, Any]) -> dict[str, Any]:
    whisper = settings.get("whisper_config")
    name = whisper.get("layer_name") if isinstance(whisper, dict) else None
    if not isinstance(name, str):
        return {}
    block = re.fullmatch(r"(encoder|decoder)\.blocks\.(\d{1,3})", name)
    return {"hookpoint": name} | ({"side": block[1], "layer": int(block[2]) + 1} if block else {})
