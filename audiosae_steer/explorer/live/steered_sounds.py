"""Sounds that a codec makes of a clip before and after steering, level-matched for blind comparison."""

from __future__ import annotations

import io
from typing import Any, NamedTuple

import numpy as np
import soxr
from numpy.typing import NDArray

from ...data.audio import Samples
from ...errors import EditError, SteeringError
from ...evaluate.listening.ab_page import QUIET
from ...models.registry import family_of, unwrap
from ...steering.latents import edit_audio
from .hand_recipe import hand_recipe, layer_of, steering_parts
from .live_model import LiveModel
from .own_clips import MadeSound
from .steered_texts import noted
from .steering_request import SteeringRequest

LONGEST = 30.0
"""Seconds that go through the codec."""


class Level(NamedTuple):
    """Loudness of a sound, and what matches it to the other's."""

    rms: float
    """dB re full scale."""
    gain: float
    """Factor of at most 1, by which both sounds are of the softer one's RMS."""


class SteeredSound(NamedTuple):
    """A clip through the codec, unsteered and steered."""

    before: MadeSound
    after: MadeSound
    levels: tuple[Level, Level]
    changed: float
    """RMS of the difference, in dB re full scale."""
    steering: str
    notes: tuple[str, ...]


def steered_sound(live: LiveModel, samples: Samples, rate: int, request: SteeringRequest) -> SteeredSound:
    """The sound of a clip through the codec, as it is and with features of its latents edited.

    Args:
        live: an EnCodec or WavTokenizer.
        samples: mono (n,) at any rate.
        rate: theirs, in Hz.
        request: what to do; a codec has no recipes and no gates.

    Raises:
        EditError, SiteError, AudioError: the request does not fit the model, which is then as it was.
    """
    inner: Any = unwrap(live.model())
    family: Any = family_of(inner)
    if request.gate_of is not None or request.recipes:
        raise SteeringError("recipes and gates are of models that write text; a codec takes edits of features")
    if not request.edits:
        raise EditError("there is nothing to steer: add an edit of a feature")
    own = family.sample_rate(inner)
    mono = samples[: round(LONGEST * rate)]
    mono = mono if rate == own else soxr.resample(mono, rate, own, quality="HQ")
    wav = np.tile(np.asarray(mono, np.float32), (family.channels(inner), 1))
    recipe = hand_recipe(live, request, "preview")
    parts, _ = steering_parts(live, recipe, {key: layer_of(key) for key in recipe.saes})
    (part,) = parts
    edits: list[Any] = list(part.edits)
    with noted() as notes:
        before = _through(inner, wav, edits, part, 0.0)
        after = _through(inner, wav, edits, part, request.strength)
    words = "\n".join(f"At {part.site}: {edit.words()}." for edit in edits)
    changed = _decibels(_rms(np.asarray(after - before)))
    return SteeredSound(_wav(before, own), _wav(after, own), levels(before, after), changed, words, tuple(notes))


def levels(before: NDArray[np.float32], after: NDArray[np.float32]) -> tuple[Level, Level]:
    """Levels of two sounds; what is all but silent is left alone."""
    found = _rms(before), _rms(after)
    softest = min((each for each in found if each > QUIET), default=1.0)
    first, second = (Level(_decibels(each), min(softest / each, 1.0) if each > QUIET else 1.0) for each in found)
    return first, second


def _through(model: Any, wav: NDArray[np.float32], edits: Any, part: Any, strength: float) -> NDArray[np.float32]:
    made = edit_audio(model, wav, edits, sae=part.sae, side=part.site.side, strength=strength)
    return np.asarray(made, np.float32)


def _rms(sound: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean(np.square(sound, dtype=np.float64))))


def _decibels(rms: float) -> float:
    return round(20 * float(np.log10(max(rms, QUIET))), 2)


def _wav(sound: NDArray[np.float32], rate: int) -> MadeSound:
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, np.clip(sound.T, -1, 1), rate, format="WAV", subtype="PCM_16")
    return MadeSound(file.getvalue())
