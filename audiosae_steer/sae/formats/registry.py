"""The formats, in the order in which they are tried."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from ..autoencoder import SAE
from .audiosae import AudioSAE
from .dictionary_learning import DictionaryLearning
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


class Format(Protocol):
    """One way in which SAEs are stored."""

    name: str
    states_normalisation: bool
    """Whether its files say how the residual is normalised before the SAE; else it is measured where it can be."""

    def files(self, names: Sequence[str]) -> list[str]:
        """Which of a place's files it would need, settings first; none if there are none that it could read."""

    def recognises(self, path: Path) -> bool:
        """Whether a file or folder is of this format, by its content. CheckpointError: it was, before its damage."""

    def read(self, path: Path) -> SAE:
        """The SAE in it."""
