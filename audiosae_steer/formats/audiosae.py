"""AudioSAE and dictionary_learning: `ae.pt`, a torch state dict, with `config.json` beside it.

Names and meaning as in saprmarks/dictionary_learning, from which AudioSAE descends (arXiv 2602.05027): x − b_dec goes
into the encoder; a feature fires where relu(pre) > `threshold`; a threshold of −1 means that none was ever set. Its
trainer scales the biases back before it saves, so that an SAE trained on normalised activations reads raw ones.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..errors import CheckpointError, ThresholdWarning
from ..sae import SAE, Gate
from .header import check_shapes
from .settings import agree, read_settings, whole_number
from .state import is_torch_file, load_state

_WEIGHTS = ("encoder.weight", "encoder.bias", "decoder.weight")
_READ = ("AutoEncoder", "AutoEncoderTopK", "BatchTopKSAE")
_SHAPES: dict[str, list[tuple[str, ...]]] = {
    "encoder.weight": [("n_features", "d_model")],
    "encoder.bias": [("n_features",)],
    "decoder.weight": [("d_model", "n_features")],
    "b_dec": [("d_model",)],
    "bias": [("d_model",)],
    "threshold": [(), ("n_features",)],
}


class _Kind(NamedTuple):
    name: str
    """Class in dictionary_learning."""
    because: str
    """What says so."""


class AudioSAE:
    """Reads a folder with one such torch file, or the file."""

    name = "audiosae"

    def files(self, names: Sequence[str]) -> list[str]:
        """`ae.pt`, or the only torch file, and its settings."""
        torch_files = [name for name in names if name.endswith((".pt", ".pth"))]
        weights = [name for name in torch_files if name.rsplit("/", 1)[-1] == "ae.pt"] or torch_files
        if len(weights) != 1:
            return []
        return [*(name for name in names if name.rsplit("/", 1)[-1] == "config.json"), *weights]

    def recognises(self, path: Path) -> bool:
        """A torch file that holds the weights of a dictionary, by their names; one such file in a folder."""
        return _file_of(path) is not None

    def read(self, path: Path) -> SAE:
        """The SAE in a file or folder.

        Raises:
            CheckpointError: the file is damaged, would run code, or is of another kind of dictionary.
        """
        file = _file_of(path)
        if file is None:
            raise CheckpointError(f"{path} holds no {', '.join(_READ)}; load_sae() reads the other formats")
        state = load_state(file, mapped=True)
        config = _config(file.parent / "config.json")
        kind = _kind(file, state, config)
        tensors = {name: value for name, value in state.items() if name in _SHAPES and isinstance(value, Tensor)}
        check_shapes(file, {name: tuple(tensor.shape) for name, tensor in tensors.items()}, _SHAPES)
        n_features, d_model = tensors["encoder.weight"].shape
        agree(file, config, {"activation_dim": d_model, "dict_size": n_features})
        state = load_state(file)
        tensors = {name: value for name, value in state.items() if name in tensors}
        info: dict[str, Any] = {"format": self.name, "read_as": kind.name, "because": kind.because, "config": config}
        W_enc, b_enc = tensors["encoder.weight"].contiguous(), tensors["encoder.bias"]
        W_dec, b_dec = tensors["decoder.weight"].T.contiguous(), tensors["bias" if "bias" in tensors else "b_dec"]
        threshold = None
        if kind.name == "AutoEncoder":
            gate = Gate("relu")
            W_enc, b_enc, W_dec = unit_directions(W_enc, b_enc, W_dec)
        else:
            gate = Gate("topk" if kind.name == "AutoEncoderTopK" else "batchtopk", _k(file, state, config))
        if gate.kind == "batchtopk":
            threshold = _threshold(file, state.get("threshold"))
            info["threshold"] = "none" if threshold is None else "stored"
        try:
            return SAE(W_enc, b_enc, W_dec, b_dec, gate=gate, threshold=threshold, info=info)
        except CheckpointError as error:
            raise CheckpointError(f"{file}: {error}") from error


def unit_directions(W_enc: Tensor, b_enc: Tensor, W_dec: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The same relu SAE with directions of norm 1, as `AutoEncoder.from_pretrained` of dictionary_learning makes it."""
    norms = W_dec.double().norm(dim=-1)
    if torch.allclose(norms, torch.ones_like(norms)):
        return W_enc, b_enc, W_dec
    norms[norms == 0] = 1.0
    dtype = torch.promote_types(W_enc.dtype, torch.float32)
    wide = norms[:, None]
    return (W_enc * wide).to(dtype), (b_enc * norms).to(dtype), (W_dec / wide).to(dtype)


def _file_of(path: Path) -> Path | None:
    files = [path] if path.is_file() else sorted(path.iterdir()) if path.is_dir() else []
    found = [file for file in files if file.is_file() and is_torch_file(file) and _holds_a_dictionary(file)]
    return found[0] if len(found) == 1 else None


def _holds_a_dictionary(file: Path) -> bool:
    try:
        state = load_state(file, mapped=True)
    except CheckpointError:
        return False
    return {"encoder.weight", "decoder.weight"} <= set(state) or {"ae", "optimizer"} <= set(state)


def _config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    config = read_settings(path)
    trainer = config.get("trainer")
    return trainer if isinstance(trainer, dict) else config  # dictionary_learning nests it, AudioSAE need not


def _kind(file: Path, state: Mapping[str, Any], config: Mapping[str, Any]) -> _Kind:
    """The class it was saved from: as the settings say, or else by the names of its tensors."""
    if "optimizer" in state:
        raise CheckpointError(f"{file} is the backup of a training that had not ended; take the ae.pt of its end")
    by_keys = "AutoEncoder" if "bias" in state else "BatchTopKSAE" if "b_dec" in state else None
    unknown = sorted(set(state) - {*_SHAPES, "k"})
    missing = [name for name in _WEIGHTS if not isinstance(state.get(name), Tensor)]
    said = config.get("dict_class")
    # the class itself, or its repr: "<class 'dictionary_learning.trainers.BatchTopKSAE'>"
    named = re.sub(r"\W+$", "", str(said)[-200:]).rsplit(".", 1)[-1] if said else None
    if named not in (None, *_READ) or unknown or missing or by_keys is None:
        what = f"of class {named}" if named not in (None, *_READ) else f"with {', '.join(sorted(state)[:8])}"
        raise CheckpointError(
            f"{file} holds a dictionary {what}, which is not read; read are {', '.join(_READ)}, with "
            f"{', '.join(_WEIGHTS)} and b_dec or bias"
        )
    if named is None:
        # both TopK classes have the same tensors; AudioSAE's settings need not name the class, and its SAEs are these
        return _Kind(by_keys, "the names of its tensors")
    if (named == "AutoEncoder") != (by_keys == "AutoEncoder"):
        raise CheckpointError(f"{file} has the tensors of {by_keys}, its config.json says {named}; they do not match")
    return _Kind(named, "dict_class in config.json")


def _k(file: Path, state: Mapping[str, Any], config: Mapping[str, Any]) -> int:
    stored, said = state.get("k"), config.get("k")
    if isinstance(stored, Tensor):
        stored = stored.item() if stored.numel() == 1 else None
    if stored is None and said is None:
        raise CheckpointError(f"{file} is a TopK SAE that names no k; put config.json with its k beside it")
    k = whole_number(said if stored is None else stored, f"{file}: k")
    agree(file, {"k": said}, {"k": k})
    return k


def _threshold(file: Path, stored: object) -> Tensor | None:
    if isinstance(stored, Tensor) and bool((stored >= 0).all()):
        return stored.float()
    if isinstance(stored, Tensor) and not bool((stored < 0).all()):
        raise CheckpointError(f"{file}: its threshold is {stored.flatten()[:3].tolist()}…; the file is damaged")
    unset = "has a threshold that was never set (-1)" if isinstance(stored, Tensor) else "has no threshold"
    warnings.warn(
        f"{file} {unset}: the k·n largest of each clip of n frames are selected instead, which runs the whole SAE; "
        "SAE.calibrate_threshold() makes it fast",
        ThresholdWarning,
        stacklevel=5,
    )
    return None
