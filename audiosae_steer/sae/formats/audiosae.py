"""AudioSAE (arXiv 2602.05027): `layer_N/ae.pt`, a torch state dict, with `layer_N/config.json` beside it.

The layout is the same for its five backbones, and only the sizes differ: Whisper-small and HuBERT-base have layers 1 to
12 of width 768, HuBERT-large 1 to 24 of 1024, Whisper-large-v3 and -turbo 1 to 32 of 1280; F = 8·d, k = 50. Layer N is
the output of the N-th block, as here. The tensors are those of dictionary_learning's BatchTopKSAE, from which AudioSAE
descends: `encoder.weight` (F, d), `encoder.bias`, `decoder.weight` (d, F), `b_dec`, `k`, and perhaps a `threshold`.

A file is taken for AudioSAE's where the settings beside it, if any, name no class of dictionary_learning.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...io.tensors.state_dict import load_state
from .dictionary_learning import Kind, class_of, fits, parts_of_dictionary, settings_of
from .format import Parts, TorchFormat


class AudioSAE(TorchFormat):
    """Reads a folder with one such torch file, or the file."""

    name = "audiosae"
    content = "SAE of AudioSAE"

    def fits(self, file: Path, content: Mapping[str, Any]) -> bool:
        """The tensors of a BatchTopK SAE, and no settings that name its class."""
        return fits(content, "BatchTopKSAE") and class_of(settings_of(file)) is None

    def parts(self, file: Path) -> Parts:
        """As dictionary_learning's BatchTopKSAE."""
        kind = Kind("BatchTopKSAE", "the names of its tensors, and AudioSAE's are all of this class")
        return parts_of_dictionary(file, load_state(file), settings_of(file), kind, self.name)
