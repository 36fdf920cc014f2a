"""Steer audio models while they run, through the features of a sparse autoencoder.

model = whisper.load_model("tiny.en")
audiosae_steer.steer(model, "no-false-speech")        # model.transcribe() works as before
"""

from __future__ import annotations

import logging as _logging
import sys as _sys
import typing as _typing

from .data.audio import load_audio
from .errors import (
    ActivationError,
    AudioError,
    AudioSAESteerError,
    AudioSAESteerWarning,
    BakedWarning,
    CallbackWarning,
    CheckpointError,
    EditError,
    EditWarning,
    FingerprintWarning,
    GateError,
    HubError,
    LayerWarning,
    MissingExtraError,
    ModelError,
    NeverCalledWarning,
    PickledWarning,
    RecipeError,
    RecipeNotFoundError,
    SiteError,
    StackedWarning,
    SteeringError,
    ThresholdWarning,
    UnknownModelError,
    UnpinnedWarning,
    WorkError,
)
from .models.sites import Site
from .sae.autoencoder import SAE, Gate, Normalisation
from .steering.edits import Ablate, Add, Clamp, Edit, Push, Scale, Set
from .steering.events import Events, GateEvent
from .steering.gates import ClipGate, FrameGate, TimestampGate
from .steering.joint_edits import Toward, Turn
from .steering.recipes import load as _recipes
from .steering.recipes.load import load_recipe, recipes
from .steering.recipes.schema import Recipe
from .steering.site_edits import SiteEdits, SiteGate
from .steering.steering import Steering, steer

if _typing.TYPE_CHECKING:
    from .data.activations.collect import collect
    from .discover.calibration.calibrate import calibrate
    from .discover.learning.learn import learn
    from .discover.pipeline.make import make_no_false_speech
    from .models.load import load_model, load_processor, load_whisper
    from .models.lock import locked
    from .publishing.publish import publish
    from .publishing.search import search
    from .sae.formats.native import save_sae
    from .sae.load import load_sae
    from .steering.latents import edit_audio, steer_latents
    from .steering.listing import SiteInfo, list_sites
    from .steering.shipped_saes import saes

_logging.getLogger(__name__).addHandler(_logging.NullHandler())  # silent, unless an application asks

__version__ = "0.1.0"

__all__ = [
    "SAE",
    "Ablate",
    "ActivationError",
    "Add",
    "AudioError",
    "AudioSAESteerError",
    "AudioSAESteerWarning",
    "BakedWarning",
    "CallbackWarning",
    "CheckpointError",
    "Clamp",
    "ClipGate",
    "Edit",
    "EditError",
    "EditWarning",
    "Events",
    "FingerprintWarning",
    "FrameGate",
    "Gate",
    "GateError",
    "GateEvent",
    "HubError",
    "LayerWarning",
    "MissingExtraError",
    "ModelError",
    "NeverCalledWarning",
    "Normalisation",
    "PickledWarning",
    "Push",
    "Recipe",
    "RecipeError",
    "RecipeNotFoundError",
    "Scale",
    "Set",
    "Site",
    "SiteEdits",
    "SiteError",
    "SiteGate",
    "SiteInfo",
    "StackedWarning",
    "Steering",
    "SteeringError",
    "ThresholdWarning",
    "TimestampGate",
    "Toward",
    "Turn",
    "UnknownModelError",
    "UnpinnedWarning",
    "WorkError",
    "calibrate",
    "collect",
    "edit_audio",
    "learn",
    "list_sites",
    "load_audio",
    "load_model",
    "load_processor",
    "load_recipe",
    "load_sae",
    "load_whisper",
    "locked",
    "make_no_false_speech",
    "publish",
    "recipes",
    "saes",
    "save_sae",
    "search",
    "steer",
    "steer_latents",
]

_LATER = {
    "SiteInfo": ".steering.listing",
    "calibrate": ".discover.calibration.calibrate",
    "collect": ".data.activations.collect",
    "edit_audio": ".steering.latents",
    "learn": ".discover.learning.learn",
    "list_sites": ".steering.listing",
    "load_model": ".models.load",
    "load_processor": ".models.load",
    "load_sae": ".sae.load",
    "load_whisper": ".models.load",
    "locked": ".models.lock",
    "make_no_false_speech": ".discover.pipeline.make",
    "publish": ".publishing.publish",
    "saes": ".steering.shipped_saes",
    "save_sae": ".sae.formats.native",
    "search": ".publishing.search",
    "steer_latents": ".steering.latents",
}
"""Names that are imported when they are asked for, and the module of each."""


# scripts of 0.1.0 import from it; as an attribute, `recipes` is the function
_sys.modules[f"{__name__}.recipes"] = _recipes


def __getattr__(name: str) -> _typing.Any:
    import importlib

    if name == "nnsight":  # audiosae_steer.nnsight.apply(...) needs no import of its own
        return importlib.import_module(".steering.nnsight", __name__)
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LATER[name], __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
