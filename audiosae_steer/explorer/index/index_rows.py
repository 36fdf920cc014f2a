"""Records that an index is read as: layers, clips, features and what was found about them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .index_schema import BINS, HIGHEST, LOWEST


class Layer(NamedTuple):
    """A site whose features are in the index."""

    layer: int
    site: str
    sae: str
    """JSON, as a recipe names the SAE."""
    sae_sha256: str
    features: int
    width: int
    rate: float
    """Frames per second."""
    clips: int
    frames: int
    """Those that are sound, not padding."""


class Clip(NamedTuple):
    """A window of a recording."""

    id: int
    recording: str
    start: float
    """Seconds into the recording."""
    seconds: float
    label: str
    transcript: str
    source: str
    licence: str
    redistributable: bool

    @property
    def name(self) -> str:
        """The recording's name without folders and ending, with the start where it is not the beginning."""
        name = self.recording.replace("\\", "/").rpartition("/")[2]
        stem = name.rpartition(".")[0] or name
        return stem if self.start <= 0 else f"{stem} from {self.start:g} s"


class Feature(NamedTuple):
    """Statistics of a feature over the corpus."""

    layer: int
    feature: int
    fired: int
    """Frames."""
    clips: int
    peak: float
    mean: float
    """Over the frames on which it fires."""
    histogram: NDArray[np.uint32]
    """Frames per bin (64,) of log2 of the activation."""
    label: str
    x: float | None
    y: float | None


class Example(NamedTuple):
    """A clip that shows what a feature fires on, or nearly does."""

    kind: str
    rank: int
    clip: Clip
    peak: float
    """Its highest activation there; of near misses, the distance below the threshold."""
    at: float
    """Seconds into the clip of the peak."""
    curve: NDArray[np.float64]
    """Activation (frames,)."""


class Neighbour(NamedTuple):
    """Another feature of the layer."""

    kind: str
    feature: int
    value: float
    label: str
    fired: int


class Enriched(NamedTuple):
    """A class that is over-represented among the clips on which a feature fires."""

    label: str
    clips: int
    fired: int
    lift: float
    low: float
    high: float


class Enrichment(NamedTuple):
    """Features in which one class is enriched, of all layers; arrays of one length."""

    layer: NDArray[np.int64]
    feature: NDArray[np.int64]
    clips: NDArray[np.int64]
    """Those of the class."""
    fired: NDArray[np.int64]
    """Those of them on which the feature fires."""
    lift: NDArray[np.float64]
    low: NDArray[np.float64]


class Effect(NamedTuple):
    """Measured effect of an edit of one feature on the output for one clip."""

    clip: int
    edit: str
    end: float | None
    """Change of the log-probability of end-of-text."""
    first: tuple[str, float] | None
    """The first token and the change of its log-probability."""
    words: tuple[tuple[str, float], ...]
    before: str
    after: str


class Firing(NamedTuple):
    """Features that fire on a clip, the most surprising first; arrays of one length."""

    features: NDArray[np.int64]
    peaks: NDArray[np.float64]
    surprise: NDArray[np.float64]
    """Bits: −log2 of the share of the corpus's frames on which the feature is about as high as its peak here."""


class LayerTable(NamedTuple):
    """Columns of the features of a layer, in the order of their numbers."""

    feature: NDArray[np.int64]
    fired: NDArray[np.int64]
    clips: NDArray[np.int64]
    peak: NDArray[np.float64]
    mean: NDArray[np.float64]
    label: list[str]
    x: NDArray[np.float64]
    """NaN of features that have no place on the map."""
    y: NDArray[np.float64]


def bin_edges() -> NDArray[np.float64]:
    """Edges (65,) of the histogram's bins, as activations."""
    steps = np.linspace(np.log2(LOWEST), np.log2(HIGHEST), BINS + 1)
    return np.asarray(np.exp2(steps), np.float64)
