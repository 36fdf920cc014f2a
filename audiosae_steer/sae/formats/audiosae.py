"""AudioSAE (arXiv 2602.05027): `layer_N/ae.pt`, a torch state dict, with `layer_N/config.json` beside it.

The layout is the same for its five backbones, and only the sizes differ: Whisper-small and HuBERT-base have layers 1 to
12 of width 768, HuBERT-large 1 to 24 of 1024, Whisper-large-v3 and -turbo 1 to 32 of 1280; F = 8·d, k = 50. Layer N is
the output of the N-th block, as here. The tensors are those of dictionary_learning's BatchTopKSAE, from which AudioSAE
descends: `encoder.weight` (F, d), `encoder.bias`, `decoder.weight` (d, F), `b_dec`, `k`, and perhaps a `threshold`.

A file is taken for AudioSAE's where the settings beside it, if any, name no class of dictionary_learning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import CheckpointError
from ...io.tensors.state_dict import load_state, names_of, torch_file_in, torch_files
from ..autoencoder import SAE
from .dictionary_learning import Kind, class_of, fits, read_dictionary, settings_of


class AudioSAE:
    """Reads a folder with one such torch file, or the file."""

    name = "audiosae"
    states_normalisation = False

    def files(self, names: Sequence[str]) -> list[str]:
        """`ae.pt`, or the only torch file, and its settings."""
        return torch_files(names)

    def recognises(self, path: Path) -> bool:
        """A torch file with the tensors of a BatchTopK SAE, and no settings that name its class.

        Raises:
            CheckpointError: the settings beside such a file are damaged.
        """
        return torch_file_in(path, _is_one, names_of) is not None

    def read(self, path: Path) -> SAE:
        """The SAE in a file or folder.

        Raises:
            CheckpointError: the file is damaged, would run code, or lacks its k.
        """
        file = torch_file_in(path, _is_one, names_of)
        if file is None:
            raise CheckpointError(f"{path} holds no SAE of AudioSAE; load_sae() reads the other formats")
        kind = Kind("BatchTopKSAE", "the names of its tensors, and AudioSAE's are all of this class")
        return read_dictionary(file, load_state(file), settings_of(file), kind, self.name)


def _is_one(file: Path, state: Mapping[str, Any]) -> bool:
    return fits(state, "BatchTopKSAE") and class_of(settings_of(file)) is None
