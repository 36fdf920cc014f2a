"""A Whisper into a CTranslate2 folder, which `faster_whisper.WhisperModel` takes by its path, offline."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from ...errors import MissingExtraError, ModelError
from . import write_transformers

QUANTIZATIONS = ("float16", "int8", "int8_float16", "int8_float32", "int16", "float32")
BESIDE = ("tokenizer.json", "preprocessor_config.json")
"""Files that faster-whisper would otherwise fetch from the Hub, or guess."""


def write(
    model: Any, folder: Path, quantization: str = "float16", *, processor: Any, allow_empty: bool = False
) -> None:
    """`model.bin`, `config.json`, the vocabulary, and what faster-whisper reads beside them.

    CTranslate2's own converter does it, from a transformers folder in float32 that is written for it and removed.

    Args:
        model: a transformers `WhisperForConditionalGeneration`, which is left unchanged.
        folder: an existing folder.
        quantization: how weights are stored; biases stay in floating point.
        processor: its `WhisperProcessor`.
        allow_empty: let it write an empty text, as of `write_transformers.write`.

    Raises:
        ModelError: there is no such quantization, or the converter does not take the model.
        MissingExtraError: ctranslate2 is not installed.
    """
    if quantization not in QUANTIZATIONS:
        raise ModelError(f"quantization is {quantization!r}; expected one of {', '.join(QUANTIZATIONS)}")
    try:
        from ctranslate2.converters import TransformersConverter
    except ImportError as error:
        raise MissingExtraError(
            "writing for faster-whisper needs ctranslate2; run: pip install 'audiosae-steer[bench]'"
        ) from error
    source, made = folder / ".transformers", folder / ".converted"
    source.mkdir()
    try:
        write_transformers.write(model, source, processor=processor, allow_empty=allow_empty)
        converter = TransformersConverter(str(source), copy_files=list(BESIDE))
        try:
            converter.convert(str(made), quantization=quantization)
        except (ValueError, RuntimeError, NotImplementedError, AttributeError, KeyError, TypeError) as error:
            raise ModelError(f"CTranslate2's converter does not take this model: {error}") from error
        for path in sorted(made.iterdir()):
            path.rename(folder / path.name)
    finally:
        for scratch in (source, made):
            shutil.rmtree(scratch, ignore_errors=True)
