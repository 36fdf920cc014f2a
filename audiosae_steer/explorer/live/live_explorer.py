"""The live part of an explorer: requests in, answers to come; the model is loaded with the first that needs it."""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import soundfile
import soxr

from ...data.audio import SAMPLE_RATE, Samples, decode
from ...data.log_mel import log_mel, mel_power
from ...errors import SteeringError
from ...evaluate.page_parts.mel_png import mel_png
from ...models.registry import family_of, unwrap
from ...steering.recipes.load import shipped
from ...steering.recipes.schema import Recipe
from ..index.index_reader import Index
from .hand_recipe import SavedRecipe, hand_recipe, saved
from .heard_features import heard
from .live_answers import heard_answer, sound_answer, text_answer
from .live_model import LiveModel
from .own_clips import MadeSound, OwnClip, SoundStore, read_clip
from .steered_sounds import steered_sound
from .steered_texts import HeardText, plain_text, steered_text
from .steering_request import ClipRef, SteeringRequest, clip_of, judged_of, request_of, session_of
from .work_queue import WorkQueue

Answer = dict[str, Any]
SOUNDING = ("encodec", "wavtokenizer")
"""Families of models that make sound of sound."""
TEXTS_KEPT = 64
"""Texts of unsteered clips."""


class Offered(NamedTuple):
    """A shipped recipe for the index's model."""

    name: str
    description: str
    strength: float
    gates: tuple[str, ...]
    """Kinds of gates of edits that it has."""


class LiveExplorer:
    """Own clips, steering and recipes for one index.

    Args:
        index: the index.
        folders: further folders in which the SAEs' files may be.
        model: what to load in the place of the model that the index names; or a model.
    """

    def __init__(self, index: Index, folders: Sequence[Path] = (), model: Any = None) -> None:
        self.index = index
        self.live = LiveModel(index.meta, index.layers, [index.path.parent, *folders], model)
        self.clips = SoundStore[OwnClip]()
        self.sounds = SoundStore[MadeSound]()
        self.queue = WorkQueue("audiosae-steer explore")
        self._texts: OrderedDict[tuple[str, bool], HeardText] = OrderedDict()

    def close(self) -> None:
        """End the worker thread."""
        self.queue.close()

    @property
    def output(self) -> str:
        """Output that steering changes, as far as the index tells before the model is loaded: text, sound, or ''."""
        family = str(self.index.meta.get("family", ""))
        return "text" if family == "whisper" else "sound" if family in SOUNDING else ""

    def offered(self) -> list[Offered]:
        """Shipped recipes for the index's model, without loading it."""
        return [
            Offered(each.name, each.description, each.strength, _gates(each))
            for each in shipped()
            if each.model.family == self.index.meta.get("family")
            and (each.model.fingerprint == self.index.meta.get("weights") or each.model.name == self.live.name)
        ]

    def add_clip(self, data: bytes, name: str) -> Answer:
        """Keep an uploaded or recorded clip.

        Raises:
            AudioError: it is not audio, or too large.
        """
        clip = read_clip(data, name)
        left_out = clip.whole - clip.seconds
        token = self.clips.add(clip)
        return {"own": token, "name": clip.name, "seconds": round(clip.seconds, 3), "left_out": round(left_out, 1)}

    def own_wav(self, token: str) -> bytes:
        """An own clip as a WAV file, for the browser to play."""
        clip = self.clips.get(token)
        file = io.BytesIO()
        soundfile.write(file, np.clip(clip.samples, -1, 1), clip.rate, format="WAV", subtype="PCM_16")
        return file.getvalue()

    def own_mel(self, token: str) -> bytes:
        """An own clip's log-mel spectrogram, as PNG."""
        clip = self.clips.get(token)
        return mel_png(log_mel(mel_power(_resampled(clip.samples, clip.rate, SAMPLE_RATE))))

    def listen(self, content: Mapping[str, Any]) -> Future[Answer]:
        """Features that fire on a clip, to come. Raises SteeringError at once where the request is none."""
        clip, layer, session = clip_of(content), content.get("layer"), session_of(content)
        if not isinstance(layer, int) or isinstance(layer, bool):
            raise SteeringError("the request names no layer of the index")
        self.live.layer(layer)
        self._check(clip)
        return self.queue.submit(f"listen {session}", partial(self._listen, clip, layer))

    def steer(self, content: Mapping[str, Any]) -> Future[Answer]:
        """A clip before and after, to come. Raises SteeringError or EditError at once where the request is none."""
        request, session = request_of(content), session_of(content)
        self._check(request.clip)
        return self.queue.submit(f"steer {session}", partial(self._steer, request))

    def save(self, content: Mapping[str, Any]) -> Future[SavedRecipe]:
        """A recipe's files, to come. Raises SteeringError or EditError at once where the request is none."""
        request = request_of(content, ClipRef(number=0))
        judged, session = judged_of(content), session_of(content)
        name, description = content.get("name"), content.get("description", "")
        if not isinstance(name, str) or not isinstance(description, str):
            raise SteeringError("a recipe takes a name, and a description in words")

        def work() -> SavedRecipe:
            recipe = hand_recipe(self.live, request, name, description, judged)
            with TemporaryDirectory(prefix="audiosae-steer-") as folder:
                return saved(self.live, recipe, Path(folder))

        return self.queue.submit(f"save {session}", work)

    def _check(self, clip: ClipRef) -> None:
        """SteeringError: there is no such clip, or no sound of it."""
        if clip.own is not None:
            self.clips.get(clip.own)
        elif clip.number is None or self.index.clip(clip.number) is None:
            raise SteeringError(f"the index has no clip {clip.number}")
        elif not self.index.keeps_sound:
            raise SteeringError("this index keeps no sound of its clips: record or upload one")

    def _samples(self, clip: ClipRef, rate: int) -> Samples:
        if clip.own is not None:
            own = self.clips.get(clip.own)
            return _resampled(own.samples, own.rate, rate)
        sound = self.index.sound(clip.number or 0)
        if sound is None:
            raise SteeringError(f"the index keeps no sound of clip {clip.number}")
        return decode(io.BytesIO(sound), clip.key, rate)

    def _rate(self) -> int:
        inner = unwrap(self.live.model())
        return family_of(inner).sample_rate(inner)

    def _listen(self, clip: ClipRef, layer: int) -> Answer:
        return heard_answer(heard(self.live, self.index, layer, self._samples(clip, self._rate())))

    def _steer(self, request: SteeringRequest) -> Answer:
        output = self.live.output
        if not output:
            raise SteeringError(
                f"{self.live.name} writes no text and makes no sound, so that steering has nothing to show here; own "
                "clips show what fires"
            )
        samples = self._samples(request.clip, self._rate())
        if output == "sound":
            made = steered_sound(self.live, samples, self._rate(), request)
            return sound_answer(made, self.sounds.add(made.before), self.sounds.add(made.after))
        return text_answer(steered_text(self.live, samples, request, self._before(request, samples)))

    def _before(self, request: SteeringRequest, samples: Samples) -> HeardText:
        """The text without steering: of a clip once."""
        key = (request.clip.key, request.timestamps)
        if key not in self._texts:
            self._texts[key] = plain_text(self.live, samples, request.timestamps)
            while len(self._texts) > TEXTS_KEPT:
                self._texts.popitem(last=False)
        self._texts.move_to_end(key)
        return self._texts[key]


def _gates(recipe: Recipe) -> tuple[str, ...]:
    return tuple(kind for kind, gate in (("clip", recipe.gate), ("frame", recipe.frame_gate)) if gate is not None)


def _resampled(samples: Samples, rate: int, wanted: int) -> Samples:
    if rate == wanted:
        return samples
    return np.asarray(soxr.resample(samples, rate, wanted, quality="HQ"), np.float32)
