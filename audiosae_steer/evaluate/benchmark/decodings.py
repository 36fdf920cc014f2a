"""Ways in which users decode: both libraries' Whisper and faster-whisper, each with beams or without."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ...data.audio import SAMPLE_RATE, Samples
from ...errors import SteeringError
from ...models.registry import unwrap
from ...steering.recipes.schema import Recipe
from ...steering.steering import steer
from ..transcription.transcribe import is_multilingual

STORED = {"int8": "int8", "float16": "float32"}
"""Storage types of baked weights, and the type that a CPU computes in."""

Engine = Literal["openai", "pipeline", "faster-whisper"]
Write = Callable[[Samples], str]
"""Gives the text of mono samples at 16 kHz."""
HF = Callable[[], tuple[Any, Any]]
"""Gives a model by transformers, and its processor."""
Baking = Callable[[Recipe | None, str], Path]
"""Gives a folder for faster-whisper with a recipe baked in, or none, in a storage type."""


class Decoding(NamedTuple):
    """One way to decode."""

    engine: Engine
    """`openai` for openai-whisper's `transcribe`, `pipeline` for transformers', or `faster-whisper`."""
    beams: int | None = None
    """Number of beams; None leaves it to the library."""
    stored: str = ""
    """Storage type of faster-whisper's weights, of `STORED`."""

    @property
    def label(self) -> str:
        """Name for tables and caches."""
        how = "greedy" if self.beams == 1 else f"{self.beams} beams"
        if self.engine == "openai":
            return f"openai-whisper, {how}"
        if self.engine == "pipeline":
            return f"transformers' pipeline, {'as it comes' if self.beams is None else how}"
        return f"faster-whisper, {STORED[self.stored]}, {'as it comes' if self.beams is None else how}"


@dataclass(frozen=True, kw_only=True)
class Engines:
    """One Whisper in the libraries that are to decode it."""

    openai: Any
    """The openai-whisper model, unsteered."""
    transformers: HF | None = None
    """Gives the same model by transformers, and its processor; None leaves the pipeline out."""
    ctranslate2: Baking | None = None
    """Gives a folder for faster-whisper with a recipe baked in, or none, in a storage type; None leaves it out."""
    language: str | None = "en"
    """Language code for multilingual models; None lets them detect it."""

    @cached_property
    def loaded(self) -> tuple[Any, Any]:
        """The model by transformers and its processor, loaded once.

        Raises:
            SteeringError: it is left out.
        """
        if self.transformers is None:
            raise SteeringError("the pipeline needs the model by transformers; give `transformers`")
        return self.transformers()


def decodings(engines: Engines, beams: Sequence[int]) -> list[Decoding]:
    """The ways to decode with these numbers of beams, and the libraries as they come.

    Raises:
        SteeringError: a number of beams is below 1, or there is none.
    """
    if not beams or min(beams) < 1:
        raise SteeringError(f"numbers of beams are 1, which is greedy, or more; got {list(beams)}")
    chosen = list(dict.fromkeys(beams))
    found = [Decoding("openai", number) for number in chosen]
    if engines.transformers is not None:
        usual = pipeline_beams()
        found += [Decoding("pipeline", number) for number in chosen if number != usual] + [Decoding("pipeline")]
    if engines.ctranslate2 is not None and find_spec("faster_whisper") is not None:
        found += [Decoding("faster-whisper", stored=stored) for stored in STORED]
    return found


def pipeline_beams() -> int:
    """Number of beams of transformers' speech pipeline as it comes: 5 in transformers 5."""
    from transformers import AutomaticSpeechRecognitionPipeline

    # transformers 4 leaves it to the model's own settings, which are greedy
    own = getattr(AutomaticSpeechRecognitionPipeline, "_default_generation_config", None)
    return int(getattr(own, "num_beams", None) or 1)


@contextmanager
def writer(engines: Engines, decoding: Decoding, recipe: Recipe | None, limit: int | None = None) -> Iterator[Write]:
    """A function that writes texts in this way, steered for the length of the block; Whisper's own filters are off.

    Args:
        engines: the model in each library.
        decoding: the way.
        recipe: steers, or is baked in; None is the model itself.
        limit: most tokens to write; None leaves it to the library.

    Raises:
        SteeringError: the engine is left out, or the recipe cannot be baked.
        RecipeError: the recipe does not fit the model.
    """
    if decoding.engine == "faster-whisper":
        if engines.ctranslate2 is None:
            raise SteeringError("faster-whisper needs a folder of weights; give `ctranslate2`")
        yield _by_faster_whisper(engines.ctranslate2(recipe, decoding.stored), decoding, engines.language, limit)
        return
    if decoding.engine == "openai":
        model, processor = engines.openai, None
    else:
        model, processor = engines.loaded
    with nullcontext() if recipe is None else steer(model, recipe):
        if processor is None:
            yield _by_openai(model, decoding, engines.language, limit)
        else:
            yield _by_pipeline(model, processor, decoding, engines.language, limit)


def _by_openai(model: Any, decoding: Decoding, language: str | None, limit: int | None) -> Write:
    import whisper

    inner: Any = unwrap(model)
    options: dict[str, Any] = {} if decoding.beams in (None, 1) else {"beam_size": decoding.beams}
    if limit is not None:
        options["sample_len"] = limit

    def write(samples: Samples) -> str:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "FP16 is not supported")
            found = whisper.transcribe(
                inner, samples, language=language if inner.is_multilingual else "en", temperature=0.0,
                condition_on_previous_text=False, no_speech_threshold=None, logprob_threshold=None,
                fp16=next(inner.parameters()).is_cuda, verbose=None, **options,
            )  # fmt: skip
        return str(found["text"]).strip()

    return write


def _by_pipeline(model: Any, processor: Any, decoding: Decoding, language: str | None, limit: int | None) -> Write:
    from transformers import AutomaticSpeechRecognitionPipeline

    inner: Any = unwrap(model)
    pipe: Any = AutomaticSpeechRecognitionPipeline(
        inner, feature_extractor=processor.feature_extractor, tokenizer=processor.tokenizer,
        device=next(inner.parameters()).device,
    )  # fmt: skip
    options: dict[str, Any] = {"language": language} if is_multilingual(inner) and language else {}
    if decoding.beams is not None:
        options["num_beams"] = decoding.beams
    if limit is not None:
        options["max_new_tokens"] = limit

    def write(samples: Samples) -> str:
        more = {"generate_kwargs": options} if options else {}
        return str(pipe({"raw": samples, "sampling_rate": SAMPLE_RATE}, **more)["text"]).strip()

    return write


def _by_faster_whisper(folder: Path, decoding: Decoding, language: str | None, limit: int | None) -> Write:
    import faster_whisper
    import torch

    model = faster_whisper.WhisperModel(
        str(folder), device="cpu", compute_type=STORED[decoding.stored], cpu_threads=torch.get_num_threads()
    )
    options: dict[str, Any] = {"max_new_tokens": limit}
    if decoding.beams is not None:
        options["beam_size"] = decoding.beams

    def write(samples: Samples) -> str:
        segments, _ = model.transcribe(
            samples, language=language, temperature=0.0, condition_on_previous_text=False, no_speech_threshold=None,
            log_prob_threshold=None, compression_ratio_threshold=None, **options,
        )  # fmt: skip
        return "".join(segment.text for segment in segments).strip()

    return write
