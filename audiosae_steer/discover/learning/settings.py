"""Settings of learning amounts by gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from ...errors import SteeringError

Decoder = Literal["none", "all", "first"]


@dataclass(frozen=True, kw_only=True)
class LearnSettings:
    """Sizes, loss and schedule; the defaults take some ten minutes for tiny.en on two cores, once clips are encoded.

    Raises:
        SteeringError: the number of features or the choice of decoder layers is invalid.
    """

    features: int = 64
    """Most features that the recipe may use. 0 leaves the encoder unedited."""
    steps: int = 300
    """Steps with all features free. These are under the L1."""
    refine: int = 150
    """Steps with these features alone. They are those that come nearest to what was learned; at a quarter of `lr`."""
    lr: float = 0.03
    """Adam's learning rate for d_model amounts, in units of the residual, falling on a cosine."""
    l1: float = 0.3
    """Strength of the soft threshold, as a share of Adam's step."""
    decoder: Decoder = "none"
    """Learn a vector after each decoder layer, too, for all tokens or for a text's first one. There silence turns into
    text most directly, and at the first token it is decided."""
    keep: float = 20.0
    """Weight of the divergence on speech against the loss on non-speech."""
    start: float = 0.3
    """Weight of the divergence at the first token of a text, where a whole clip is lost, beside that of all tokens."""
    uncut: float = 0.1
    """Without effect: recipes record it, and the loss does not use it. See `Divergence.cut`, which is only measured."""
    enough: float = 0.2
    """Loss of a clip, in nats, below which it stops counting: p(end-of-text) of 82 %."""
    untimed: float = 0.33
    """Share of the steps without timestamps."""
    batch: tuple[int, int] = (12, 8)
    """Clips a step: without speech, with speech."""
    check: int = 50
    """Steps between two checks on held-out clips."""
    languages: tuple[str, ...] = ("en", "en", "zh", "de", "es", "fr", "ja")
    """Prompt languages for clips without speech, where the model is multilingual: one of these, each as often."""
    seed: int = 0
    """Seed of everything random."""
    most: int | None = None
    """Most clips to take of each source."""
    synthetic: int = 80
    """Synthetic noises to learn on, beside recordings; a tenth as many are added to stop early on."""

    def __post_init__(self) -> None:
        if self.decoder not in get_args(Decoder):
            raise SteeringError(f"decoder is {self.decoder!r}; expected one of {', '.join(get_args(Decoder))}")
        if self.features < 0:
            raise nothing_to_learn(self.features)


def nothing_to_learn(features: int) -> SteeringError:
    """The error of settings under which no parameter is free."""
    return SteeringError(
        f"{features} features and nothing in the decoder leave nothing to learn; take some features, or vectors after "
        "the decoder's layers (decoder='all' or 'first')"
    )
