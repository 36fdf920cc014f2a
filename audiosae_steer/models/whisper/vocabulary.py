"""Whisper's special tokens, which follow from the size of the vocabulary, as transformers wants them configured."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...errors import ModelError

SIZES = {51864: "English", 51865: "multilingual", 51866: "multilingual, with Cantonese"}


def generation_config(size: int, context: int, alignment_heads: Iterable[tuple[int, int]]) -> Any:
    """A `GenerationConfig` with every token that `WhisperForConditionalGeneration.generate` reads.

    Args:
        size: of the vocabulary.
        context: tokens that the decoder can hold.
        alignment_heads: (layer, head) of the cross-attention heads that follow time; word timestamps need them.

    Raises:
        ModelError: no released Whisper has a vocabulary of that size.
    """
    import transformers

    if size not in SIZES:
        known = ", ".join(f"{count} ({what})" for count, what in SIZES.items())
        raise ModelError(f"a vocabulary of {size} is not one of Whisper's; expected {known}")
    multilingual = size >= 51865
    # The order is: end, start, languages, translate, transcribe, start-of-lm, start-of-previous, no-speech,
    # no-timestamps. English-only models keep room for the 99 languages, though they write none of them.
    languages = size - 51865 + 99 if multilingual else 99
    end = 50257 if multilingual else 50256
    start = end + 1
    translate = start + languages + 1
    transcribe = translate + 1
    silent = [*_non_speech(multilingual), start, translate, transcribe, transcribe + 1, transcribe + 2]
    settings: dict[str, Any] = {
        "bos_token_id": end,
        "eos_token_id": end,
        "pad_token_id": end,
        "decoder_start_token_id": start,
        "max_length": context,
        "suppress_tokens": sorted({*silent, transcribe + 3}),
        "begin_suppress_tokens": [220, end],
        "no_timestamps_token_id": transcribe + 4,
        "prev_sot_token_id": transcribe + 2,
        "is_multilingual": multilingual,
        "return_timestamps": False,
        "max_initial_timestamp_index": 50,
        "alignment_heads": [list(pair) for pair in alignment_heads],
    }
    if multilingual:
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
