"""Run of every analysis that the data can bear: results, a list of them, and a page."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ...errors import AudioSAESteerError, SteeringError
from ...io.files import write_atomic
from ...io.hub.read import sha256_of
from ...io.progress import Tell
from ...io.strict_json import plain
from ...models.registry import family_of, unwrap
from ..comparisons.headlines import headline_of
from ..frame.outcome import Outcome
from .gallery_data import GalleryData
from .gallery_entries import ENTRIES, Entry
from .gallery_page import page_of_gallery
from .gallery_records import Gallery, GalleryRow, GallerySettings, read_gallery

Shown = Callable[[str, int, int], AbstractContextManager[Tell]]
"""Given what comes, its number and of how many, shows the progress of it."""
KINDS = (".json", ".html", ".png")
"""Files of a result."""


def analyse_all(
    data: GalleryData,
    out: str | Path,
    *,
    settings: GallerySettings | None = None,
    entries: Sequence[Entry] = ENTRIES,
    shown: Shown | None = None,
) -> Gallery:
    """Run every analysis that the data can bear, and write X.json, X.html and X.png of each, and `index.html`.

    What cannot be run is left out with its reason. A result that is there already, of the same data, settings and
    version, is not made again; the list and the page are written after each analysis, so that an interrupted run goes
    on where it was.

    Args:
        data: model, SAE, clips, and what else there is.
        out: folder of the results; it is made.
        settings: choice of analyses, and `quick`.
        entries: the analyses.
        shown: called before each, with its name, its number and how many there are; gives a context for its progress.

    Raises:
        SteeringError: there is no such analysis, or the data bears none of them.
    """
    settings = settings or GallerySettings()
    _check(entries, settings.only)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    used = data.fewer(settings.most_clips, settings.seed) if settings.quick else data
    before = read_gallery(folder)
    known = {row.name: row for row in before.rows} if before is not None else {}
    work = [(entry, *_settled(entry, used, settings)) for entry in entries]
    rows = {entry.name: known[entry.name] for entry, _, _, key in work if _there(known.get(entry.name), key, folder)}
    left = [each for each in work if each[0].name not in rows and (not settings.only or each[0].name in settings.only)]
    show = shown or (lambda what, number, of: nullcontext(lambda *words: None))
    kept = tuple(rows[each.name] for each in entries if each.name in rows)
    gallery = replace(_described(data, used, settings), rows=kept)
    if any(entry.encodes for entry, *_ in left):
        gallery = replace(gallery, encoding_seconds=_encode(used, show))
    _write_list(gallery, folder)
    for number, (entry, own, reduced, key) in enumerate(left, 1):
        with show(entry.name, number, len(left)) as tell:
            row = _made(entry, used, own, folder, tell)
        rows[entry.name] = replace(row, reduced=reduced, key=key)
        gallery = replace(gallery, rows=tuple(rows[each.name] for each in entries if each.name in rows))
        _write_list(gallery, folder)
    if not gallery.done:
        raise SteeringError(
            f"none of {len(gallery.rows)} analyses can be run on these clips, the first because: {gallery.rows[0].why}"
        )
    return gallery


def _write_list(gallery: Gallery, folder: Path) -> None:
    gallery.write(folder)
    write_atomic(folder / "index.html", page_of_gallery(gallery), SteeringError)


def _check(entries: Sequence[Entry], only: Sequence[str]) -> None:
    """Refuse names that no analysis has. SteeringError: there is one."""
    names = [entry.name for entry in entries]
    unknown = [name for name in only if name not in names]
    if unknown:
        raise SteeringError(f"there is no analysis {unknown[0]!r} here; expected some of {', '.join(names)}")


def _described(given: GalleryData, used: GalleryData, settings: GallerySettings) -> Gallery:
    return Gallery(
        version=version("audiosae-steer"),
        model=family_of(unwrap(used.model)).name,
        site=str(used.site),
        clips=len(used.excerpts),
        clips_given=len(given.excerpts),
        groups=len(set(used.excerpts.groups)),
        labels=tuple(sorted({label for label in used.excerpts.labels if label is not None})),
        quick=settings.quick,
    )


def _settled(
    entry: Entry, data: GalleryData, settings: GallerySettings
) -> tuple[Any, tuple[tuple[str, str, str], ...], str | None]:
    """Settings of an analysis, those that were reduced, and the key of its result."""
    common: dict[str, Any] = {"seed": settings.seed}
    common |= {} if settings.min_frames is None else {"min_frames": settings.min_frames}
    common |= {} if settings.min_clips is None else {"min_clips": settings.min_clips}
    own, reduced = entry.settled(common, settings.quick)
    digest = data.digest(entry.uses)
    if digest is None:
        return own, reduced, None
    words = json.dumps([entry.name, version("audiosae-steer"), plain(own), digest], sort_keys=True)
    return own, reduced, hashlib.sha256(words.encode()).hexdigest()


def _there(row: GalleryRow | None, key: str | None, folder: Path) -> bool:
    """Tell whether a result of that key is there, whole and as it was written."""
    if row is None or key is None or row.status != "done" or row.key != key:
        return False
    files = [folder / f"{row.name}{kind}" for kind in KINDS]
    return all(file.is_file() for file in files) and sha256_of(files[0]) == row.sha256


def _encode(data: GalleryData, show: Shown) -> float:
    """Read the residuals, of which analyses tell later why they cannot be; seconds of the processor."""
    start = time.process_time()
    with show("activations", 0, 0) as tell:
        try:
            data.residuals(tell)
        except AudioSAESteerError:
            return 0.0
    return round(time.process_time() - start, 2)


def _made(entry: Entry, data: GalleryData, settings: Any, folder: Path, tell: Tell) -> GalleryRow:
    """The row of an analysis that is run now, its files written. Errors of other kinds than ours are mistakes, and end
    the run."""
    clock, processor = time.perf_counter(), time.process_time()
    for kind in KINDS:  # what is there is of other settings, or not whole
        (folder / f"{entry.name}{kind}").unlink(missing_ok=True)
    try:
        result = entry.run(data, settings, tell)
        _write(result, entry.name, folder, data)
    except AudioSAESteerError as error:
        return GalleryRow(name=entry.name, status="not run", why=str(error))
    return GalleryRow(
        name=entry.name,
        status="done",
        title=result.TITLE,
        headline=headline_of(result),
        figures=tuple((figure.value, figure.says) for figure in result.figures()),
        warnings=result.provenance.warnings,
        in_sample=result.provenance.in_sample,
        seconds=round(time.perf_counter() - clock, 2),
        cpu_seconds=round(time.process_time() - processor, 2),
        sha256=sha256_of(folder / f"{entry.name}.json"),
    )


def _write(result: Outcome, name: str, folder: Path, data: GalleryData) -> None:
    write_atomic(folder / f"{name}.json", result.to_json(), SteeringError)
    result.report(folder / f"{name}.html", data.excerpts)
    result.png(folder / f"{name}.png")
