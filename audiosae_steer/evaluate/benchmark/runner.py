"""Texts of every arm for every clip, computed once and cached, so that an interrupted run resumes."""

from __future__ import annotations

import hashlib
import json
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...io.files import write_atomic
from ...io.progress import Tell
from ...models.families.whisper_mel import Pad, mel
from ...models.registry import fingerprint
from ..latency import Latency, measure_latency
from ..transcription.from_residuals import Written, encode, write
from ..transcription.vad import highest_probability
from .arms import STRICT, TIMED, UNTIMED, Arm, Masked, Mode, Steered
from .bench_clips import BenchClip, ClipGroup

BATCH = 16
"""Clips at once. If one of them is missing, all are decoded again, so that interruptions change nothing."""
UNSTEERED = Steered("unsteered", "unsteered")
REPEATS = 5
"""Timed passes of the encoder for a clip."""


class Runner:
    """Runs arms on clips, by way of a cache that several processes may share.

    Args:
        model: an openai-whisper model, unsteered.
        layer: the lowest encoder layer that any arm reads or edits.
        cache: folder for residuals (about 1 MB a clip) and texts.
        language: code; None lets a multilingual model detect it.
        progress: called with what is being done, how many are done, and how many there are.
    """

    def __init__(
        self, model: Any, layer: int, cache: Path, *, language: str | None = "en", progress: Tell | None = None
    ) -> None:
        self.model, self.layer, self.language = model, layer, language
        self.weights = (fingerprint(model) or "unknown")[:12]
        self.cache = Path(cache) / self.weights
        self.tell = progress or (lambda what, done, total: None)
        self._known: dict[Path, dict[str, Any]] = {}

    def written(
        self, arm: Arm, group: ClipGroup, mode: Mode, arms: Mapping[str, Arm], *, limit: int | None = None
    ) -> list[Written]:
        """The text of an arm for each clip.

        Args:
            arm: any.
            group: the clips.
            mode: padding and decoding.
            arms: by name, those that a mask takes texts and decisions from.
            limit: most tokens to write; None is Whisper's own, 224.
        """
        if isinstance(arm, Masked):
            texts = self.written(arms[arm.of], group, mode, arms, limit=limit)
            # a gate decides the same whether the text may be empty or not
            other = UNTIMED if arm.by == "opened" and mode is STRICT else mode
            read = self.written(arms[arm.reads], group, other, arms, limit=limit)
            speech = self.vad(group) if arm.by == "vad" else None
            return arm.mask(texts, arm.blanks(mode.name, read, speech))
        settings = f"{arm.key} {mode} {self.language} {self.layer} {limit}"
        name = hashlib.sha256(settings.encode()).hexdigest()[:10]
        path = self.cache / "written" / f"{group.name}.{mode.name}.{arm.name}.{name}.jsonl"
        found = self._rows(path)
        chunks = [group.clips[i : i + BATCH] for i in range(0, len(group.clips), BATCH)]
        missing = [chunk for chunk in chunks if any(clip.key not in found for clip in chunk)]
        for number, chunk in enumerate(missing):  # before the arm's hooks are on, which residuals would show
            self.tell(f"{group.name}, {mode.pad}: encoding", number, len(missing))
            self.residuals(chunk, mode.pad)
        with ExitStack() as stack:
            steering = stack.enter_context(arm.on(self.model, mode)) if missing else None
            what, total = f"{group.name}, {mode.name}: {arm.name}", sum(map(len, missing))
            for number, chunk in enumerate(missing):
                self.tell(what, number * BATCH, total)
                x = self.residuals(chunk, mode.pad)
                rows = write(
                    self.model, x, self.layer, steering=steering, timestamps=mode.timestamps, language=self.language,
                    limit=limit, clips=[s.samples() for s in chunk],
                )  # fmt: skip
                self._append(path, [(s.key, row._asdict()) for s, row in zip(chunk, rows, strict=True)])
                self.tell(what, min((number + 1) * BATCH, total), total)
        found = self._rows(path)
        return [_written(found[clip.key]) for clip in group.clips]

    def residuals(self, clips: Sequence[BenchClip], pad: Pad, layer: int | None = None) -> list[Tensor]:
        """Unsteered residuals (frames, d_model) of the clips; at the runner's layer unless another is given."""
        return encode(
            self.model, [s.samples() for s in clips], layer or self.layer, pad, cache=self.cache / "residuals",
            progress=False,
        )  # fmt: skip

    def vad(self, group: ClipGroup) -> list[float]:
        """Silero VAD's highest probability of speech in each clip."""
        path = self.cache / "written" / f"{group.name}.vad.jsonl"
        found = self._rows(path)
        for number, clip in enumerate(group.clips):
            if clip.key not in found:
                self.tell(f"{group.name}: VAD", number, len(group.clips))
                self._append(path, [(clip.key, {"speech": highest_probability(clip.samples())})])
        found = self._rows(path)
        self.tell(f"{group.name}: VAD", len(group.clips), len(group.clips))
        return [float(found[clip.key]["speech"]) for clip in group.clips]

    def latency(self, arm: Arm, clips: Sequence[BenchClip], arms: Mapping[str, Arm]) -> Latency | None:
        """An arm's own time as a share of the encoder's on the same clips; None if it takes none.

        Timed in turns with the encoder, on whatever machine this is; what a mask costs is what it has to run.
        """
        if isinstance(arm, Masked):
            own = self._timed("vad", lambda: self._vad_time(clips)) if arm.by == "vad" else None
            ran = arms[arm.reads] if arm.by == "opened" else arms[arm.of]
            return _added(own, self.latency(ran, clips, arms))
        if arm.layer is None:
            return None
        return self._timed(f"{arm.name}.{arm.key}", lambda: self._steering_time(arm, clips))

    def kept(self, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The JSON that `make` gives, made once and cached under that name."""
        path = self.cache / f"{name}.json"
        if not path.is_file():
            write_atomic(path, json.dumps(make()))
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found

    def _timed(self, name: str, make: Callable[[], list[float]]) -> Latency:
        def summary() -> dict[str, float]:
            ratios = make()
            return Latency(statistics.median(ratios), min(ratios), max(ratios))._asdict()

        return Latency(**self.kept(f"latency/{name}", summary))

    def _steering_time(self, arm: Steered, clips: Sequence[BenchClip]) -> list[float]:
        ratios = []
        for number, clip in enumerate(clips):
            self.tell(f"timing {arm.name}", number, len(clips))
            with arm.on(self.model, TIMED) as steering:
                if steering is not None:
                    found = measure_latency(self.model, steering, clip.samples(), lambda n, of: None, REPEATS)
                    ratios.append(found.share)
        self.tell(f"timing {arm.name}", len(clips), len(clips))
        return ratios

    def _vad_time(self, clips: Sequence[BenchClip]) -> list[float]:
        highest_probability(clips[0].samples())  # loads the model
        ratios = []
        for number, clip in enumerate(clips):
            self.tell("timing the VAD", number, len(clips))
            samples = clip.samples()
            spectrum = mel(self.model, [samples])
            pairs = []
            for _ in range(REPEATS):
                start = time.perf_counter()
                with torch.no_grad():
                    self.model.encoder(spectrum)
                middle = time.perf_counter()
                highest_probability(samples)
                pairs.append((time.perf_counter() - middle) / (middle - start))
            ratios.append(statistics.median(pairs))
        self.tell("timing the VAD", len(clips), len(clips))
        return ratios

    def _rows(self, path: Path) -> dict[str, Any]:
        """The file's rows by clip."""
        size = path.stat().st_size if path.is_file() else 0
        known = self._known.get(path)
        if known is not None and known["size"] == size:
            found: dict[str, Any] = known["rows"]
            return found
        found = {}
        lines = path.read_text(encoding="utf-8").splitlines() if size else []
        for line in lines:
            try:
                row = json.loads(line)
            except ValueError:  # cut short by an interruption: that clip is made again
                continue
            found[row.pop("clip")] = row
        self._known[path] = {"size": size, "rows": found}
        return found

    def _append(self, path: Path, rows: Sequence[tuple[str, dict[str, Any]]]) -> None:
        """Add rows in one write, so that the rows of two processes stay in one piece each."""
        path.parent.mkdir(parents=True, exist_ok=True)
        text = "".join(json.dumps({"clip": key, **row}) + "\n" for key, row in rows)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            if os.fstat(descriptor).st_size and not _ends_a_line(path):
                text = "\n" + text
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)


def _ends_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def _written(row: Mapping[str, Any]) -> Written:
    return Written(**{**row, "tokens": tuple(row["tokens"])})


def _added(first: Latency | None, second: Latency | None) -> Latency | None:
    if first is None or second is None:
        return first or second
    return Latency(first.share + second.share, first.low + second.low, first.high + second.high)
