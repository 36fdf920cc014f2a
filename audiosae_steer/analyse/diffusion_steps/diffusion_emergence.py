"""Properties along a diffusion's steps, as `emergence` has found them.

Learning interpretable features in audio latent spaces (arXiv 2510.23802), section on generation: the change of a
probe's probabilities on X_t, over that up to the end. Beside that: predictions of the end, a straight line, shares of
frames that agree, settling with intervals, and chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..frame.intervals import group_counts
from ..frame.outcome import Outcome
from ..frame.presented import Figure, Picture, Table
from .emergence_pictures import pictures_of
from .emergence_records import Ordering, PropertyEmergence, Settling, StepFit
from .step_measures import Numbers, settling

LISTED = 9
"""Steps in the tables."""


@dataclass(frozen=True, kw_only=True)
class Emergence(Outcome):
    """Properties along the steps of a diffusion."""

    TITLE: ClassVar[str] = "Emergence: when properties show along a diffusion"
    CLAIM: ClassVar[str] = (
        "A property has settled when the likeliest class of most frames is that of the final latents and stays so. "
        "Read are the states themselves, the latents that the flow heads for at each step (predicted), and a straight "
        "line from the noise to the end: a curve of the states alone shows when the probe can read through noise, and "
        "only its lead over the line is the model's."
    )

    times: tuple[float, ...]
    """(T + 1,) times of the states."""
    frames: tuple[int, ...]
    """Frames of each prompt or song, by name."""
    properties: tuple[PropertyEmergence, ...]
    fits: tuple[StepFit, ...] = ()
    """Fit of the SAE at each step, where it was given."""

    def of(self, name: str) -> PropertyEmergence:
        """A property. KeyError: there is none of that name."""
        return {each.name: each for each in self.properties}[name]

    @property
    def headline(self) -> str:
        """The reading to go by: predicted, or of residuals of a block the state."""
        return "predicted" if any(c.reading == "predicted" for c in self.properties[0].curves) else "state"

    def settled(self, name: str, q: float | None = None, reading: str | None = None) -> Settling:
        """Step from which a property stays as it ends.

        The last step is the end itself, and so is Euler's prediction at the step before: what agrees only there has
        never settled.

        Args:
            name: the property.
            q: share of frames that has to agree; None: the setting `quorum`.
            reading: `state`, `predicted` or `line`; None: the headline's.

        Raises:
            KeyError: there is no such property or reading.
        """
        own = self.of(name)
        reading = reading or self.headline
        shares, seen = self._shares(own, reading)
        quorum = self._quorum if q is None else q
        points = self._end(reading)
        if not own.changes:
            return Settling(None, None, (None, None), None, 1.0)
        first = int(settling(seen, quorum))
        if shares is None:
            return Settling(None, None, (None, None), first if first < points else None, 1.0)
        bound = int(settling(np.quantile(shares, 0.025, axis=0), quorum))
        drawn = settling(shares, quorum).clip(max=points)
        low, high = (int(each) for each in np.quantile(drawn, [0.025, 0.975], method="nearest"))
        return Settling(
            bound if bound < points else None,
            self.times[bound] if bound < points else None,
            (low if low < points else None, high if high < points else None),
            first if first < points else None,
            float((drawn == points).mean()),
        )

    def order(self, first: str, second: str, q: float | None = None, reading: str | None = None) -> Ordering:
        """Order in which two properties settle, in the same draws of clips.

        Args:
            first: a property.
            second: another.
            q: share of frames that has to agree; None: the setting `quorum`.
            reading: None: the headline's.

        Raises:
            KeyError: there is no such property or reading.
        """
        quorum = self._quorum if q is None else q
        reading = reading or self.headline
        points = self._end(reading)
        drawn, seen = [], []
        for name in (first, second):
            own = self.of(name)
            shares, share = self._shares(own, reading)
            steps = settling(share[None] if shares is None else shares, quorum).clip(max=points)
            drawn.append(steps if own.changes else np.full_like(steps, points))
            seen.append(min(int(settling(share, quorum)), points) if own.changes else points)
        both = (drawn[0] < points) & (drawn[1] < points)
        gap = (drawn[1] - drawn[0])[both]
        interval = None
        if len(gap) and len(self.frames) > 1:
            low, high = np.quantile(gap, [0.025, 0.975], method="nearest")
            interval = (int(low), int(high))
        return Ordering(
            first,
            second,
            seen[1] - seen[0] if max(seen) < points else None,
            interval,
            float((drawn[0] < drawn[1]).mean()),
            float((drawn[0] > drawn[1]).mean()),
        )

    def _end(self, reading: str) -> int:
        """First step that agrees because it is the end itself: the last, and for Euler's predictions the one before."""
        return len(self.times) - 1 - (reading == "predicted")

    @property
    def _quorum(self) -> float:
        return float(self.provenance.settings.get("quorum", 0.9))

    def _shares(self, own: PropertyEmergence, reading: str) -> tuple[Numbers | None, Numbers]:
        """Shares that agree: of each draw (draws, T + 1), None of one group; and of all (T + 1,)."""
        counts = np.array(own.curve(reading).agreeing, float)
        frames = np.array(self.frames, float)
        seen: Numbers = counts.sum(1) / frames.sum()
        if len(frames) < 2:
            return None, seen
        settings = self.provenance.settings
        drawn = group_counts(len(frames), draws=int(settings.get("draws", 1000)), seed=self.provenance.seed)
        return (drawn @ counts.T) / (drawn @ frames)[:, None], seen

    def figures(self) -> Sequence[Figure]:
        """Settling steps by the headline's reading, and the largest lead of the states over the line."""
        found = []
        for each in self.properties:
            settled = self.settled(each.name)
            at = "never" if settled.step is None else f"step {settled.step}"
            state, line = (_word(self.settled(each.name, reading=name).step) for name in ("state", "line"))
            says = f"{each.name} settles, {self.headline}; by the states {state}, on the line {line}"
            found.append(Figure(at if each.changes else "no change", says))
            lead = max(each.lead, key=lambda point: point.agree)
            around = "" if lead.agree_interval is None else f" {lead.agree_interval}"
            says = f"of the frames more agree than on the line, {each.name} at step {lead.step}{around}"
            found.append(Figure(f"{lead.agree:+.1%}", says))
        return found

    def tables(self) -> Sequence[Table]:
        """Settling of each property by each reading, their order, some of the steps, and the SAE's fit."""
        return [each for each in (self._settling(), self._orders(), self._steps(), self._fit()) if each.rows]

    def _settling(self) -> Table:
        rows = []
        for each in self.properties:
            for curve in each.curves:
                found = self.settled(each.name, reading=curve.reading)
                last = curve.points[-1].chance
                rows.append(
                    (
                        f"{each.name}: {curve.reading}",
                        _word(found.step),
                        "" if found.time is None else f"{found.time:.3f}",
                        f"{_word(found.interval[0])} to {_word(found.interval[1])}",
                        f"{found.never:.2f}",
                        f"{curve.points[0].agree:.3f}",
                        "" if last is None else f"{last:.3f}",
                    )
                )
        header = ("", "settled", "t", "95 %", "draws never", "agree at 0", "chance")
        note = (
            f"Settled: the first step from which the lower 95 % bound of the share that agrees stays at "
            f"{self._quorum:g} or above. Chance: frames whose final class is that of other clips."
        )
        return Table(f"Settling over {len(self.times) - 1} steps", header, tuple(rows), note)

    def _orders(self) -> Table:
        names = [each.name for each in self.properties]
        rows = []
        for at, first in enumerate(names):
            for second in names[at + 1 :]:
                found = self.order(first, second)
                gap = "" if found.interval is None else f"{found.interval[0]} to {found.interval[1]}"
                cells = (_word(found.difference), gap, f"{found.before:.3f}", f"{found.after:.3f}")
                rows.append((f"{first}, {second}", *cells))
        header = ("", "steps later", "95 %", "first before", "first after")
        return Table(f"Order, {self.headline}", header, tuple(rows), "Shares of draws of clips.")

    def _steps(self) -> Table:
        chosen = np.unique(np.linspace(0, len(self.times) - 1, LISTED).round().astype(int))
        rows = []
        for each in self.properties:
            for step in chosen:
                points = {curve.reading: curve.points[step] for curve in each.curves}
                cells = []
                for reading in ("predicted", "state", "line"):
                    point = points.get(reading)
                    cells += ["", ""] if point is None else [f"{point.agree:.3f}", _number(point.tv)]
                paper = _number(points["state"].paper)
                rows.append((f"{each.name} {step} (t {self.times[step]:.2f})", *cells, paper))
        header = ("", "predicted: agree", "tv", "state: agree", "tv", "line: agree", "tv", "paper's, state")
        note = " ".join(
            f"{each.name}: total variation {each.change:.3f} from noise to the end, {each.terms:.1%} of the terms kept "
            "for the paper's measure."
            for each in self.properties
        )
        return Table("Steps", header, tuple(rows), note)

    def _fit(self) -> Table:
        chosen = np.unique(np.linspace(0, len(self.times) - 1, LISTED).round().astype(int))
        fits = [self.fits[i] for i in chosen] if self.fits else []
        rows = tuple((str(f.step), f"{f.state:.3f}", _number(f.predicted), f"{f.line:.3f}") for f in fits)
        note = "Fraction of variance that the SAE leaves unexplained: where it is high, so is what the map reads wrong."
        return Table("Fit of the SAE", ("step", "state", "predicted", "line"), rows, note)

    def pictures(self) -> Sequence[Picture]:
        """Share of frames that agree over time, by each reading, and the lead over the line."""
        return pictures_of(self.properties, self._quorum)


def _word(step: int | None) -> str:
    return "never" if step is None else str(step)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
