"""Reading the Hub: the list of a repository's files at one commit, and downloads of some of them into the cache."""

from __future__ import annotations

import fnmatch
import hashlib
import re
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeVar

from ...errors import CheckpointError, HubError
from .failures import Kind, asked_to_wait, broken_off, explained, passing, unreachable

T = TypeVar("T")
TIMEOUT = 20.0
"""Seconds without an answer from the Hub after which a listing is given up."""
PAUSES = (1.0, 3.0)
"""Seconds before each further attempt at a listing, where the Hub is busy and the cache has nothing."""
PATIENCE = 20
"""Seconds that are waited at most, where the Hub itself says how long."""
MAX_BYTES = 8_000_000_000
"""Size of the largest file that is taken."""
MAX_TOTAL = 2 * MAX_BYTES
"""Size of all files that are taken of a model's repository at once: W_enc and W_dec of the largest SAE."""
MAX_FILES = 100_000
"""Files of the largest repository that is listed."""
COMMIT = re.compile(r"[0-9a-f]{40}")
"""A whole commit, which names the same files for ever."""


class Listing(NamedTuple):
    """Files of a repository at one commit."""

    commit: str
    """The commit that a branch or tag stands for."""
    files: tuple[str, ...]
    """Names of its files, or, of those, the ones in this machine's cache."""
    sizes: dict[str, int]
    """Bytes of each file, where the Hub says so."""
    sha256: dict[str, str]
    """Of each large file, as the Hub records it."""
    online: bool
    """True if the Hub was asked; else it is what the cache remembers."""


class Fetched(NamedTuple):
    """Files of one repository at one commit, in the Hub's cache."""

    folder: Path
    """The folder in the cache that holds them, under their names in the repository."""
    commit: str
    """The commit that a branch or tag stood for."""
    files: tuple[str, ...]
    """Their names, in the order they were chosen."""


Choice = Callable[[Listing], Sequence[str]]


def listing(repo: str, revision: str | None = None, kind: Kind = "model") -> Listing:
    """The files of `repo`; if the Hub cannot be reached, those that the cache has.

    Raises:
        HubError: no such repository or revision; no permission; more than `MAX_FILES` files; no network and
            nothing in the cache.
    """
    for pause in (*PAUSES, None):
        try:
            return _listed(repo, revision, kind)
        except HubError:
            raise
        except Exception as error:  # the Hub's client lets errors of several HTTP libraries through
            if not unreachable(error):
                raise explained(error, repo, revision, kind) from error
            found = _cached(repo, revision, kind)
            if found is not None:
                return found
            seconds = asked_to_wait(error) or pause
            if pause is None or seconds is None or seconds > PATIENCE or not passing(error):
                raise explained(error, repo, revision, kind) from error
            time.sleep(seconds)
    raise AssertionError("the last attempt returns or raises")


def fetch(
    repo: str,
    wanted: Sequence[str] | Choice,
    revision: str | None = None,
    kind: Kind = "model",
    limit: int = MAX_BYTES,
) -> Fetched:
    """Bring some files of `repo` into the Hub's cache, and no others.

    Args:
        repo: "user/repo".
        wanted: names or shell patterns (`*.safetensors`); or a function that chooses names from the listing. Settings
            first: the files come in that order, so that weights in the cache have their settings beside them.
        revision: branch, tag or commit; the default branch by default. All files are of the one commit it stands for.
        kind: a model's repository, or a data set's.
        limit: bytes of the largest file that is taken, by what the Hub says before anything is downloaded.

    Raises:
        HubError: no such repository, revision or file; no permission; a file too large, or all of them; no network and
            nothing in the cache; a cache that cannot be written; or what came is not what the Hub recorded.
    """
    for _ in range(3):
        found = listing(repo, revision, kind)
        names = tuple(wanted(found) if callable(wanted) else _matching(found.files, wanted))
        if not names:
            seen = ", ".join(found.files[:8]) or "none"
            asked = "" if callable(wanted) else f" that matches {', '.join(wanted)}"
            where = "" if found.online else " in this machine's cache, and the Hub cannot be reached"
            raise HubError(f"{repo} has no file{asked}{where}; its files are: {seen}")
        for name in names:
            if found.sizes.get(name, 0) > limit:
                raise HubError(
                    f"{name} of {repo} is {_size(found.sizes[name])}, and no such file here is more than "
                    f"{_size(limit)}; not taken"
                )
        total = sum(found.sizes.get(name, 0) for name in set(names))
        if kind == "model" and total > MAX_TOTAL:
            raise HubError(
                f"the {len(names)} files of {repo} that make up what was asked for are {_size(total)}, and here no "
                f"more than {_size(MAX_TOTAL)} is taken at once; not taken"
            )
        folder = _download(repo, names, revision, found, kind)
        if folder is not None:
            return Fetched(folder, found.commit, names)
    raise HubError(f"{repo} changed with each attempt to read it; pin a commit as `revision`")


def is_cached(repo: str, name: str, commit: str, kind: Kind = "model") -> bool:
    """True if this machine's cache has a file of `repo` at `commit`."""
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(repo, name, revision=commit, repo_type=kind), str)


def cached_repositories() -> dict[str, Path]:
    """The folder of each model repository in this machine's cache, as it was last fetched."""
    from huggingface_hub import constants, scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        found = scan_cache_dir(constants.HF_HUB_CACHE).repos
    except (CacheNotFound, OSError, ValueError):
        return {}
    newest = {
        repo.repo_id: max(repo.revisions, key=lambda revision: revision.last_modified)
        for repo in found
        if repo.repo_type == "model" and repo.revisions
    }
    return {repo: Path(revision.snapshot_path) for repo, revision in sorted(newest.items())}


def verify_sha256(path: Path, expected: str) -> None:
    """Check a file against its hash.

    Raises:
        CheckpointError: it is another file.
    """
    found = sha256_of(path)
    if found != expected.lower():
        raise CheckpointError(
            f"{path} is not the file that was asked for: its sha256 is {found}, expected {expected}; fetch it again, "
            "or pin the revision it came from"
        )


def sha256_of(path: Path) -> str:
    """sha256 of a file's bytes, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def ask(url: str, params: dict[str, Any] | None = None) -> Any:
    """The Hub's answer to a request, by its client, as whoever is logged in.

    The client's own functions for listings and accounts have no time limit, and repeat for half a minute where there is
    no network.
    """
    from huggingface_hub import utils

    client: Any = utils
    headers = client.build_hf_headers(library_name="audiosae-steer")
    answer = client.get_session().get(url, params=params or None, headers=headers, timeout=TIMEOUT)
    client.hf_raise_for_status(answer)
    return answer


def pages(path: str, params: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Entries that the Hub lists under a path of its API; each page is asked for when it is needed."""
    from huggingface_hub import constants

    url: str | None = f"{constants.ENDPOINT}/api/{path}"
    while url is not None:
        answer = ask(url, params)
        yield from answer.json()
        url, params = answer.links.get("next", {}).get("url"), {}  # which the next page's address has in it


def _listed(repo: str, revision: str | None, kind: Kind) -> Listing:
    from huggingface_hub import HfApi

    ask = HfApi().model_info if kind == "model" else HfApi().dataset_info
    # the files come with the tree, in pages: all at once, an untrusted repository of a million would fill memory
    commit = str(ask(repo, revision=revision, expand=["sha"], timeout=TIMEOUT).sha)
    tree = pages(f"{kind}s/{repo}/tree/{commit}", {"recursive": "true"})
    entries = list(islice(tree, MAX_FILES + 1))
    if len(entries) > MAX_FILES:
        what = "SAEs or recipes" if kind == "model" else "data sets that are read here"
        raise HubError(f"{repo} holds more than {MAX_FILES:,} files, as no {what} do; not listed further")
    files = {str(entry["path"]): entry for entry in entries if entry["type"] == "file" and _is_safe(str(entry["path"]))}
    return Listing(
        commit,
        tuple(sorted(files)),
        {name: int(entry["size"]) for name, entry in files.items()},
        {name: str(entry["lfs"]["oid"]) for name, entry in files.items() if entry.get("lfs")},
        online=True,
    )


def _download(repo: str, names: Sequence[str], revision: str | None, found: Listing, kind: Kind) -> Path | None:
    """The snapshot's folder; None if the branch moved since it was listed."""
    from huggingface_hub import hf_hub_download

    # The first file is asked for by branch, which makes the cache remember the branch's commit for offline use.
    at = revision
    folder = Path()
    for name in names:
        ask = partial(hf_hub_download, repo, name, repo_type=kind, revision=at, local_files_only=not found.online)
        path = Path(_asked(repo, revision, kind, name, ask))
        folder = path.parents[len(PurePosixPath(name).parts) - 1]
        if folder.name != found.commit:
            return None
        expected = found.sha256.get(name)
        if expected is not None and sha256_of(path) != expected:
            # what lay in the cache may have been spoilt on the disk; what comes anew has no such excuse
            path = Path(_asked(repo, revision, kind, name, partial(ask, force_download=True)))
            if sha256_of(path) != expected:
                raise HubError(
                    f"{name} of {repo} is not what the Hub recorded (sha256 {expected}), nor is it when fetched again: "
                    f"the line or the disk is damaged; delete {path.resolve()} and try again later"
                )
        at = found.commit
    return folder


def _cached(repo: str, revision: str | None, kind: Kind) -> Listing | None:
    from huggingface_hub import snapshot_download

    try:
        # no patterns: only the folder is asked for, since one layer of a repository is all that may be there
        ask = partial(snapshot_download, repo, repo_type=kind, revision=revision)
        folder = Path(ask(local_files_only=True, allow_patterns=[]))
    except Exception:  # as above
        return None
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return Listing(folder.name, tuple(names), {}, {}, online=False)


def _matching(names: Sequence[str], patterns: Sequence[str]) -> list[str]:
    found = [name for pattern in patterns for name in names if fnmatch.fnmatchcase(name, pattern)]
    return list(dict.fromkeys(found))


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _is_safe(name: str) -> bool:
    """True if an untrusted name stays inside its folder."""
    path = PurePosixPath(name)
    plain = name.isprintable() and "\\" not in name and ":" not in name
    return plain and not path.is_absolute() and ".." not in path.parts


def _asked(repo: str, revision: str | None, kind: Kind, name: str, ask: Callable[[], T]) -> T:
    try:
        return ask()
    except Exception as error:  # as above
        raise broken_off(error, repo, name) or explained(error, repo, revision, kind) from error
