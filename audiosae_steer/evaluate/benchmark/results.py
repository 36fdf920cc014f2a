"""Results of the benchmark of false speech, and the JSON that is written of them.

Shares, rates and changes come with their 95 % intervals: Wilson's for shares, bootstrap over clips or utterances for
rates, paired for changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, NamedTuple

from ..latency import Latency
from ..metrics.rates import Share
from ..metrics.wer import Difference
from .settings import BenchSettings

OPTIONAL: Any = {"optional": True}
"""Metadata of fields that the JSON leaves out where they are None; the others become null."""


class Interval(NamedTuple):
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float


class Spread(NamedTuple):
    """Mean and range over draws."""

    mean: float
    least: float
    most: float


@dataclass(frozen=True, kw_only=True)
class ShareChange:
    """A share of clips under the unsteered model and under an arm."""

    before: Share
    after: Share
    new: int
    """Clips of which it holds under the arm alone."""
    reduction: Interval | None
    """1 − after / before; None if it never holds before."""


@dataclass(frozen=True, kw_only=True)
class NoiseResult:
    """Text that an arm writes for clips without speech."""

    clips: int
    text: ShareChange
    """Clips with any text, Whisper's filters off (HR-raw)."""
    filtered: ShareChange
    """The same with the filters on (HR)."""
    words: ShareChange
    """Clips with more than punctuation."""
    detected: ShareChange
    """Clips with no_speech_prob < 0.5 (DR)."""
    words_per_minute: Interval
    by_source: dict[str, tuple[int, int]]
    """Clips with text, and clips, of each source."""


@dataclass(frozen=True, kw_only=True)
class ErrorRate:
    """Word error rate of an arm, and its change against the unsteered model on the same utterances."""

    value: float
    low: float
    high: float
    change: Difference
    capped: float
    """The rate with at most as many errors for an utterance as it has words: see `WordErrors.capped`."""
    capped_change: Difference
    deletions: int
    new_deletions: int
    utterances: int
    words: int


@dataclass(frozen=True, kw_only=True)
class SpeechResult:
    """Losses of clips with speech under an arm."""

    clips: int
    blanked: Share
    """Clips without any text."""
    new: int
    """Of those, clips that the unsteered model gives some."""
    detected: int
    """Clips with no_speech_prob < 0.5."""
    wer: ErrorRate | None
    """On clips with a known text, Whisper's filters off; None if there are none."""
    wer_filtered: ErrorRate | None = field(default=None, metadata=OPTIONAL)
    """The same with the filters on."""
    by_source: dict[str, tuple[float, int]] | None = field(default=None, metadata=OPTIONAL)
    """Word error rate and utterances of each source."""


@dataclass(frozen=True, kw_only=True)
class ArmResult:
    """One arm on all clips."""

    noise: NoiseResult
    speech: SpeechResult


@dataclass(frozen=True, kw_only=True)
class RandomDraws:
    """Draws of random features, taken together."""

    draws: int
    text: Spread
    """Share of clips without speech with text."""
    wer_change: Spread | None = field(default=None, metadata=OPTIONAL)
    capped_change: Spread | None = field(default=None, metadata=OPTIONAL)
    blanked: tuple[int, int]
    """Fewest and most blanked clips of any draw."""
    clips: int
    """Clips of each kind."""


@dataclass(frozen=True, kw_only=True)
class LongResult:
    """One arm on long recordings, taken together."""

    files: int
    words_per_minute: Interval
    """Per minute of gap, with the lowest and highest of any recording."""
    gap_words: int
    gap_minutes: float
    loops: int
    """Segments that repeat themselves."""
    wer: float
    """Of the whole text."""
    speech: ErrorRate
    """Of utterances, words in gaps left out."""
    drift: float | None
    """Mean distance of a segment's start from its utterance's, in seconds; None of none."""
    drift_95: float | None
    """The largest 95th percentile of any recording."""
    by_kind: dict[str, tuple[int, float]]
    """Words and seconds by what fills the gaps."""
    seconds: float
    """Time that transcribing took."""


@dataclass(frozen=True, kw_only=True)
class LongFileInfo:
    """One long recording."""

    name: str
    minutes: float
    gap_minutes: float
    utterances: int
    kinds: list[str]
    """Kinds of sound that fill its gaps."""


@dataclass(frozen=True, kw_only=True)
class LongResults:
    """Long recordings, and arms on them by name."""

    files: list[LongFileInfo]
    transcribe: dict[str, LongResult] | None = field(default=None, metadata=OPTIONAL)
    """By the library's own transcription."""
    pipeline: dict[str, LongResult] | None = field(default=None, metadata=OPTIONAL)
    """By transformers' pipeline."""


@dataclass(frozen=True, kw_only=True)
class BeamRow:
    """One recipe in one way to decode."""

    decoding: str
    """Library and beams, in words."""
    engine: str
    beams: int | None
    """Number of beams; None of a library as it comes."""
    recipe: str
    """Name of the recipe, or `unsteered`."""
    text: Share
    """Clips without speech for which anything is written, Whisper's filters off."""
    wer: ErrorRate | None
    """On clips with a known text, against the unsteered model in the same way to decode; None if there are none."""
    lost: int
    """Clips with speech without text, that the unsteered model gives some."""
    changed: int
    """Clips with speech that are written otherwise than by the unsteered model."""
    utterances: int
    """Clips with speech."""


@dataclass(frozen=True, kw_only=True)
class MixedRow:
    """One arm on recordings in which speech and noise alternate."""

    name: str
    files: int
    wer: float
    change: Difference
    """WER less that of the first arm, with its paired bootstrap interval over files."""
    capped: float
    """WER with no more errors in a file than it has words."""
    inserted: float
    """Share of the words said."""
    deleted: float
    substituted: float
    twice: int
    """Words written twice."""
    inserted_per_minute: float
    """Inserted words per minute of gap beyond those of the control with silent gaps; 0 of the control itself."""
    edge: tuple[int, int]
    """Words lost within 0.5 s of a gap's edge, and words said there."""
    elsewhere: int
    """Words lost elsewhere."""
    loops: int
    drift: float | None
    """Mean seconds by which segments begin off their utterance; None of none."""
    seconds: float
    """CPU time."""
    gap_words: int | None = field(default=None, metadata=OPTIONAL)
    """Words written in gaps."""


@dataclass(frozen=True, kw_only=True)
class ArmInfo:
    """An arm as tables name it; its fields are those of `Steered` and `Masked`."""

    label: str
    curve: str
    at: str
    marked: bool
    threshold: dict[str, float] | None = field(default=None, metadata=OPTIONAL)
    """By mode, of arms that have one."""


@dataclass(frozen=True, kw_only=True)
class ClipsInfo:
    """A set of clips."""

    clips: int
    minutes: float
    with_text: int
    """Clips of which the exact text is known."""
    sources: dict[str, int]
    """Clips of each source."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The machine that latencies were measured on."""

    processor: str
    threads: int


@dataclass(frozen=True, kw_only=True)
class BenchResults:
    """All that one run measured; fields as in `false-speech.json`, parts that did not run None."""

    schema: int = 1
    model: str
    recipe: str
    recipes: dict[str, str]
    """Names of the recipes by their part in the benchmark."""
    layer: int
    """Encoder layer that residuals were kept of."""
    settings: BenchSettings
    data: dict[str, ClipsInfo]
    """`absent` and `present`; `find_absent`, `find_present` and `digits` where there are any."""
    arms: dict[str, ArmInfo]
    machine: Machine
    versions: dict[str, str | None]
    clips: dict[str, dict[str, ArmResult]] | None = field(default=None, metadata=OPTIONAL)
    """By mode and arm."""
    random: dict[str, RandomDraws] = field(default_factory=dict)
    """By mode; in the JSON it stands among the arms of `clips`."""
    latency: dict[str, Latency | None] | None = field(default=None, metadata=OPTIONAL)
    """By arm, as a share of the encoder's time; None of an arm without time of its own."""
    mixtures: dict[str, dict[str, dict[str, SpeechResult]]] | None = field(default=None, metadata=OPTIONAL)
    """Speech in noise, by mode, ratio and arm."""
    hard: dict[str, dict[str, dict[str, SpeechResult]]] | None = field(default=None, metadata=OPTIONAL)
    """Speech that is hard to tell from silence, by mode, kind and arm."""
    long: LongResults | None = field(default=None, metadata=OPTIONAL)
    mixed: list[MixedRow] | None = field(default=None, metadata=OPTIONAL)
    """Arms on windows that hold speech and noise."""
    beams: list[BeamRow] | None = field(default=None, metadata=OPTIONAL)
    """Recipes by way to decode."""
    left_out: dict[str, str]
    """Reasons, by arm or part."""


def to_json(results: BenchResults) -> dict[str, Any]:
    """The dicts, lists and scalars of `false-speech.json`."""
    content: dict[str, Any] = as_plain(results)
    for mode, draws in content.pop("random").items():
        content["clips"][mode]["random"] = draws
    return content


def as_plain(value: Any) -> Any:
    """Values that JSON has: records by field, without optional fields that are None; mappings by key; any tuples as
    lists."""
    if isinstance(value, Latency):
        return value._asdict()
    if is_dataclass(value):
        found = ((each, getattr(value, each.name)) for each in fields(value))
        return {e.name: as_plain(own) for e, own in found if own is not None or not e.metadata.get("optional")}
    if isinstance(value, Mapping):
        return {key: as_plain(own) for key, own in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_plain(own) for own in value]
    return value
