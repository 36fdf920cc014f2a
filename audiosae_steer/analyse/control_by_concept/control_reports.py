"""Reports on control by concept: an edit's effect on the sound, on its target and off it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ...evaluate.drawing import GRID, MUTED
from ..frame.outcome import Outcome
from ..frame.presented import Figure, Picture, Table
from ..properties_of_frames.property_bins import UNITS, Bins
from .control_records import ControlPoint, Shift

COLOURS = {"edit": "#1f5fa8", "random": "#c9ced6", "means": "#8a94a3", "dsp": "#b3471e"}
NAMES = {"edit": "the edit", "random": "random direction", "means": "difference of means", "dsp": "signal processing"}


@dataclass(frozen=True, kw_only=True)
class ControlReport(Outcome):
    """Effect of an edit by concept on the sound, over several amounts."""

    TITLE: ClassVar[str] = "Control: what an edit by concept does to the sound"
    CLAIM: ClassVar[str] = (
        "Latents are edited towards a class of one property, decoded, and the sound's properties measured anew, by an "
        "engine that knows nothing of the map. An edit is only credited with what it has beyond a random direction of "
        "the same norm; the difference of class means needs no SAE, and signal processing shows what could be reached."
    )

    name: str
    """Property that is moved."""
    target: float
    """Value that it is moved to, in its unit."""
    bins: Bins
    """Classes of the property."""
    by_probe: bool
    """There was no decoder: the map itself was asked, on re-encoded latents."""
    clips: int
    frames: int
    at_target: float
    """Share of the frames that are in the target's class unedited."""
    points: tuple[ControlPoint, ...]

    def arm(self, name: str) -> tuple[ControlPoint, ...]:
        """Points of one way, in the order of the amounts."""
        return tuple(each for each in self.points if each.arm == name)

    @property
    def best(self) -> ControlPoint:
        """The edit's amount that reaches the class on most frames; the smaller of two."""
        return max(self.arm("edit"), key=lambda each: (each.reached, -abs(each.alpha)))

    def figures(self) -> Sequence[Figure]:
        """Share of frames at the target, beside the other ways at the same amount."""
        best = self.best
        around = "" if best.reached_interval is None else f" {best.reached_interval}"
        by = " by the map, not the sound" if self.by_probe else ""
        found = [
            Figure(f"{best.reached:.1%}", f"of frames reach {self._target()}{by} at α = {best.alpha:g}{around}; "
                   f"unedited {self.at_target:.1%}")
        ]  # fmt: skip
        for arm in ("random", "means", "dsp"):
            same = next((each for each in self.arm(arm) if each.alpha == best.alpha), None)
            if same is not None:
                found.append(Figure(f"{same.reached:.1%}", f"by {NAMES[arm]} at the same amount"))
        return found

    def tables(self) -> Sequence[Table]:
        """Every point, on target and off it."""
        others = [each.name for each in self.points[0].shifts[1:]]
        header = ("", "α", "at target", "95 %", f"{self.name}, change", "lost", *(f"{each}, change" for each in others),
                  "size", "distance", "clipped", "unchanged")  # fmt: skip
        rows = []
        for each in self.points:
            interval = "" if each.reached_interval is None else str(each.reached_interval)
            distance = "" if each.distance is None else f"{each.distance:.3f}"
            size, unchanged = ("", "") if each.arm == "dsp" else (f"{each.size:.3f}", f"{each.unchanged:.3f}")
            rows.append(
                (NAMES[each.arm], f"{each.alpha:g}", f"{each.reached:.3f}", interval, _changed(each.shifts[0]),
                 f"{each.shifts[0].lost:.3f}", *(_off_target(shift) for shift in each.shifts[1:]), size,
                 distance, f"{each.clipped:.4f}", unchanged)
            )  # fmt: skip
        unit = "octaves" if self.name == "centroid" and not self.bins.linear else UNITS[self.name]
        note = (
            f"Target {self._target()}. Change is the mean over frames, in {unit}; lost: frames that have the property "
            "no more. SD: standard deviations of the unedited sound's frames. Size: norm of the latents' change over "
            "theirs. Distance: squared, to the nearest of other latents, over their variance."
        )
        return [Table("Sweep", header, tuple(rows), note)]

    def pictures(self) -> Sequence[Picture]:
        """On target and off it, by amount."""
        return [
            Picture(
                "Sweep", f"Lines: share of frames at {self._target()}, change of {self.name}, and changes of the other "
                "properties by amount, for the edit and for what stands beside it",
                self._draw, width=9.0, height=3.6,
            )
        ]  # fmt: skip

    def _target(self) -> str:
        return f"{self.name} {self.target:g} {UNITS[self.name]}"

    def _draw(self, figure: Any) -> None:
        axes = figure.subplots(1, 3)
        for arm, colour in COLOURS.items():
            points = self.arm(arm)
            if not points:
                continue
            x = [each.alpha for each in points]
            off = [max((abs(s.deviations or 0) for s in each.shifts[1:]), default=0) for each in points]
            change = [float("nan") if each.shifts[0].change is None else each.shifts[0].change for each in points]
            lines = ([each.reached for each in points], change, off)
            for axis, values in zip(axes, lines, strict=True):
                axis.plot(x, values, "o-", color=colour, markersize=3,
                          linewidth=1.5, label=NAMES[arm] if axis is axes[0] else None)  # fmt: skip
        axes[0].axhline(self.at_target, color=MUTED, linewidth=0.8, linestyle=":")
        axes[0].set_ylim(-0.02, 1.02)
        for axis, words in zip(
            axes, ("frames at the target", f"change of {self.name}", "largest change off target, SD"), strict=True
        ):
            axis.set_xlabel("α")
            axis.set_title(words, fontsize=9, color=MUTED, loc="left")
            axis.grid(color=GRID, linewidth=0.8)
            axis.set_axisbelow(True)
        figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=8)


def _changed(shift: Shift) -> str:
    return "" if shift.change is None else f"{shift.change:+.2f}"


def _off_target(shift: Shift) -> str:
    return _changed(shift) + ("" if shift.deviations is None else f" ({shift.deviations:+.2f} SD)")
