"""Sounds by parts, as browsers ask for them (RFC 9110, 14)."""

from __future__ import annotations

import pytest


@pytest.fixture
def sound(index):
    return index.sound(1)


def test_the_whole(client, sound):
    answer = client.get("/sound/1.flac")
    assert answer.content == sound
    assert answer.headers["content-length"] == str(len(sound))
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["content-type"] == "audio/flac"
    assert client.head("/sound/1.flac").headers["content-length"] == str(len(sound))


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-", 0, None),
        ("bytes=0-0", 0, 0),
        ("bytes=10-19", 10, 19),
        ("bytes=5-99999999", 5, None),
        ("bytes=-7", -7, None),
        ("bytes=-99999999", 0, None),
    ],
)
def test_a_part(client, sound, asked, first, last):
    answer = client.get("/sound/1.flac", headers={"range": asked})
    expected = sound[first:] if last is None else sound[first : last + 1]
    assert answer.status_code == 206
    assert answer.content == expected
    start = first % len(sound) if first < 0 else first
    assert answer.headers["content-range"] == f"bytes {start}-{start + len(expected) - 1}/{len(sound)}"
    assert answer.headers["content-length"] == str(len(expected))


@pytest.mark.parametrize("asked", ["bytes=99999999-", "bytes=9-3", "bytes=-0"])
def test_a_part_that_is_not_there(client, sound, asked):
    answer = client.get("/sound/1.flac", headers={"range": asked})
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{len(sound)}"


@pytest.mark.parametrize(
    "asked", ["bytes=", "bytes=-", "bytes=0-1,4-5", "lines=1-2", "bytes=a-b", "bytes=١-٢", "x" * 2000]
)
def test_what_is_not_understood_is_answered_by_the_whole(client, sound, asked):
    answer = client.get("/sound/1.flac", headers={"range": asked.encode()})
    assert (answer.status_code, answer.content) == (200, sound)


def test_what_the_browser_has_is_not_sent_again(client, sound):
    tag = client.get("/sound/1.flac").headers["etag"]
    assert client.get("/sound/1.flac", headers={"if-none-match": tag}).status_code == 304
    assert client.get("/sound/1.flac", headers={"range": "bytes=0-3", "if-range": tag}).status_code == 206
    assert client.get("/sound/1.flac", headers={"range": "bytes=0-3", "if-range": '"other"'}).content == sound
