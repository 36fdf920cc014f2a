"""Features beside responses of the brain, as `trf` has found them.

AudioSAE (arXiv 2602.05027), section on EEG, after Broderick et al. (2018). Beside the paper's test of peaks: prediction
above shifts, and the gain over envelope and onsets, which is the headline.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..frame.intervals import Interval
from ..frame.outcome import Outcome
from ..frame.presented import Figure, Picture, Table
from .trf_pictures import pictures_of
from .trf_records import DictionaryResponses, FeatureResponse, ShiftTest

LISTED = 10
"""Features in the table."""


@dataclass(frozen=True, kw_only=True)
class Trf(Outcome):
    """Features of an SAE beside responses of the brain to the same sounds."""

    TITLE: ClassVar[str] = "TRF: features beside responses of the brain"
    CLAIM: ClassVar[str] = (
        "Every feature of speech follows its loudness, and so do responses of the brain. So what counts is the gain: "
        "how much better responses to other sounds are predicted by a feature beside envelope and onsets than by these "
        "alone, against the same feature shifted in time and fitted anew."
    )

    subjects: tuple[str, ...]
    channels: tuple[str, ...]
    fitted_on: tuple[str, ...]
    """Sounds that were fitted on."""
    reported_on: tuple[str, ...]
    """Sounds that the numbers are of."""
    seconds: float
    """Length of all sounds."""
    lags: tuple[float, ...]
    """(lags,) of the response functions, in seconds."""
    sound_r: float
    """r of the prediction from envelope and onsets alone."""
    sound_interval: Interval | None
    sound_by_channel: tuple[float, ...]
    sound_weights: tuple[tuple[float, ...], ...]
    """(2, lags) of envelope and onsets."""
    features: tuple[FeatureResponse, ...]
    """The features that were tested, by number."""
    dictionaries: tuple[DictionaryResponses, ...]
    """The SAE and its controls, counted."""

    def of(self, feature: int) -> FeatureResponse:
        """The figures of one feature. KeyError: it was not tested."""
        return {each.feature: each for each in self.features}[feature]

    @property
    def gaining(self) -> tuple[int, ...]:
        """Features that add to envelope and onsets, q below the level, the most helpful first."""
        kept = [each for each in self.features if each.gain.q < self._level]
        return tuple(each.feature for each in sorted(kept, key=lambda each: -each.gain.value))

    @property
    def _level(self) -> float:
        return float(self.provenance.settings.get("level", 0.05))

    def figures(self) -> Sequence[Figure]:
        """Features with a gain beside the controls, the sound's own r, and the two weaker tests."""
        own, *others = self.dictionaries
        against = "".join(f"; {each.name} {each.gaining} of {each.tested}" for each in others)
        around = "" if self.sound_interval is None else f", 95 %: {self.sound_interval}"
        return [
            Figure(
                f"{own.gaining}", f"of {own.tested} features add to envelope and onsets (q < {self._level:g}){against}"
            ),
            Figure(
                f"{own.best_gain:+.4f}", f"largest gain in r; mean {own.mean_gain:+.4f}, shifted {own.null_gain:+.4f}"
            ),
            Figure(f"{self.sound_r:.3f}", f"r of envelope and onsets alone{around}"),
            Figure(
                f"{own.predicted}", "features predict responses above shifts, which those of the envelope do as well"
            ),
            Figure(f"{own.peaks}", "have a peak by the paper's test, which asks for no prediction"),
        ]

    def tables(self) -> Sequence[Table]:
        """The dictionaries, the features with the largest gains, and channels."""
        return [each for each in (self._dictionaries(), self._features(), self._channels()) if each.rows]

    def _dictionaries(self) -> Table:
        rows = tuple(
            (
                each.name, f"{each.tested} of {each.often}", str(each.gaining), str(each.gaining_family),
                f"{each.mean_gain:+.4f}", f"{each.null_gain:+.4f}", f"{each.best_gain:+.4f}", str(each.predicted),
                f"{each.mean_r:.3f}", str(each.peaks),
            )
            for each in self.dictionaries
        )  # fmt: skip
        header = (
            "", "tested", "gain", "gain, family", "mean gain", "shifted", "best", "predict", "mean r", "peaks",
        )  # fmt: skip
        note = (
            f"{len(self.subjects)} subjects, {len(self.channels)} channels, {self.seconds:.0f} s: "
            f"{len(self.fitted_on)} sounds to fit on and {len(self.reported_on)} to report on. Envelope and onsets "
            f"alone: r {self.sound_r:.3f}. Gain, predict: features with q below the level (Benjamini and Hochberg); "
            "family: against the highest of all features in each shift; peaks: the paper's test, Holm."
        )
        return Table("Features that responses follow", header, rows, note)

    def _features(self) -> Table:
        best = sorted(self.features, key=lambda each: (each.gain.p, -each.gain.value))[:LISTED]
        rows = tuple(
            (
                str(each.feature), *_cells(each.gain, 4), f"{each.gain.family:.3g}", *_cells(each.prediction, 3),
                f"{1000 * each.peak.lag:+.0f} ms", f"{each.peak.weight:+.3g}", f"{each.peak.holm:.3g}",
            )
            for each in best
        )  # fmt: skip
        header = (
            "", "gain", "shifted", "q", "family", "r", "shifted", "q", "peak", "weight", "Holm",
        )  # fmt: skip
        return Table(f"The {len(rows)} features of the clearest gain", header, rows, "Shifted: the mean of all shifts.")

    def _channels(self) -> Table:
        best = max(self.features, key=lambda each: each.prediction.value)
        pairs = zip(self.channels, self.sound_by_channel, best.by_channel, strict=True)
        rows = tuple((name, f"{sound:.3f}", f"{own:.3f}") for name, sound, own in pairs)
        header = ("channel", "envelope and onsets", f"feature {best.feature}")
        return Table("Prediction by channel", header, rows[:64], "r, the mean of all subjects and reported sounds.")

    def pictures(self) -> Sequence[Picture]:
        """Gains beside their shifts, and response functions."""
        return pictures_of(self.features, self.lags, self.sound_weights, self._level)


def _cells(test: ShiftTest, digits: int) -> tuple[str, ...]:
    around = "" if test.interval is None else f" [{test.interval.low:.{digits}f}, {test.interval.high:.{digits}f}]"
    return (f"{test.value:.{digits}f}{around}", f"{test.null:.{digits}f}", f"{test.q:.3g}")
