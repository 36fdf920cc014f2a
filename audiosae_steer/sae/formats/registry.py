"""The formats, in the order in which they are tried."""

from __future__ import annotations

from .audiosae import AudioSAE
from .dictionary_learning import DictionaryLearning
from .format import Format
from .freud import Freud
from .native import Native
from .overcomplete import Overcomplete
from .plain import Plain
from .saelens import SAELens
from .sparsify import Sparsify

FORMATS: tuple[Format, ...] = (
    Sparsify(),
    SAELens(),
    AudioSAE(),
    DictionaryLearning(),
    Freud(),
    Overcomplete(),
    Native(),
    Plain(),
)
"""A new format is one file, and one line here."""
