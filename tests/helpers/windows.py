"""Windows of 30 s for tests of timestamps."""

from __future__ import annotations

import numpy as np

from audiosae_steer import load_audio
from audiosae_steer.steering.recipes.load import checkpoints_dir

RATE = 16_000


def late_utterance() -> np.ndarray:
    """An utterance from 8 s on, in 30 s of faint noise."""
    clip = load_audio(sorted((checkpoints_dir() / "clips").glob("speech-*.flac"))[0])
    noise = np.random.default_rng(0).standard_normal(30 * RATE).astype(np.float32) * 1e-3
    noise[8 * RATE : 8 * RATE + len(clip)] += clip
    return noise
