"""dictionary_learning: `ae.pt`, a torch state dict, with the `config.json` that `trainSAE` wrote beside it.

Written against saprmarks/dictionary_learning 0.1.0. Its training scales the biases back before it saves, so that an
SAE trained on normalised activations reads raw ones. What each class becomes here:

    AutoEncoder               relu; directions of norm 1, as its from_pretrained() makes them
    AutoEncoderNew            relu; reads x itself
    GatedAutoEncoder          jumprelu, exactly (see `folding`)
    JumpReluAutoEncoder       jumprelu; reads x itself, as its from_pretrained() has it
    AutoEncoderTopK           topk
    BatchTopKSAE              batchtopk, with its threshold; −1 there means that none was ever set
    MatryoshkaBatchTopKSAE    the same, with all of its groups
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from ...errors import CheckpointError
from ...io.strict_json import read_settings
from ...io.tensors.safetensors_header import check_shapes
from ...io.tensors.state_dict import load_state
from ..autoencoder import Gate
from .folding import gated_as_jumprelu, reading_raw, unit_directions
from .format import Parts, Shapes, TorchFormat, shapes_of, tensors_of
from .settings import agree, whole_number
from .thresholds import stored_threshold

_LINEAR: Shapes = {
    "encoder.weight": [("dict_size", "activation_dim")],
    "decoder.weight": [("activation_dim", "dict_size")],
}
_BARE: Shapes = {
    "W_enc": [("activation_dim", "dict_size")],
    "b_enc": [("dict_size",)],
    "W_dec": [("dict_size", "activation_dim")],
    "b_dec": [("activation_dim",)],
}
_FEATURES: list[tuple[str, ...]] = [("dict_size",)]
_WIDTH: list[tuple[str, ...]] = [("activation_dim",)]
_TOPK: Shapes = {**_LINEAR, "encoder.bias": _FEATURES, "b_dec": _WIDTH}
_CLASSES: dict[str, Shapes] = {
    "AutoEncoder": {**_LINEAR, "encoder.bias": _FEATURES, "bias": _WIDTH},
    "AutoEncoderNew": {**_LINEAR, "encoder.bias": _FEATURES, "decoder.bias": _WIDTH},
    "GatedAutoEncoder": {
        **_LINEAR,
        "decoder_bias": _WIDTH,
        "r_mag": _FEATURES,
        "gate_bias": _FEATURES,
        "mag_bias": _FEATURES,
    },
    "JumpReluAutoEncoder": {**_BARE, "threshold": _FEATURES},
    "AutoEncoderTopK": _TOPK,
    "BatchTopKSAE": _TOPK,
    "MatryoshkaBatchTopKSAE": {**_BARE, "group_sizes": [("groups",)]},
}
SELECTING = ("AutoEncoderTopK", "BatchTopKSAE", "MatryoshkaBatchTopKSAE")
"""Classes that keep the k largest, and may hold `k` and `threshold` besides."""


class Kind(NamedTuple):
    """The class that a file was saved from."""

    name: str
    """Class in dictionary_learning."""
    because: str
    """The evidence for it."""


class _Weights(NamedTuple):
    W_enc: Tensor
    b_enc: Tensor
    W_dec: Tensor
    b_dec: Tensor


class DictionaryLearning(TorchFormat):
    """Reads a folder with one such torch file, or the file."""

    name = "dictionary_learning"
    content = ", ".join(_CLASSES)

    def fits(self, file: Path, content: Mapping[str, Any]) -> bool:
        """The tensors of one of its classes; those of BatchTopKSAE only where settings name a class."""
        if fits(content, "BatchTopKSAE") and class_of(settings_of(file)) is None:
            return False  # AudioSAE's, whose settings need not name the class
        layouts: list[Shapes] = [
            {"encoder.weight": [], "decoder.weight": []},
            {"ae": [], "optimizer": []},
            *_CLASSES.values(),
        ]
        return any(set(layout) <= set(content) for layout in layouts)

    def parts(self, file: Path) -> Parts:
        """By the class that its settings name, or else its tensors."""
        state, settings = load_state(file), settings_of(file)
        return parts_of_dictionary(file, state, settings, _kind(file, state, settings), self.name)


def settings_of(file: Path) -> dict[str, Any]:
    """The trainer's settings in the `config.json` beside a file; empty if there is no such file.

    Raises:
        CheckpointError: it is no JSON object.
    """
    path = file.parent / "config.json"
    config = read_settings(path) if path.is_file() else {}
    trainer = config.get("trainer")
    return trainer if isinstance(trainer, dict) else config  # dictionary_learning nests it, AudioSAE need not


def class_of(settings: Mapping[str, Any]) -> str | None:
    """The class that settings name: "BatchTopKSAE", or "<class 'dictionary_learning.trainers.BatchTopKSAE'>"."""
    said = settings.get("dict_class")
    return re.sub(r"\W+$", "", str(said)[-200:]).rsplit(".", 1)[-1] if said else None


def fits(state: Mapping[str, Any], kind: str) -> bool:
    """True if a state dict has the tensors of a class, and nothing that it cannot hold."""
    layout = _CLASSES[kind]
    allowed = {*layout, "k", "threshold"} if kind in SELECTING else set(layout)
    return set(layout) <= set(state) <= allowed and all(isinstance(state[name], Tensor) for name in layout)


def parts_of_dictionary(
    file: Path, state: Mapping[str, Any], settings: dict[str, Any], kind: Kind, format_name: str
) -> Parts:
    """The SAE's parts in a state dict of the class `kind`, whose layout it fits.

    Raises:
        CheckpointError: shapes disagree among each other or with the settings, or a k is missing.
    """
    layout: Shapes = {**_CLASSES[kind.name]}
    if kind.name in SELECTING:
        layout["threshold"] = [(), *_FEATURES]
    tensors = {name: tensor for name, tensor in tensors_of(state).items() if name in layout}
    check_shapes(file, shapes_of(tensors), layout)
    weights = _weights(kind.name, tensors)
    agree(file, settings, {"activation_dim": weights.W_enc.shape[1], "dict_size": weights.W_enc.shape[0]})
    info: dict[str, Any] = {"format": format_name, "read_as": kind.name, "because": kind.because, "config": settings}
    gate, threshold = Gate("relu"), None
    if kind.name == "AutoEncoder":
        weights = _Weights(*unit_directions(weights.W_enc, weights.b_enc, weights.W_dec), weights.b_dec)
    elif kind.name == "JumpReluAutoEncoder":
        gate, threshold = Gate("jumprelu"), tensors["threshold"]
    elif kind.name == "GatedAutoEncoder":
        names = ("encoder.weight", "r_mag", "gate_bias", "mag_bias")
        W_enc, b_enc, threshold = gated_as_jumprelu(*(tensors[name] for name in names))
        gate, weights = Gate("jumprelu"), weights._replace(W_enc=W_enc, b_enc=b_enc)
    elif kind.name == "AutoEncoderTopK":
        gate = Gate("topk", _k(file, state, settings))
    elif kind.name != "AutoEncoderNew":
        gate = Gate("batchtopk", _k(file, state, settings))
        threshold = stored_threshold(file, state.get("threshold"))
        info["threshold"] = "none" if threshold is None else "stored"
    return Parts(*weights, gate=gate, info=info, threshold=threshold)


def _kind(file: Path, state: Mapping[str, Any], settings: Mapping[str, Any]) -> Kind:
    """The class it was saved from: as the settings say, or else by the names of its tensors."""
    if "optimizer" in state:
        raise CheckpointError(f"{file} is the backup of a training that had not ended; take the ae.pt of its end")
    by_tensors = [name for name in _CLASSES if fits(state, name)]
    named = class_of(settings)
    if named not in (None, *_CLASSES) or not by_tensors:
        what = f"of class {named}" if named not in (None, *_CLASSES) else f"with {', '.join(sorted(state)[:8])}"
        raise CheckpointError(f"{file} holds a dictionary {what}, which is not read; read are {', '.join(_CLASSES)}")
    if named is None:
        return Kind(by_tensors[0], "the names of its tensors")
    if named not in by_tensors:
        raise CheckpointError(
            f"{file} has the tensors of {' or '.join(by_tensors)}, its config.json says {named}; they do not match"
        )
    return Kind(named, "dict_class in config.json")


def _weights(kind: str, tensors: Mapping[str, Tensor]) -> _Weights:
    """Weights in the convention of `SAE`, but for what `kind` alone has."""
    if "W_enc" in tensors:
        W_enc, W_dec = tensors["W_enc"].T.contiguous(), tensors["W_dec"].contiguous()
        b_enc, b_dec = tensors["b_enc"], tensors["b_dec"]
    else:
        W_enc, W_dec = tensors["encoder.weight"].contiguous(), tensors["decoder.weight"].T.contiguous()
        b_enc = tensors.get("encoder.bias", W_enc.new_zeros(len(W_enc)))
        b_dec = next(tensors[name] for name in ("b_dec", "bias", "decoder_bias", "decoder.bias") if name in tensors)
    if kind in ("JumpReluAutoEncoder", "AutoEncoderNew"):
        b_enc = reading_raw(W_enc, b_enc, b_dec)
    return _Weights(W_enc, b_enc, W_dec, b_dec)


def _k(file: Path, state: Mapping[str, Any], settings: Mapping[str, Any]) -> int:
    stored, said = state.get("k"), settings.get("k")
    if isinstance(stored, Tensor):
        stored = stored.item() if stored.numel() == 1 else None
    if stored is None and said is None:
        raise CheckpointError(f"{file} is a TopK SAE that names no k; put config.json with its k beside it")
    k = whole_number(said if stored is None else stored, f"{file}: k")
    agree(file, {"k": said}, {"k": k})
    return k
