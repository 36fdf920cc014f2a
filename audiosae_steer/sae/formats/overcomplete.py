"""KempnerInstitute's overcomplete: a model as `torch.save(sae, path)` leaves it, or its state dict.

    SAE             relu
    TopKSAE         topk
    JumpSAE         jumprelu, above exp(thresholds)
    BatchTopKSAE    jumprelu, above its running threshold: its `top_k` counts a whole batch, not a frame

The encoder is one linear map, of its own or tied to the dictionary, with a BatchNorm behind it at most, which is affine
once training has ended and is folded in. Nothing is subtracted from x and nothing added to x̂. The dictionary is
brought to unit norm (or what its `normalization` says) when the model is set to `eval()`, and times exp(multiplier).
Written against overcomplete 0.3.

A saved model names its classes. None of them is imported: stand-ins take their places and only hold what the file says.
A state dict holds tensors alone, and those of SAE, TopKSAE and BatchTopKSAE are alike; `config.json` beside it says
which, as `{"class": "TopKSAE", "top_k": 32}`, with `running_threshold` and `normalization` where they matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...errors import CheckpointError
from ...io.strict_json import read_settings
from ...io.tensors.safetensors_header import check_shapes
from ...io.tensors.state_dict import StandIns, load_object, stand_in
from ..autoencoder import Gate
from .folding import just_below
from .format import Parts, Shapes, TorchFormat, shapes_of, tensors_of
from .settings import whole_number

_READ = ("SAE", "TopKSAE", "BatchTopKSAE", "JumpSAE")
_NORMS = ("l2", "max_l2", "l1", "max_l1", "identity")
_LINEAR = "encoder.final_block.0."
_BATCH_NORM = "encoder.final_block.1."
_EPS = 1e-5  # of torch's BatchNorm1d, where the file does not say
_FEATURES: list[tuple[str, ...]] = [("nb_concepts",)]
_SHAPES: Shapes = {
    "dictionary._weights": [("nb_concepts", "input_shape")],
    "dictionary.multiplier": [()],
    "thresholds": _FEATURES,
    "encoder.weight": [("nb_concepts", "input_shape")],
    "encoder.bias": _FEATURES,
    "encoder.tied_to._weights": [("nb_concepts", "input_shape")],
    "encoder.tied_to.multiplier": [()],
    f"{_LINEAR}weight": [("nb_concepts", "input_shape")],
    f"{_LINEAR}bias": _FEATURES,
    **{f"{_BATCH_NORM}{name}": _FEATURES for name in ("weight", "bias", "running_mean", "running_var")},
    f"{_BATCH_NORM}num_batches_tracked": [()],
}


class _Module:
    """Stands for a module of a saved model: its fields, and none of its code."""

    fields: Mapping[str, Any]

    def __new__(cls, *_: object) -> _Module:
        module = super().__new__(cls)
        module.fields = {}
        return module

    def __setstate__(self, state: object) -> None:
        self.fields = state if isinstance(state, dict) else {}


_CLASSES = [
    "base.SAE",
    "topk_sae.TopKSAE",
    "batchtopk_sae.BatchTopKSAE",
    "jump_sae.JumpSAE",
    "mp_sae.MpSAE",
    "omp_sae.OMPSAE",
    "qsae.QSAE",
    "rasae.RATopKSAE",
    "rasae.RAJumpSAE",
    "dictionary.DictionaryLayer",
    "archetypal_dictionary.RelaxedArchetypalDictionary",
    "modules.MLPEncoder",
    "modules.TieableEncoder",
    "modules.IdentityEncoder",
    "modules.AttentionEncoder",
    "modules.AttentionBlock",
    "modules.ResNetEncoder",
    "modules.ResNetBlock",
    "kernels.rectangle_kernel",
    "kernels.gaussian_kernel",
    "kernels.triangular_kernel",
    "kernels.cosine_kernel",
    "kernels.epanechnikov_kernel",
    "kernels.quartic_kernel",
    "kernels.silverman_kernel",
    "kernels.cauchy_kernel",
]
_TORCH = [
    "linear.Linear",
    "linear.Identity",
    "container.Sequential",
    "container.ModuleList",
    "batchnorm.BatchNorm1d",
    "normalization.LayerNorm",
    "activation.ReLU",
    "activation.GELU",
    "activation.Softplus",
    "dropout.Dropout",
]
_STAND_INS: StandIns = (
    *(stand_in(f"overcomplete.sae.{name}", _Module) for name in _CLASSES),
    *(stand_in(f"overcomplete.sae.dictionary.normalize_{name}", _Module) for name in _NORMS),
    *(stand_in(f"torch.nn.modules.{name}", _Module) for name in _TORCH),
)
MAX_MODULES = 1000
"""Of a pickled model; overcomplete's own have some dozens. A pickle can name one module many times."""


class _Saved(NamedTuple):
    tensors: dict[str, Any]
    """By their names in a state dict."""
    said: dict[str, Any]
    """Settings that are known: class, top_k, running_threshold, normalization, eps, fused."""
    source: str
    """The evidence for it."""


class Overcomplete(TorchFormat):
    """Reads such a torch file, or a folder with one."""

    name = "overcomplete"
    content = "SAE of overcomplete"

    def names(self, file: Path) -> _Saved:
        """The tensors' names, and the fields of a saved model."""
        return _saved(file)

    def fits(self, _: Path, content: _Saved) -> bool:
        """One of its dictionary layers."""
        return any(name in content.tensors for name in ("dictionary._weights", "dictionary.C"))

    def parts(self, file: Path) -> Parts:
        """By its class; CheckpointError if it is no gate behind one linear map."""
        saved = _saved(file, mapped=False)
        if not saved.said:
            saved = _with_settings(file, saved)
        tensors = tensors_of(saved.tensors)
        kind = _kind(file, saved, tensors)
        check_shapes(file, shapes_of(tensors), _SHAPES)
        W_dec = _dictionary(file, saved, tensors)
        W_enc, b_enc = _encoder(tensors, W_dec, saved.said.get("eps"))
        gate, threshold = _gate(file, kind, saved, tensors)
        info = {"format": self.name, "read_as": kind, "because": saved.source}
        return Parts(W_enc, b_enc, W_dec, W_dec.new_zeros(W_dec.shape[1]), gate, info, threshold)


def _saved(file: Path, *, mapped: bool = True) -> _Saved:
    content = load_object(file, mapped=mapped, stand_ins=_STAND_INS)
    if isinstance(content, _Module):
        tensors: dict[str, Any] = {}
        _flatten(file, content, "", tensors, [MAX_MODULES])
        return _Saved(tensors, _said(content), "the classes that the saved model names")
    if not isinstance(content, Mapping) or not all(isinstance(name, str) for name in content):
        raise CheckpointError(f"{file} holds a {type(content).__name__}; expected a model of overcomplete's")
    return _Saved(dict(content), {}, "the names of its tensors")


def _flatten(file: Path, module: _Module, prefix: str, tensors: dict[str, Any], left: list[int]) -> None:
    """The tensors of a module and of those in it, by name."""
    left[0] -= 1
    if left[0] < 0:
        raise CheckpointError(f"{file} holds more than {MAX_MODULES} modules, as no model of overcomplete's does")
    for group in ("_parameters", "_buffers"):
        found = module.fields.get(group)
        for name, value in found.items() if isinstance(found, Mapping) else ():
            if value is not None:
                tensors[f"{prefix}{name}"] = value.detach() if isinstance(value, Tensor) else value
    inner = module.fields.get("_modules")
    for name, value in inner.items() if isinstance(inner, Mapping) else ():
        if isinstance(value, _Module):
            _flatten(file, value, f"{prefix}{name}.", tensors, left)


def _said(model: _Module) -> dict[str, Any]:
    """The fields of a saved model that matter beside its tensors."""
    said: dict[str, Any] = {"class": type(model).__name__, **dict.fromkeys(("top_k", "running_threshold"))}
    said.update({name: model.fields.get(name) for name in ("top_k", "running_threshold")})
    dictionary, encoder = _inner(model, "dictionary"), _inner(model, "encoder")
    normalization = dictionary.fields.get("normalization")
    if isinstance(normalization, type):
        said["normalization"] = normalization.__name__.removeprefix("normalize_")
    if dictionary.fields.get("training") is False:
        said["fused"] = dictionary.fields.get("_fused_dictionary")
    said["encoder"] = type(encoder).__name__
    said["activation"] = type(_inner(encoder, "final_activation")).__name__
    said["eps"] = _inner(_inner(encoder, "final_block"), "1").fields.get("eps")
    return said


def _inner(module: _Module, name: str) -> _Module:
    modules = module.fields.get("_modules")
    found = modules.get(name) if isinstance(modules, Mapping) else None
    return found if isinstance(found, _Module) else _Module()


def _with_settings(file: Path, saved: _Saved) -> _Saved:
    path = file.parent / "config.json"
    settings = read_settings(path) if path.is_file() else {}
    said: dict[str, Any] = {
        name: settings[name] for name in ("class", "top_k", "running_threshold", "normalization") if name in settings
    }
    return saved._replace(said=said, source="class in config.json" if "class" in said else saved.source)


def _kind(file: Path, saved: _Saved, tensors: Mapping[str, Tensor]) -> str:
    """The class it was saved from, which is one that is read."""
    kind = saved.said.get("class", "JumpSAE" if "thresholds" in tensors else None)
    reason = _reason(kind, saved, tensors)
    if reason is not None:
        raise CheckpointError(
            f"{file} is not read: {reason}; read are {', '.join(_READ)} of overcomplete with a linear encoder"
        )
    if kind is None:
        raise CheckpointError(
            f"{file} may be an SAE, a TopKSAE or a BatchTopKSAE of overcomplete, whose state dicts are alike: save the "
            'model itself by torch.save(sae, path), or put a config.json beside it, {"class": "TopKSAE", "top_k": 32}'
        )
    return str(kind)


def _reason(kind: object, saved: _Saved, tensors: Mapping[str, Tensor]) -> str | None:
    """A reason why it is no gate behind one linear map; None if it is one."""
    encoder = {name for name in tensors if name.startswith("encoder.")}
    unknown = sorted(set(tensors) - set(_SHAPES))
    if "dictionary._weights" not in tensors:
        return "its dictionary is archetypal, and how far it may relax is not in the file"
    if kind not in (None, *_READ):
        return f"a {kind} does not choose its features by one linear map and a gate"
    if not encoder:
        return "it has no encoder of its own: its codes are pursued, or are x itself"
    if f"{_BATCH_NORM}weight" in tensors and f"{_BATCH_NORM}running_var" not in tensors:
        return "its encoder ends in a LayerNorm, which differs from frame to frame"
    if encoder & set(unknown):
        return f"its encoder is more than one linear map ({unknown[0]})"
    if unknown:
        return f"what its {unknown[0]} means is not known"
    missing = _missing(saved, tensors)
    if missing is not None:
        return f"it has no {missing}, without which the rest means nothing"
    ends_in = saved.said.get("activation", "ReLU")
    if saved.said.get("encoder") == "MLPEncoder" and kind != "JumpSAE" and ends_in != "ReLU":
        return f"its encoder ends in {ends_in}, and activations here are never negative"
    if kind is not None and (kind == "JumpSAE") != ("thresholds" in tensors):
        return f"its tensors are not those of a {kind}"
    return None


def _missing(saved: _Saved, tensors: Mapping[str, Tensor]) -> str | None:
    """A tensor that is not there and has to be, by what is."""
    needed = [] if isinstance(saved.said.get("fused"), Tensor) else ["dictionary.multiplier"]
    if not {"encoder.tied_to._weights", "encoder.weight"} & set(tensors):
        needed.append(f"{_LINEAR}weight")
    norm = [name for name in tensors if name.startswith(_BATCH_NORM)]
    if norm:
        needed += [f"{_BATCH_NORM}running_var", f"{_BATCH_NORM}running_mean"]
    if {f"{_BATCH_NORM}weight", f"{_BATCH_NORM}bias"} & set(norm):
        needed += [f"{_BATCH_NORM}weight", f"{_BATCH_NORM}bias"]
    return next((name for name in needed if name not in tensors), None)


def _dictionary(file: Path, saved: _Saved, tensors: Mapping[str, Tensor]) -> Tensor:
    """The dictionary as the model computes it once it is in `eval()`."""
    weights, fused = tensors["dictionary._weights"], saved.said.get("fused")
    if isinstance(fused, Tensor):
        if fused.shape != weights.shape:
            raise CheckpointError(f"{file}: its dictionary is {tuple(fused.shape)}, its weights {tuple(weights.shape)}")
        return fused.detach().contiguous()
    dtype = torch.promote_types(weights.dtype, torch.float32)
    W = weights.detach().double()
    norms = W.norm(dim=-1, keepdim=True)
    kind = saved.said.get("normalization")
    if kind is None and bool((norms - 1).abs().max() > 1e-4):
        raise CheckpointError(
            f"{file} was saved before its dictionary was normalised, and does not say how that is done; "
            "call sae.eval() and save it again, or name its normalization in config.json: " + ", ".join(_NORMS)
        )
    if kind not in (None, *_NORMS):
        raise CheckpointError(
            f"{file}: its dictionary's normalization {kind!r} is not known; known are {', '.join(_NORMS)}"
        )
    sums = W.abs().sum(dim=-1, keepdim=True)
    if kind == "l2":
        W = W / (norms + 1e-8)
    elif kind == "l1":
        W = W / (sums + 1e-8)
    elif kind in ("max_l2", "max_l1"):
        W = W / (norms if kind == "max_l2" else sums).max()
    return (W * tensors["dictionary.multiplier"].double().exp()).to(dtype)


def _encoder(tensors: Mapping[str, Tensor], W_dec: Tensor, eps: object) -> tuple[Tensor, Tensor]:
    if "encoder.tied_to._weights" in tensors:
        W, b = W_dec.clone(), tensors.get("encoder.bias")
    elif "encoder.weight" in tensors:
        W, b = tensors["encoder.weight"], tensors.get("encoder.bias")
    else:
        W, b = tensors[f"{_LINEAR}weight"], tensors.get(f"{_LINEAR}bias")
    b = W.new_zeros(len(W)) if b is None else b
    if f"{_BATCH_NORM}running_var" in tensors:
        dtype = torch.promote_types(W.dtype, torch.float32)
        norm = {name: tensors[f"{_BATCH_NORM}{name}"].double() for name in ("running_mean", "running_var")}
        scale = (norm["running_var"] + (eps if isinstance(eps, float) else _EPS)).rsqrt()
        shift = torch.zeros_like(scale)
        if f"{_BATCH_NORM}weight" in tensors:
            scale = scale * tensors[f"{_BATCH_NORM}weight"].double()
            shift = tensors[f"{_BATCH_NORM}bias"].double()
        b = ((b.double() - norm["running_mean"]) * scale + shift).to(dtype)
        W = (W.double() * scale[:, None]).to(dtype)
    return W.detach().contiguous(), b.detach()


def _gate(file: Path, kind: str, saved: _Saved, tensors: Mapping[str, Tensor]) -> tuple[Gate, Tensor | None]:
    if kind == "SAE":
        return Gate("relu"), None
    if kind == "TopKSAE":
        return Gate("topk", whole_number(saved.said.get("top_k"), f"{file}: top_k")), None
    if kind == "JumpSAE":
        return Gate("jumprelu"), just_below(tensors["thresholds"].detach().float().exp())
    threshold = saved.said.get("running_threshold")
    if isinstance(threshold, float | int) and not isinstance(threshold, bool):
        threshold = torch.tensor(float(threshold))
    if not isinstance(threshold, Tensor) or threshold.numel() != 1 or not bool(torch.isfinite(threshold).all()):
        raise CheckpointError(
            f"{file} is a BatchTopKSAE without its running threshold, which its state dict does not hold; "
            "save the model itself by torch.save(sae, path), or put it into config.json as running_threshold"
        )
    return Gate("jumprelu"), just_below(threshold.detach().float().reshape(()))
