"""All that talks to the Hub: `read` fetches, `write` publishes and searches, `faults` says what went wrong.

Every error is a `HubError`. Files lie in the Hub's own cache (HF_HOME, HF_HUB_CACHE); HF_ENDPOINT, HF_TOKEN and
HF_HUB_OFFLINE are its client's, and are respected.
"""

from __future__ import annotations

from .faults import Kind
from .read import (
    COMMIT,
    Fetched,
    Listing,
    cached_repositories,
    fetch,
    is_cached,
    listing,
    sha256_of,
    verify_sha256,
)
from .write import Account, Entry, Uploaded, account, check_name, entries, upload

__all__ = [
    "COMMIT",
    "Account",
    "Entry",
    "Fetched",
    "Kind",
    "Listing",
    "Uploaded",
    "account",
    "cached_repositories",
    "check_name",
    "entries",
    "fetch",
    "is_cached",
    "listing",
    "sha256_of",
    "upload",
    "verify_sha256",
]
