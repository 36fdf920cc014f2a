"""Whisper weights out of an openai-whisper `.pt` file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...errors import CheckpointError, ModelError
from ...io.tensors.state_dict import load_state
from .weights import Weights


def read(path: Path) -> Weights:
    """The weights in an openai-whisper checkpoint, which is read without running any code in it.

    Raises:
        ModelError: the file is damaged, or no such checkpoint.
    """
    try:
        checkpoint = load_state(path)
        dims, state = dict(checkpoint["dims"]), dict(checkpoint["model_state_dict"])
        heads = int(dims.get("n_audio_head", 0)), int(dims.get("n_text_head", 0))
    except (CheckpointError, LookupError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise ModelError(
            f"{path} is no openai-whisper checkpoint, or is damaged ({reason}). Expected a dict of dims and "
            "model_state_dict, as whisper.load_model downloads it: fetch it again"
        ) from error
    weights = Weights.from_state(state, heads, str(path))
    pairs = _known_alignment_heads(path.stem, weights.dims["n_text_layer"] * weights.dims["n_text_head"])
    if pairs is None:
        return weights
    columns = weights.dims["n_text_head"]
    return Weights.from_state(state, heads, str(path), [divmod(int(at), columns) for at in pairs])


def _known_alignment_heads(name: str, size: int) -> list[int] | None:
    """Flat positions of the heads that openai-whisper lists for the model of that file name, if it is that size."""
    import base64
    import gzip

    try:
        from whisper import _ALIGNMENT_HEADS
    except ImportError:
        return None
    dump = _ALIGNMENT_HEADS.get(name)
    if dump is None:
        return None
    mask = np.frombuffer(gzip.decompress(base64.b85decode(dump)), dtype=bool)
    return np.flatnonzero(mask).tolist() if mask.size == size else None
