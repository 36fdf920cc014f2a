"""Whisper's tokenizer for transformers out of the vocabulary that openai-whisper ships, for models that come alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...errors import MissingExtraError, ModelError
from . import read_transformers
from .vocabulary import SIZES

PATTERN = r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
"""GPT-2's, by which openai-whisper cuts text into pieces."""
END = "<|endoftext|>"


def processor_for(vocabulary: int, mels: int) -> Any:
    """A `WhisperProcessor` for a Whisper of a vocabulary and number of mel bands; nothing is downloaded.

    Raises:
        ModelError: no released Whisper has a vocabulary of that size.
        MissingExtraError: openai-whisper or transformers is not installed.
    """
    if vocabulary not in SIZES:
        raise ModelError(
            f"a vocabulary of {vocabulary} is not one of Whisper's ({', '.join(map(str, SIZES))}), of which alone the "
            "tokenizer is known; pass the model's own processor"
        )
    library = read_transformers.library()
    try:
        import whisper
        from whisper.tokenizer import get_tokenizer
    except ImportError as error:
        raise MissingExtraError(
            "the tokenizer of a model that comes without one is made of openai-whisper's; run: pip install "
            "'audiosae-steer[whisper]'"
        ) from error
    from transformers.convert_slow_tokenizer import TikTokenConverter

    multilingual = vocabulary >= 51865
    own = get_tokenizer(multilingual, num_languages=vocabulary - 51765 - int(multilingual))
    file = Path(whisper.__file__).parent / "assets" / own.encoding.name
    special = sorted(own.special_tokens, key=own.special_tokens.__getitem__)
    converter: Any = TikTokenConverter
    made = converter(str(file), pattern=PATTERN, extra_special_tokens=special).converted()
    tokenizer = library.WhisperTokenizerFast(
        tokenizer_object=made, bos_token=END, eos_token=END, unk_token=END, pad_token=END
    )
    return library.WhisperProcessor(library.WhisperFeatureExtractor(feature_size=mels), tokenizer)
