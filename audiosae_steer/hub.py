"""The only file that talks to the Hub."""

from __future__ import annotations

import fnmatch
import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple, TypeVar

from .errors import CheckpointError, HubError

T = TypeVar("T")
Kind = Literal["model", "dataset"]
TIMEOUT = 20.0
MAX_BYTES = 8_000_000_000


class Listing(NamedTuple):
    """What a repository holds at one commit."""

    commit: str
    """The commit that a branch or tag stands for."""
    files: tuple[str, ...]
    """Names of its files, or, of those, the ones in this machine's cache."""
    sizes: dict[str, int]
    """Bytes of each file, where the Hub says so."""
    sha256: dict[str, str]
    """Of each large file, as the Hub records it."""
    online: bool
    """Whether the Hub said so; else it is what the cache remembers."""


class Fetched(NamedTuple):
    """Files of one repository at one commit, in the Hub's cache."""

    folder: Path
    """Where they lie, under their names in the repository."""
    commit: str
    """The commit that a branch or tag stood for."""
    files: tuple[str, ...]
    """Their names, in the order they were chosen."""


Choice = Callable[[Listing], Sequence[str]]


def listing(repo: str, revision: str | None = None, kind: Kind = "model") -> Listing:
    """What `repo` holds; where the Hub cannot be reached, what the cache has of it.

    Raises:
        HubError: no such repository or revision; no permission; no network and nothing in the cache.
    """
    from huggingface_hub import HfApi

    try:
        ask = HfApi().model_info if kind == "model" else HfApi().dataset_info
        info = ask(repo, revision=revision, files_metadata=True, timeout=TIMEOUT)
    except Exception as error:  # the Hub's client lets errors of several HTTP libraries through
        if not _unreachable(error):
            raise _explained(error, repo, revision, kind) from error
        return _cached(repo, revision, error, kind)
    siblings = [file for file in info.siblings or [] if _is_safe(file.rfilename)]
    return Listing(
        str(info.sha),
        tuple(sorted(file.rfilename for file in siblings)),
        {file.rfilename: file.size for file in siblings if file.size is not None},
        {file.rfilename: file.lfs.sha256 for file in siblings if file.lfs is not None},
        online=True,
    )


def fetch(repo: str, wanted: Sequence[str] | Choice, revision: str | None = None, kind: Kind = "model") -> Fetched:
    """Bring some files of `repo` into the Hub's cache, and no others.

    Args:
        repo: "user/repo".
        wanted: names or shell patterns (`*.safetensors`); or a function that chooses names from the listing. Settings
            first: the files come in that order, so that weights in the cache have their settings beside them.
        revision: branch, tag or commit; the default branch by default. All files are of the one commit it stands for.
        kind: whether it is a model's repository or a data set's.

    Raises:
        HubError: no such repository, revision or file; no permission; no network and nothing in the cache; or what
            came is not what the Hub recorded.
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
            if found.sizes.get(name, 0) > MAX_BYTES:
                size, what = found.sizes[name] / 1e9, "SAE" if kind == "model" else "file of a data set"
                raise HubError(f"{name} of {repo} is {size:.0f} GB, which no {what} here is; not taken")
        folder = _download(repo, names, revision, found, kind)
        if folder is not None:
            return Fetched(folder, found.commit, names)
    raise HubError(f"{repo} changed with each attempt to read it; pin a commit as `revision`")


def is_cached(repo: str, name: str, commit: str, kind: Kind = "model") -> bool:
    """Whether this machine's cache has a file of `repo` as it is at `commit`."""
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(repo, name, revision=commit, repo_type=kind), str)


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


def _download(repo: str, names: Sequence[str], revision: str | None, found: Listing, kind: Kind) -> Path | None:
    """The snapshot's folder; None if the branch moved since it was listed."""
    from huggingface_hub import hf_hub_download

    # The first file is asked for by branch, which makes the cache remember the branch's commit for offline use.
    at = revision
    folder = Path()
    for name in names:
        ask = partial(hf_hub_download, repo, name, repo_type=kind, revision=at, local_files_only=not found.online)
        path = Path(_asked(repo, revision, kind, ask))
        folder = path.parents[len(PurePosixPath(name).parts) - 1]
        if folder.name != found.commit:
            return None
        expected = found.sha256.get(name)
        if expected is not None and sha256_of(path) != expected:
            raise HubError(
                f"{name} of {repo} in the cache is not what the Hub recorded (sha256 {expected}): the download or the "
                f"disk is damaged; delete {path.resolve()} and try again"
            )
        at = found.commit
    return folder


def _cached(repo: str, revision: str | None, cause: Exception, kind: Kind) -> Listing:
    from huggingface_hub import snapshot_download

    try:
        # no patterns: only the folder is asked for, since one layer of a repository is all that may be there
        ask = partial(snapshot_download, repo, repo_type=kind, revision=revision)
        folder = Path(ask(local_files_only=True, allow_patterns=[]))
    except Exception as error:  # as above
        raise _explained(cause, repo, revision, kind) from error
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return Listing(folder.name, tuple(names), {}, {}, online=False)


def _matching(names: Sequence[str], patterns: Sequence[str]) -> list[str]:
    found = [name for pattern in patterns for name in names if fnmatch.fnmatchcase(name, pattern)]
    return list(dict.fromkeys(found))


def _is_safe(name: str) -> bool:
    """Whether a name of a stranger's stays inside its folder."""
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and "\\" not in name and ":" not in name


def _asked(repo: str, revision: str | None, kind: Kind, ask: Callable[[], T]) -> T:
    try:
        return ask()
    except Exception as error:  # as above
        raise _explained(error, repo, revision, kind) from error


def _unreachable(error: Exception) -> bool:
    """Whether it is the way to the Hub that failed, or the Hub itself, and not the request."""
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, HfHubHTTPError):
        status = _status(error)
        return status is not None and (status >= 500 or status == 429)
    names = {kind.__name__ for kind in type(error).__mro__}
    # OfflineModeIsEnabled is a ConnectionError; requests and httpx, which the client uses by turns, have their own
    return bool(names & {"ConnectionError", "Timeout", "TransportError", "TimeoutError"})


def _status(error: Exception) -> int | None:
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def _explained(error: Exception, repo: str, revision: str | None, kind: Kind) -> HubError:
    from huggingface_hub import errors

    at = f" at {revision}" if revision else ""
    status = _status(error)
    if isinstance(error, errors.GatedRepoError):
        return HubError(f"{repo} asks for consent first: accept its terms on the Hub, then `hf auth login`")
    if isinstance(error, errors.RevisionNotFoundError):
        return HubError(f"{repo} has no revision {revision!r}; name a branch, tag or commit that exists")
    if isinstance(error, errors.RepositoryNotFoundError):
        what = "repository" if kind == "model" else "data set"
        return HubError(
            f"there is no {what} {repo} on the Hub, or it is private: check the name, or log in by `hf auth login`"
        )
    if isinstance(error, errors.HFValidationError):
        return HubError(f"{repo!r} is no repository's name ({error}); expected user/repo")
    if status in (401, 403):
        return HubError(
            f"the Hub does not let you read {repo} ({status}): log in by `hf auth login`, with a token that may read it"
        )
    if isinstance(error, errors.OfflineModeIsEnabled):
        return HubError(
            f"{repo}{at} is not in this machine's cache, and the Hub is switched off (HF_HUB_OFFLINE); unset it once, "
            "or pass a file or folder"
        )
    if isinstance(error, errors.LocalEntryNotFoundError) or _unreachable(error):
        reason = f"answers {status}" if status is not None else "cannot be reached"
        return HubError(
            f"{repo}{at} is not in this machine's cache, and the Hub {reason}; check the network or try again later, "
            "name a mirror in HF_ENDPOINT, or pass a file or folder"
        )
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return HubError(f"the Hub did not give {repo}{at} ({reason}); try again, or pass a file or folder")
