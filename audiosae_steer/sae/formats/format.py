"""Bases of the formats: a file is found, its parts are taken in the convention of `SAE`, and put together.

A format is one class in one file: it says which files it needs, tells its own by their content, and gives their parts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from ...errors import CheckpointError
from ...io.tensors.state_dict import names_of, torch_file_in, torch_files
from ..autoencoder import SAE, Gate, Normalisation

Shapes = dict[str, list[tuple[str, ...]]]
"""The shapes that a tensor may have, by its name; sizes of one name are equal."""


class Parts(NamedTuple):
    """The constructor's arguments of an SAE, by their names there."""

    W_enc: Tensor
    b_enc: Tensor
    W_dec: Tensor
    b_dec: Tensor
    gate: Gate
    info: dict[str, Any]
    threshold: Tensor | None = None
    normalisation: Normalisation | None = None
    typical: Tensor | None = None
    gain: Tensor | None = None


class Format(ABC):
    """One way in which SAEs are stored."""

    name: str
    content: str
    """Its SAEs in a message: "SAE of SAELens"."""
    states_normalisation = False
    """Its files say how the residual is normalised before the SAE; else it is measured if activations are
    given."""

    @abstractmethod
    def files(self, names: Sequence[str]) -> list[str]:
        """The files of a place that it would need, settings first and weights last; none if it could read none."""

    @abstractmethod
    def holds(self, file: Path) -> bool:
        """True if a file is of this format, by its content.

        Raises:
            CheckpointError: it was, before its damage.
        """

    @abstractmethod
    def parts(self, file: Path) -> Parts:
        """The SAE's parts in a file that `holds` is true of.

        Raises:
            CheckpointError: the file is damaged or would run code, its settings are missing or belong to another SAE,
                or it is of a kind that is not read.
        """

    def find(self, path: Path) -> Path | None:
        """The one file of this format at `path`, a file or a folder; None if there are none or several."""
        files = [path] if path.is_file() else sorted(path.iterdir()) if path.is_dir() else []
        found = [file for file in files if self.holds(file)]
        return found[0] if len(found) == 1 else None

    def recognises(self, path: Path) -> bool:
        """True if a file or folder is of this format, by its content.

        Raises:
            CheckpointError: it was, before its damage.
        """
        return self.find(path) is not None

    def read(self, path: Path) -> SAE:
        """The SAE in a file or folder.

        Raises:
            CheckpointError: it holds no SAE of this format, or as `parts`.
        """
        file = self.find(path)
        if file is None:
            raise CheckpointError(f"{path} holds no {self.content}; load_sae() reads the other formats")
        parts = self.parts(file)
        try:
            return SAE(**parts._asdict())
        except CheckpointError as error:
            raise CheckpointError(f"{file}: {error}") from error


class TorchFormat(Format):
    """A format in torch files, of whose content the names tell it."""

    @abstractmethod
    def fits(self, file: Path, content: Any) -> bool:
        """True if a file is of this format, by what `names` gives of it."""

    def names(self, file: Path) -> Any:
        """The content of a torch file with its numbers left on disk."""
        return names_of(file)

    def files(self, names: Sequence[str]) -> list[str]:
        """`ae.pt` or `bestval.pth`, or the only torch file, and its settings."""
        return torch_files(names)

    def holds(self, file: Path) -> bool:
        """True if a torch file can be read, and `fits`."""
        return torch_file_in(file, self.fits, self.names) is not None

    def find(self, path: Path) -> Path | None:
        """The one torch file that fits, of a folder's the one that `files` takes."""
        return torch_file_in(path, self.fits, self.names)


def tensors_of(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of a state dict, by name."""
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}


def shapes_of(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """The shapes of tensors, by name."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}
