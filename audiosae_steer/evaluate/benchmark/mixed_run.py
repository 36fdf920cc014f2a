"""The mixed part of the benchmark: arms on windows and recordings of speech and noise, cached, and their table."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from time import process_time
from typing import Any

import torch

from ...data.audio import SAMPLE_RATE
from ...errors import SteeringError
from ...io.files import write_atomic
from ...io.progress import Tell
from ...models.registry import fingerprint
from ..metrics.wer import WordErrors, rate_difference
from ..transcription.transcribe import Segment, Transcript, is_multilingual, transcribe_batch
from ..transcription.vad import transcribe_with_vad
from .long_recordings import LongFile
from .mixed_arms import MixedArm
from .mixed_recordings import MixedFile
from .mixed_score import MixedScore, score_mixed
from .results import MixedRow


def run_mixed(
    model: Any, files: Sequence[MixedFile], arms: Sequence[MixedArm], cache: Path, *, processor: Any = None,
    pipeline: bool = False, tell: Tell = lambda what, done, total: None,
) -> list[MixedRow]:  # fmt: skip
    """Transcribe every file in every arm, and score it. Interrupted, it resumes.

    Args:
        model: a Whisper of either library, unsteered.
        files: recordings with their controls.
        arms: the first is what the others are compared with.
        cache: folder for transcripts; several processes may share it.
        processor: transformers' `WhisperProcessor`; needed for its models.
        pipeline: call a transformers model by its pipeline with timestamps, as it comes but for the number of beams.
        tell: called with what is being done, how many are done, and how many there are.
    """
    weights = (fingerprint(model) or "unknown")[:12]
    library = "openai" if hasattr(model, "dims") else "pipeline" if pipeline else "transformers"
    write = _piped if pipeline else _transcribed
    scores: dict[str, list[MixedScore]] = {}
    seconds: dict[str, float] = {}
    for arm in arms:
        folder = Path(cache) / weights / "mixed" / f"{library}-{arm.key}"
        own: list[LongFile] = [getattr(each, arm.variant) for each in files]
        missing = [file for file in own if not _path(folder, file).is_file()]
        if missing:
            folder.mkdir(parents=True, exist_ok=True)
            with arm.on(model):
                for number, file in enumerate(missing):
                    tell(arm.name, number, len(missing))
                    write_atomic(_path(folder, file), json.dumps(write(model, file, arm, processor)))
            tell(arm.name, len(missing), len(missing))
        rows = [json.loads(_path(folder, file).read_text(encoding="utf-8")) for file in own]
        scores[arm.name] = [score_mixed(_transcript(row), file) for row, file in zip(rows, own, strict=True)]
        seconds[arm.name] = sum(row["seconds"] for row in rows)
    control = next((arm.name for arm in arms if arm.variant == "silent"), None)
    return [_row(arm, scores, control, scores[arms[0].name], seconds[arm.name]) for arm in arms]


def _transcribed(model: Any, file: LongFile, arm: MixedArm, processor: Any) -> dict[str, Any]:
    torch.manual_seed(0)  # fallbacks draw tokens
    began = process_time()
    if arm.vad:
        found = transcribe_with_vad(model, file.samples, decoding=arm.decoding, processor=processor)
    else:
        (found,) = transcribe_batch(model, [file.samples], arm.decoding, processor=processor)
    return {"segments": [[s.start, s.end, s.text] for s in found.segments], "seconds": process_time() - began}


def _piped(model: Any, file: LongFile, arm: MixedArm, processor: Any) -> dict[str, Any]:
    from transformers import pipeline

    if arm.vad:
        raise SteeringError(f"the arm {arm.name!r} cuts the recording, which a pipeline does not do; leave it out")
    pipe: Any = pipeline(
        "automatic-speech-recognition", model=model, tokenizer=processor.tokenizer,
        feature_extractor=processor.feature_extractor,
    )  # fmt: skip
    torch.manual_seed(0)
    options: dict[str, Any] = {"num_beams": arm.decoding.beam_size}
    if is_multilingual(model):
        options |= {"language": arm.decoding.language, "task": "transcribe"}
    began = process_time()
    sound = {"raw": file.samples, "sampling_rate": SAMPLE_RATE}
    chunks = pipe(sound, return_timestamps=True, generate_kwargs=options)["chunks"]
    seconds = process_time() - began
    times = [(each["timestamp"][0] or 0.0, each["timestamp"][1] or file.seconds) for each in chunks]
    segments = [[*time, each["text"]] for time, each in zip(times, chunks, strict=True)]
    return {"segments": segments, "seconds": seconds}


def _transcript(row: dict[str, Any]) -> Transcript:
    return Transcript.of([Segment(float(start), float(end), text) for start, end, text in row["segments"]], "en")


def _path(folder: Path, file: LongFile) -> Path:
    return folder / f"{hashlib.sha256(file.samples.tobytes()).hexdigest()[:16]}.json"


def _row(
    arm: MixedArm, scores: dict[str, list[MixedScore]], control: str | None, first: Sequence[MixedScore], seconds: float
) -> MixedRow:
    own = scores[arm.name]
    words = max(sum(score.words for score in own), 1)
    minutes = sum(score.gap_seconds for score in first) / 60
    inserted = sum(score.inserted for score in own)
    beyond = inserted - (sum(score.inserted for score in scores[control]) if control is not None else 0)
    drifts = [score.drift for score in own if score.drift == score.drift]
    return MixedRow(
        name=arm.name,
        files=len(own),
        wer=sum(score.errors for score in own) / words,
        change=rate_difference(_errors(first), _errors(own)),
        capped=sum(score.capped for score in own) / words,
        inserted=inserted / words,
        deleted=sum(score.deleted for score in own) / words,
        substituted=sum(score.substituted for score in own) / words,
        twice=sum(score.twice for score in own),
        inserted_per_minute=beyond / max(minutes, 1e-9),
        edge=(sum(score.edge for score in own), sum(score.edge_words for score in own)),
        elsewhere=sum(score.deleted - score.edge for score in own),
        loops=sum(score.loops for score in own),
        drift=sum(drifts) / len(drifts) if drifts else None,
        seconds=seconds,
        gap_words=sum(score.gap_words for score in own),
    )


def _errors(scores: Sequence[MixedScore]) -> WordErrors:
    return WordErrors(
        tuple(score.errors for score in scores),
        tuple(score.words for score in scores),
        sum(score.deleted for score in scores),
    )


def mixed_table(rows: Sequence[MixedRow]) -> str:
    """Markdown: an arm a line."""
    heads = ("WER", "change, points [95 %]", "inserted", "lost", "twice", "in gaps", "per minute of gap", "at edges",
             "loops", "time")  # fmt: skip
    lines = [f"| | {' | '.join(heads)} |", f"|{'---|' * (len(heads) + 1)}"]
    for row in rows:
        value, low, high = (100 * each for each in row.change)
        change = "–" if row is rows[0] else f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"
        in_gaps = "–" if row.gap_words is None else row.gap_words
        lines.append(
            f"| {row.name} | {row.wer:.1%} | {change} | {row.inserted:.1%} | {row.deleted:.1%} | {row.twice} | "
            f"{in_gaps} | {row.inserted_per_minute:+.2f} | {row.edge[0]} of {row.edge[1]} | {row.loops} | "
            f"{row.seconds / max(rows[0].seconds, 1e-9):.2f} |"
        )
    return "\n".join(lines)
