"""Recordings of a corpus, below a folder or in an object store: listed with marks of their content, and read."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...data.audio import SAMPLE_RATE, Samples, audio_files, decode, is_audio
from ...data.sound_files import length
from ...errors import AudioError, AudioSAESteerWarning, WorkError
from ...io.hub.read import sha256_of
from ...io.progress import Tell
from ...io.units.unit_plan import Item
from ...io.units.unit_store import file_system, is_url

BYTES_A_SECOND = 2 * SAMPLE_RATE
"""Guess of the length of a recording in an object store by its size, as if it were 16-bit samples at 16 kHz."""
ETAGS = ("ETag", "etag", "md5Hash", "sha256", "checksum", "content_md5")
"""Names of a file's mark in the listings of object stores, the first of which is taken."""
DATES = ("LastModified", "last_modified", "updated", "created", "mtime")
"""Names of a file's date, for listings without marks."""
SHA256 = "sha256:"


def list_corpus(source: str | Path, progress: Tell | None = None) -> list[Item]:
    """Recordings below a folder or URL, hidden ones left out, with their lengths and marks.

    Files of a folder are read whole, for their sha256, and their lengths are those of their headers. Of an object store
    only the listing is read: marks are its etags, lengths are guessed by size.

    Args:
        source: a folder; or a URL such as `s3://bucket/audio`.
        progress: called with what is being done, how many files are done, and of how many.

    Raises:
        AudioError: there is no audio.
        WorkError, MissingExtraError: the URL cannot be read.
    """
    return _listed(str(source)) if is_url(source) else _below(Path(source), progress)


def _below(folder: Path, progress: Tell | None) -> list[Item]:
    found = []
    files = audio_files(folder)
    for done, path in enumerate(files):
        if progress is not None:
            progress("reading the corpus", done, len(files))
        name = path.relative_to(folder).as_posix()
        try:
            seconds = length(path, name).seconds
        except AudioError:  # whoever transcribes it says so
            seconds = 0.0
        found.append(Item(name, round(seconds, 3), f"{SHA256}{sha256_of(path)}"))
    if progress is not None:
        progress("reading the corpus", len(files), len(files))
    return found


def _listed(url: str) -> list[Item]:
    fs, root = file_system(url)
    root = root.rstrip("/")
    try:
        listing: dict[str, dict[str, Any]] = fs.find(root, detail=True)
    except OSError as error:
        raise WorkError(f"{url} cannot be listed: {error}; check it, and the credentials in the environment") from error
    found = []
    for path, about in listing.items():
        name = path[len(root) + 1 :]
        if is_audio(Path(name)):
            size = int(about.get("size") or 0)
            found.append(Item(name, round(size / BYTES_A_SECOND, 3), f"{size} {_mark(about)}"))
    if not found:
        raise AudioError(f"{url} holds no audio among its {len(listing)} files; check the place")
    return found


def _mark(about: Mapping[str, Any]) -> str:
    """Mark of a file's content in a listing. WorkError: it has none."""
    for name in (*ETAGS, *DATES):
        if about.get(name) is not None:
            return f"{name}={str(about[name]).strip(chr(34))}"
    raise WorkError(
        "that store's listing tells neither etags nor dates, so that a changed recording would go unseen; copy the "
        "audio to a folder"
    )


def read_item(source: str, item: Item) -> tuple[Samples, list[str]]:
    """Mono samples of a recording at 16 kHz, and what there is to warn of.

    Args:
        source: the folder or URL.
        item: the recording.

    Raises:
        AudioError: it is not audio, it is gone, or it is not what it was when the plan was made.
        OSError: it cannot be read now.
    """
    try:
        content = _content(source, item.name)
    except FileNotFoundError as error:
        raise AudioError(f"{item.name} is gone since the plan was made") from error
    size = item.mark.partition(" ")[0]
    is_same = (
        hashlib.sha256(content).hexdigest() == item.mark.removeprefix(SHA256)
        if item.mark.startswith(SHA256)
        else size.isdigit() and int(size) == len(content)
    )
    if not is_same:
        raise AudioError(f"{item.name} was changed since the plan was made; make a new plan, in a new folder")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", AudioSAESteerWarning)
        samples = decode(io.BytesIO(content), item.name)
    return samples, [str(each.message) for each in caught if issubclass(each.category, AudioSAESteerWarning)]


def _content(source: str, name: str) -> bytes:
    if is_url(source):
        fs, root = file_system(source)
        return bytes(fs.cat_file(f"{root.rstrip('/')}/{name}"))
    return (Path(source) / name).read_bytes()
