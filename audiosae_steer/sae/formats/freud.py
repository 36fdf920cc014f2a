"""FREUD (github.com/ksadov/FREUD): a `.pth` checkpoint of its training, with all settings in it or in a `.json` beside.

    L1AutoEncoder      relu; tied: encoder and decoder share one matrix, which is brought to directions of norm 1 each
                       time it encodes, but was saved before that; nothing is subtracted from x, nothing added to x̂
    TopKAutoEncoder    topk, on x − b_dec; W_dec as it is

Its `layer_name` counts openai-whisper's blocks from 0: "encoder.blocks.2" is layer 3 here. A checkpoint carries the
optimizer too, and numbers of NumPy's; neither is read. The whole model that it also saves, `model.bestval`, is code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...errors import CheckpointError
from ...io.strict_json import read_settings
from ...io.tensors.safetensors_header import check_shapes
from ...io.tensors.state_dict import NUMBERS, load_state, names_of, torch_file_in, torch_files
from ..autoencoder import SAE, Gate
from .settings import agree, whole_number

_L1: dict[str, list[tuple[str, ...]]] = {
    "decoder.weight": [("activation_size", "n_dict_components")],
    "encoder_bias": [("n_dict_components",)],
}
_TOPK: dict[str, list[tuple[str, ...]]] = {
    "encoder.weight": [("n_dict_components", "activation_size")],
    "encoder.bias": [("n_dict_components",)],
    "W_dec": [("n_dict_components", "activation_size")],
    "b_dec": [("activation_size",)],
}
_VARIANTS = {"l1": _L1, "topk": _TOPK}
_USUAL_K = 32  # of its TopKAutoEncoderConfig, where settings name none


class Freud:
    """Reads a checkpoint, or a folder with one."""

    name = "freud"
    states_normalisation = False

    def files(self, names: Sequence[str]) -> list[str]:
        """The best checkpoint, or the only one, and its settings."""
        return torch_files(names)

    def recognises(self, path: Path) -> bool:
        """A torch file with the tensors of one of its two autoencoders, at the top or as `model`."""
        return torch_file_in(path, _is_one, _names) is not None

    def read(self, path: Path) -> SAE:
        """The SAE in a checkpoint.

        Raises:
            CheckpointError: the file is damaged, would run code, or does not fit its settings.
        """
        file = torch_file_in(path, _is_one, _names)
        if file is None:
            raise CheckpointError(f"{path} holds no SAE of FREUD; load_sae() reads the other formats")
        state = load_state(file, NUMBERS)
        model = _model(state)
        variant = "l1" if set(model) == set(_L1) else "topk"
        tensors = {name: value for name, value in model.items() if isinstance(value, Tensor)}
        check_shapes(file, {name: tuple(tensor.shape) for name, tensor in tensors.items()}, _VARIANTS[variant])
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
            W = _unit(tensors["decoder.weight"])
            weights = (W, tensors["encoder_bias"], W.clone(), W.new_zeros(d_model))
            gate = Gate("relu")
        else:
            weights = (tensors["encoder.weight"], tensors["encoder.bias"], tensors["W_dec"], tensors["b_dec"])
            gate = Gate("topk", _k(file, config, where, info))
        try:
            return SAE(*(tensor.contiguous() for tensor in weights), gate=gate, info=info)
        except CheckpointError as error:
            raise CheckpointError(f"{file}: {error}") from error


_CLASS = {"l1": "L1AutoEncoder", "topk": "TopKAutoEncoder"}


def _names(file: Path) -> Mapping[str, Any]:
    return names_of(file, NUMBERS)


def _is_one(_: Path, state: Mapping[str, Any]) -> bool:
    model = _model(state)
    return any(set(model) == set(names) and all(isinstance(model[n], Tensor) for n in names) for names in (_L1, _TOPK))


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
