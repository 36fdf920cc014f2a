"""Indices on the Hub: Parquet files in a data set's repository, made into a SQLite file in the user's cache."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from ...errors import HubError, SteeringError
from ...io.files import write_atomic
from ...io.hub.read import Listing, fetch, listing
from ...io.progress import Tell
from .default_index import index_cache
from .index_build import CHUNKS, SHARDS, SQLITE, assemble_folder
from .part_files import ABOUT, read_about

SCHEME = "hf://"
TABLES = ("clips", "peaks", "features", "examples", "neighbours", "labels", "places", "effects")


class HubIndex(NamedTuple):
    """Place of an index on the Hub."""

    repo: str
    """The data set's repository."""
    revision: str | None
    """Branch, tag or commit."""
    folder: str
    """Folder in the repository; empty for its root."""


def parse_hub_index(source: str) -> HubIndex | None:
    """Parse `hf://datasets/user/name[@revision][/folder]`; `datasets/` may be left out. None of anything else.

    Raises:
        HubError: it begins with `hf://`, and is malformed.
    """
    if not source.startswith(SCHEME):
        return None
    # revisions of the Hub's own have strokes in them: refs/convert/parquet
    revision = r"refs/[^@\s/]+/[^@\s/]+|[^@\s/]+"
    found = re.fullmatch(rf"hf://(?:datasets/)?((?!datasets/)[\w.-]+/[\w.-]+)(?:@({revision}))?(/.*)?", source)
    if found is None:
        raise HubError(f"{source!r} names no index; expected hf://datasets/user/name[@revision][/folder]")
    repo, revision, folder = found.groups()
    return HubIndex(repo, revision, (folder or "").strip("/"))


def index_at(source: str | Path, *, progress: Tell | None = None) -> Path:
    """The SQLite file of an index that is named by its folder, its file, or its place on the Hub.

    Args:
        source: a folder that `build_index` finished, or one with Parquet files alone, of which the file is made; a
            SQLite file; or `hf://datasets/user/name[@revision][/folder]`.
        progress: called with what is being done, how much is done, and how much there is.

    Raises:
        SteeringError: there is no index.
        HubError, MissingExtraError: as `index_from_hub`.
    """
    text = re.sub(r"^hf:/+", SCHEME, str(source))  # as a path it has one stroke only
    if text.startswith(SCHEME):
        return index_from_hub(text, progress=progress)
    path = Path(source)
    if path.is_file():
        return path
    if (path / SQLITE).is_file():
        return path / SQLITE
    if (path / SHARDS / ABOUT).is_file():
        return assemble_folder(path / SHARDS, path / SQLITE, progress).path
    if (path / CHUNKS).is_dir():
        raise SteeringError(f"the index in {path} is not finished; give the command that builds it again")
    raise SteeringError(
        f"there is no index at {path}; make one by `audiosae-steer explore build`, or name hf://datasets/user/name"
    )


def index_from_hub(source: str, *, progress: Tell | None = None) -> Path:
    """The SQLite file of an index on the Hub, fetched and made unless the cache has it of the same commit.

    Args:
        source: `hf://datasets/user/name[@revision][/folder]`, a repository with an index's folder of Parquet files.
        progress: called with what is being done, how much is done, and how much there is.

    Raises:
        HubError: no such repository or revision, it holds no index, no permission, or no network and nothing in the
            cache.
        SteeringError: the index is damaged, or of another format.
        MissingExtraError: pyarrow is not installed.
    """
    place = parse_hub_index(source)
    if place is None:
        raise HubError(f"{source!r} is no index on the Hub; expected hf://datasets/user/name[@revision][/folder]")
    found = listing(place.repo, place.revision, "dataset")
    names = _names(found, place)
    home = index_cache() / "hub" / place.repo.replace("/", "--") / found.commit / place.folder
    path = home / SQLITE
    if path.is_file():
        return path
    if progress is not None:
        progress(f"fetching {len(names)} files", 0, 1)
    fetched = fetch(place.repo, lambda _: names, place.revision, "dataset")
    if fetched.commit != found.commit:
        raise HubError(
            f"{place.repo} changed while it was read; try again, or pin a commit as hf://{place.repo}@commit"
        )
    if progress is not None:
        progress(f"fetching {len(names)} files", 1, 1)
    about = next(name for name in names if name.endswith(ABOUT))
    shards = (fetched.folder / about).parent
    for each in read_about(shards).layers:
        beside = fetched.folder / place.folder / str(each.sae.get("file", ""))
        if "file" in each.sae and beside.is_file():
            write_atomic(home / str(each.sae["file"]), beside.read_bytes(), HubError)
    assemble_folder(shards, path, progress)
    return path


def _names(found: Listing, place: HubIndex) -> list[str]:
    """Names of the files of an index, its description first; the Parquet files may lie in `shards/`, or beside it."""
    start = f"{place.folder}/" if place.folder else ""
    for folder in (f"{start}{SHARDS}/", start):
        if f"{folder}{ABOUT}" not in found.files:
            continue
        own = [name for name in found.files if _is_table(name.removeprefix(folder)) and name.startswith(folder)]
        saes = [name for name in found.files if re.fullmatch(re.escape(start) + r"encoder-\d+\.safetensors", name)]
        return [f"{folder}{ABOUT}", *own, *saes]
    where = "" if found.online else " in this machine's cache, and the Hub cannot be reached"
    seen = ", ".join(found.files[:8]) or "nothing"
    raise HubError(f"{place.repo} holds no index{where}: there is no {start}{SHARDS}/{ABOUT}; it has {seen}")


def _is_table(name: str) -> bool:
    return re.fullmatch(rf"({'|'.join(TABLES)})-\d{{5}}\.parquet", name) is not None
