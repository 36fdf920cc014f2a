"""EleutherAI's sparsify: a folder with `cfg.json` and `sae.safetensors` for each hookpoint, such as `layers.3/`.

Read is its `SparseCoder` as an autoencoder with `activation: topk`; written against eai-sparsify 1.3. Its
`normalize_decoder` says how it was trained: the file's directions are what it runs with. A hookpoint `layers.3` is the
output of the fourth block, since it counts from 0: `load_sae(folder, layer=4)` takes it from a folder of hookpoints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import CheckpointError
from ...io.strict_json import read_settings
from ...io.tensors.safetensors_header import check_shapes, is_safetensors, load_tensors, read_header
from ..autoencoder import Gate
from .format import Format, Parts, Shapes
from .settings import agree, whole_number

_SHAPES: Shapes = {
    "encoder.weight": [("num_latents", "d_in")],
    "encoder.bias": [("num_latents",)],
    "W_dec": [("num_latents", "d_in")],
    "b_dec": [("d_in",)],
}
_REFUSED = {
    "transcode": "it is a transcoder: it writes the output of another module than the one it reads",
    "skip_connection": "a skip connection carries part of its output past the features",
    "signed": "its activations have signs, and those here are never negative",
}


_FILES = ("cfg.json", "sae.safetensors")


class Sparsify(Format):
    """Reads a hookpoint's folder, or its weights with the settings beside them."""

    name = "sparsify"
    content = "SAE of sparsify"
    states_normalisation = True

    def files(self, names: Sequence[str]) -> list[str]:
        """The two files."""
        by_name = {name.rsplit("/", 1)[-1]: name for name in names}
        return [by_name[name] for name in _FILES] if set(_FILES) <= set(by_name) else []

    def holds(self, file: Path) -> bool:
        """A safetensors file with the weights of a `SparseCoder`, by their names."""
        return is_safetensors(file) and {"encoder.weight", "W_dec"} <= set(read_header(file).shapes)

    def parts(self, file: Path) -> Parts:
        """With the settings beside it; CheckpointError if it is no autoencoder by TopK."""
        settings = file.with_name("cfg.json")
        if not settings.is_file():
            raise CheckpointError(
                f"{file} is an SAE of sparsify without its k; put the cfg.json of its folder beside it"
            )
        config = read_settings(settings)
        shapes = read_header(file).shapes
        _refuse(file, config, shapes)
        check_shapes(file, shapes, _SHAPES)
        num_latents, d_in = shapes["W_dec"]
        agree(file, config, {"d_in": d_in})
        if config.get("num_latents"):
            agree(file, config, {"num_latents": num_latents})
        elif config.get("expansion_factor"):
            agree(file, config, {"expansion_factor": num_latents // d_in})
        gate = Gate("topk", whole_number(config.get("k"), f"{file}: k"))
        tensors = load_tensors(file, _SHAPES)
        W_enc, b_enc, W_dec, b_dec = (tensors[name] for name in _SHAPES)
        return Parts(W_enc, b_enc, W_dec, b_dec, gate, {"format": self.name, "config": config})


def _refuse(file: Path, config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> None:
    reason = next((reason for name, reason in _REFUSED.items() if config.get(name)), None)
    if "W_skip" in shapes:
        reason = _REFUSED["skip_connection"]
    activation = config.get("activation", "topk")
    if activation == "groupmax":
        reason = "its groupmax keeps the largest of each of k groups, and no gate here knows groups"
    elif activation != "topk":
        reason = f"its activation {activation!r} is not known here"
    if reason is not None:
        raise CheckpointError(f"{file} is not read: {reason}; read are sparsify's autoencoders with topk")
    if set(shapes) != set(_SHAPES):
        raise CheckpointError(f"{file} holds {', '.join(sorted(shapes))[:200]}; expected {', '.join(_SHAPES)}")
