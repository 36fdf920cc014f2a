"""A server on this machine that speaks as much of the Hub's protocol as its real client needs."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest


@dataclass
class Repository:
    """Commits of one repository, each with its files; branches point to commits."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    gated: bool = False

    def commit(self, files: dict[str, bytes], branch: str = "main") -> str:
        """Add a commit to a branch; its id."""
        name = hashlib.sha1(repr((sorted(files.items()), len(self.commits))).encode()).hexdigest()
        self.commits[name] = dict(files)
        self.branches[branch] = name
        return name

    def resolve(self, revision: str) -> str | None:
        """The commit that a branch or commit stands for."""
        return revision if revision in self.commits else self.branches.get(revision)


@dataclass
class Hub:
    """The server's state: repositories, what was asked, and how to misbehave."""

    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    """By name; those of data sets are named "datasets/user/name"."""
    requests: list[tuple[str, str]] = field(default_factory=list)
    """(method, path) of every request."""
    broken: int | None = None
    """Answer everything with this status."""
    damage: bool = False
    """Flip a byte of every large file on its way out."""

    def downloads(self) -> list[str]:
        """Names of the files whose content was sent."""
        return [
            path.split("/resolve/", 1)[1].split("/", 1)[1]
            for method, path in self.requests
            if method == "GET" and "/resolve/" in path
        ]


def _entry(name: str, content: bytes) -> dict[str, Any]:
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    entry: dict[str, Any] = {"type": "file", "path": name, "rfilename": name, "size": len(content), "oid": blob}
    entry["blobId"] = blob
    if _is_large(name):
        sha = hashlib.sha256(content).hexdigest()
        entry["lfs"] = {"oid": sha, "sha256": sha, "size": len(content), "pointerSize": 130}
    return entry


def _is_large(name: str) -> bool:
    return name.endswith((".pt", ".safetensors", ".parquet"))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _send(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", headers.pop("Content_Length", str(len(body))))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def _answer(self) -> None:
        asked = urlsplit(self.path).path
        self.hub.requests.append((self.command, unquote(asked)))
        # names of branches may hold slashes, which are quoted
        parts = [unquote(part) for part in asked.strip("/").split("/")]
        if self.hub.broken is not None:
            return self._send(self.hub.broken)
        api = parts[0] == "api"
        parts = parts[2:] if parts[:2] == ["api", "models"] else parts[1:] if api else parts
        prefix = ""
        if parts[:1] == ["datasets"]:
            prefix, parts = "datasets/", parts[1:]
        repository = self.hub.repositories.get(prefix + "/".join(parts[:2]))
        if repository is None:
            return self._send(401 if api else 404, X_Error_Code="RepoNotFound")
        if repository.gated:
            return self._send(403, X_Error_Code="GatedRepo")
        verb, revision = (parts[2], parts[3]) if len(parts) > 3 else ("revision", "main")
        commit = repository.resolve(revision)
        if commit is None:
            return self._send(404, X_Error_Code="RevisionNotFound")
        files = repository.commits[commit]
        if verb == "revision":
            siblings = [_entry(name, content) for name, content in sorted(files.items())]
            return self._json({"id": "/".join(parts[:2]), "sha": commit, "siblings": siblings})
        if verb == "tree":
            return self._json([_entry(name, content) for name, content in sorted(files.items())])
        return self._file(commit, "/".join(parts[4:]), files)

    def _json(self, content: Any) -> None:
        self._send(200, json.dumps(content).encode(), Content_Type="application/json")

    def _file(self, commit: str, name: str, files: dict[str, bytes]) -> None:
        if name not in files:
            return self._send(404, X_Error_Code="EntryNotFound", X_Repo_Commit=commit)
        content, entry = files[name], _entry(name, files[name])
        headers = {"X_Repo_Commit": commit, "ETag": f'"{entry["oid"]}"', "Accept_Ranges": "bytes"}
        if _is_large(name):
            headers["X_Linked_Etag"] = f'"{entry["lfs"]["oid"]}"'
            headers["X_Linked_Size"] = str(len(content))
            if self.hub.damage and len(content) > 40:
                content = content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]
        wanted = self.headers.get("Range")
        if wanted is None:
            return self._send(200, content, **headers)
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        start, stop = int(first or 0), min(int(last) + 1 if last else len(content), len(content))
        headers["Content_Range"] = f"bytes {start}-{stop - 1}/{len(content)}"
        return self._send(206, content[start:stop], **headers)


@contextmanager
def serve() -> Iterator[Hub]:
    """A running server; it stops when the block is left."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def point(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Have the Hub's client ask the server at `url`, as HF_ENDPOINT does when a process starts."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")


@contextmanager
def served(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[Hub]:
    """A running server that the Hub's client asks, with its cache in `folder`."""
    from huggingface_hub import constants

    with serve() as server:
        point(monkeypatch, server.url)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "hub"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(folder / "token"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
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
