"""Results of learning: amounts, figures on held-out clips and history."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Check(NamedTuple):
    """Figures on the held-out clips, with timestamps."""

    step: int
    """Steps so far."""
    features: int
    """Amounts that are not zero."""
    text: float
    """Share of the clips without speech that get text."""
    words: float
    """Word error rate on speech, against the unsteered model's text."""
    blanked: float
    """Share of the clips with speech that lose their text."""

    @property
    def badness(self) -> float:
        """Objective of early stopping: one word in a hundred and one clip in a hundred weigh like five with text."""
        return self.text + 5 * self.words + 5 * self.blanked


class Learned(NamedTuple):
    """Amounts of `Add(features, amount)`, and the course of learning."""

    features: tuple[int, ...]
    """Indices, by falling weight; empty of a dense vector."""
    amounts: tuple[float, ...]
    """One each, in raw units of the SAE."""
    vector: Tensor
    """(d_model,) what they add to the residual."""
    decoder: Tensor | None
    """(decoder layers, d_model) what is added in the decoder; None without."""
    history: tuple[dict[str, float], ...]
    """Every 25 steps, their means: −log p(end of text) on non-speech, the share of clips where that is below a half,
    divergence per token on speech and at the start of its text, how near it comes to being cut; and the number of
    features."""
    checks: tuple[Check, ...]
    """Checks on held-out clips; the last is that of the result."""
