"""Files of the benchmark's results: `table.md` with its tables, `false-speech.json` with every figure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ...io.files import write_atomic
from ..latency import Latency
from ..metrics.rates import Share
from ..metrics.wer import Difference
from .arms import LABELS
from .beams import beam_table
from .mixed_run import mixed_table
from .results import (
    ArmResult,
    BenchResults,
    ClipsInfo,
    Interval,
    LongFileInfo,
    LongResult,
    RandomDraws,
    SpeechResult,
    to_json,
)

MODES = {
    "timed": "With timestamps, as `whisper.transcribe` does by default",
    "untimed": "Without timestamps, an empty text allowed in every arm",
    "untimed-strict": "Without timestamps, as Whisper does it: an empty text is forbidden, only masks write nothing",
}

MIXED_NOTE = (
    "Utterances with exact times alternate with gaps of 1 to 15 s of silence and of the sounds without speech, which "
    "go on under the speech that follows; `whisper.transcribe` as it comes. The controls: the same speech with its "
    "gaps silent, and cut out. *Change*: points of WER against unsteered; *inserted*, *lost*: words in % of those "
    "said; *in gaps*: words written where nothing is said; *per minute of gap*: inserted words beyond those of the "
    "control with silent gaps; *at edges*: words lost within 0.5 s of a gap's edge; *time*: of the processor, beside "
    "unsteered."
)
BEAM_NOTE = (
    "The first 30 s of each clip as each library's own functions decode it: temperature 0, no fallback, Whisper's own "
    "filters off; transformers' pipeline and faster-whisper as they come take five beams. *WER* and its change in "
    "points against the unsteered model decoded in the same way: loops capped. *Lost*: clips with speech that are left "
    "without text."
)


def write_report(found: BenchResults, out: Path) -> list[Path]:
    """Write `false-speech.json`, `table.md`, and `front.png` if clips were measured, into a folder; their paths.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    out.mkdir(parents=True, exist_ok=True)
    paths = [out / "false-speech.json", out / "table.md"]
    write_atomic(paths[0], json.dumps(to_json(found), indent=1, ensure_ascii=False) + "\n")
    write_atomic(paths[1], tables(found))
    if found.clips:
        from .plot import draw_front

        paths.append(draw_front(found, out / "front.png"))
    return paths


def tables(found: BenchResults) -> str:
    """All results as Markdown."""
    parts = [_head(found)]
    for mode in found.clips or ():
        parts.append(f"## Clips: {MODES[mode][0].lower()}{MODES[mode][1:]}\n\n{_clips(found, mode)}")
    if found.latency:
        parts.append(f"## Latency\n\n{_latency(found, found.latency)}")
    for title, by_mode in (("Speech in noise", found.mixtures), ("Hard speech", found.hard)):
        for mode, kinds in (by_mode or {}).items():
            parts.append(f"## {title}: {MODES[mode][0].lower()}{MODES[mode][1:]}\n\n{_speech(found, kinds)}")
    if found.long is not None:
        for how, arms in (
            ("`whisper.transcribe`", found.long.transcribe),
            ("transformers' pipeline, chunks of 30 s", found.long.pipeline),
        ):
            if arms:
                parts.append(f"## Long files: {how}\n\n{_long(found, found.long.files, arms)}")
    if found.mixed:
        parts.append(f"## Windows with speech and noise\n\n{MIXED_NOTE}\n\n{mixed_table(found.mixed)}")
    if found.beams:
        parts.append(f"## Beams\n\n{BEAM_NOTE}\n\n{beam_table(found.beams)}")
    if found.left_out:
        lines = [f"- {LABELS.get(name, name)}: {why}" for name, why in found.left_out.items()]
        parts.append("## Left out\n\n" + "\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _head(found: BenchResults) -> str:
    data = found.data
    absent, present = data["absent"], data["present"]
    lines = [
        f"# False speech: {found.model}, recipe {found.recipe}",
        "",
        f"- {absent.clips} clips without speech ({absent.minutes:.1f} min: {_sources(absent)})",
        f"- {present.clips} clips with speech ({present.minutes:.1f} min, {present.with_text} "
        f"with an exact text: {_sources(present)})",
    ]
    if "find_absent" in data:
        lines.append(
            f"- fits and thresholds: {data['find_absent'].clips} and {data['find_present'].clips} other clips; "
            f"tuned gates may blank {found.settings.budget:.1%} of those with speech"
        )
    tokens = found.settings.noise_tokens
    if tokens:
        lines.append(f"- texts of clips without speech are cut off after {tokens} tokens")
    versions = ", ".join(f"{name} {number}" for name, number in found.versions.items() if number)
    lines += [
        f"- {found.machine.processor}, {found.machine.threads} thread(s); {versions}",
        "",
        "Greedy decoding, the first 30 s of each clip. *Text*: share of the clips without speech for which anything is "
        "written, Whisper's own filters off, and on; *less text*: by which part it is rarer than with the unsteered "
        "model; *words*: more than punctuation; *detected*: `no_speech_prob` < 0.5, the papers' measure. "
        "*WER*: Whisper's English normaliser, filters off; its change in points against the "
        "unsteered model of the same table, and with at most as many errors for an utterance as it has words, so that "
        "one on which decoding loops counts as lost and no more. *Blanked*: clips with speech that are left without "
        "text, and how many of them the unsteered model gave some. 95 % intervals in brackets: Wilson's for shares, "
        "bootstrap over clips for rates, paired for changes. Bold: the operating point of each arm.",
    ]
    return "\n".join(lines)


def _clips(found: BenchResults, mode: str) -> str:
    head = ["arm", "text", "less text", "filters on", "words", "detected", "words/min"]
    head += ["WER", "change", "change, loops capped", "deletions", "blanked"]
    lines = [_arm(found, name, row) for name, row in (found.clips or {})[mode].items()]
    if mode in found.random:
        lines.append(_random(found.random[mode], found.settings.random_clips))
    return _table(head, lines)


def _arm(found: BenchResults, name: str, row: ArmResult) -> list[str]:
    noise, speech, wer = row.noise, row.speech, row.speech.wer
    own = name != "unsteered"
    errors = ["–"] * 4
    if wer is not None:
        deletions = f"{wer.new_deletions:+d}" if own else str(wer.deletions)
        errors = [f"{wer.value:.2%}", _change(wer.change, name), _change(wer.capped_change, name), deletions]
    return [
        _name(found, name),
        _share(noise.text.after),
        _less(noise.text.reduction, name),
        _percent(noise.filtered.after),
        _percent(noise.words.after),
        _percent(noise.detected.after),
        f"{noise.words_per_minute.value:.1f}",
        *errors,
        f"{speech.blanked.hits} ({speech.new} new)" if own else f"{speech.blanked.hits}",
    ]


def _random(row: RandomDraws, clips: int) -> list[str]:
    mean, low, high = row.text
    changes = [
        "–" if change is None else "{:+.2f} [{:+.2f} to {:+.2f}]".format(*(100 * value for value in change))
        for change in (row.wer_change, row.capped_change)
    ]
    blanked = "{} to {}".format(*row.blanked)
    label = f"{LABELS['random']}: mean and range of {row.draws} draws, on {clips} + {clips} clips"
    return [label, f"{mean:.1%} [{low:.1%} to {high:.1%}]", *["–"] * 6, *changes, "–", blanked]


def _speech(found: BenchResults, kinds: dict[str, dict[str, SpeechResult]]) -> str:
    names = list(dict.fromkeys(name for rows in kinds.values() for name in rows))
    head = ["arm"]
    for kind, rows in kinds.items():
        clips = next(iter(rows.values())).clips
        head += [f"{kind}: WER, loops capped", f"blanked of {clips}"]
    lines = []
    for name in names:
        cells = []
        for rows in kinds.values():
            row = rows[name]
            wer = row.wer
            change = "" if wer is None or name == "unsteered" else f" ({100 * wer.capped_change.value:+.2f})"
            new = "" if name == "unsteered" else f" ({row.new} new)"
            cells += ["–" if wer is None else f"{wer.capped:.2%}{change}", f"{row.blanked.hits}{new}"]
        lines.append([_name(found, name), *cells])
    return _table(head, lines)


def _long(found: BenchResults, recordings: Sequence[LongFileInfo], rows: dict[str, LongResult]) -> str:
    first = next(iter(rows.values()))
    files = recordings[: first.files]
    head = ["arm", "words/min of gap", "change", "loops", "WER, all", "WER, speech", "change", "deletions", "drift, s"]
    lines = []
    for name, row in rows.items():
        before = first.words_per_minute.value
        value, low, high = row.words_per_minute
        lines.append(
            [
                _name(found, name),
                f"{value:.2f} [{low:.2f} to {high:.2f}]" if len(files) > 1 else f"{value:.2f}",
                "" if name == "unsteered" or not before else f"{value / before - 1:+.1%}",
                str(row.loops),
                f"{row.wer:.2%}",
                f"{row.speech.value:.2%}",
                _change(row.speech.change, name),
                f"{row.speech.deletions}",
                "–" if row.drift is None else f"{row.drift:.2f} (95 %: {row.drift_95:.2f})",
            ]
        )
    minutes = sum(file.minutes for file in files)
    kinds = ", ".join(sorted({kind for file in files for kind in file.kinds}))
    note = (
        f"{len(files)} recordings, {minutes:.1f} min, {first.gap_minutes:.1f} of them gaps ({kinds}); words per "
        "minute with the range over recordings; Silero VAD as `vad_filter=True` cuts the recording."
    )
    return f"{note}\n\n{_table(head, lines)}"


def _latency(found: BenchResults, latency: dict[str, Latency | None]) -> str:
    lines = [
        [_name(found, name), f"{row.share:.2%}", f"{row.low:.2%} to {row.high:.2%}"]
        for name, row in latency.items()
        if row is not None
    ]
    if not lines:
        return "No arm takes time of its own."
    note = (
        "An arm's own time as a share of the encoder's on the same clip, timed in turns: what its hooks take, or the "
        "VAD clip by clip. What is not listed has no part in the encoder: thresholds take no time, and what is added "
        "in the decoder was not timed."
    )
    return f"{note}\n\n{_table(['arm', 'share of the encoder', 'range'], lines)}"


def _name(found: BenchResults, name: str) -> str:
    arm = found.arms[name]
    several = sum(other.curve == arm.curve for other in found.arms.values()) > 1
    return f"**{arm.label}**" if several and arm.marked else arm.label


def _share(share: Share) -> str:
    return f"{_percent(share)} [{share.low:.1%}, {share.high:.1%}]"


def _less(reduction: Interval | None, name: str) -> str:
    if name == "unsteered" or reduction is None:
        return ""
    return "{:.1%} [{:.1%}, {:.1%}]".format(*reduction)


def _percent(share: Share) -> str:
    return f"{share.hits / max(share.clips, 1):.1%}"


def _change(change: Difference, name: str) -> str:
    return "" if name == "unsteered" else "{:+.2f} [{:+.2f}, {:+.2f}]".format(*(100 * value for value in change))


def _sources(described: ClipsInfo) -> str:
    names = list(described.sources)
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [head, ["---", *["---:"] * (len(head) - 1)], *lines]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)
