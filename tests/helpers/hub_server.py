"""A server on this machine that speaks as much of the Hub's protocol as its real client needs."""

from __future__ import annotations

import hashlib
import json
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hub_uploads import Uploads


@dataclass
class Repository:
    """Commits of one repository, each with its files; branches point to commits."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    gated: bool = False
    private: bool = False
    """Seen by its owner alone, and by those of its organisation."""
    endless: int = 0
    """So many further files are listed, of no content."""
    downloads: int = 0

    def commit(self, files: dict[str, bytes], branch: str = "main") -> str:
        """Add a commit to a branch; its id."""
        name = hashlib.sha1(repr((sorted(files.items()), len(self.commits))).encode()).hexdigest()
        self.commits[name] = dict(files)
        self.branches[branch] = name
        return name

    def resolve(self, revision: str) -> str | None:
        """The commit that a branch or commit stands for."""
        return revision if revision in self.commits else self.branches.get(revision)

    @property
    def head(self) -> dict[str, bytes]:
        """The files at the end of the main branch."""
        return self.commits[self.branches["main"]]


@dataclass
class User:
    """Somebody with a token."""

    name: str
    organisations: tuple[str, ...] = ()
    role: str = "write"


@dataclass
class Fault:
    """One way to misbehave, with requests in whose "GET /path" the expression is found."""

    where: str
    times: int = 1
    """How often; then all is well again."""
    status: int | None = None
    """Answer this."""
    headers: dict[str, str] = field(default_factory=dict)
    """With these beside it."""
    after: int | None = None
    """Send so many bytes of the content, then go wrong; None: before any answer."""
    wait: float = 0.0
    """Say nothing for so many seconds, or until `Hub.go` is set, and go on; 0: close the connection."""


@dataclass
class Hub:
    """The server's state: repositories, what was asked, and how to misbehave."""

    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    """By name; those of data sets are named "datasets/user/name"."""
    users: dict[str, User] = field(default_factory=dict)
    """By token."""
    requests: list[tuple[str, str]] = field(default_factory=list)
    """(method, path) of every request."""
    ranges: list[str | None] = field(default_factory=list)
    """What part was asked for, of every request for content."""
    tokens: list[str | None] = field(default_factory=list)
    """The Authorization header of every request."""
    broken: int | None = None
    """Answer everything with this status."""
    damage: bool = False
    """Flip a byte of every large file on its way out."""
    faults: list[Fault] = field(default_factory=list)
    halfway: threading.Event = field(default_factory=threading.Event)
    """Set when a fault has sent its part of a file."""
    go: threading.Event = field(default_factory=threading.Event)
    page: int = 1000
    """Files in a page of a listing."""
    storage: Hub | None = None
    """Another server that large files are read from."""
    objects: dict[str, bytes] = field(default_factory=dict)
    """Large files that were uploaded, or are stored for another server, by sha256."""
    crashes: list[BaseException] = field(default_factory=list)
    lock: Any = field(default_factory=threading.Lock)

    def downloads(self) -> list[str]:
        """Names of the files whose content was sent."""
        return [
            path.split("/resolve/", 1)[1].split("/", 1)[1]
            for method, path in self.requests
            if method == "GET" and "/resolve/" in path
        ]

    def fault(self, request: str) -> Fault | None:
        """The fault that this request runs into."""
        with self.lock:
            for fault in self.faults:
                if fault.times > 0 and re.search(fault.where, request):
                    fault.times -= 1
                    return fault
        return None


def entry_of(name: str, content: bytes) -> dict[str, Any]:
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    entry: dict[str, Any] = {"type": "file", "path": name, "size": len(content), "oid": blob}
    if is_large(name):
        sha = hashlib.sha256(content).hexdigest()
        entry["lfs"] = {"oid": sha, "size": len(content), "pointerSize": 130}
    return entry


def is_large(name: str) -> bool:
    """Whether the Hub keeps such a file apart from git."""
    return name.endswith((".pt", ".safetensors", ".parquet"))


class _Handler(Uploads):
    hub: Hub

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        asked = urlsplit(self.path)
        if self.refused(asked.path):
            return None
        # names of branches may hold slashes, which are quoted
        parts = [unquote(part) for part in asked.path.strip("/").split("/")]
        query = parse_qs(asked.query)
        if parts[:1] == ["objects"]:
            return self._content(self.hub.objects[parts[1]], {"ETag": f'"{parts[1]}"'})
        if parts == ["api", "whoami-v2"]:
            return self.whoami()
        if parts == ["api", "models"]:
            return self.search(query)
        api = parts[0] == "api"
        parts = parts[2:] if parts[:2] == ["api", "models"] else parts[1:] if api else parts
        prefix = ""
        if parts[:1] == ["datasets"]:
            prefix, parts = "datasets/", parts[1:]
        repository = self.hub.repositories.get(prefix + "/".join(parts[:2]))
        if repository is None or (repository.private and not self.may(parts[0])):
            return self.send(401 if api else 404, headers={"X-Error-Code": "RepoNotFound"})
        if repository.gated:
            return self.send(403, headers={"X-Error-Code": "GatedRepo"})
        verb, revision = (parts[2], parts[3]) if len(parts) > 3 else ("revision", "main")
        commit = repository.resolve(revision)
        if commit is None:
            return self.send(404, headers={"X-Error-Code": "RevisionNotFound"})
        files = repository.commits[commit]
        if verb == "revision":
            return self.json({"id": "/".join(parts[:2]), "sha": commit, "private": repository.private})
        if verb == "tree":
            return self._tree(repository, files, int(query.get("cursor", ["0"])[0]))
        return self._file(commit, "/".join(parts[4:]), files)

    def _tree(self, repository: Repository, files: dict[str, bytes], start: int) -> None:
        stop, names = start + self.hub.page, sorted(files)
        entries = [entry_of(name, files[name]) for name in names[start:stop]]
        further = range(max(start, len(names)), min(stop, len(names) + repository.endless))
        entries += [{"type": "file", "path": f"{n:09}.bin", "size": 0, "oid": "0" * 40} for n in further]
        more = stop < len(names) + repository.endless
        url = f"{self.hub.url}{urlsplit(self.path).path}?recursive=true&cursor={stop}"
        self.json(entries, {"Link": f'<{url}>; rel="next"'} if more else {})

    def _file(self, commit: str, name: str, files: dict[str, bytes]) -> None:
        if name not in files:
            return self.send(404, headers={"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
        content, entry = files[name], entry_of(name, files[name])
        headers = {"X-Repo-Commit": commit, "ETag": f'"{entry["oid"]}"', "Accept-Ranges": "bytes"}
        if is_large(name):
            sha = entry["lfs"]["oid"]
            headers |= {"X-Linked-Etag": f'"{sha}"', "X-Linked-Size": str(len(content))}
            if self.hub.storage is not None:
                self.hub.storage.objects[sha] = content
                return self.send(302, headers=headers | {"Location": f"{self.hub.storage.url}/objects/{sha}"})
            if self.hub.damage and len(content) > 40:
                content = content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]
        return self._content(content, headers)

    def _content(self, content: bytes, headers: dict[str, str]) -> None:
        wanted = self.headers.get("Range")
        if self.command == "GET":
            self.hub.ranges.append(wanted)
        if wanted is None:
            return self.send(200, content, headers)
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        start, stop = int(first or 0), min(int(last) + 1 if last else len(content), len(content))
        return self.send(
            206, content[start:stop], headers | {"Content-Range": f"bytes {start}-{stop - 1}/{len(content)}"}
        )


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    hub: Hub

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are what is tested; anything else is a fault of this server's own."""
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, ConnectionError):
            self.hub.crashes.append(error)


@contextmanager
def serve() -> Iterator[Hub]:
    """A running server; it stops when the block is left."""
    hub = Hub()
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    server.hub = hub
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.go.set()
        server.shutdown()
        server.server_close()
        thread.join()
    assert not hub.crashes, [json.dumps(repr(error)) for error in hub.crashes]


def point(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Have the Hub's client ask the server at `url`, as HF_ENDPOINT does when a process starts."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody sleep before trying again: neither the Hub's client nor we."""
    import time

    from huggingface_hub import file_download
    from huggingface_hub.utils import _http

    from audiosae_steer.io.hub import read

    awake = SimpleNamespace(**{**vars(time), "sleep": lambda seconds: None})
    for module in (file_download, _http, read):
        monkeypatch.setattr(module, "time", awake)


@contextmanager
def served(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[Hub]:
    """A running server that the Hub's client asks, with its cache in `folder`, without a token."""
    from huggingface_hub import constants

    with serve() as server:
        point(monkeypatch, server.url)
        hurry(monkeypatch)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "hub"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(folder / "token"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        yield server


def cut(hub: Hub, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """Cut the way to the Hub: "switched off", "down", or a status that it answers everything with."""
    from huggingface_hub import constants

    if way == "switched off":
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    elif way == "down":
        point(monkeypatch, "http://127.0.0.1:9")
    else:
        hub.broken = int(way)
