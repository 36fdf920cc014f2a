"""Transcription by either library's Whisper, of samples or a file of any length, without ffmpeg."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ...data.audio import SAMPLE_RATE, WINDOW, Samples, load_audio
from ...errors import AudioError, SteeringError
from ...models.registry import unwrap
from ...steering.events import Events, GateEvent, collecting
from .decoding import COMPRESSION, LOGPROB, NO_SPEECH, Decoding, openai_options
from .evidence import speech_shares
from .gate_windows import gates_of
from .languages import check_model_language
from .words import Word, segment_start, segment_start_of_transformers, words_of_openai, words_of_transformers

WINDOW_SECONDS = WINDOW / SAMPLE_RATE

Progress = Callable[[float, float], None]


class DecodedWindow(NamedTuple):
    """One stretch of up to 30 s that the model encoded at once, whether it wrote anything for it or not."""

    start: float
    """Seconds."""
    no_speech_prob: float
    """Whisper's own estimate that the window holds no speech."""
    avg_logprob: float
    """Mean log-probability of the tokens written for it."""


class Segment(NamedTuple):
    """One stretch of text."""

    start: float
    """Seconds."""
    end: float
    """Seconds."""
    text: str
    """As written; it begins with a space as a rule, so that texts can simply be joined."""
    window: float | None = None
    """Seconds at which the window began that it comes from; None where the library does not tell."""
    words: tuple[Word, ...] | None = None
    """Its words with their times, if they were asked for."""
    speech: float | None = None
    """Share of its time in which the model's gates heard speech, 0 to 1; None where no gate tells."""


class Transcript(NamedTuple):
    """The text of one recording."""

    text: str
    """All of it, without the spaces round it; empty if there is nothing else."""
    segments: tuple[Segment, ...]
    """Piece by piece; pieces of white space are left out."""
    language: str | None = None
    """Language code, where it is known."""
    windows: tuple[DecodedWindow, ...] | None = None
    """The stretches that were encoded at once; None where the library does not tell (transformers)."""
    gates: tuple[GateEvent, ...] = ()
    """Decisions of the model's gates, one for each window; the last window ends where the recording does."""
    dropped: tuple[Word | Segment, ...] = ()
    """Words or segments that were left out, since the gates heard no speech in them."""

    @classmethod
    def of(
        cls,
        segments: Sequence[Segment],
        language: str | None,
        windows: tuple[DecodedWindow, ...] | None = None,
        text: str | None = None,
    ) -> Transcript:
        """A transcript without its segments of white space; `text` is that of the segments unless given."""
        kept = tuple(segment for segment in segments if segment.text.strip())
        joined = "".join(segment.text for segment in kept) if text is None else text
        return cls(joined.strip(), kept, language, windows)

    def with_gates(self, gates: tuple[GateEvent, ...]) -> Transcript:
        """The same with these decisions, and with what they tell of speech in its words and segments."""
        parts: list[Segment | Word] = []
        for segment in self.segments:
            parts += [segment, *(segment.words or ())]
        shares = iter(speech_shares(gates, [(part.start, part.end) for part in parts]))
        segments = []
        for segment in self.segments:
            own = next(shares)
            words = None if segment.words is None else tuple(w._replace(speech=next(shares)) for w in segment.words)
            segments.append(segment._replace(speech=own, words=words))
        return self._replace(segments=tuple(segments), gates=gates)

    def filtered(self, no_speech: float = NO_SPEECH, logprob: float = LOGPROB) -> Transcript:
        """The rest that Whisper's own filters leave of a transcript made without them.

        openai-whisper drops a window if its no_speech_prob is above, and its avg_logprob not above, these thresholds,
        and resumes 30 s later. For recordings of up to 30 s the result is that of transcribing with `filters=True`;
        for longer ones the windows that follow might have begun elsewhere.

        Raises:
            SteeringError: the library did not tell what the filters look at.
        """
        if self.windows is None:
            raise SteeringError("this transcript has no windows to filter; transcribe again with filters=True")
        dropped = [w.start for w in self.windows if w.no_speech_prob > no_speech and w.avg_logprob <= logprob]
        if not dropped:
            return self
        kept = [s for s in self.segments if not any(d <= (s.window or 0.0) < d + WINDOW_SECONDS for d in dropped)]
        windows = tuple(w for w in self.windows if not any(d <= w.start < d + WINDOW_SECONDS for d in dropped))
        return Transcript.of(kept, self.language, windows)._replace(gates=self.gates, dropped=self.dropped)


def transcribe(
    model: Any,
    audio: str | Path | NDArray[np.float32],
    *,
    processor: Any = None,
    language: str | None = None,
    filters: bool = False,
    temperature: float | Sequence[float] = 0.0,
    timestamps: bool = True,
    progress: Progress | None = None,
) -> Transcript:
    """The text of a recording. Every 30-s window is transcribed on its own, without the text before it as a prompt.

    Args:
        model: a Whisper of either library, steered or not.
        audio: a file, or mono float32 samples at 16 kHz; any length.
        processor: transformers' `WhisperProcessor`; needed for its models.
        language: code such as "en"; None lets a multilingual model detect it.
        filters: Whisper's own: drop a window if no_speech_prob > 0.6 and avg_logprob < −1.
        temperature: 0 is greedy; of a sequence, such as `FALLBACK`, each is tried in turn while a window's text looks
            poor or repeats itself, as `whisper.transcribe` does by default.
        timestamps: as `whisper.transcribe` does by default; without them Whisper's decoding forbids an empty text
            unless a steering allows it.
        progress: called with the seconds encoded, about, and the seconds there are.

    Raises:
        AudioError: the file is not audio, or the samples are not finite mono samples.
        SteeringError: a transformers model without its processor, no temperature, or a language that it does not know.
    """
    temperatures = tuple(map(float, temperature)) if isinstance(temperature, Sequence) else (float(temperature),)
    decoding = Decoding(language=language, filters=filters, temperatures=temperatures, timestamps=timestamps)
    return transcribe_batch(model, [audio], decoding, processor=processor, progress=progress)[0]


def transcribe_batch(
    model: Any,
    recordings: Sequence[str | Path | NDArray[np.float32]],
    decoding: Decoding,
    *,
    processor: Any = None,
    progress: Progress | None = None,
) -> list[Transcript]:
    """The texts of several recordings, as `transcribe` gives that of each.

    transformers' models decode them at once, those of up to 30 s together and longer ones together; openai-whisper,
    which decodes one window at a time, one after another.

    Args:
        model: a Whisper of either library, steered or not.
        recordings: files, or mono float32 samples at 16 kHz; any length.
        decoding: how.
        processor: transformers' `WhisperProcessor`; needed for its models.
        progress: called with the seconds encoded, about, and the seconds there are.

    Raises:
        AudioError: a file is not audio, or samples are not finite mono samples.
        SteeringError: a transformers model without its processor, or a task, language or word times that it cannot do.
    """
    given = [_samples(audio) for audio in recordings]
    inner: Any = unwrap(model)
    openai = hasattr(inner, "dims")
    if not openai and processor is None:
        raise SteeringError("a transformers model needs its processor: pass processor=load_processor(...)")
    check_decoding(inner, decoding)
    found: dict[int, Transcript] = {}
    for group in [[n] for n in range(len(given))] if openai else _alike(given):
        seconds = [len(given[n]) / SAMPLE_RATE for n in group]
        with _watched(inner, seconds, progress), collecting(Events()) as events:
            if openai:
                texts = [_openai(inner, given[n], decoding) for n in group]
            else:
                texts = _transformers(inner, processor, [given[n] for n in group], decoding)
        for row, n in enumerate(group):
            found[n] = texts[row].with_gates(gates_of(events, seconds[row], row))
    return [found[n] for n in range(len(given))]


def check_decoding(model: Any, decoding: Decoding) -> None:
    """Refuse a task or language that a model, of either library and unwrapped, does not know.

    Raises:
        SteeringError: as it says.
    """
    if decoding.task == "translate" and not (
        model.is_multilingual if hasattr(model, "dims") else is_multilingual(model)
    ):
        raise SteeringError(
            "this Whisper knows English alone and cannot translate; take a multilingual one, such as base"
        )
    check_model_language(model, decoding.language)


def _alike(given: Sequence[Samples]) -> list[list[int]]:
    """Numbers of the recordings that fit in one window, and of the others, which transformers pads differently."""
    groups = ([n for n, x in enumerate(given) if (len(x) > WINDOW) == long] for long in (False, True))
    return [group for group in groups if group]


def is_multilingual(model: Any) -> bool:
    """True for a transformers Whisper that knows several languages."""
    return bool(getattr(model.generation_config, "is_multilingual", False))


def _samples(audio: str | Path | NDArray[np.float32]) -> Samples:
    """Mono float32 samples of a file, or those given, checked."""
    given = load_audio(audio) if isinstance(audio, (str, Path)) else np.asarray(audio)
    if not np.issubdtype(given.dtype, np.floating):
        raise AudioError(
            f"expected samples as floating-point numbers from −1 to 1, not {given.dtype}; divide int16 samples by 32768"
        )
    samples = given.astype(np.float32, copy=False)
    if samples.ndim != 1 or not samples.size:
        raise AudioError(f"expected mono samples (n,), n > 0, at 16 kHz; got an array of shape {samples.shape}")
    if not np.isfinite(samples).all():
        raise AudioError("the samples hold NaN or infinite numbers; check how they were made")
    return samples


@contextmanager
def _watched(model: Any, lengths: Sequence[float], progress: Progress | None) -> Iterator[None]:
    """Tell how far it is by counting passes of the encoder; a window advances by 30 s or somewhat less.

    Of several recordings at once the longest tells.
    """
    if progress is None:
        yield
        return
    encoded, seconds = 0.0, max(lengths)

    def count(*_: Any) -> None:
        nonlocal encoded
        progress(min(encoded, seconds), seconds)
        encoded += WINDOW_SECONDS

    encoder = model.encoder if hasattr(model, "dims") else model.get_encoder()
    handle = encoder.register_forward_hook(count)
    try:
        yield
    finally:
        handle.remove()
    progress(seconds, seconds)


def _openai(model: Any, samples: Samples, decoding: Decoding) -> Transcript:
    import whisper

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "FP16 is not supported")
        result = whisper.transcribe(model, samples, **openai_options(model, decoding))
    return openai_transcript(model, result)


def openai_transcript(model: Any, result: dict[str, Any]) -> Transcript:
    """Transcript of the result of `whisper.transcribe`."""
    found = result["segments"]
    windows = {s["seek"]: DecodedWindow(s["seek"] / 100, s["no_speech_prob"], s["avg_logprob"]) for s in found}
    segments = [openai_segment(model, s) for s in found]
    return Transcript.of(segments, result["language"], tuple(windows.values()))


def openai_segment(model: Any, found: dict[str, Any]) -> Segment:
    """One segment of `whisper.transcribe`, with its words if it has them."""
    start = segment_start(found, model.dims.n_vocab)
    return Segment(start, found["end"], found["text"], found["seek"] / 100, words_of_openai(found))


def _transformers(model: Any, processor: Any, given: Sequence[Samples], decoding: Decoding) -> list[Transcript]:
    """Texts of recordings that are all of up to 30 s, or all longer."""
    long = len(given[0]) > WINDOW
    padding = {"truncation": False, "padding": "longest"} if long else {}
    inputs = processor(
        list(given), sampling_rate=SAMPLE_RATE, return_tensors="pt", return_attention_mask=True, **padding
    )
    weight = next(model.parameters())
    inputs = {k: v.to(weight.device, weight.dtype if v.is_floating_point() else None) for k, v in inputs.items()}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "__array_wrap__", DeprecationWarning)  # transformers', of token times
        output = model.generate(**inputs, **_generation(model, decoding, long), return_segments=True)
    multilingual = is_multilingual(model)
    return [
        Transcript.of(
            [_segment(s, processor.tokenizer, decoding.language) for s in row],
            decoding.language if multilingual else "en",
        )
        for row in output["segments"]
    ]


def _generation(model: Any, decoding: Decoding, long: bool) -> dict[str, Any]:
    """Arguments of transformers' `generate`."""
    options: dict[str, Any] = {
        "return_timestamps": decoding.timestamps or long or decoding.word_timestamps,
        "temperature": decoding.temperatures,
    }
    if long:
        options["condition_on_prev_tokens"] = False
    if decoding.filters:
        options |= {"no_speech_threshold": NO_SPEECH, "logprob_threshold": LOGPROB}
    if len(decoding.temperatures) > 1:
        options |= {"compression_ratio_threshold": COMPRESSION, "logprob_threshold": LOGPROB}
    if is_multilingual(model):
        options |= {"task": decoding.task} | ({"language": decoding.language} if decoding.language else {})
    if (decoding.beam_size or 1) > 1:
        options["num_beams"] = decoding.beam_size
    if decoding.word_timestamps:
        if not getattr(model.generation_config, "alignment_heads", None):
            raise SteeringError(
                "the times of words need generation_config.alignment_heads, which this model lacks; "
                'load it with library="openai" (--library openai)'
            )
        options["return_token_timestamps"] = True
    return options


def _segment(found: dict[str, Any], tokenizer: Any, language: str | None) -> Segment:
    """A segment of transformers' `generate`, with its words if it has the times of its tokens."""
    text = tokenizer.decode(found["tokens"], skip_special_tokens=True)
    span, words = (segment_start_of_transformers(found, tokenizer), float(found["end"])), None
    if "token_timestamps" in found:
        times = found["token_timestamps"].tolist()
        words = words_of_transformers(found["tokens"].tolist(), times, tokenizer, language, span)
    return Segment(*span, text, words=words)
