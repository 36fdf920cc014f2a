"""Languages that no Whisper, or not this one, writes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from audiosae_steer import SteeringError
from audiosae_steer.evaluate.transcription.languages import check_language, check_model_language
from audiosae_steer.evaluate.transcription.transcribe import transcribe

BASE = SimpleNamespace(dims=None, is_multilingual=True, num_languages=99)
LARGE = SimpleNamespace(dims=None, is_multilingual=True, num_languages=100)
CODES = {f"<|{code}|>": n for n, code in enumerate(("en", "de"))}
HF = SimpleNamespace(generation_config=SimpleNamespace(is_multilingual=True, lang_to_id=CODES))


@pytest.mark.parametrize("library", ["openai", "transformers"])
def test_codes_and_names_are_known_and_slips_are_told(library: str) -> None:
    for language in (None, "de", "DE", "german", "German", "castilian", "yue"):
        check_language(language, library)
    for slip, meant in (("germn", "german (de)"), ("de_AT", "de (german)"), ("frensh", "french (fr)")):
        with pytest.raises(SteeringError) as raised:
            check_language(slip, library)
        assert f"unknown to Whisper; did you mean {meant}" in str(raised.value)
    for wrong in ("", "xx", " de"):
        with pytest.raises(SteeringError, match="is unknown to Whisper"):
            check_language(wrong, library)


def test_languages_that_came_later() -> None:
    for model, language in ((BASE, "de"), (BASE, "Haitian"), (LARGE, "yue"), (LARGE, "cantonese"), (HF, "German")):
        check_model_language(model, language)
    for model, language in ((BASE, "yue"), (BASE, "cantonese"), (HF, "fr")):
        with pytest.raises(SteeringError, match=f"this Whisper does not know language '{language}'"):
            check_model_language(model, language)


def test_an_english_model_refuses_others_in_python_too(tiny_en: Any) -> None:
    silence = np.zeros(16_000, np.float32)
    with pytest.raises(SteeringError, match="knows English alone, not language 'de'"):
        transcribe(tiny_en, silence, language="de")
    for language in ("en", "English", None):
        check_model_language(tiny_en, language)
