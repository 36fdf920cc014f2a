"""Every exception and warning of this package, in one tree.

    AudioSAESteerError
    ├── CheckpointError        an SAE file is truncated, forged, of an unknown layout, or lacks what running it needs
    ├── ActivationError        tensors given to an SAE do not fit it: another width, no frames, NaN
    ├── HubError               the Hub, its cache or the network did not give what was asked for
    ├── ModelError             a model could not be loaded
    │   └── UnknownModelError  nothing here knows how to load or to steer that model
    ├── AudioError             an audio file is empty, unreadable or not audio
    ├── EditError              an edit names a feature, value, vector or window that cannot be
    ├── GateError              a clip gate does not fit its SAE or its site, or has not run for this batch
    ├── SiteError              a site does not exist in this model, or an SAE does not fit it
    ├── RecipeError            a recipe is malformed, or does not fit the model
    │   └── RecipeNotFoundError
    ├── SteeringError          a steering is used in a way it cannot work
    ├── WorkError              work on a corpus cannot be planned, resumed, written or finished
    └── MissingExtraError      an optional package is not installed

    AudioSAESteerWarning (UserWarning)
    ├── BakedWarning           the recipe is in the model's weights already
    ├── CallbackWarning        a function that was to hear of gate events raised an exception
    ├── EditWarning            an edit asks for what cannot be, or its features never fired
    ├── FingerprintWarning     the model's weights are not those the recipe was made for
    ├── LayerWarning           an SAE is used at another layer than the one it says it is of
    ├── NeverCalledWarning     a steering was left without its site ever having run
    ├── PickledWarning         a steered model was pickled, and its steering left behind
    ├── StackedWarning         the model is steered by the same edits already
    ├── ThresholdWarning       a stored threshold was unset, and the true selection is run instead
    └── UnpinnedWarning        a recipe takes an SAE from a repository on the Hub that may change

Each message says what is wrong, what was expected and what to do next.
"""

from __future__ import annotations

import unicodedata


class AudioSAESteerError(Exception):
    """Base of every exception that this package raises on purpose.

    Messages quote untrusted text: as `str` they are cut short, and hold nothing that a terminal would act on.
    """

    def __str__(self) -> str:
        return printable(super().__str__())


class CheckpointError(AudioSAESteerError):
    """An SAE file cannot be used."""


class ActivationError(AudioSAESteerError, ValueError):
    """Tensors given to an SAE do not fit it: another width, no frames, NaN, or no residual for its norms."""


class HubError(AudioSAESteerError):
    """The Hub, its cache or the network did not give what was asked for."""


class ModelError(AudioSAESteerError):
    """A model could not be loaded."""


class UnknownModelError(ModelError):
    """Nothing here knows how to load, or to steer, that model."""


class AudioError(AudioSAESteerError):
    """An audio file is empty, unreadable or not audio."""


class EditError(AudioSAESteerError, ValueError):
    """An edit names a feature, value, vector or window that cannot be."""


class GateError(AudioSAESteerError):
    """A clip gate does not fit its SAE or its site, or has not run for this batch."""


class SiteError(AudioSAESteerError, ValueError):
    """A site does not exist in this model, or an SAE does not fit it."""


class RecipeError(AudioSAESteerError):
    """A recipe is malformed, or does not fit the model."""


class RecipeNotFoundError(RecipeError):
    """No recipe of that name fits this model."""


class SteeringError(AudioSAESteerError):
    """A steering is used in a way it cannot work."""


class WorkError(AudioSAESteerError):
    """Work on a corpus cannot be planned, resumed, written or finished."""


class MissingExtraError(AudioSAESteerError, ImportError):
    """An optional package is not installed; the message names the command that installs it."""


class AudioSAESteerWarning(UserWarning):
    """Base of every warning of this package; as text like the errors."""

    def __str__(self) -> str:
        return printable(super().__str__())


class BakedWarning(AudioSAESteerWarning):
    """The recipe is in the model's weights already, and would be applied twice."""


class CallbackWarning(AudioSAESteerWarning):
    """A function that was to hear of gate events raised an exception; the model went on."""


class EditWarning(AudioSAESteerWarning):
    """An edit sets a feature to what its gate never gives, or ran to its end without ever changing anything."""


class FingerprintWarning(AudioSAESteerWarning):
    """The model's weights are not those the recipe was made for."""


class LayerWarning(AudioSAESteerWarning):
    """An SAE is used at another layer or side than the one it says it was trained on."""


class NeverCalledWarning(AudioSAESteerWarning):
    """A steering was left without its site ever having run."""


class PickledWarning(AudioSAESteerWarning):
    """A steered model was pickled; what is unpickled is the model without its steering."""


class StackedWarning(AudioSAESteerWarning):
    """The model is steered by the same recipe, or the same edits, already: both are applied."""


class ThresholdWarning(AudioSAESteerWarning):
    """A stored threshold was unset, so the true selection is run instead."""


class UnpinnedWarning(AudioSAESteerWarning):
    """A recipe takes an SAE from a repository on the Hub that may change: its revision is no whole commit."""


LONGEST = 4000
"""Characters of untrusted text in a message: about a screen of a terminal."""
_KEPT = "\n\t"
# they turn the order of what follows them, so that a name reads as another
_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_ACTED_ON = frozenset(("Cc", "Cs", "Zl", "Zp"))


def printable(text: str, longest: int | None = LONGEST) -> str:
    """`text` with whatever a terminal would act on written as an escape: `\\x1b` and not the start of a command.

    Args:
        text: of anybody.
        longest: characters that are kept; the rest becomes an ellipsis. None: all.
    """
    if longest is not None and len(text) > longest:
        text = text[:longest] + "…"
    if text.isprintable():
        return text
    return "".join(_escaped(character) for character in text)


def is_one_line(text: str) -> bool:
    """True if a name is one line of text that prints unchanged."""
    return printable(text, None) == text and not any(character in text for character in _KEPT)


def _escaped(character: str) -> str:
    if character in _KEPT:
        return character
    if character in _TURNING or unicodedata.category(character) in _ACTED_ON:
        return character.encode("unicode_escape", "surrogatepass").decode("ascii")
    return character
