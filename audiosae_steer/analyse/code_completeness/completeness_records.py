"""Settings of `completeness`, and the records that a `Completeness` is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from ..frame.intervals import Interval
from ..frame.part_settings import PartSettings
from ..probes.probe_records import Pool


@dataclass(frozen=True, kw_only=True)
class CompletenessSettings(PartSettings):
    """Settings of `completeness`."""

    pool: Pool = "mean"
    """Activation of a clip: its highest, its mean, or its mean over frames on which the feature fires."""
    controls: tuple[str, ...] = ("projection", "relu-topk", "rotated")
    """Codes to hold the SAE against, beside the dense residual: projection, relu-topk, rotated; repeatable."""
    least_r2: float = 0.1
    """Held-out R² from which an attribute counts as explained, if it is above the permuted 95 % as well."""
    importance: Literal["weights", "permutation"] = "weights"
    """Shares by weights without their signs, or by how much the held-out error rises when a column is permuted."""
    folds: int = 5
    """Most folds by group that choose the penalty."""
    alphas: int = 25
    """Penalties to choose among."""
    blocks: int = 10
    """Most blocks of groups that are left out in turn, for the interval of the number of carriers."""


class AttributeScore(NamedTuple):
    """One attribute by one code."""

    code: str
    r2: float | None
    """On clips that it was not fitted on; None where the attribute does not vary."""
    interval: Interval | None
    """95 %, groups drawn with replacement."""
    null: float | None
    """95 % point of R² with the held-out attribute permuted."""
    p: float
    """Share of the permutations that reach R², itself counted."""
    alpha: float
    """Penalty that grouped folds chose."""
    used: int
    """Columns with a weight."""
    explained: bool
    effective: float | None
    """Columns that carry it, exp(H); None where it is not explained, as of all below."""
    c_paper: float | None
    """1 − H / log n, of all n columns of this code."""
    c_common: float | None
    """1 − H / log n, n of the smallest code."""
    features: tuple[tuple[int, float], ...]
    """Columns with the largest weights, and these."""


class AttributeRow(NamedTuple):
    """One attribute by all codes."""

    name: str
    family: str
    clips: tuple[int, int]
    """Clips with it to fit on, and to report on."""
    scores: tuple[AttributeScore, ...]


class CodeRow(NamedTuple):
    """One code, in means over the attributes that all codes explain; None where there are none."""

    name: str
    n: int
    """Columns."""
    varying: int
    """Columns with support where it is fitted."""
    explained: int
    """Attributes that it explains, of all."""
    r2: float | None
    """Informativeness."""
    effective: float | None
    """Geometric mean of the numbers of carriers."""
    c_paper: float | None
    c_common: float | None
    modularity: float | None
    """1 − H / log A over attributes, of each column, weighted by the column's weights."""


class Pair(NamedTuple):
    """A code against the first one, over the attributes that both explain."""

    name: str
    attributes: int
    ratio: float | None
    """Carriers of an attribute in this code over those in the first, the geometric mean; above 1 the first is more
    complete."""
    interval: Interval | None
    """95 %, by a jackknife over blocks of groups that are fitted on."""
    r2: float | None
    """R² of this code less the first's."""
    r2_interval: Interval | None
    """95 %, the same draws of groups for both."""
    c_paper: float | None
    """c_paper of this code less the first's, which grows with the size of a code alone."""
    verdict: str
    """In words, by the ratio's interval; never by c_paper. Fewer carriers in a wider code need not mean more: random
    columns, too, are of more choice where there are more of them."""
