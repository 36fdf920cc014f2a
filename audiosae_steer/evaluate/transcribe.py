"""Transcribe with either library's Whisper, from samples or a file of any length, without ffmpeg."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import AudioError, SteeringError
from ..models import load_audio
from ..models.audio import SAMPLE_RATE
from ..sites import unwrap

FALLBACK = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


class Segment(NamedTuple):
    """One stretch of text."""

    start: float
    """Seconds."""
    end: float
    """Seconds."""
    text: str
    """As written, without the spaces round it."""
    window: float
    """Seconds at which the 30-s window began that the model heard."""
    no_speech_prob: float | None = None
    """Whisper's own estimate that its window holds no speech; None where the library does not tell."""
    avg_logprob: float | None = None
    """Mean log-probability of its window's tokens; None where the library does not tell."""


class Transcript(NamedTuple):
    """What was written for one recording."""

    text: str
    """All of it; empty if there is nothing but white space."""
    segments: tuple[Segment, ...]
    """Piece by piece."""
    language: str | None = None
    """Language code, where it is known."""

    def filtered(self, no_speech: float = 0.6, logprob: float = -1.0) -> Transcript:
        """What is left under Whisper's own filters, of a transcript of up to 30 s made without them.

        openai-whisper drops a window whose no_speech_prob is above, and whose avg_logprob is below, a threshold, and
        goes on 30 s later; so nothing after such a window is heard.
        """
        kept: list[Segment] = []
        for segment in self.segments:
            unsure = segment.no_speech_prob is not None and segment.no_speech_prob > no_speech
            if unsure and segment.avg_logprob is not None and segment.avg_logprob <= logprob:
                break
            kept.append(segment)
        return self._replace(text=" ".join(s.text for s in kept).strip(), segments=tuple(kept))


def transcribe(
    model: Any,
    audio: str | Path | NDArray[np.float32],
    *,
    processor: Any = None,
    language: str | None = None,
    filters: bool = False,
    temperature: float | Sequence[float] = 0.0,
    timestamps: bool = True,
) -> Transcript:
    """The text of a recording.

    Args:
        model: a Whisper of either library, steered or not.
        audio: a file, or mono float32 samples at 16 kHz; any length.
        processor: transformers' `WhisperProcessor`; needed for its models.
        language: code such as "en"; None lets a multilingual model detect it.
        filters: Whisper's own: drop a window when no_speech_prob > 0.6 and avg_logprob < −1.
        temperature: 0 is greedy; a sequence is tried in turn where a result looks poor, as `whisper.transcribe` does.
        timestamps: as `whisper.transcribe` does by default; without them Whisper's decoding forbids an empty text
            unless a steering allows it.

    Raises:
        AudioError: the file is no audio, or the samples are none.
        SteeringError: a transformers model without its processor.
    """
    samples = load_audio(audio) if isinstance(audio, (str, Path)) else np.asarray(audio, dtype=np.float32)
    if samples.ndim != 1 or not samples.size:
        raise AudioError(f"expected mono samples of some length, got an array of shape {samples.shape}")
    if not np.isfinite(samples).all():
        raise AudioError("the samples hold NaN or infinite numbers")
    inner: Any = unwrap(model)
    if hasattr(inner, "dims"):
        return _openai(inner, samples, language, filters, temperature, timestamps)
    if processor is None:
        raise SteeringError("a transformers model needs its processor: pass processor=load_processor(...)")
    return _transformers(inner, processor, samples, language, filters, temperature, timestamps)


def _openai(
    model: Any,
    samples: NDArray[np.float32],
    language: str | None,
    filters: bool,
    temperature: float | Sequence[float],
    timestamps: bool,
) -> Transcript:
    import whisper

    thresholds = {} if filters else {"no_speech_threshold": None, "logprob_threshold": None}
    if not filters and isinstance(temperature, float):
        thresholds["compression_ratio_threshold"] = None
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "FP16 is not supported")
        result = whisper.transcribe(
            model,
            samples,
            language=language if model.is_multilingual else "en",
            temperature=temperature if isinstance(temperature, float) else tuple(temperature),
            condition_on_previous_text=False,
            without_timestamps=not timestamps,
            fp16=next(model.parameters()).is_cuda,
            verbose=None,
            **thresholds,
        )
    segments = tuple(
        Segment(s["start"], s["end"], s["text"].strip(), s["seek"] / 100, s["no_speech_prob"], s["avg_logprob"])
        for s in result["segments"]
        if s["text"].strip()
    )
    return Transcript(result["text"].strip(), segments, result["language"])


def _transformers(
    model: Any,
    processor: Any,
    samples: NDArray[np.float32],
    language: str | None,
    filters: bool,
    temperature: float | Sequence[float],
    timestamps: bool,
) -> Transcript:
    long = len(samples) > 30 * SAMPLE_RATE
    options: dict[str, Any] = {"return_timestamps": timestamps or long}
    if long:
        inputs = processor(
            samples,
            sampling_rate=SAMPLE_RATE,
            return_tensors="pt",
            truncation=False,
            padding="longest",
            return_attention_mask=True,
        )
        options |= {"condition_on_prev_tokens": False}
        options["temperature"] = temperature if isinstance(temperature, float) else tuple(temperature)
        if filters:
            options |= {"no_speech_threshold": 0.6, "logprob_threshold": -1.0}
    else:
        inputs = processor(samples, sampling_rate=SAMPLE_RATE, return_tensors="pt", return_attention_mask=True)
    if model.generation_config.is_multilingual and language is not None:
        options["language"] = language
    weight = next(model.parameters())
    inputs = {k: v.to(weight.device, weight.dtype if v.is_floating_point() else None) for k, v in inputs.items()}
    with torch.no_grad():
        output = model.generate(**inputs, **options, return_segments=True)
    tokenizer = processor.tokenizer
    segments = []
    for part in output["segments"][0]:
        text = tokenizer.decode(part["tokens"], skip_special_tokens=True).strip()
        if text:
            start, end = float(part["start"]), float(part["end"])
            segments.append(Segment(start, end, text, 30 * (start // 30)))
    return Transcript(" ".join(s.text for s in segments), tuple(segments), language)
