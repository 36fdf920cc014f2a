"""Small random SAEs, models and edits for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from hypothesis import strategies as st

from audiosae_steer import SAE, Ablate, Add, Clamp, Gate, Normalisation, Push, Scale, Set

KINDS = ("relu", "jumprelu", "topk", "batchtopk", "batchtopk-threshold", "rms")
NORMS = (Normalisation("none"), Normalisation("scalar", 0.37), Normalisation("unit_norm", 3.0))


def make_sae(kind: str = "jumprelu", d: int = 12, F: int = 31, seed: int = 0, norm: Normalisation = NORMS[0]) -> SAE:
    """A random SAE whose features fire on about a quarter of the frames."""
    g = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=g)

    gate = Gate(kind.split("-")[0], 5 if "topk" in kind else None, epsilon=1e-6 if kind == "rms" else None)
    threshold = {"jumprelu": torch.rand(F, generator=g), "batchtopk-threshold": torch.tensor(0.6)}.get(kind)
    return SAE(
        normal(F, d) / d**0.5,
        0.1 * normal(F),
        normal(F, d) / d**0.5,
        0.1 * normal(d),
        gate=gate,
        threshold=threshold,
        normalisation=norm,
        typical=torch.rand(F, generator=g) + 0.5,
        gain=torch.rand(F, generator=g) + 0.2 if kind == "rms" else None,
    )


BRIEF = 500
"""Frames of a window for models that are made where nothing needs 30 s: attention over 1,500 takes most of the time."""


def make_openai(seed: int = 0, d: int = 64, layers: int = 3, vocabulary: int = 51864, frames: int = 1500) -> Any:
    """A small random openai-whisper model with the real audio front end, or a window of fewer frames."""
    from whisper.model import ModelDimensions, Whisper

    torch.manual_seed(seed)
    model = Whisper(ModelDimensions(80, frames, d, 2, layers, vocabulary, 448, d, 2, layers)).eval()
    torch.nn.init.normal_(model.decoder.positional_embedding, std=0.02)  # the constructor leaves it as it finds it
    return model.requires_grad_(False)


def make_hf(seed: int = 0, d: int = 64, layers: int = 3, frames: int = 1500) -> Any:
    """A small random transformers Whisper."""
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    torch.manual_seed(seed)
    config = WhisperConfig(
        vocab_size=51864,
        d_model=d,
        encoder_layers=layers,
        decoder_layers=layers,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=4 * d,
        decoder_ffn_dim=4 * d,
        max_length=None,
        begin_suppress_tokens=[220, 50256],
        decoder_start_token_id=50257,
        eos_token_id=50256,
        bos_token_id=50256,
        pad_token_id=50256,
    )
    model = WhisperForConditionalGeneration(config).eval().requires_grad_(False)
    # cut afterwards, so that the weights are those of a model with 30 s
    places = model.model.encoder.embed_positions
    places.weight = torch.nn.Parameter(places.weight[:frames].clone(), requires_grad=False)
    places.num_embeddings = model.model.encoder.max_source_positions = config.max_source_positions = frames
    return model


def swapped_tokenizer(folder: Path) -> str:
    """Whisper's English tokenizer with tokens 1000 and 1001 exchanged, as a fine-tune's files; what 1000 reads as."""
    from audiosae_steer.models.whisper.tokenizer import processor_for

    content = json.loads(processor_for(51864, 80).tokenizer.backend_tokenizer.to_str())
    vocabulary = content["model"]["vocab"]
    names = {index: name for name, index in vocabulary.items()}
    vocabulary.update({names[1000]: 1001, names[1001]: 1000})
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    merges = [each if isinstance(each, str) else " ".join(each) for each in content["model"]["merges"]]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n", encoding="utf-8")
    added = {token["content"]: token["id"] for token in content["added_tokens"]}
    (folder / "added_tokens.json").write_text(json.dumps(added))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "WhisperTokenizer"}))
    return names[1001].replace("\u0120", " ")


def count_hooks(model: Any) -> int:
    """Forward hooks anywhere on the model, but for those that transformers leaves there to capture hidden states."""
    tables = [table for m in model.modules() for table in (m._forward_hooks, m._forward_pre_hooks)]
    hooks = [hook for table in tables for hook in table.values()]
    return sum(not str(getattr(hook, "__module__", "")).startswith("transformers.") for hook in hooks)


@st.composite
def edit_lists(draw: st.DrawFn, F: int, d: int, windows: bool = True, max_size: int = 5) -> list[Any]:
    """Any edits in any order, with overlaps of features and of windows."""
    number = st.floats(-3, 3, allow_nan=False).map(lambda v: round(v, 3))
    edits: list[Any] = []
    for _ in range(draw(st.integers(1, max_size))):
        features = draw(st.lists(st.integers(0, F - 1), min_size=1, max_size=4, unique=True))
        window = draw(st.sampled_from([None, None, (0.0, 0.5), (0.3, 1.0), (0.6, 5.0)])) if windows else None
        low, high = sorted((draw(number), draw(number)))
        kind = draw(st.sampled_from(["ablate", "scale", "clamp", "set", "set-active", "add", "typical", "push"]))
        edits.append(
            {
                "ablate": lambda f=features, w=window: Ablate(f, window=w),
                "scale": lambda f=features, w=window, v=low: Scale(f, v, window=w),
                "clamp": lambda f=features, w=window, a=low, b=high: Clamp(f, a, b, window=w),
                "set": lambda f=features, w=window, v=low: Set(f, v, window=w),
                "set-active": lambda f=features, w=window, v=high: Set(f, v, only_active=True, window=w),
                "add": lambda f=features, w=window, v=low: Add(f, v, window=w),
                "typical": lambda f=features, w=window, v=high: Add(f, v, units="typical", window=w),
                "push": lambda w=window, v=low: Push(torch.linspace(-1, 1, d), v, window=w),
            }[kind]()
        )
    return edits


def naive_edit(f: torch.Tensor, edits: list[Any], typical: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
    """The meaning of the edits by `docs/edits.md`, one feature and frame at a time, on float64 f (clips, frames, F)."""
    out = f.clone()
    for edit in edits:
        if isinstance(edit, Push):
            continue
        on = torch.ones_like(times, dtype=torch.bool)
        if edit.window is not None:
            on = (times >= edit.window[0]) & (times < edit.window[1])
        for n, i in enumerate(edit.features):
            now = out[:, on, i]
            if isinstance(edit, Ablate):
                new = torch.zeros_like(now)
            elif isinstance(edit, Scale):
                new = now * edit.factor[n]
            elif isinstance(edit, Clamp):
                new = now.clamp(edit.low[n], edit.high[n])
            elif isinstance(edit, Set):
                new = torch.full_like(now, edit.value[n])
                new = torch.where(f[:, on, i] > 0, new, now) if edit.only_active else new
            else:
                new = now + edit.amount[n] * (typical[i] if edit.units == "typical" else 1.0)
            out[:, on, i] = new
    return out


def naive_push(edits: list[Any], times: torch.Tensor, d: int) -> torch.Tensor:
    """The sum of the pushes at each frame, (frames, d)."""
    total = torch.zeros(len(times), d, dtype=torch.float64)
    for edit in edits:
        if isinstance(edit, Push):
            on = torch.ones_like(times, dtype=torch.bool)
            if edit.window is not None:
                on = (times >= edit.window[0]) & (times < edit.window[1])
            total[on] += edit.amount * edit.vector
    return total
