"""Options of transcription that both libraries understand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from ...errors import SteeringError

FALLBACK = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Temperatures that `whisper.transcribe` tries in turn by default."""
NO_SPEECH, LOGPROB = 0.6, -1.0
"""Thresholds of Whisper's own filters, as `whisper.transcribe` has them by default."""
COMPRESSION = 1.35
"""Threshold of transformers' compression ratio, measured on token ids, where it stands for Whisper's 2.4 of text."""


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """Options of transcription that both libraries understand.

    Raises:
        SteeringError: no temperature, no such task, or a beam of less than one.
    """

    language: str | None = None
    """Code; None lets a multilingual model detect it."""
    filters: bool = False
    """Whisper's own filters on."""
    temperatures: tuple[float, ...] = (0.0,)
    """Tried in turn; one, 0, is greedy."""
    timestamps: bool = True
    """True if the model writes them."""
    task: Literal["transcribe", "translate"] = "transcribe"
    """Write what is said, or its translation into English, which multilingual models can."""
    beam_size: int | None = None
    """Beams at temperature 0; None or 1 is greedy."""
    word_timestamps: bool = False
    """Times of each word too, from the cross-attention; they cost about one more pass of the decoder."""
    silence_threshold: float | None = None
    """openai-whisper's `hallucination_silence_threshold`: seconds of silence beside a doubtful segment from which on it
    is left out. It needs the times of words."""

    def __post_init__(self) -> None:
        if not self.temperatures:
            raise SteeringError("temperature is an empty sequence; expected a number, 0 for greedy, or several to try")
        if self.task not in ("transcribe", "translate"):
            raise SteeringError(f"there is no task {self.task!r}; expected transcribe or translate")
        if self.beam_size is not None and self.beam_size < 1:
            raise SteeringError(f"beam_size is {self.beam_size}; expected at least 1, which is greedy")
        if self.silence_threshold is not None and not self.word_timestamps:
            raise SteeringError("silence_threshold looks at the times of words: set word_timestamps as well")


def openai_options(model: Any, decoding: Decoding) -> dict[str, Any]:
    """Arguments of `whisper.transcribe` beside the model and the samples."""
    return {
        "language": decoding.language if model.is_multilingual else "en",
        "temperature": decoding.temperatures,
        "condition_on_previous_text": False,
        "without_timestamps": not decoding.timestamps,
        "task": decoding.task,
        "beam_size": decoding.beam_size if (decoding.beam_size or 1) > 1 else None,
        "word_timestamps": decoding.word_timestamps,
        "hallucination_silence_threshold": decoding.silence_threshold,
        "no_speech_threshold": NO_SPEECH if decoding.filters else None,
        "logprob_threshold": LOGPROB,
        "fp16": model.device.type == "cuda",
        "verbose": None,
    }
