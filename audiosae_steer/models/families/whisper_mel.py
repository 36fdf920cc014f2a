"""Log-mel spectrograms of 30 s, the input of a Whisper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..storage import held

Pad = Literal["silence", "zeros"]


def mel(model: Any, samples: Sequence[NDArray[np.float32]], pad: Pad = "silence") -> Tensor:
    """Log-mel spectrograms (clips, n_mels, 3000) of up to 30 s of mono 16-kHz samples each.

    Args:
        model: a Whisper of either library.
        samples: the clips.
        pad: padding to 30 s. `silence`: by zero samples, as transformers' processor does, and whoever calls
            `whisper.decode` on `pad_or_trim(samples)`. `zeros`: by zeros in the spectrogram, which are not silence, as
            `whisper.transcribe` does. A model encodes the two differently.
    """
    weight = held(model)
    bins = model.dims.n_mels if hasattr(model, "dims") else model.config.num_mel_bins
    from whisper.audio import HOP_LENGTH, N_FRAMES, log_mel_spectrogram, pad_or_trim

    spectra = [log_mel_spectrogram(pad_or_trim(torch.from_numpy(clip)), n_mels=bins) for clip in samples]
    if pad == "zeros":
        lengths = [min(len(clip) // HOP_LENGTH, N_FRAMES) for clip in samples]
        spectra = [
            pad_or_trim(spectrum[:, :frames], N_FRAMES) for spectrum, frames in zip(spectra, lengths, strict=True)
        ]
    return torch.stack(spectra).to(device=weight.device, dtype=weight.dtype)


def encoder_path(model: Any) -> str:
    """Path of the encoder in a Whisper of either library."""
    return "encoder" if hasattr(model, "dims") or not hasattr(model, "model") else "model.encoder"
