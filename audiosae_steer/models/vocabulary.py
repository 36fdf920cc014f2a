"""Whisper's special tokens, which follow from the size of the vocabulary, as transformers wants them configured."""

from __future__ import annotations

from typing import Any

from ..errors import ModelError
from .weights import Weights

_SIZES = {51864: "English", 51865: "multilingual", 51866: "multilingual, with Cantonese"}


def generation_config(weights: Weights) -> Any:
    """A `GenerationConfig` with every token that `WhisperForConditionalGeneration.generate` reads."""
    import transformers

    size = weights.dims["n_vocab"]
    if size not in _SIZES:
        known = ", ".join(f"{count} ({what})" for count, what in _SIZES.items())
        raise ModelError(f"a vocabulary of {size} is not one of Whisper's; expected {known}")
    end = 50257 if weights.multilingual else 50256
    languages = size - 51865 + 99 if weights.multilingual else 99
    # end, start, languages, translate, transcribe, start-of-lm, start-of-previous, no-speech, no-timestamps
    start = end + 1
    translate = start + languages + (1 if weights.multilingual else 0)
    if not weights.multilingual:
        translate = 50357
    transcribe = translate + 1
    silent = [*_non_speech(weights.multilingual), start, translate, transcribe, transcribe + 1, transcribe + 2]
    settings: dict[str, Any] = {
        "bos_token_id": end,
        "eos_token_id": end,
        "pad_token_id": end,
        "decoder_start_token_id": start,
        "max_length": weights.dims["n_text_ctx"],
        "suppress_tokens": sorted({*silent, transcribe + 3}),
        "begin_suppress_tokens": [220, end],
        "no_timestamps_token_id": transcribe + 4,
        "prev_sot_token_id": transcribe + 2,
        "is_multilingual": weights.multilingual,
        "return_timestamps": False,
        "max_initial_timestamp_index": 50,
    }
    if weights.alignment_heads is not None:
        settings["alignment_heads"] = [list(pair) for pair in weights.alignment_heads]
    if weights.multilingual:
        from transformers.models.whisper.tokenization_whisper import LANGUAGES

        codes = list(LANGUAGES)[:languages]
        settings["lang_to_id"] = {f"<|{code}|>": start + 1 + i for i, code in enumerate(codes)}
        settings["task_to_id"] = {"translate": translate, "transcribe": transcribe}
    else:
        settings["forced_decoder_ids"] = None
    config: Any = transformers.GenerationConfig
    return config(**settings)


def _non_speech(multilingual: bool) -> list[int]:
    from transformers.models.whisper.configuration_whisper import NON_SPEECH_TOKENS, NON_SPEECH_TOKENS_MULTI

    tokens = NON_SPEECH_TOKENS_MULTI if multilingual else NON_SPEECH_TOKENS
    return [token for token in tokens if token < 50257]
