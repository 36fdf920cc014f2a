"""Writing to the Hub, atomically in one commit; and searching it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import HubError
from .failures import LOGIN, asked_to_wait, disk_trouble, explained, first_line, status, unreachable
from .read import TIMEOUT, ask, listing, pages


class Account(NamedTuple):
    """The account that is logged in."""

    name: str
    """Of the user."""
    organisations: tuple[str, ...]
    """That the token knows the user to be in."""
    writes: bool
    """False if the token may only read; a fine-grained one may, in places that only trying tells."""


class Uploaded(NamedTuple):
    """Result of an upload."""

    url: str
    """Of the repository."""
    commit: str
    """The one commit that holds it."""
    created: bool
    """The repository is new."""


class Entry(NamedTuple):
    """A repository that was found on the Hub."""

    repo: str
    """"user/repo"."""
    tags: tuple[str, ...]
    """Its card's tags, and those that the Hub makes of its card: `base_model:…`, `license:…`."""
    downloads: int
    """In the last 30 days."""
    updated: str
    """The day of its last commit, as 2026-01-31; empty where the Hub does not say."""


def check_name(repo: str) -> None:
    """Refuse a name that the Hub does not allow.

    Raises:
        HubError: it is not of the form user/repo.
    """
    from huggingface_hub import utils
    from huggingface_hub.errors import HFValidationError

    client: Any = utils
    try:
        client.validate_repo_id(repo)
    except HFValidationError as error:
        raise HubError(f"{repo!r} is no repository's name ({first_line(error)}); expected user/repo") from error
    if repo.count("/") != 1:
        raise HubError(f"{repo!r} is no repository's name; expected user/repo")


def account() -> Account:
    """The account that is logged in.

    Raises:
        HubError: no account; the token is no longer valid; or the Hub cannot be reached.
    """
    from huggingface_hub import constants, get_token

    try:
        if get_token() is None:
            raise HubError(f"publishing needs an account on the Hub: {LOGIN}, with a token that may write")
        said: dict[str, Any] = ask(f"{constants.ENDPOINT}/api/whoami-v2").json()
        token = said.get("auth", {}).get("accessToken", {})
        organisations = tuple(str(each["name"]) for each in said.get("orgs", ()))
        return Account(str(said["name"]), organisations, token.get("role") != "read")
    except HubError:
        raise
    except Exception as error:  # the Hub's client lets errors of several HTTP libraries through
        if status(error) in (401, 403):
            raise HubError(f"the Hub does not know the token that you are logged in with: {LOGIN}, anew") from error
        raise _unanswered(error, "who you are") from error


def upload(repo: str, folder: Path, files: Sequence[str], *, private: bool | None, mark: str, message: str) -> Uploaded:
    """Put files of `folder` into `repo`, atomically in one commit. It is made if need be, and then stays.

    Args:
        repo: "user/repo".
        folder: where they are.
        files: their names in the folder, and in the repository; others that it holds stay.
        private: whether a new repository is; None leaves it to the account's setting.
        mark: the file by which a repository is known to be written by this package, and may be written over.
        message: of the commit.

    Raises:
        HubError: no account is logged in, or it may not write there; the name is taken by something else; it is
            public, and was to be private; the Hub refuses the card; it changed meanwhile; or cannot be reached.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi(library_name="audiosae-steer")
    who = account()
    if not who.writes:
        raise HubError(f"the token of {who.name} may only read; make one that may write, and {LOGIN}")
    before = _state(repo)
    if before is not None:
        _check_taken(repo, before, private, mark)
    _check_card(folder / "README.md")
    made = False
    try:
        if before is None:
            api.create_repo(repo, private=private, exist_ok=True)
            made = True
        done = api.create_commit(
            repo,
            [CommitOperationAdd(name, folder / name) for name in files],
            commit_message=message,
            parent_commit=None if before is None else before["sha"],
        )
    except Exception as error:  # as above
        refused = _refused(error, repo, who)
        if made:  # and not deleted: others may have put something there meanwhile
            raise HubError(
                f"{refused}; {repo} was made before that, and stays, empty: publish to it again, or delete it"
            ) from error
        raise refused from error
    return Uploaded(f"{api.endpoint}/{repo}", str(done.oid), before is None)


def entries(tags: Sequence[str], words: str = "", limit: int = 100) -> list[Entry]:
    """Repositories on the Hub with all of these tags, the most downloaded first.

    Args:
        tags: each of which they have.
        words: part of their names.
        limit: how many at most.

    Raises:
        HubError: the Hub cannot be reached, or refuses the token that one is logged in with.
    """
    if limit < 1:
        return []
    params: dict[str, Any] = {"filter": list(tags), "sort": "downloads", "limit": limit}
    params |= {"expand": ["tags", "downloads", "lastModified"]} | ({"search": words} if words else {})
    try:
        return [_entry(found) for found in islice(pages("models", params), limit)]
    except Exception as error:  # as above
        if status(error) in (401, 403):
            raise HubError(
                f"the Hub does not take the token that you are logged in with ({status(error)}): {LOGIN}, anew, or "
                "search without one"
            ) from error
        raise _unanswered(error, "what repositories it has") from error


def _entry(found: Mapping[str, Any]) -> Entry:
    tags = tuple(str(tag) for tag in found.get("tags") or ())
    updated = str(found.get("lastModified") or "")[:10]
    return Entry(str(found["id"]), tags, int(found.get("downloads") or 0), updated)


def _state(repo: str) -> dict[str, Any] | None:
    """The last commit of a repository, and whether it is private; None if there is no such repository."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    try:
        info = HfApi().model_info(repo, expand=["sha", "private"], timeout=TIMEOUT)
    except GatedRepoError as error:
        raise explained(error, repo) from error
    except RepositoryNotFoundError:
        return None
    except Exception as error:  # as above
        raise _refused(error, repo) from error
    return {"sha": info.sha, "private": bool(info.private)}


def _check_taken(repo: str, before: Mapping[str, Any], private: bool | None, mark: str) -> None:
    held = [name for name in listing(repo, before["sha"]).files if name not in (".gitattributes", "README.md")]
    if held and mark not in held:
        raise HubError(
            f"{repo} is taken: it holds {', '.join(held[:4])}{', …' if held[4:] else ''} and no {mark}; publish under "
            "another name"
        )
    if private and not before["private"]:
        raise HubError(
            f"{repo} is there already, and public; make it private in its settings on the Hub first, or publish under "
            "another name"
        )


def _check_card(card: Path) -> None:
    from huggingface_hub import ModelCard
    from huggingface_hub.errors import HfHubHTTPError

    try:
        ModelCard.load(card).validate()
    except HfHubHTTPError as error:
        raise _refused(error, "the card") from error
    except ValueError as error:
        said = "; ".join(re.findall(r'"message": ?"((?:[^"\\]|\\.)*)"', str(error))).replace('\\"', '"')
        said = said or first_line(error)
        raise HubError(f"the Hub refuses the card's front matter: {said}; nothing was written") from error
    except Exception as error:  # as above
        raise _refused(error, "the card") from error


def _refused(error: Exception, what: str, who: Account | None = None) -> HubError:
    """The `HubError` for a refused write, after which no commit was made."""
    if isinstance(error, RuntimeError) and isinstance(error.__cause__, Exception):
        error = error.__cause__  # of one file's upload
    code = status(error)
    if code in (401, 403):
        own = "" if who is None else f"; {who.name} may write to {', '.join((who.name, *who.organisations))}"
        return HubError(f"the Hub does not let you write to {what} ({code}){own}: {LOGIN}, with a token that may")
    if code in (409, 412):
        return HubError(
            f"{what} was changed by somebody else meanwhile ({code}); no file was written: look, and try again"
        )
    return _no_way(error, what) or HubError(
        f"the Hub did not take {what} ({first_line(error)}); no file was written: try again"
    )


def _unanswered(error: Exception, what: str) -> HubError:
    """The `HubError` for a failed request that concerns no repository."""
    return _no_way(error, what) or HubError(f"the Hub did not say {what} ({first_line(error)}); try again later")


def _no_way(error: Exception, what: str) -> HubError | None:
    """The `HubError` for a Hub that cannot be reached, or a disk that fails; None if that is not what happened."""
    from huggingface_hub import errors

    code = status(error)
    if isinstance(error, errors.OfflineModeIsEnabled):
        return HubError("the Hub is switched off (HF_HUB_OFFLINE); unset it, and try again")
    if unreachable(error):
        reason = "cannot be reached" if code is None else f"answers {code}"
        seconds = asked_to_wait(error)
        later = "later" if seconds is None else f"in {seconds} s, as it asks"
        return HubError(f"the Hub {reason}, when asked for {what}; check the network or try again {later}")
    return disk_trouble(error)
