"""Failures of the Hub's client, classified: each becomes a `HubError` that names its cause and its cure."""

from __future__ import annotations

import errno
import re
from typing import Literal

from ...errors import HubError

Kind = Literal["model", "dataset"]
BUSY = (408, 429)
"""Statuses below 500 after which the same request may succeed later."""
LOGIN = "log in by `hf auth login`, or set HF_TOKEN"


def unreachable(error: Exception) -> bool:
    """True if the network or the Hub itself failed, and not the request."""
    code = status(error)
    if code is not None:
        return code >= 500 or code in BUSY
    names = {kind.__name__ for kind in type(error).__mro__}
    # OfflineModeIsEnabled is a ConnectionError; requests and httpx, which the client uses by turns, have their own
    return bool(names & {"ConnectionError", "Timeout", "TransportError", "TimeoutError"})


def passing(error: Exception) -> bool:
    """True if the same request is worth repeating at once: the Hub answered that it is busy, or was too slow."""
    code = status(error)
    if code is not None:
        return code >= 500 or code in BUSY
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & {"Timeout", "TimeoutException", "TimeoutError", "RemoteProtocolError", "ReadError"})


def status(error: Exception) -> int | None:
    """The HTTP status of the Hub's answer; None if there was no answer."""
    code = getattr(getattr(error, "response", None), "status_code", None)
    return code if isinstance(code, int) else None


def asked_to_wait(error: Exception) -> int | None:
    """Seconds to wait by the Hub's `Retry-After` or `RateLimit` header; None if it has neither."""
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    found = re.fullmatch(r"\s*(\d{1,6})\s*", str(headers.get("Retry-After", "")))
    found = found or re.search(r"\br=0\b.*\bt=(\d{1,6})\b", str(headers.get("RateLimit", "")))
    return int(found[1]) if found else None


def explained(error: Exception, repo: str, revision: str | None = None, kind: Kind = "model") -> HubError:
    """The `HubError` for a failed request for files of `repo`, with its cause and what to do."""
    from huggingface_hub import errors

    at = f" at {revision}" if revision else ""
    code = status(error)
    if code is None and isinstance(error, errors.LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
        code = status(error.__cause__)  # for which the client looked into its cache
    if isinstance(error, errors.GatedRepoError):
        return HubError(f"{repo} asks for consent first: accept its terms on the Hub, then `hf auth login`")
    if isinstance(error, errors.RevisionNotFoundError):
        return HubError(f"{repo} has no revision {revision!r}; name a branch, tag or commit that exists")
    if isinstance(error, errors.RepositoryNotFoundError):
        what = "repository" if kind == "model" else "data set"
        return HubError(f"there is no {what} {repo} on the Hub, or it is private: check the name, or {LOGIN}")
    if isinstance(error, errors.HFValidationError):
        return HubError(f"{repo!r} is no repository's name ({first_line(error)}); expected user/repo")
    if code in (401, 403):
        return HubError(f"the Hub does not let you read {repo} ({code}): {LOGIN}, with a token that may read it")
    if isinstance(error, errors.OfflineModeIsEnabled):
        return HubError(
            f"{repo}{at} is not in this machine's cache, and the Hub is switched off (HF_HUB_OFFLINE); unset it once, "
            "or pass a file or folder"
        )
    if isinstance(error, errors.LocalEntryNotFoundError) or unreachable(error):
        reason = "cannot be reached" if code is None else f"answers {code}"
        seconds = asked_to_wait(error)
        later = "later" if seconds is None else f"in {seconds} s, as it asks"
        return HubError(
            f"{repo}{at} is not in this machine's cache, and the Hub {reason}; check the network or try again {later}, "
            "name a mirror in HF_ENDPOINT, or pass a file or folder"
        )
    on_disk = disk_trouble(error)
    if on_disk is not None:
        return on_disk
    return HubError(f"the Hub did not give {repo}{at} ({first_line(error)}); try again, or pass a file or folder")


def broken_off(error: Exception, repo: str, name: str) -> HubError | None:
    """The `HubError` for a download that began and did not end; None if that is not what happened."""
    from huggingface_hub import errors

    if isinstance(error, (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled)) or status(error) is not None:
        return None
    if not unreachable(error) and "Consistency check failed" not in str(error):
        return None
    return HubError(
        f"the download of {name} of {repo} broke off ({first_line(error)}); nothing half is kept: try again, on a slow "
        "line with more seconds of patience in HF_HUB_DOWNLOAD_TIMEOUT, or pass a file or folder"
    )


def disk_trouble(error: Exception) -> HubError | None:
    """The `HubError` for a cache that cannot be written or read; None if that is not what happened."""
    if not isinstance(error, OSError) or error.errno is None or unreachable(error):
        return None
    from huggingface_hub import constants

    where = error.filename or constants.HF_HUB_CACHE
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return HubError(
            f"the disk of the Hub's cache is full ({where}); make room (`hf cache prune`), or name a folder on another "
            "disk in HF_HOME, or HF_HUB_CACHE for the cache alone"
        )
    return HubError(
        f"the Hub's cache cannot be used: {where}: {error.strerror or error}; name a folder that can be read and "
        "written in HF_HOME, or HF_HUB_CACHE for the cache alone"
    )


def first_line(error: Exception) -> str:
    """The first line of an error's message, or its class if it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
