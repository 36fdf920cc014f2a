"""The Hub's real client in every situation: what is asked for, what comes of it, and which parts of files were sent."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hub_server import Fault, Hub, Repository, User, cut, serve, served

from audiosae_steer import HubError
from audiosae_steer.io.hub import read
from audiosae_steer.io.hub.read import fetch

REPO, NAME = "user/one", "layer_2/ae.pt"
FIRST, SECOND = (b"".join(hashlib.sha256(b"%d %d" % (k, n)).digest() for n in range(3000)) for k in (1, 2))
OTHERS = {f"layer_{n}/ae.pt": b"another layer" * n for n in (1, 3, 12)} | {"README.md": b"# SAEs"}
CONTENT = f"GET /{REPO}/resolve/.*"
ALWAYS = 99


class World:
    """A server, a cache, and a user."""

    def __init__(self, hub: Hub, monkeypatch: pytest.MonkeyPatch, folder: Path, stack: ExitStack) -> None:
        self.hub, self.monkeypatch, self.folder, self.stack = hub, monkeypatch, folder, stack
        self.more: dict[str, Any] = {}
        hub.repositories[REPO] = Repository()
        self.first = hub.repositories[REPO].commit({**OTHERS, NAME: FIRST})
        hub.users["hf_right"] = User("user")

    def set(self, name: str, value: Any) -> None:
        """Set one of the client's constants."""
        from huggingface_hub import constants

        self.monkeypatch.setattr(constants, name, value)

    def fault(self, where: str, **how: Any) -> None:
        """Have the server misbehave."""
        self.hub.faults.append(Fault(where, **how))

    def fetch(self) -> bytes:
        """What the user asks for: one layer."""
        fetched = fetch(REPO, [self.more.get("name", NAME)], self.more.get("revision"))
        return (fetched.folder / fetched.files[0]).read_bytes()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with served(monkeypatch, tmp_path) as hub, ExitStack() as stack:
        found = World(hub, monkeypatch, tmp_path, stack)
        found.set("DOWNLOAD_CHUNK_SIZE", 512)  # so much is asked for again after a break; the client's own is 10 MB
        yield found


def impatient(world: World) -> None:
    world.set("HF_HUB_DOWNLOAD_TIMEOUT", 0.3)
    world.monkeypatch.setattr(read, "TIMEOUT", 0.3)


def moved(world: World) -> None:
    world.hub.repositories[REPO].commit({**OTHERS, NAME: SECOND})


def spoilt(world: World) -> None:
    for blob in (world.folder / "hub").glob("models--*/blobs/*"):
        content = blob.read_bytes()
        blob.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def no_links(world: World) -> None:
    from huggingface_hub import file_download

    world.monkeypatch.setattr(file_download, "are_symlinks_supported", lambda folder=None: False)


def below_a_file(world: World) -> None:
    (world.folder / "file").write_bytes(b"")
    world.set("HF_HUB_CACHE", str(world.folder / "file" / "hub"))


@contextmanager
def forbidden(folder: Path) -> Iterator[None]:
    """Take away the right to write there; root keeps it whatever the mode says, and is somebody else meanwhile."""
    places = [folder, *(path for path in folder.rglob("*") if path.is_dir() and not path.is_symlink())]
    for place in places:
        place.chmod(0o555)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)
        for place in places:
            place.chmod(0o755)


def read_only(world: World) -> None:
    place = Path(tempfile.mkdtemp(dir="/tmp"))  # pytest's own folders are not to be seen by others
    world.stack.callback(shutil.rmtree, place)
    place.chmod(0o755)
    if (world.folder / "hub").is_dir():
        shutil.copytree(world.folder / "hub", place / "hub", symlinks=True)
    world.set("HF_TOKEN_PATH", str(place / "token"))
    world.set("HF_HUB_CACHE", str(place / "hub"))
    world.stack.enter_context(forbidden(place))


def private(world: World, *, token: str | None = None, file: str | None = None) -> None:
    world.hub.repositories[REPO].private = True
    if token is not None:
        world.monkeypatch.setenv("HF_TOKEN", token)
    if file is not None:
        (world.folder / "token").write_text(file + "\n")


def elsewhere(world: World) -> None:
    private(world, token="hf_right")
    world.hub.storage = world.stack.enter_context(serve())
    world.hub.storage.ranges = world.hub.ranges


SITUATIONS: dict[str, Callable[[World], Any]] = {
    "all is well": lambda w: None,
    "the branch moved": moved,
    "the branch moved, the commit is pinned": lambda w: (moved(w), w.more.update(revision=w.first)),
    "a wrong revision": lambda w: w.more.update(revision="nowhere"),
    "a wrong commit": lambda w: w.more.update(revision="0" * 40),
    "a wrong name": lambda w: w.more.update(name="layer_7/*"),
    "401": lambda w: w.fault("/api/models/", status=401, times=ALWAYS),
    "403": lambda w: w.fault("/api/models/", status=403, times=ALWAYS),
    "404": lambda w: w.hub.repositories.clear(),
    "consent is asked for": lambda w: setattr(w.hub.repositories[REPO], "gated", True),
    "429, always": lambda w: cut(w.hub, w.monkeypatch, "429"),
    "429, twice": lambda w: w.fault("/api/models/", status=429, times=2),
    "429, for an hour": lambda w: w.fault(".", status=429, headers={"Retry-After": "3600"}, times=ALWAYS),
    "500, always": lambda w: cut(w.hub, w.monkeypatch, "500"),
    "502, twice": lambda w: w.fault("/api/models/", status=502, times=2),
    "503, always, of the file alone": lambda w: w.fault("/resolve/", status=503, times=ALWAYS),
    "503, once, of the file alone": lambda w: w.fault("HEAD .*/resolve/", status=503),
    "silent, always": lambda w: (impatient(w), w.fault("/api/models/", wait=2.0, times=ALWAYS)),
    "silent, once": lambda w: (impatient(w), w.fault("/api/models/", wait=2.0)),
    "silent in mid-file, once": lambda w: (impatient(w), w.fault(CONTENT, after=1024, wait=2.0)),
    "silent in mid-file, always": lambda w: (impatient(w), w.fault(CONTENT, after=0, wait=2.0, times=ALWAYS)),
    "cut off without an answer": lambda w: w.fault("/api/models/"),
    "cut off in mid-file, once": lambda w: w.fault(CONTENT, after=1024),
    "cut off in mid-file, three times": lambda w: w.fault(CONTENT, after=1024, times=3),
    "cut off in mid-file, always": lambda w: w.fault(CONTENT, after=0, times=ALWAYS),
    "other content by the same name": lambda w: setattr(w.hub, "damage", True),
    "spoilt on the disk": spoilt,
    "no symbolic links": no_links,
    "the cache is below a file": below_a_file,
    "the cache is read-only": read_only,
    "private, no token": private,
    "private, HF_TOKEN": lambda w: private(w, token="hf_right"),
    "private, token file": lambda w: private(w, file="hf_right"),
    "private, a wrong token": lambda w: private(w, token="hf_wrong"),
    "large files lie elsewhere": elsewhere,
    "HF_HUB_OFFLINE": lambda w: cut(w.hub, w.monkeypatch, "switched off"),
    "no network": lambda w: cut(w.hub, w.monkeypatch, "down"),
}

NO, YES = False, True
TABLE: list[tuple[str, bool, bytes | str, list[str | None]]] = [
    # situation, whether the cache has it, what comes of it: content, or what the HubError says; parts that were sent
    ("all is well", NO, FIRST, [None]),
    ("all is well", YES, FIRST, []),
    ("the branch moved", YES, SECOND, [None]),
    ("the branch moved, the commit is pinned", NO, FIRST, [None]),
    ("the branch moved, the commit is pinned", YES, FIRST, []),
    ("a wrong revision", YES, "has no revision 'nowhere'; name a branch, tag or commit", []),
    ("a wrong commit", NO, "has no revision '0000", []),
    ("a wrong name", NO, r"no file that matches layer_7/\*; its files are: README", []),
    ("401", NO, r"does not let you read user/one \(401\): log in by `hf auth login`, or set HF_TOKEN", []),
    ("403", NO, r"does not let you read user/one \(403\): log in", []),
    ("404", NO, "there is no repository user/one on the Hub, or it is private: check the name", []),
    ("consent is asked for", NO, "accept its terms on the Hub", []),
    ("429, always", NO, "not in this machine's cache, and the Hub answers 429; .* try again later", []),
    ("429, always", YES, FIRST, []),
    ("429, twice", NO, FIRST, [None]),
    ("429, for an hour", NO, "answers 429; .* try again in 3600 s, as it asks", []),
    ("500, always", NO, "the Hub answers 500; check the network or try again later", []),
    ("500, always", YES, FIRST, []),
    ("502, twice", NO, FIRST, [None]),
    ("503, always, of the file alone", NO, "user/one is not in this machine's cache, and the Hub", []),
    ("503, always, of the file alone", YES, FIRST, []),
    ("503, once, of the file alone", NO, FIRST, [None]),
    ("silent, always", NO, "the Hub cannot be reached; check the network", []),
    ("silent, always", YES, FIRST, []),
    ("silent, once", NO, FIRST, [None]),
    ("silent in mid-file, once", NO, FIRST, [None, "bytes=1024-"]),
    (
        "silent in mid-file, always",
        NO,
        f"download of {NAME} of user/one broke off.* HF_HUB_DOWNLOAD_TIMEOUT",
        [None] * 6,
    ),
    ("cut off without an answer", NO, FIRST, [None]),
    ("cut off in mid-file, once", NO, FIRST, [None, "bytes=1024-"]),
    ("cut off in mid-file, three times", NO, FIRST, [None, "bytes=1024-", "bytes=2048-", "bytes=3072-"]),
    ("cut off in mid-file, always", NO, f"download of {NAME} of user/one broke off.* try again", [None] * 6),
    ("other content by the same name", NO, "is not what the Hub recorded", [None, None]),
    ("spoilt on the disk", YES, FIRST, [None]),
    ("no symbolic links", NO, FIRST, [None]),
    ("no symbolic links", YES, FIRST, []),
    ("the cache is below a file", NO, "cache cannot be used: .*hub.*; name a folder .* HF_HOME, or HF_HUB_CACHE", []),
    ("the cache is read-only", NO, "cache cannot be used: .*: Permission denied; name a folder .* HF_HOME", []),
    ("the cache is read-only", YES, FIRST, []),
    ("private, no token", NO, "or it is private: check the name, or log in by `hf auth login`, or set HF_TOKEN", []),
    ("private, HF_TOKEN", NO, FIRST, [None]),
    ("private, token file", NO, FIRST, [None]),
    ("private, a wrong token", NO, "there is no repository user/one on the Hub, or it is private", []),
    ("large files lie elsewhere", NO, FIRST, [None]),
    ("HF_HUB_OFFLINE", NO, "the Hub is switched off", []),
    ("HF_HUB_OFFLINE", YES, FIRST, []),
    ("no network", NO, "the Hub cannot be reached; check the network", []),
    ("no network", YES, FIRST, []),
]


@pytest.mark.parametrize(
    ("situation", "cached", "outcome", "parts"), TABLE, ids=[f"{row[0]}{', cached' * row[1]}" for row in TABLE]
)
def test_the_matrix(world: World, situation: str, cached: bool, outcome: bytes | str, parts: list[str | None]) -> None:
    if cached:
        assert world.fetch() == FIRST
    world.hub.ranges.clear()
    world.hub.requests.clear()
    SITUATIONS[situation](world)
    if isinstance(outcome, bytes):
        assert world.fetch() == outcome
    else:
        with pytest.raises(HubError, match=outcome):
            world.fetch()
    world.stack.close()
    assert world.hub.ranges == parts
    assert set(world.hub.downloads()) <= {NAME}  # one layer, not twelve
    left = [path for path in (world.folder / "hub").rglob("*") if path.is_file()]
    assert not [path for path in left if path.suffix == ".incomplete"]
    if isinstance(outcome, str) and "recorded" not in outcome and not cached:
        assert not [path for path in left if path.name in ("ae.pt", hashlib.sha256(FIRST).hexdigest())]


def test_every_situation_has_a_row() -> None:
    assert {row[0] for row in TABLE} == set(SITUATIONS)


def test_a_token_is_for_the_hub_alone(world: World) -> None:
    elsewhere(world)
    assert world.fetch() == FIRST
    assert set(world.hub.tokens) == {"Bearer hf_right"}
    assert world.hub.storage is not None
    assert world.hub.storage.tokens == [None]


def test_what_was_fetched_without_links_is_there_without_the_hub(world: World) -> None:
    no_links(world)
    assert world.fetch() == FIRST
    assert not [path for path in (world.folder / "hub").rglob("*") if path.is_symlink()]
    cut(world.hub, world.monkeypatch, "switched off")
    assert world.fetch() == FIRST


def test_a_full_disk_is_said_to_be_full(world: World) -> None:
    from huggingface_hub import file_download

    def full(*args: Any, **more: Any) -> None:
        raise OSError(28, "No space left on device", str(world.folder / "hub"))

    world.monkeypatch.setattr(file_download, "http_get", full)
    with pytest.raises(HubError, match=r"disk of the Hub's cache is full .*make room .* HF_HUB_CACHE"):
        world.fetch()


def test_a_cured_fault_leaves_nothing_behind(world: World) -> None:
    world.fault(CONTENT, after=0, times=6)
    with pytest.raises(HubError, match="nothing half is kept"):
        world.fetch()
    assert world.fetch() == FIRST
