"""Rule by which vLLM's Whisper takes the tensors of a transformers folder, in our own words: names, and shapes.

Read in vLLM's `model_executor/models/whisper.py` of 2026. `.fc1.` and `.fc2.` go to an inner `mlp`; query, key and
value of self-attention are stacked into one map, key and value of cross-attention into another; a key map has no bias
in a Whisper, and zeros stand for it; the output map is the embedding's. A name that is left over is an error there, and
a parameter that is not filled keeps random numbers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import ModelError

Shape = tuple[int, ...]
STACKED = {
    "self_attn": ("qkv_proj", ("q_proj", "k_proj", "v_proj")),
    "encoder_attn": ("kv_proj", ("k_proj", "v_proj")),
}
"""Maps that are stacked, by the attention that they are of."""
SETTINGS = ("config.json", "generation_config.json", "preprocessor_config.json", "tokenizer.json")
"""Files that it reads beside the weights."""
ARCHITECTURE = "WhisperForConditionalGeneration"


def parameters(config: Mapping[str, Any]) -> dict[str, Shape]:
    """Names and shapes of the parameters of vLLM's Whisper for a `config.json`."""
    d, found = int(config["d_model"]), dict[str, Shape]()

    def affine(name: str, *shape: int) -> None:
        found[f"{name}.weight"] = shape
        found[f"{name}.bias"] = shape[:1]

    def block(name: str, width: int, cross: bool) -> None:
        affine(f"{name}.self_attn.qkv_proj", 3 * d, d)
        affine(f"{name}.self_attn.out_proj", d, d)
        if cross:
            affine(f"{name}.encoder_attn.q_proj", d, d)
            affine(f"{name}.encoder_attn.kv_proj", 2 * d, d)
            affine(f"{name}.encoder_attn.out_proj", d, d)
            affine(f"{name}.encoder_attn_layer_norm", d)
        affine(f"{name}.mlp.fc1", width, d)
        affine(f"{name}.mlp.fc2", d, width)
        affine(f"{name}.self_attn_layer_norm", d)
        affine(f"{name}.final_layer_norm", d)

    affine("model.encoder.conv1", d, int(config["num_mel_bins"]), 3)
    affine("model.encoder.conv2", d, d, 3)
    found["model.encoder.embed_positions.weight"] = (int(config["max_source_positions"]), d)
    found["model.decoder.embed_positions.weight"] = (int(config["max_target_positions"]), d)
    found["model.decoder.embed_tokens.weight"] = (int(config["vocab_size"]), d)
    for side in ("encoder", "decoder"):
        for layer in range(int(config[f"{side}_layers"])):
            block(f"model.{side}.layers.{layer}", int(config[f"{side}_ffn_dim"]), side == "decoder")
        affine(f"model.{side}.layer_norm", d)
    return found


def place_of(name: str) -> tuple[str, int | None]:
    """Parameter that takes a tensor, and its place in a stack of several; None where it is no stack."""
    for attention, (whole, parts) in STACKED.items():
        for number, part in enumerate(parts):
            if f".{attention}.{part}." in name:
                return name.replace(f".{attention}.{part}.", f".{attention}.{whole}."), number
    return name.replace(".fc1.", ".mlp.fc1.").replace(".fc2.", ".mlp.fc2."), None


def misfits(tensors: Mapping[str, Shape], config: Mapping[str, Any]) -> list[str]:
    """Reasons why vLLM's Whisper would not take these tensors as they are meant; none if it does."""
    wanted, given = parameters(config), dict(tensors)
    found = [
        f"{name} is not taken: the output map is the embedding's" for name in given if name.startswith("proj_out.")
    ]
    for name, shape in tensors.items():
        if name.endswith(".k_proj.weight"):
            bias = name.removesuffix("weight") + "bias"
            if bias in given:
                found.append(f"{bias} is not taken: zeros stand for a key map's bias")
            given[bias] = shape[:1]
    filled: dict[str, dict[int | None, Shape]] = {}
    for name, shape in given.items():
        whole, place = place_of(name)
        if not name.startswith("proj_out."):
            filled.setdefault(whole, {})[place] = shape
    for name in sorted(filled.keys() - wanted.keys()):
        found.append(f"{name} is no parameter there")
    for name, shape in wanted.items():
        parts = filled.get(name, {})
        places = next((range(len(names)) for whole, names in STACKED.values() if f".{whole}." in name), None)
        missing = [place for place in (places or (None,)) if place not in parts]
        if missing:
            found.append(f"{name} is not filled")
            continue
        own = (shape,) if places is None else ((shape[0] // len(places), *shape[1:]),) * len(places)
        given_ = tuple(parts[place] for place in (places or (None,)))
        if given_ != own:
            found.append(f"{name} has shapes {given_}; expected {own}")
    return found


def check_folder(folder: Path) -> None:
    """Check a transformers folder against the rule.

    Raises:
        ModelError: vLLM's Whisper would not take it; says why.
    """
    from safetensors import safe_open

    absent = [name for name in SETTINGS if not (folder / name).is_file()]
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    found = [f"{name} is missing" for name in absent]
    if config.get("architectures") != [ARCHITECTURE]:
        found.append(f"config.json names the architecture {config.get('architectures')}; expected {ARCHITECTURE}")
    shapes: dict[str, Shape] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            shapes |= {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    found += misfits(shapes, config)
    if found:
        more = f", and {len(found) - 3} more" if len(found) > 3 else ""
        raise ModelError(f"vLLM's Whisper would not take this model: {'; '.join(found[:3])}{more}")
