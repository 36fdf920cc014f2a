"""Tables of a card: figures that the benchmark measured, by mode and arm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..evaluate.benchmark.report import MODES
from ..evaluate.benchmark.results import BenchResults
from ..evaluate.metrics.rates import Share, share
from ..evaluate.metrics.wer import Difference
from ..steering.recipes.schema import Recipe

ARMS = {
    "unsteered": "unsteered",
    "contrast-1": "by contrast, ungated",
    "learned-1": "{ungated}",
    "clip-gated": "behind the clip gate alone",
    "frame-gated": "behind the frame gate alone",
    "both-gated": "behind both gates",
    "gate-alone": "the gate alone: no text where it opens",
    "vad-0.5": "Silero VAD",
}
"""Arms of the benchmark that a card shows, with their labels."""
ON_TEST = "On the clips to test, which nothing was found or chosen on. Intervals are 95 %."
MOST_CLIPS = 10_000_000
"""Clips above which a recorded share is not believed: its interval is computed from a list of that length."""


class MeasuredRow(NamedTuple):
    """Figures of one arm in one mode of decoding."""

    text: Share
    """Share of the clips without speech with text, Whisper's filters off."""
    filtered: Share
    """The same share with the filters on."""
    wer: float | None
    """Word error rate on speech; None if no reference text is known."""
    change: Difference | None
    """Change of the word error rate against the unsteered model."""
    new: int
    """Clips with speech that are blanked, and are not by the unsteered model."""
    clips: int
    """Clips with speech."""


def measured_rows(found: BenchResults) -> dict[str, dict[str, MeasuredRow]]:
    """Rows of the benchmark's results, by mode and arm."""
    return {
        mode: {
            arm: MeasuredRow(
                row.noise.text.after,
                row.noise.filtered.after,
                None if row.speech.wer is None else row.speech.wer.value,
                None if row.speech.wer is None else row.speech.wer.change,
                row.speech.new,
                row.speech.clips,
            )
            for arm, row in arms.items()
        }
        for mode, arms in (found.clips or {}).items()
    }


def recorded_rows(test: Any) -> dict[str, dict[str, MeasuredRow]] | None:
    """Rows of a test as `make` records it in a recipe, by mode and arm; None for a record of another form."""
    if not isinstance(test, Mapping) or not test or not set(test) <= set(MODES):
        return None
    try:
        return {mode: {arm: _recorded_row(row) for arm, row in rows.items()} for mode, rows in test.items()}
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _recorded_row(row: Mapping[str, Any]) -> MeasuredRow:
    wer, change = None, None
    if "wer" in row:
        value, low, high = (float(number) / 100 for number in row["wer_change"])
        wer, change = float(row["wer"]) / 100, Difference(value, low, high)
    new, clips = row["blanked"]
    text, filtered = _recorded_share(*row["text"]), _recorded_share(*row["text_filters_on"])
    return MeasuredRow(text, filtered, wer, change, int(new), int(clips))


def _recorded_share(hits: int, clips: int) -> Share:
    if not 0 <= hits <= clips < MOST_CLIPS:
        raise ValueError("not a share")
    return share([True] * hits + [False] * (clips - hits))


def measured_table(mode: str, rows: Mapping[str, MeasuredRow], recipe: Recipe, bare: str) -> str:
    """Figures of one mode of decoding as a Markdown table, a row for each arm of `ARMS` that was measured.

    Args:
        mode: decoding mode, of `MODES`.
        rows: figures by arm.
        recipe: recipe whose row is marked.
        bare: label of the edits without gates.
    """
    lines = [
        f"{MODES[mode]}:",
        "",
        "| | text without speech | with Whisper's filters | WER on speech | change, points | speech lost |",
        "|---|---|---|---|---|---|",
    ]
    for arm, label in ARMS.items():
        if arm in rows:
            own = f" (`{recipe.name}`)" if arm == arm_of(recipe) else ""
            lines.append(_table_row(label.format(ungated=bare) + own, rows[arm]))
    return "\n".join(lines)


def arm_of(recipe: Recipe) -> str:
    """Arm of the benchmark that a recipe is, by its gates."""
    clip, frame = recipe.gate is not None, recipe.frame_gate is not None
    return "both-gated" if clip and frame else "clip-gated" if clip else "frame-gated" if frame else "learned-1"


def _table_row(label: str, row: MeasuredRow) -> str:
    cells = [_share(row.text), _share(row.filtered)]
    if row.wer is None or row.change is None:
        cells += ["–", "–"]
    else:
        value, low, high = (100 * number for number in row.change)
        cells += [f"{row.wer:.2%}", f"{value:+.2f} [{low:+.2f}, {high:+.2f}]"]
    return f"| {label} | {' | '.join(cells)} | {row.new} of {row.clips} |"


def _share(share: Share) -> str:
    return f"{share.hits} of {share.clips} [{share.low:.1%}, {share.high:.1%}]"
