"""The half of the Hub's protocol that needs an account: who one is, uploads, commits and searches."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

LICENCES = ("mit", "apache-2.0", "cc-by-4.0", "cc-by-nc-4.0", "other")
"""Some of those that the Hub knows."""


def front_matter(card: str) -> dict[str, Any]:
    """The metadata at the top of a card; ValueError where the Hub would refuse it."""
    found = re.match(r"---\n(.*?)\n---\n", card, re.DOTALL)
    data = yaml.safe_load(found[1]) if found else {}
    if not isinstance(data, dict):
        raise ValueError("metadata must be an object")
    if data.get("license", "mit") not in LICENCES:
        raise ValueError(f'"license" must be one of {", ".join(LICENCES)}')
    bases = data.get("base_model", [])
    for base in [bases] if isinstance(bases, str) else bases:
        if not re.fullmatch(r"[\w.-]+/[\w.-]+", base):
            raise ValueError('"base_model" must be the id of a model')
    if not all(isinstance(tag, str) for tag in data.get("tags", [])):
        raise ValueError('"tags" must be strings')
    return data


class Uploads(BaseHTTPRequestHandler):
    """What a handler of the Hub's needs for writing."""

    protocol_version = "HTTP/1.1"
    hub: Any

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def send(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        """Answer; with what a fault has to say to that."""
        fault = getattr(self, "fault", None)
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault is None or fault.after is None:
            self.wfile.write(body)
            return
        self.wfile.write(body[: fault.after])
        self.wfile.flush()
        self.hub.halfway.set()
        if fault.wait:
            self.hub.go.wait(fault.wait)
            self.wfile.write(body[fault.after :])
        else:
            self.close_connection = True

    def json(self, content: Any, headers: dict[str, str] | None = None, status: int = 200) -> None:
        """Answer with JSON."""
        self.send(status, json.dumps(content).encode(), {"Content-Type": "application/json", **(headers or {})})

    def refused(self, path: str) -> bool:
        """Write a request down; whether it ran into a fault that answers in the place of the server."""
        self.fault = None
        if path == "/api/agent-harnesses":  # which the client asks for once in a process, for its statistics
            self.send(404)
            return True
        self.hub.requests.append((self.command, unquote(path)))
        self.hub.tokens.append(self.headers.get("Authorization"))
        self.fault = self.hub.fault(f"{self.command} {unquote(path)}")
        if self.hub.broken is not None:
            self.send(self.hub.broken)
            return True
        if self.fault is None or self.fault.after is not None:
            return False
        if self.fault.status is not None:
            self.send(self.fault.status, headers=self.fault.headers)
            return True
        if self.fault.wait:
            self.hub.go.wait(self.fault.wait)
            return False
        self.close_connection = True
        return True

    def user(self) -> Any:
        """Who asks, if anybody known."""
        return self.hub.users.get((self.headers.get("Authorization") or "").removeprefix("Bearer "))

    def may(self, namespace: str) -> bool:
        """Whether who asks is at home there."""
        user = self.user()
        return user is not None and namespace in (user.name, *user.organisations)

    def whoami(self) -> None:
        """The user of the token."""
        user = self.user()
        if user is None:
            return self.send(401, headers={"X-Error-Message": "Invalid credentials in Authorization header"})
        orgs = [{"name": name} for name in user.organisations]
        return self.json({"name": user.name, "orgs": orgs, "auth": {"accessToken": {"role": user.role}}})

    def search(self, query: dict[str, list[str]]) -> None:
        """Models with all the tags, the most downloaded first, in pages."""
        found = []
        for name, repository in self.hub.repositories.items():
            if name.startswith("datasets/") or (repository.private and not self.may(name.split("/")[0])):
                continue
            card = front_matter(repository.head.get("README.md", b"").decode())
            bases = card.get("base_model", [])
            tags = [*card.get("tags", []), *(f"base_model:{b}" for b in ([bases] if isinstance(bases, str) else bases))]
            part = query.get("search", [""])[0].lower()
            if set(query.get("filter", [])) <= set(tags) and part in name.lower():
                entry = {"_id": "1", "id": name, "tags": tags, "downloads": repository.downloads}
                found.append(entry | {"lastModified": "2026-01-31T12:00:00.000Z"})
        found.sort(key=lambda each: -each["downloads"])
        start, limit = int(query.get("cursor", ["0"])[0]), self.hub.page
        rest = urlsplit(self.path).query.split("&cursor")[0]
        url = f"{self.hub.url}/api/models?{rest}&cursor={start + limit}"
        self.json(found[start : start + limit], {"Link": f'<{url}>; rel="next"'} if start + limit < len(found) else {})

    def do_POST(self) -> None:
        body, path = self._body(), urlsplit(self.path).path
        if self.refused(path):
            return None
        if path == "/api/validate-yaml":
            return self._validate(json.loads(body)["content"])
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if path == "/verify":
            given = json.loads(body)
            return self.send(200 if len(self.hub.objects.get(given["oid"], b"")) == given["size"] else 404)
        found = re.fullmatch(
            r"/(?:api/models/)?([^/]+/[^/]+?)(?:\.git/info/lfs/objects/batch|/(preupload|commit)/main)", path
        )
        repository = found and self.hub.repositories.get(found[1])
        if not found or repository is None:
            return self.send(404, headers={"X-Error-Code": "RepoNotFound"})
        if not self.may(found[1].split("/")[0]) or self.user().role == "read":
            return self.send(403, headers={"X-Error-Message": "Forbidden: you must use a write token"})
        if found[2] == "preupload":
            return self._modes(json.loads(body), repository)
        if found[2] == "commit":
            return self._commit(found[1], [json.loads(line) for line in body.splitlines()], repository)
        return self._batch(json.loads(body))

    def do_PUT(self) -> None:
        body, path = self._body(), urlsplit(self.path).path
        if self.refused(path):
            return None
        oid = path.removeprefix("/objects/")
        if hashlib.sha256(body).hexdigest() != oid:
            return self.send(400)
        self.hub.objects[oid] = body
        return self.send(200)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _validate(self, card: str) -> None:
        try:
            empty = not front_matter(card)
        except (ValueError, yaml.YAMLError) as error:
            return self.json({"errors": [{"message": str(error)}], "warnings": []}, status=400)
        return self.json({"errors": [], "warnings": [{"message": "empty or missing yaml metadata"}] if empty else []})

    def _create(self, given: dict[str, Any]) -> None:
        from hub_server import Repository

        user = self.user()
        if user is None:
            return self.send(401)
        namespace = given.get("organization") or user.name
        if not self.may(namespace) or user.role == "read":
            return self.send(403, headers={"X-Error-Message": "You don't have the rights to create a model there"})
        name = f"{namespace}/{given['name']}"
        told = {"url": f"{self.hub.url}/{name}"}
        if name in self.hub.repositories:
            return self.json({**told, "error": "You already created this model repo"}, status=409)
        private = given.get("visibility") == "private" or bool(given.get("private"))
        repository = self.hub.repositories[name] = Repository(private=private)
        repository.commit({".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"})
        return self.json(told)

    def _modes(self, given: dict[str, Any], repository: Any) -> None:
        from hub_server import entry_of, is_large

        answers = []
        for each in given["files"]:
            name = each["path"]
            held = entry_of(name, repository.head[name]) if name in repository.head else {}
            oid = held.get("lfs", held).get("oid")
            mode = "lfs" if is_large(name) else "regular"
            answers.append({"path": name, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        self.json({"files": answers})

    def _batch(self, given: dict[str, Any]) -> None:
        answers = []
        for each in given["objects"]:
            to = {
                "upload": {"href": f"{self.hub.url}/objects/{each['oid']}"},
                "verify": {"href": f"{self.hub.url}/verify"},
            }
            answers.append(each if each["oid"] in self.hub.objects else {**each, "actions": to})
        self.json({"transfer": "basic", "objects": answers})

    def _commit(self, name: str, lines: list[dict[str, Any]], repository: Any) -> None:
        files = dict(repository.head)
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                if value.get("parentCommit", repository.branches["main"]) != repository.branches["main"]:
                    return self.send(412, headers={"X-Error-Message": "A commit has happened since"})
            elif line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.objects[value["oid"]]
        oid = repository.commit(files)
        return self.json({"success": True, "commitOid": oid, "commitUrl": f"{self.hub.url}/{name}/commit/{oid}"})
