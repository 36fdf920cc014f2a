"""A Whisper into a transformers folder, with its tokenizer and feature extractor."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch

from ...errors import ModelError

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def write(model: Any, folder: Path, dtype: str = "float32", *, processor: Any, allow_empty: bool = False) -> None:
    """`config.json`, `generation_config.json`, safetensors, and the tokenizer's and feature extractor's files.

    Args:
        model: a `WhisperForConditionalGeneration`, which is left unchanged.
        folder: an existing folder.
        dtype: of the weights: `float32`, `float16` or `bfloat16`.
        processor: its `WhisperProcessor`.
        allow_empty: let it write an empty text: end-of-text is taken off the tokens that `generate` forbids at the
            beginning, and the blank stays on them.

    Raises:
        ModelError: there is no such dtype for this format, or a weight is too large for it.
    """
    if dtype not in DTYPES:
        raise ModelError(f"dtype is {dtype!r}; a transformers folder holds {', '.join(DTYPES)}")
    copied = copy.deepcopy(model).to("cpu", DTYPES[dtype])
    for name, parameter in copied.named_parameters():
        if not torch.isfinite(parameter).all():
            raise ModelError(f"{name} is too large for {dtype}, or holds NaN; write it as float32")
    if allow_empty:
        end = copied.generation_config.eos_token_id
        for config in (copied.generation_config, copied.config):
            forbidden = getattr(config, "begin_suppress_tokens", None)
            if forbidden is not None:
                config.begin_suppress_tokens = opened(forbidden, end)
    copied.save_pretrained(folder)
    # one by one: transformers 5 would put both into one file, which transformers 4 and faster-whisper do not read
    processor.feature_extractor.save_pretrained(folder)
    processor.tokenizer.save_pretrained(folder)


def opened(forbidden: list[int], end: int | list[int] | None) -> list[int]:
    """Tokens that are forbidden at the beginning of a text, without its end."""
    ends = end if isinstance(end, list) else [end]
    return [token for token in forbidden if token not in ends]
