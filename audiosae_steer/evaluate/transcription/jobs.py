"""Recordings that are named by files, folders and patterns, and the files that their transcripts go to."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ...data.audio import audio_files, is_audio
from ...errors import AudioError, SteeringError
from .subtitles import FORMATS
from .transcript_index import Content, foreign, read_index


class Recording(NamedTuple):
    """A file to transcribe."""

    path: Path
    below: Path
    """Its path below the folder or pattern that named it; of a file that was named itself, its name."""


class Job(NamedTuple):
    """A recording and its transcripts."""

    recording: Path
    missing: tuple[Path, ...]
    """Transcripts to write."""
    kept: tuple[Path, ...] = ()
    """Transcripts that are there already, and stay."""
    refusal: str | None = None
    """Reason why it is neither skipped nor transcribed: what is there is the transcript of another recording."""

    @property
    def is_done(self) -> bool:
        """True if every transcript is there already."""
        return bool(self.kept) and not self.missing and self.refusal is None

    @property
    def is_open(self) -> bool:
        """True if it is to be transcribed."""
        return not self.is_done and self.refusal is None


def find_recordings(sources: Sequence[str | Path]) -> list[Recording]:
    """Recordings of files, folders (with all audio below them) and patterns such as `calls/**/*.m4a`, each once.

    A file that is named itself is taken whatever it ends in, and may be missing as long as others are there.

    Raises:
        AudioError: a folder or pattern holds no audio, or there is no file at all.
    """
    found: list[Recording] = []
    for source in sources:
        path = Path(source)
        if path.is_dir():
            found += _below(path, path)
        elif glob.has_magic(str(source)) and not path.exists():
            found += _matching(str(source))
        else:
            found.append(Recording(path, Path(path.name)))
    once = list({recording.path.resolve(): recording for recording in reversed(found)}.values())[::-1]
    if not any(recording.path.is_file() for recording in once):
        raise AudioError(f"there is no audio file at {once[0].path}" if once else "no audio; name a file or a folder")
    return once


def _below(folder: Path, root: Path) -> list[Recording]:
    return [Recording(path, path.relative_to(root)) for path in audio_files(folder)]


def _matching(pattern: str) -> list[Recording]:
    parts = Path(pattern).parts
    fixed = next(n for n, part in enumerate(parts) if glob.has_magic(part))
    root = Path(*parts[:fixed])
    matches = [Path(match) for match in sorted(glob.glob(pattern, recursive=True))]
    found = [Recording(path, path.relative_to(root)) for path in matches if is_audio(path) and path.is_file()]
    for path in matches:
        if path.is_dir() and not path.name.startswith("."):
            found += [Recording(p, p.relative_to(root)) for p in sorted(path.iterdir()) if is_audio(p) and p.is_file()]
    if not found:
        other = f" among the {len(matches)} that match" if matches else ""
        raise AudioError(f"no audio file{other} at {pattern}; check the pattern")
    return found


def plan_jobs(
    recordings: Sequence[Recording], formats: Sequence[str], out: Path | None = None, *, overwrite: bool = False
) -> list[Job]:
    """The transcripts of recordings: beside them, or in `out`, in the folders that they have below what named them.

    `a.wav` is written to `a.srt`; if its folder holds `a.mp3` as well, both keep their endings, `a.wav.srt` and
    `a.mp3.srt`, whichever of them are transcribed now. A transcript that is there and was made of another recording,
    by the index in its folder, refuses its job (`Job.refusal`).

    Args:
        recordings: of `find_recordings`.
        formats: of `FORMATS`; none: nothing is written.
        out: a folder, which need not be there yet.
        overwrite: write transcripts again that are there.

    Raises:
        SteeringError: a format is unknown, `out` is given without one, or two transcripts would have one path.
    """
    check_formats(formats)
    if not formats:
        if out is not None:
            meant = f"; did you mean --format {out}?" if str(out) in FORMATS else ""
            raise SteeringError(f"--out needs a format as well: --format {'|'.join(FORMATS)}{meant}")
        return [Job(recording.path, ()) for recording in recordings]
    stems = _stems(recordings)
    taken: dict[Path, Path] = {}
    indexes: dict[Path, dict[str, Content]] = {}
    jobs = []
    for (path, below), stem in zip(recordings, stems, strict=True):
        folder = path.parent if out is None else out / below.parent
        targets = [folder / f"{stem}.{form}" for form in dict.fromkeys(formats)]
        other = taken.setdefault(targets[0], path)
        if other != path:
            raise SteeringError(
                f"{other} and {path} would both be written to {targets[0]}; name the folder that holds both, or "
                "transcribe them apart"
            )
        kept = [target for target in targets if target.is_file() and not overwrite]
        if kept and folder not in indexes:
            indexes[folder] = read_index(folder)
        refusal = foreign(path, kept, indexes[folder]) if kept else None
        jobs.append(Job(path, tuple(target for target in targets if target not in kept), tuple(kept), refusal))
    return jobs


def check_formats(formats: Sequence[str]) -> None:
    """Refuse a format that is not written.

    Raises:
        SteeringError: a format is unknown.
    """
    for form in formats:
        if form not in FORMATS:
            raise SteeringError(
                f"--format {form} is not a format that is written; expected one of {', '.join(FORMATS)}"
            )


def _stems(recordings: Sequence[Recording]) -> list[str]:
    """Names of transcripts without their endings: the recording's, with its own ending where others bear its name."""
    folders = {recording.path.parent for recording in recordings}
    files = {path for folder in folders if folder.is_dir() for path in folder.iterdir() if is_audio(path)}
    files |= {recording.path for recording in recordings}
    beside = Counter((path.parent, path.stem.casefold()) for path in files)
    below = Counter((each.below.parent, each.below.stem.casefold()) for each in recordings)
    return [
        path.name
        if beside[path.parent, path.stem.casefold()] > 1 or below[under.parent, under.stem.casefold()] > 1
        else path.stem
        for path, under in recordings
    ]
