"""Card of one feature: everything that is known of it, on one page with sound."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ...data.audio import SAMPLE_RATE, Samples
from ...evaluate.page_parts.stage_clips import Curve
from ..frame.excerpts import Excerpts
from ..frame.outcome import Outcome
from ..frame.presented import Figure, Moment, Picture, Table
from ..mel_windows.mel_findings import table_of
from ..mel_windows.mel_records import MelPattern
from .card_pictures import pictures_of_card
from .card_records import (
    CardClip,
    CardLabel,
    CardPhone,
    Effect,
    Heard,
    Histogram,
    Neighbour,
    PartDensity,
    Place,
    RandomCheck,
)

PURE, LIFTED = 0.5, 3.0
"""Share of a feature's aligned frames, and lift, above which a phone names it, as in `phones`."""


@dataclass(frozen=True, kw_only=True)
class FeatureCard(Outcome):
    """One feature of an SAE."""

    TITLE: ClassVar[str] = "Feature card"
    CLAIM: ClassVar[str] = (
        "How often the feature fires, on what, beside which features, what it does to the text, and how much of that a "
        "feature of a random SAE that fires as often shows as well."
    )

    feature: int
    name: str
    """Words of a namer; empty without."""
    parts: tuple[PartDensity, ...]
    """Firing by part of the clips."""
    peak: float
    """Highest activation."""
    histogram: Histogram
    clips: tuple[CardClip, ...]
    """Top clips, then near misses."""
    neighbours: tuple[Neighbour, ...]
    labels: tuple[CardLabel, ...]
    """Labels of the clips, the one that it tells best first; empty without labels."""
    phones: tuple[CardPhone, ...]
    """Phones among its frames, the most frequent first; empty without alignments."""
    places: tuple[Place, ...]
    """Firing in speech, other sound and padding, as far as known."""
    speech_by: str
    """Source of speech and other: alignments, VAD, or none."""
    effects: tuple[Effect, ...]
    """Changes of the text; empty without a model that writes any."""
    heard: tuple[Heard, ...]
    """Texts behind them."""
    mel: MelPattern | None
    """Mel pattern; None with too few peaks."""
    mel_random: MelPattern | None
    """That of the random SAE's feature of the same number."""
    mel_seconds: float
    """Length of its window."""
    random: tuple[RandomCheck, ...]
    """Measures beside those of random features."""

    @property
    def density(self) -> float:
        """Share of all frames on which it fires."""
        return sum(each.fired for each in self.parts) / max(sum(each.frames for each in self.parts), 1)

    @property
    def title(self) -> str:
        """The feature's number, and what it stands for as far as that is shown.

        That is a namer's words; else a phone that fills more than half of its frames with a lift of 3; else the label
        that it tells best, if it is higher there, with p at most 0.05 after Bonferroni over the labels; else nothing.
        """
        return f"Feature {self.feature}{self._stands_for()}"

    def _stands_for(self) -> str:
        if self.name:
            return f": {self.name}"
        if self.phones and self.phones[0].purity > PURE and self.phones[0].lift >= LIFTED:
            return f": the phone {self.phones[0].phone}"
        if self.labels and self.labels[0].auc > 0.5 and self.labels[0].p * len(self.labels) <= 0.05:
            return f": told best, {self.labels[0].label}"
        return ""

    def captioned(
        self,
        audio: Excerpts,
        captioner: Callable[[Samples, int], str] | None = None,
        namer: Callable[[list[str]], str] | None = None,
    ) -> FeatureCard:
        """The card with words for its top clips, and a name made of them.

        Args:
            audio: the clips of the analysis.
            captioner: gives the words of a stretch: mono samples, and their rate in Hz; None: the clips' names.
            namer: gives a name of all words; None: no name.

        Raises:
            AudioError: a clip cannot be read.
        """
        clips = []
        for clip in self.clips:
            if captioner is not None and not clip.near_miss:
                first = int(clip.start * SAMPLE_RATE)
                samples = audio.items[clip.clip].read()[first : first + int(clip.seconds * SAMPLE_RATE)]
                clip = replace(clip, caption=captioner(samples, SAMPLE_RATE))
            clips.append(clip)
        words = [clip.caption or clip.name for clip in clips if not clip.near_miss]
        return replace(self, clips=tuple(clips), name=self.name if namer is None else namer(words))

    def figures(self) -> Sequence[Figure]:
        """Number, density and the best of labels and phones."""
        fired = sum(each.fired_clips for each in self.parts)
        figures = [
            Figure(f"{self.feature}", f"number of the feature{': ' + self.name if self.name else ''}"),
            Figure(f"{self.density:.2%}", f"of frames; in {fired} of {sum(each.clips for each in self.parts)} clips"),
            Figure(f"{self.peak:.3g}", "highest activation"),
        ]
        if self.phones:
            best = self.phones[0]
            figures.append(
                Figure(f"{best.phone}", f"fills {best.purity:.1%} of its aligned frames, lift {best.lift:.1f}")
            )
        if self.labels:
            told = self.labels[0]
            figures.append(Figure(f"{told.auc:.3f}", f"AUC for {told.label}, p {told.p:.3g}"))
        speech = {each.place: each for each in self.places}
        if "speech" in speech and "other" in speech:
            figures.append(
                Figure(f"{speech['speech'].density:.2%}", f"of speech; other sound {speech['other'].density:.2%}")
            )
        return figures

    def tables(self) -> Sequence[Table]:
        """All that is known, in numbers."""
        patterns = [each for each in (self.mel, self.mel_random) if each is not None]
        tables = (
            self._random(), self._places(), self._effects(), self._texts(), self._phones(), self._labels(),
            self._neighbours(), *([table_of(patterns)] if patterns else []), self._parts(),
        )  # fmt: skip
        return [each for each in tables if each.rows]

    def _parts(self) -> Table:
        rows = tuple(
            (each.part, str(each.frames), f"{each.density:.3%}", f"{each.fired_clips} of {each.clips}")
            for each in self.parts
        )
        return Table("Density by part", ("", "frames", "fires on", "clips"), rows)

    def _random(self) -> Table:
        rows = tuple(
            (each.measure, f"{each.value:.3f}", f"{each.median:.3f}", f"{each.high:.3f}", f"{each.reach:.1%}")
            for each in self.random
        )
        note = (
            "Features of an SAE with random rows whose density is nearest to this one's. What half of them reach says "
            "nothing of this feature."
        )
        return Table(
            "Beside random features", ("", "this", "random, median", "95 %", "random that reach it"), rows, note
        )

    def _places(self) -> Table:
        rows = tuple(
            (each.place, f"{each.frames}", f"{each.density:.3%}", "" if each.p is None else f"{each.p:.3g}")
            for each in self.places
        )
        source = {"alignments": "alignments", "VAD": "Silero VAD"}.get(self.speech_by, "")
        note = (
            (f"Speech by {source}. p: speech against other, firing shifted by at least 1 s within each clip. " if source
             else "Neither alignments nor a VAD tell speech from other sound here. ")
            + "Padding fills Whisper's windows up, and is in no other figure."
        )  # fmt: skip
        return Table("Frames it fires on", ("", "frames", "fires on", "p"), rows, note)

    def _effects(self) -> Table:
        rows = tuple(
            (
                f"{each.edit}, {each.clips} clips", f"{each.clip_count}", f"{each.words}", f"{each.changed:.3f}",
                "" if each.control is None else f"{each.control:.3f}",
                "" if each.control_most is None else f"{each.control_most:.3f}",
            )
            for each in self.effects
        )  # fmt: skip
        note = (
            "Changed: words that differ over words without the edit, a word error rate against the model itself; "
            "greedy, without timestamps. Set: to the highest activation on every frame. Others: features as dense, "
            "in its place."
        )
        header = ("", "clips", "words", "changed", "others, mean", "others, most")
        return Table("Effect on the text", header, rows, note)

    def _texts(self) -> Table:
        rows = tuple(
            (each.clip, each.unsteered, _same(each, each.ablated), _same(each, each.set)) for each in self.heard
        )
        return Table("Texts", ("", "unsteered", "ablated", "set"), rows)

    def _phones(self) -> Table:
        rows = tuple(
            (each.phone, str(each.frames), f"{each.purity:.3f}", f"{each.lift:.1f}") for each in self.phones[:8]
        )
        return Table("Phones", ("", "frames", "share of its aligned frames", "lift"), rows)

    def _labels(self) -> Table:
        rows = tuple((each.label, str(each.clips), f"{each.auc:.3f}", f"{each.p:.3g}") for each in self.labels[:8])
        note = "AUC of the highest activation in a clip; p is of this label alone, not corrected for their number."
        return Table("Labels", ("", "clips", "AUC", "p"), rows, note)

    def _neighbours(self) -> Table:
        rows = tuple((f"{each.feature}", each.by, f"{each.cosine:.3f}", f"{each.chi:.3f}") for each in self.neighbours)
        note = "χ: frames on which both fire over frames on which either does."
        return Table("Nearest features", ("", "near by", "cosine of decoders", "χ"), rows, note)

    def pictures(self) -> Sequence[Picture]:
        """Histogram, places, and the mel pattern."""
        return pictures_of_card(self.histogram, self.places, self.mel, self.mel_seconds)

    def moments(self) -> Sequence[Moment]:
        """Top clips and near misses."""
        return [replace(each, says=f"{each.says}. {each.caption}") if each.caption else each for each in self.clips]

    def moment_curve(self, moment: Moment) -> Curve | None:
        """Activation over a clip; of a near miss its score before the gate, as far as it is above 0."""
        if not isinstance(moment, CardClip):
            return None
        values = np.array(moment.trace)
        lacks = moment.fires_from - float(values.max(initial=-np.inf)) if moment.near_miss else None
        at = (int(values.argmax()) + 0.5) / moment.rate if len(values) else None
        return Curve(np.maximum(values, 0), moment.rate, self.peak, at, lacks)


def _same(heard: Heard, text: str) -> str:
    return "the same" if text == heard.unsteered else text or "nothing"
