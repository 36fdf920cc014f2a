"""The guard: other sites' pages, other names of this machine and bodies without a bound are refused."""

from __future__ import annotations

import asyncio

import pytest
from starlette.testclient import TestClient

from audiosae_steer.explorer.pages import page_guard
from audiosae_steer.explorer.pages.explorer_app import explorer_app
from audiosae_steer.explorer.pages.page_guard import Guard


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:7341", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:80", "[::1]:7341", "[::1]", "127.8.9.1:5"],
)
def test_own_names_are_answered(client, host):
    assert client.get("/", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:7341",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "",
        "192.168.1.7",
        "0.0.0.0:7341",
        "localhost:80:80",
        "localhost@evil.example",
        "[::1",
        "127.1",
        "2130706433",
        "localhost:x",
        "evil.example#localhost",
        "[::ffff:8.8.8.8]",
    ],
)
def test_other_names_are_not_dns_rebinding(client, host):
    answer = client.get("/", headers={"host": host})
    assert answer.status_code == 403
    assert "its own address" in answer.text
    assert answer.headers["content-security-policy"]


def test_a_failure_is_answered_with_all_headers_and_an_end_of_the_connection(client, site, monkeypatch, caplog):
    monkeypatch.setattr(site.notes, "exported", lambda: {}["missing"])
    answer = client.get("/notes.json")  # the client raises what the application does
    assert (answer.status_code, answer.headers["connection"]) == (500, "close")
    assert answer.headers["content-security-policy"]
    assert "the terminal has the reason" in answer.text
    assert "KeyError" in caplog.text


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:9999", "http://localhost:7341", "file://"]
)
def test_other_origins_are_not_answered(client, origin):
    for method in ("GET", "POST"):
        answer = client.request(method, "/notes/4/8", headers={"origin": origin})
        assert answer.status_code == 403, method


def test_own_origin_is_answered(client):
    answer = client.post(
        "/notes/4/8", content="label=a", headers={"origin": "http://127.0.0.1:7341"}, follow_redirects=False
    )
    assert answer.status_code == 303


@pytest.mark.parametrize("came", ["cross-site", "same-site"])
def test_forms_of_other_sites_change_nothing(client, came):
    assert client.post("/notes/4/8", content="label=a", headers={"sec-fetch-site": came}).status_code == 403
    assert client.get("/", headers={"sec-fetch-site": came}).status_code == 200  # a link is no change


def test_every_address_is_answered_where_it_was_asked_for(site):
    app = explorer_app(site, names=frozenset({"localhost", "box.example"}), any_address=True)
    client = TestClient(app, base_url="http://box.example")
    assert client.get("/").status_code == 200
    assert client.get("/", headers={"host": "192.168.1.7:7341"}).status_code == 200
    assert client.get("/", headers={"host": "evil.example"}).status_code == 403


def test_large_bodies_are_refused_before_and_while_they_come(client):
    most = page_guard.MOST_BYTES
    assert client.post("/notes/4/8", content=b"x" * (most + 1)).status_code == 413

    def parts():
        for _ in range(most // 65536 + 2):
            yield b"x" * 65536

    assert client.post("/notes/4/8", content=parts()).status_code == 413
    # imports may be larger, up to a bound of their own
    assert client.post("/notes/import", content=b"x" * (most + 1)).status_code == 400
    assert client.post("/notes/import", content=b"x" * ((4 << 20) + 1)).status_code == 413


@pytest.mark.parametrize("length", ["-1", "1e3", "99999999999999999999", "0x10", " "])
def test_odd_lengths_are_refused(length):
    assert talked([(b"host", b"localhost"), (b"content-length", length.encode())])[0] in (413, 200)
    if length.strip():
        assert talked([(b"host", b"localhost"), (b"content-length", length.encode())])[0] == 413


def talked(headers, messages=None):
    """Status and body that the guard before an application answers by itself."""
    sent = []

    async def application(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": (await receive())["body"]})

    async def run():
        waiting = list(
            messages if messages is not None else [{"type": "http.request", "body": b"ab", "more_body": False}]
        )

        async def receive():
            if not waiting:
                await asyncio.sleep(60)
            return waiting.pop(0)

        async def send(message):
            sent.append(message)

        guard = Guard(application, frozenset({"localhost"}))
        await guard({"type": "http", "method": "POST", "path": "/", "headers": headers}, receive, send)

    asyncio.run(run())
    return sent[0]["status"], sent[1]["body"]


def test_a_body_that_never_comes_is_given_up(monkeypatch):
    monkeypatch.setattr(page_guard, "PATIENCE", 0.05)
    host = [(b"host", b"localhost")]
    assert talked(host, [{"type": "http.request", "body": b"a", "more_body": True}])[0] == 408
    assert talked(host, [{"type": "http.disconnect"}])[0] == 400
    assert talked(host) == (200, b"ab")


def test_two_hosts_are_not_one():
    assert talked([(b"host", b"localhost"), (b"host", b"evil.example")])[0] == 403
    assert talked([])[0] == 403


def test_a_nonce_is_of_one_answer(client):
    policies = {client.get("/").headers["content-security-policy"] for _ in range(3)}
    assert len(policies) == 3
    answer = client.get("/")
    nonce = answer.headers["content-security-policy"].split("'nonce-")[1].split("'")[0]
    assert f'data-nonce="{nonce}"' in answer.text
