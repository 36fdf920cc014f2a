"""Texts of a clip before and after steering, with what the gates decided; the model is left as it was."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

from ...data.audio import Samples
from ...errors import AudioSAESteerWarning, printable
from ...evaluate.page_parts.text_change import Change, text_change
from ...evaluate.transcription.decoding import Decoding
from ...evaluate.transcription.gate_windows import gate_record
from ...evaluate.transcription.transcribe import Transcript, transcribe_batch
from ...models.registry import unwrap
from ...steering.steering import steer
from .hand_recipe import hand_recipe, layer_of, steering_parts
from .live_model import LiveModel
from .steering_request import SteeringRequest


class HeardText(NamedTuple):
    """Text that the model wrote, with what it and its gates made of the sound."""

    text: str
    windows: tuple[Mapping[str, float], ...]
    """Of each stretch of up to 30 s: start in seconds, no_speech_prob and avg_logprob. Empty where the library does
    not tell."""
    gates: tuple[Mapping[str, Any], ...]
    """Decisions, as `gate_record` writes them, with `recipe`: whose gate."""

    @classmethod
    def of(cls, transcript: Transcript) -> HeardText:
        """Those of a transcript."""
        windows = tuple(
            {"start": w.start, "no_speech_prob": round(w.no_speech_prob, 4), "avg_logprob": round(w.avg_logprob, 4)}
            for w in transcript.windows or ()
        )
        return cls(transcript.text, windows, tuple(gate_record(event) for event in transcript.gates))


class SteeredText(NamedTuple):
    """Texts before and after."""

    before: HeardText
    after: HeardText
    diff: list[Change]
    steering: str
    """Description of the steering."""
    notes: tuple[str, ...]
    """Warnings: edits that changed nothing, recipes of other weights."""


def steered_text(live: LiveModel, samples: Samples, request: SteeringRequest, before: HeardText | None) -> SteeredText:
    """The text of a clip as it is and as it is steered.

    Args:
        live: a model that writes text.
        samples: mono at 16 kHz.
        request: what to do.
        before: the text without steering, if it is known.

    Raises:
        EditError, RecipeError, SiteError, GateError: the request does not fit the model, which is then as it was.
    """
    heard = plain_text(live, samples, request.timestamps) if before is None else before
    with noted() as notes, steered(live, request) as words:
        after = HeardText.of(_transcribed(live, samples, request.timestamps))
    return SteeredText(heard, after, text_change(heard.text, after.text), words, tuple(notes))


def plain_text(live: LiveModel, samples: Samples, timestamps: bool) -> HeardText:
    """The text of a clip without any steering."""
    return HeardText.of(_transcribed(live, samples, timestamps))


@contextmanager
def steered(live: LiveModel, request: SteeringRequest) -> Iterator[str]:
    """The model with the request's recipes, each at its strength, and then its edits; gives that in words.

    Everything is taken away at the end, whatever happens within.
    """
    model = live.model()
    with ExitStack() as stack:
        said = []
        for wish in request.recipes:
            steering = stack.enter_context(steer(model, live.recipe(wish.name), strength=wish.strength))
            said.append(repr(steering))
        if request.edits:
            recipe = hand_recipe(live, request, "preview")
            parts, gates = steering_parts(live, recipe, {key: layer_of(key) for key in recipe.saes})
            steering = stack.enter_context(
                steer(model, parts, gate=gates or None, strength=recipe.strength, allow_empty=recipe.allow_empty)
            )
            said.append(steering.explain())
        yield "\n".join(said)


@contextmanager
def noted() -> Iterator[list[str]]:
    """A list that takes the package's warnings of the block, each once, once it has ended."""
    notes: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", AudioSAESteerWarning)
        yield notes
    found = (printable(str(each.message), 400) for each in caught if issubclass(each.category, AudioSAESteerWarning))
    notes += dict.fromkeys(found)


def _transcribed(live: LiveModel, samples: Samples, timestamps: bool) -> Transcript:
    decoding = Decoding(timestamps=timestamps)
    found: Sequence[Transcript] = transcribe_batch(
        unwrap(live.model()), [samples], decoding, processor=live.processor()
    )
    return found[0]
