"""Plain dictionaries: `W_enc` and `W_dec`, and what else there is, in one `.safetensors` or `.npz` with no settings.

    W_enc, W_dec    (F, d) or (d, F) each, told apart by b_enc (F), b_dec (d) and threshold (F), or else by F > d
    b_enc, b_dec    zeros where they are missing; x − b_dec goes into the encoder, as everywhere here
    threshold, k    the gate: jumprelu by a threshold, topk by a k (a number, or the metadata of a safetensors file),
                    batchtopk by both, relu by neither
    gain, epsilon   a ReLU whose features go through an RMSNorm: both or neither, a number for epsilon as for k, and
                    gain one number per feature, or 1.0 where the norm has none

That is a convention, and no file of this kind can say that it keeps to it: `info["because"]` names what was taken for
granted. A safetensors file with `cfg.json` beside it is read as SAELens', whose settings say more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from ...errors import CheckpointError
from ...io.strict_json import read_settings
from ...io.tensors.npz import load_npz, npz_shapes
from ...io.tensors.safetensors_header import check_shapes, is_safetensors, load_tensors, read_header
from ...io.tensors.zip_archive import is_npz
from ..autoencoder import Gate
from ..save import FORMAT
from .format import Format, Parts
from .settings import whole_number
from .thresholds import stored_threshold

_MATRICES = ("W_enc", "W_dec")
_VECTORS = ("b_enc", "b_dec", "threshold", "gain")
_NAMES = (*_MATRICES, *_VECTORS, "k", "epsilon")

Shape = tuple[int, ...]


_WHY = {
    "relu": "there is neither a threshold nor a k",
    "jumprelu": "there is a threshold",
    "topk": "there is a k",
    "batchtopk": "there are a threshold and a k",
    "rms": "there are a gain and an epsilon",
}
_USUAL = "; taken for granted: x − b_dec is what its encoder reads, and x is not normalised"


class Plain(Format):
    """Reads one such file, or a folder with one."""

    name = "plain"
    content = "W_enc and W_dec"

    def files(self, names: Sequence[str]) -> list[str]:
        """The one safetensors file, or the one `.npz`."""
        for ending in (".safetensors", ".npz"):
            found = [name for name in names if name.endswith(ending)]
            if len(found) == 1:
                return found
        return []

    def holds(self, file: Path) -> bool:
        """Arrays W_enc and W_dec, in a file that is of no format with settings."""
        if not file.is_file():
            return False
        if is_npz(file):
            return set(_MATRICES) <= set(npz_shapes(file))
        if not is_safetensors(file):
            return False
        header = read_header(file)
        if not set(_MATRICES) <= set(header.shapes) or header.metadata.get("format") == FORMAT:
            return False
        settings = file.parent / "cfg.json"
        return not (settings.is_file() and "d_in" in read_settings(settings))

    def parts(self, file: Path) -> Parts:
        """By shapes and names; CheckpointError if they tell nothing, or a name is unknown."""
        shapes, said = _header(file)
        unknown = sorted(set(shapes) - set(_NAMES))
        if unknown:
            raise CheckpointError(
                f"{file} holds {', '.join(unknown[:5])[:200]} beside W_enc and W_dec; what that means is not known: "
                f"read are {', '.join(_NAMES)}"
            )
        n_features, d_model, because = _sizes(file, shapes)
        tensors = load_tensors(file, _NAMES) if is_safetensors(file) else load_npz(file, _NAMES)
        W_enc, W_dec = (_rows(tensors[name], n_features) for name in _MATRICES)
        gate, threshold = _gate(file, tensors, said)
        return Parts(
            W_enc,
            tensors["b_enc"] if "b_enc" in tensors else W_enc.new_zeros(n_features),
            W_dec,
            tensors["b_dec"] if "b_dec" in tensors else W_enc.new_zeros(d_model),
            gate,
            {"format": self.name, "read_as": gate.kind, "because": f"{because}; {_WHY[gate.kind]}{_USUAL}"},
            threshold,
            gain=tensors.get("gain"),
        )


def _header(file: Path) -> tuple[Mapping[str, Shape], Mapping[str, str]]:
    if is_npz(file):
        return npz_shapes(file), {}
    header = read_header(file)
    return header.shapes, header.metadata


def _sizes(file: Path, shapes: Mapping[str, Shape]) -> tuple[int, int, str]:
    """F and d, and what says which is which."""
    sides = shapes["W_enc"]
    if len(sides) != 2 or min(sides) < 1:
        raise CheckpointError(
            f"{file}: W_enc has shape {sides}; expected (n_features, d_model) or (d_model, n_features)"
        )
    if sides[0] == sides[1]:
        raise CheckpointError(
            f"{file}: W_enc has shape {sides}, which does not say which side is features; "
            "make SAE(W_enc, b_enc, W_dec, b_dec, gate=...) with both (n_features, d_model), and save() that"
        )
    features = next((shapes[name] for name in ("b_enc", "threshold") if len(shapes.get(name, ())) == 1), None)
    if features is not None:
        n_features, because = features[0], "n_features is the length of b_enc or threshold"
    elif len(shapes.get("b_dec", ())) == 1:
        n_features, because = sides[0] + sides[1] - shapes["b_dec"][0], "d_model is the length of b_dec"
    else:
        n_features, because = max(sides), "the larger side of W_enc is n_features, as a dictionary's is"
    if n_features not in sides:
        raise CheckpointError(f"{file}: W_enc has shape {sides}, but {because}, which fits neither side; it is damaged")
    d_model = sides[0] + sides[1] - n_features
    either: list[tuple[str, ...]] = [("n_features", "d_model"), ("d_model", "n_features")]
    # the sizes first, under a name that no array has, so that every array is held against them
    check_shapes(
        file,
        {**shapes, "sizes": (n_features, d_model)},
        {
            "sizes": either[:1],
            "W_enc": either,
            "W_dec": either,
            "b_enc": [("n_features",)],
            "b_dec": [("d_model",)],
            "threshold": [(), ("n_features",)],
            "k": [(), ("numbers",)],
            "gain": [(), ("n_features",)],
            "epsilon": [(), ("one",)],
        },
    )
    return n_features, d_model, because


def _rows(matrix: Tensor, n_features: int) -> Tensor:
    return (matrix if matrix.shape[0] == n_features else matrix.T).contiguous()


def _gate(file: Path, tensors: Mapping[str, Tensor], said: Mapping[str, str]) -> tuple[Gate, Tensor | None]:
    threshold, k = tensors.get("threshold"), _k(file, tensors, said)
    epsilon = _epsilon(file, tensors, said)
    if epsilon is not None or "gain" in tensors:
        if epsilon is None or "gain" not in tensors or k is not None or threshold is not None:
            raise CheckpointError(
                f"{file}: an RMSNorm of its features is stated by a gain (1.0 where it has none) and an epsilon, both, "
                "and without threshold or k; add what is missing, as it was trained"
            )
        return Gate("rms", epsilon=epsilon), None
    if k is None and threshold is None:
        return Gate("relu"), None
    if k is None and threshold is not None:
        if bool((threshold < 0).any()):
            raise CheckpointError(
                f"{file}: its threshold is negative, which means that it was never set; add the k it was trained with, "
                "and the true selection is run, or leave the threshold out for a relu"
            )
        return Gate("jumprelu"), threshold
    return (Gate("topk", k), None) if threshold is None else (Gate("batchtopk", k), stored_threshold(file, threshold))


def _k(file: Path, tensors: Mapping[str, Tensor], said: Mapping[str, str]) -> int | None:
    if "k" in tensors:
        number = tensors["k"].item() if tensors["k"].numel() == 1 else tensors["k"][:3].tolist()
        return whole_number(number, f"{file}: k")
    if "k" in said:
        text = said["k"]
        return whole_number(
            int(text) if text.isascii() and text.isdigit() and len(text) < 10 else text[:40], f"{file}: k"
        )
    return None


def _epsilon(file: Path, tensors: Mapping[str, Tensor], said: Mapping[str, str]) -> float | None:
    if "epsilon" in tensors:
        if tensors["epsilon"].numel() != 1:
            raise CheckpointError(f"{file}: epsilon is {tensors['epsilon'].numel()} numbers; expected one")
        return float(tensors["epsilon"])
    try:
        return float(said["epsilon"]) if "epsilon" in said else None
    except ValueError as error:
        raise CheckpointError(f"{file}: epsilon is {said['epsilon'][:40]!r}; expected a number") from error
