"""Silero VAD before the model, as faster-whisper runs it: the usual remedy against text on silence.

The ONNX model comes with the package `faster-whisper` (extra `bench`); its model of Whisper is not used. Silero VAD:
https://github.com/snakers4/silero-vad.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from ...data.acoustics import mono
from ...data.audio import SAMPLE_RATE, Samples
from ...errors import MissingExtraError
from .decoding import Decoding
from .transcribe import Segment, Transcript, transcribe, transcribe_batch

FRAME = 512
"""Samples of which the VAD gives one probability."""


class Span(NamedTuple):
    """A stretch that the VAD takes for speech."""

    start: float
    """Seconds."""
    end: float
    """Seconds."""


def speech_spans(
    samples: Samples,
    threshold: float = 0.5,
    *,
    min_speech: float = 0.0,
    min_silence: float = 2.0,
    pad: float = 0.4,
) -> list[Span]:
    """Stretches that the VAD takes for speech. The defaults are those of faster-whisper's `vad_filter=True`.

    Args:
        samples: mono, at 16 kHz.
        threshold: a frame of 32 ms is speech if its probability is at least this.
        min_speech: shorter stretches are dropped, in seconds.
        min_silence: what must pass without speech before a stretch ends, in seconds.
        pad: what is added at both ends of a stretch, in seconds.

    Raises:
        AudioError: the samples are no audio.
        MissingExtraError: faster-whisper is not installed.
    """
    chunks = _chunks(_library(), mono(samples), threshold, min_speech, min_silence, pad)
    return [Span(chunk["start"] / SAMPLE_RATE, chunk["end"] / SAMPLE_RATE) for chunk in chunks]


def has_speech(samples: Samples, threshold: float = 0.5) -> bool:
    """True if the VAD would hand anything of this clip to the model; `highest_probability` ≥ threshold says the same.

    Raises:
        AudioError: the samples are no audio.
        MissingExtraError: faster-whisper is not installed.
    """
    return bool(speech_spans(samples, threshold))


def highest_probability(samples: Samples) -> float:
    """The highest speech probability of any frame: what thresholds can be swept over without running the VAD again.

    Raises:
        AudioError: the samples are no audio.
        MissingExtraError: faster-whisper is not installed.
    """
    vad = _library()
    samples = mono(samples)
    # a frame of padding always, as the library has it; the model sets the end of its input to 0, so it gets a copy
    padded = np.pad(samples, (0, FRAME - len(samples) % FRAME))
    frames = -(-len(samples) // FRAME)
    return float(np.asarray(vad.get_vad_model()(padded)).ravel()[:frames].max())


def transcribe_with_vad(
    model: Any,
    samples: Samples,
    *,
    threshold: float = 0.5,
    min_speech: float = 0.0,
    min_silence: float = 2.0,
    pad: float = 0.4,
    decoding: Decoding | None = None,
    **options: Any,
) -> Transcript:
    """The text of what the VAD takes for speech, as `vad_filter=True` does it: the rest is cut out before the model.

    The stretches of speech are joined, transcribed as one recording, and the times put back. If there is no speech,
    the model does not run. The windows are not told (`windows` is None): they are of the joined recording,
    whose clock is another.

    Args:
        model: a Whisper of either library, steered or not.
        samples: mono, at 16 kHz; any length.
        threshold: as the next three, of `speech_spans`.
        min_speech: seconds.
        min_silence: seconds.
        pad: seconds.
        decoding: in the place of `options`.
        **options: of `transcribe`; with `decoding`, the processor alone.

    Raises:
        AudioError: the samples are no audio.
        MissingExtraError: faster-whisper is not installed.
    """
    vad = _library()
    samples = mono(samples)
    chunks = _chunks(vad, samples, threshold, min_speech, min_silence, pad)
    if not chunks:
        return Transcript("", (), options.get("language"))
    joined = np.concatenate(vad.collect_chunks(samples, chunks)[0])
    if decoding is None:
        found = transcribe(model, joined, **options)
    else:
        (found,) = transcribe_batch(model, [joined], decoding, **options)
    clock = vad.SpeechTimestampsMap(chunks, SAMPLE_RATE)
    segments = tuple(
        Segment(clock.get_original_time(s.start), clock.get_original_time(s.end, is_end=True), s.text)
        for s in found.segments
    )
    return Transcript(found.text, segments, found.language)


def _chunks(
    vad: ModuleType,
    samples: Samples,
    threshold: float,
    min_speech: float,
    min_silence: float,
    pad: float,
) -> list[dict[str, int]]:
    options = vad.VadOptions(
        threshold=threshold,
        min_speech_duration_ms=round(min_speech * 1000),
        min_silence_duration_ms=round(min_silence * 1000),
        speech_pad_ms=round(pad * 1000),
    )
    found: list[dict[str, int]] = vad.get_speech_timestamps(samples, options)
    return found


def _library() -> ModuleType:
    try:
        import faster_whisper.vad as vad
    except ImportError as error:
        raise MissingExtraError(
            "the VAD comes with faster-whisper; run: pip install 'audiosae-steer[bench]'"
        ) from error
    found: ModuleType = vad
    return found
