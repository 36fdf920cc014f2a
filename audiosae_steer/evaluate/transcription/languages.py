"""Languages that Whisper writes: refusal of those that it does not know, before they are silently ignored."""

from __future__ import annotations

import difflib
import re
from typing import Any

from ...errors import MissingExtraError, SteeringError, printable

ENGLISH = ("en", "english")


def check_language(language: str | None, library: str = "openai") -> None:
    """Refuse a language that no Whisper knows.

    Args:
        language: a code such as "de", or an English name such as "german", in either case; None is fine.
        library: "openai" or "transformers", whose list is asked.

    Raises:
        SteeringError: it is unknown; names those that are spelt alike.
        MissingExtraError: the library is not installed.
    """
    if language is None:
        return
    names, codes = _tables(library)
    word = language.strip().lower()[:40]
    if language.lower() in codes or language.lower() in names:
        return
    first = re.split("[-_ ]", word)[0]
    near = [first] if first in codes else difflib.get_close_matches(word, [*names, *codes], 3)
    said = [f"{each} ({names[each]})" if each in names else f"{each} ({codes[each]})" for each in near]
    meant = f"; did you mean {' or '.join(said)}?" if near else ""
    raise SteeringError(
        f"language {printable(language, 40)!r} is unknown to Whisper{meant or ';'} expected a code such as en or de, "
        f"or a name such as german, of {len(codes)} languages"
    )


def check_model_language(model: Any, language: str | None) -> None:
    """Refuse a language that this model does not know.

    Args:
        model: a Whisper of either library, unwrapped.
        language: as of `check_language`.

    Raises:
        SteeringError, MissingExtraError: as of `check_language`; or the model knows English alone, or is too early for
            that language.
    """
    if language is None:
        return
    openai = hasattr(model, "dims")
    library = "openai" if openai else "transformers"
    check_language(language, library)
    config = None if openai else model.generation_config
    if not (model.is_multilingual if openai else getattr(config, "is_multilingual", False)):
        if language.lower() not in ENGLISH:
            raise SteeringError(
                f"this Whisper knows English alone, not language {printable(language, 40)!r}; take a multilingual one, "
                "such as base"
            )
        return
    names, codes = _tables(library)
    code = names.get(language.lower(), language.lower())
    known = getattr(config, "lang_to_id", None) or {f"<|{each}|>" for each in codes}
    if f"<|{code}|>" not in known or (openai and list(codes).index(code) >= model.num_languages):
        raise SteeringError(
            f"this Whisper does not know language {language!r}; leave it out to detect the language, or take a model "
            "that does, such as large-v3"
        )


def _tables(library: str) -> tuple[dict[str, str], dict[str, str]]:
    """Codes by name, and names by code in the order of Whisper's tokens."""
    try:
        if library == "openai":
            from whisper.tokenizer import LANGUAGES, TO_LANGUAGE_CODE
        else:
            from transformers.models.whisper.tokenization_whisper import LANGUAGES, TO_LANGUAGE_CODE
    except ImportError as error:
        extra = "whisper" if library == "openai" else "transformers"
        raise MissingExtraError(f"{error}; run: pip install 'audiosae-steer[{extra}]'") from error
    return dict(TO_LANGUAGE_CODE), dict(LANGUAGES)
