"""The only file that talks to the Hub."""

from __future__ import annotations

import fnmatch
import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from .errors import CheckpointError, HubError

T = TypeVar("T")
_WEIGHTS = ("ae.pt", "sae_weights.safetensors", "*.safetensors")
_SETTINGS = ("config.json", "cfg.json")


class Fetched(NamedTuple):
    """Files of one repository at one commit."""

    folder: Path
    """Where they lie, under their names in the repository."""
    commit: str
    """The commit that a branch or tag stood for."""
    files: tuple[str, ...]
    """Their names."""


class FetchedSAE(NamedTuple):
    """One SAE's files."""

    path: Path
    """Folder, or single file, to read."""
    source: dict[str, Any]
    """Repository, commit, file and sha256, to be recorded."""


def fetch(repo: str, patterns: Sequence[str], revision: str | None = None) -> Fetched:
    """Bring the files of `repo` that match `patterns` into the Hub's cache, and no others.

    Raises:
        HubError: no such repository, revision or file; no permission; no network and nothing in the cache.
    """
    from huggingface_hub import snapshot_download

    folder = _asking(
        repo, revision, lambda: Path(snapshot_download(repo, revision=revision, allow_patterns=list(patterns)))
    )
    files = tuple(sorted(str(path.relative_to(folder).as_posix()) for path in folder.rglob("*") if path.is_file()))
    matching = tuple(name for name in files if any(fnmatch.fnmatch(name, pattern) for pattern in patterns))
    if not matching:
        raise HubError(f"{repo} has no file that matches {', '.join(patterns)}; look at its files on the Hub")
    return Fetched(folder, folder.name, matching)


def fetch_sae(repo: str, layer: int | None, revision: str | None) -> FetchedSAE:
    """The one SAE of `repo`, or that of `layer` where there are several.

    Raises:
        HubError: as `fetch`; or the repository holds several layers and `layer` is none of them.
    """
    names = _list(repo, revision)
    layers = sorted({int(found[1]) for name in names if (found := re.match(r"(?:.*/)?layer_(\d+)/", name))})
    if layers and layer not in layers:
        what = "which layer? Say layer=N" if layer is None else f"there is no layer {layer}"
        raise HubError(f"{repo}: {what}; it has layers {', '.join(map(str, layers))}")
    prefix = next(
        (name[: name.index(f"layer_{layer}/")] + f"layer_{layer}/" for name in names if f"layer_{layer}/" in name), ""
    )
    inside = [name for name in names if name.startswith(prefix) and "/" not in name[len(prefix) :]]
    weights = next((n for pattern in _WEIGHTS for n in inside if fnmatch.fnmatch(n[len(prefix) :], pattern)), None)
    if weights is None:
        raise HubError(f"{repo} holds no SAE: expected one of {', '.join(_WEIGHTS)} in {prefix or 'its top folder'}")
    settings = [name for name in inside if name[len(prefix) :] in _SETTINGS]
    fetched = fetch(repo, [weights, *settings], revision)
    file = fetched.folder / weights
    path = file.parent if settings else file
    source = {"repo": repo, "revision": fetched.commit, "file": weights, "sha256": sha256_of(file)}
    return FetchedSAE(path, source)


def verify_sha256(path: Path, expected: str) -> None:
    """Check a file against its hash.

    Raises:
        CheckpointError: it is another file.
    """
    found = sha256_of(path)
    if found != expected:
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


def _list(repo: str, revision: str | None) -> list[str]:
    from huggingface_hub import HfApi, constants

    if constants.HF_HUB_OFFLINE:
        from huggingface_hub import snapshot_download

        folder = _asking(
            repo, revision, lambda: Path(snapshot_download(repo, revision=revision, local_files_only=True))
        )
        return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return _asking(repo, revision, lambda: list(HfApi().list_repo_files(repo, revision=revision)))


def _asking(repo: str, revision: str | None, ask: Callable[[], T]) -> T:
    from huggingface_hub import errors

    at = f" at {revision}" if revision else ""
    try:
        return ask()
    except errors.GatedRepoError as error:
        raise HubError(f"{repo} asks for consent first: accept its terms on the Hub, then `hf auth login`") from error
    except errors.RepositoryNotFoundError as error:
        raise HubError(
            f"there is no repository {repo} on the Hub, or it is private: check the name, or `hf auth login`"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise HubError(f"{repo} has no revision {revision!r}; name a branch, tag or commit that exists") from error
    except errors.HFValidationError as error:
        raise HubError(f"{repo!r} is no repository's name ({error}); expected user/repo") from error
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled) as error:
        raise HubError(
            f"{repo}{at} is not in the Hub's cache on this machine and the Hub cannot be reached; connect once, or "
            "pass a file or folder"
        ) from error
    except Exception as error:  # the Hub's client lets errors of several HTTP libraries through
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise HubError(f"the Hub did not give {repo}{at} ({reason}); try again, or pass a file") from error
