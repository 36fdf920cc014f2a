"""AudioSAE and dictionary_learning: `ae.pt`, a torch state dict, with `config.json` beside it.

Key names and meaning as in saprmarks/dictionary_learning (`AutoEncoder`, `AutoEncoderTopK`, `BatchTopKSAE`), from which
AudioSAE descends. There x − b_dec goes into the encoder, a feature fires above `threshold`, and a threshold of −1
means that none was ever set.
"""

from __future__ import annotations

import json
import pickle
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import CheckpointError, ThresholdWarning
from ..sae import SAE, Gate

MAX_BYTES = 8_000_000_000


class AudioSAE:
    """Reads a folder with `ae.pt`, or such a file."""

    name = "audiosae"

    def recognises(self, path: Path) -> bool:
        """A torch file by its first bytes (zip, or the older pickle), alone or as `ae.pt` in a folder."""
        file = path / "ae.pt" if path.is_dir() else path
        if not file.is_file():
            return False
        with file.open("rb") as opened:
            start = opened.read(4)
        return start == b"PK\x03\x04" or start[:1] == b"\x80"

    def read(self, path: Path) -> SAE:
        """The SAE in a file or folder.

        Raises:
            CheckpointError: the file is damaged, would run code, or is of another kind of dictionary.
        """
        file = path / "ae.pt" if path.is_dir() else path
        state = _state(file)
        config = _config(file.parent / "config.json")
        kind = str(config.get("dict_class", ""))
        if "encoder.weight" not in state or "decoder.weight" not in state:
            raise CheckpointError(
                f"{file} holds {', '.join(sorted(state)[:6])}; expected encoder.weight, encoder.bias, decoder.weight "
                "and b_dec, as AudioSAE and dictionary_learning write them"
            )
        if "Gated" in kind or "r_mag" in state or "gate_bias" in state:
            raise CheckpointError(f"{file} is a gated SAE, which is not read yet; standard, TopK and BatchTopK are")
        W_enc, W_dec = state["encoder.weight"], state["decoder.weight"].T.contiguous()
        b_dec = state.get("b_dec", state.get("bias"))
        if b_dec is None:
            b_dec = torch.zeros(W_enc.shape[-1], dtype=W_enc.dtype)
        b_enc = state.get("encoder.bias")
        if b_enc is None:
            b_enc = torch.zeros(len(W_enc), dtype=W_enc.dtype)
        gate = _gate(kind, _k(state, config, file), file)
        threshold = _threshold(state, gate, file)
        info = {"format": self.name, "config": config, "threshold": "stored" if threshold is not None else "none"}
        return SAE(W_enc, b_enc, W_dec, b_dec, gate=gate, threshold=threshold, info=info)


def _state(file: Path) -> dict[str, Tensor]:
    if file.stat().st_size > MAX_BYTES:
        raise CheckpointError(f"{file} is larger than {MAX_BYTES / 1e9:.0f} GB, which no SAE of audio models is")
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(
            f"{file} is damaged, or holds more than tensors and would run code ({first[:200]}); fetch it again, or ask "
            "its author for safetensors"
        ) from error
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict):
        raise CheckpointError(f"{file} holds a {type(state).__name__}; expected a state dict of tensors by name")
    return {str(key): torch.as_tensor(value) for key, value in state.items() if isinstance(value, (Tensor, int, float))}


def _config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not valid JSON ({error}); fetch it again") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{path} is not a JSON object; fetch it again")
    trainer = config.get("trainer")
    return trainer if isinstance(trainer, dict) else config  # dictionary_learning nests it


def _k(state: dict[str, Tensor], config: dict[str, Any], file: Path) -> int | None:
    stored = state.get("k")
    value = config.get("k") if stored is None else stored.item()
    try:
        return None if value is None else int(value)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{file}: k is {value!r}; expected a whole number") from error


def _gate(kind: str, k: int | None, file: Path) -> Gate:
    if k is None:
        if kind and "TopK" in kind:
            raise CheckpointError(f"{file} is a {kind} without its k; its config.json should name it")
        return Gate("relu")
    if "TopK" in kind and "Batch" not in kind:
        return Gate("topk", k)
    return Gate("batchtopk", k)  # AudioSAE's config names no class; its SAEs are BatchTopK (arXiv 2602.05027)


def _threshold(state: dict[str, Tensor], gate: Gate, file: Path) -> Tensor | None:
    if gate.kind != "batchtopk":
        return None
    stored = state.get("threshold")
    if stored is not None and float(stored.max()) >= 0:
        return stored.float().clamp(min=0)
    unset = "has no threshold" if stored is None else "has a threshold that was never set (-1)"
    warnings.warn(
        f"{file} {unset}: the k·n largest of each clip are selected "
        "instead, which runs the whole SAE; SAE.calibrate_threshold() makes it fast",
        ThresholdWarning,
        stacklevel=4,
    )
    return None
