"""Training audio as files; clips of a data set of the Hub are written to FLAC files first."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from ..data.audio import SAMPLE_RATE
from ..io.progress import track


def as_files(
    sources: Sequence[str | Path], folder: Path, *, most: int | None = None, seed: int = 0, progress: bool = True
) -> tuple[list[Path], list[str]]:
    """Paths of the sources, where a data set of the Hub becomes a folder of FLAC files; and the sources' names.

    Files are named so that `recording_of` tells which of them are of one recording or speaker.

    Args:
        sources: folders, files, `.txt` lists, or `hub:user/dataset[@revision][:part]`.
        folder: for clips of the Hub; a data set that is there already is not written again.
        most: most clips to take of each data set.
        seed: seed of that draw.
        progress: show progress bars.

    Raises:
        HubError: a data set cannot be had.
        AudioError: it has no audio.
        MissingExtraError: it has parquet files, and pyarrow is not installed.
    """
    paths: list[Path] = []
    names: list[str] = []
    for source in sources:
        if not str(source).startswith("hub:"):
            paths.append(Path(source))
            names.append(str(source))
            continue
        from ..data.sources import open_source

        opened = open_source(source, most=most, seed=seed, progress=progress)
        own = hashlib.sha256(f"{opened.source} {most} {seed}".encode()).hexdigest()[:16]
        target, done = folder / own, folder / f"{own}.done"
        if not done.is_file():
            import soundfile

            target.mkdir(parents=True, exist_ok=True)
            groups: dict[str, int] = {}
            for number in track(range(len(opened)), f"reading {opened.source}", progress):
                group = groups.setdefault(opened.clips[number].group, len(groups))
                path = target / f"group{group:05d}_{number}.flac"
                soundfile.write(path, opened.load(number), SAMPLE_RATE, subtype="PCM_16")
            done.touch()
        paths.append(target)
        names.append(opened.source)
    return paths, names
