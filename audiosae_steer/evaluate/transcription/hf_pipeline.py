"""Transcription of long recordings by transformers' pipeline."""

from __future__ import annotations

from typing import Any

from ...data.audio import SAMPLE_RATE, Samples
from ...errors import MissingExtraError, SteeringError
from ...models.registry import unwrap
from .languages import check_model_language
from .transcribe import Segment, Transcript, is_multilingual


def transcribe_by_pipeline(
    model: Any,
    samples: Samples,
    processor: Any,
    *,
    language: str | None = "en",
    num_beams: int | None = None,
) -> Transcript:
    """The text by transformers' pipeline `automatic-speech-recognition`: chunks of 30 s that overlap, with timestamps.

    num_beams None leaves it to the pipeline, which takes 5 in transformers 5; 1 is greedy, and several times faster.

    Raises:
        SteeringError: the model is not transformers', without its processor, or does not know the language.
        MissingExtraError: transformers is not installed.
    """
    try:
        from transformers import AutomaticSpeechRecognitionPipeline
    except ImportError as error:
        raise MissingExtraError(
            "the pipeline needs transformers; run: pip install 'audiosae-steer[transformers]'"
        ) from error
    inner: Any = unwrap(model)
    if hasattr(inner, "dims") or processor is None:
        raise SteeringError(
            'the pipeline runs transformers models, with their processor: load_whisper(name, library="transformers") '
            "and load_processor(name)"
        )
    check_model_language(inner, language)
    pipe = AutomaticSpeechRecognitionPipeline(
        inner,
        feature_extractor=processor.feature_extractor,
        tokenizer=processor.tokenizer,
        device=next(inner.parameters()).device,
    )
    multilingual = is_multilingual(inner)
    options: dict[str, Any] = {"language": language} if multilingual and language else {}
    if num_beams is not None:
        options["num_beams"] = num_beams
    output: Any = pipe(
        {"raw": samples, "sampling_rate": SAMPLE_RATE},
        chunk_length_s=30,
        return_timestamps=True,
        generate_kwargs=options,
        ignore_warning=True,
    )
    seconds = len(samples) / SAMPLE_RATE
    segments = []
    for chunk in output["chunks"]:
        start, end = chunk["timestamp"]
        start = seconds if start is None else float(start)
        segments.append(Segment(start, max(start, seconds if end is None else float(end)), chunk["text"]))
    return Transcript.of(segments, language if multilingual else "en", text=output["text"])
