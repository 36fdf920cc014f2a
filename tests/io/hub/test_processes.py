"""The Hub's client in processes of their own: two at once, killed, on a terminal, and set by the environment."""

from __future__ import annotations

import hashlib
import os
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import Fault, Hub, Repository, User, served

from audiosae_steer.io.hub.read import fetch

REPO, NAME = "user/one", "sae.safetensors"
CONTENT = hashlib.sha256(b"x").digest() * 400_000  # 12.8 MB: the client writes 10 MB at once
SHA256 = hashlib.sha256(CONTENT).hexdigest()
CODE = f"""
from audiosae_steer.io.hub.read import fetch, sha256_of
fetched = fetch({REPO!r}, [{NAME!r}])
print(sha256_of(fetched.folder / {NAME!r}))
"""
HANG = 600.0
"""Seconds after which a process hangs rather than waits for a busy machine; it takes a few on an idle one."""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with served(monkeypatch, tmp_path) as server:
        server.repositories[REPO] = Repository()
        server.repositories[REPO].commit({NAME: CONTENT, "other.safetensors": b"1"})
        yield server


def start(hub: Hub, folder: Path, stderr: int = subprocess.PIPE, **more: str) -> subprocess.Popen[str]:
    """A process that fetches, with the cache in `folder`, as the Hub's client is set by the environment."""
    drop = ("HF_HUB_CACHE", "HF_TOKEN", "HF_HUB_DISABLE_PROGRESS_BARS")
    environment = {name: value for name, value in os.environ.items() if name not in drop}
    environment |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(folder), "NO_PROXY": "127.0.0.1", "HF_HUB_DISABLE_XET": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", CODE], env=environment | more, stdout=subprocess.PIPE, stderr=stderr, text=True
    )


def asked(hub: Hub, method: str) -> int:
    return sum(made == method and path.endswith(NAME) for made, path in list(hub.requests))


def test_two_processes_at_once_download_it_once(hub: Hub, tmp_path: Path) -> None:
    hub.faults.append(Fault(f"GET .*{NAME}", after=1000, wait=HANG))  # the first waits until the second is there
    processes = [start(hub, tmp_path) for _ in range(2)]
    end = time.monotonic() + HANG
    while asked(hub, "HEAD") < 2 and time.monotonic() < end and all(each.poll() is None for each in processes):
        time.sleep(0.02)
    hub.go.set()
    outputs = [process.communicate(timeout=HANG) for process in processes]
    assert [output[0].strip() for output in outputs] == [SHA256, SHA256], outputs
    assert asked(hub, "GET") == 1
    assert not list(tmp_path.rglob("*.incomplete"))


def test_killed_in_mid_file_it_leaves_nothing_that_is_taken_for_the_file(hub: Hub, tmp_path: Path) -> None:
    hub.faults.append(Fault(f"GET .*{NAME}", after=11_000_000, wait=HANG))
    process = start(hub, tmp_path)
    assert hub.halfway.wait(HANG)
    end = time.monotonic() + HANG
    while not any(part.stat().st_size for part in tmp_path.rglob("*.incomplete")) and time.monotonic() < end:
        time.sleep(0.02)
    process.kill()
    process.communicate(timeout=HANG)
    hub.go.set()
    assert process.returncode == -9
    assert [part for part in tmp_path.rglob("*.incomplete") if part.stat().st_size]  # it was in the midst of it
    assert not list((tmp_path / "hub").glob(f"models--*/snapshots/*/{NAME}"))
    fetched = fetch(REPO, [NAME])  # the same cache
    assert fetched.folder.is_relative_to(tmp_path / "hub")
    assert hashlib.sha256((fetched.folder / NAME).read_bytes()).hexdigest() == SHA256


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a terminal of POSIX")
def test_progress_is_shown_on_a_terminal_and_nowhere_else(hub: Hub, tmp_path: Path) -> None:
    hub.repositories[REPO].private = True
    hub.users["hf_right"] = User("user")
    import fcntl
    import termios

    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))  # a bar needs a terminal with a width
    shown = start(hub, tmp_path / "a", stderr=theirs, HF_TOKEN="hf_right")
    os.close(theirs)
    output = b""
    while True:
        try:
            block = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not block:
            break
        output += block
    os.close(ours)
    assert shown.communicate(timeout=HANG)[0].strip() == SHA256, output
    assert NAME.encode() in output
    assert b"100%" in output
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "token").write_text("hf_right")
    quiet = start(hub, tmp_path / "b")
    assert quiet.communicate(timeout=HANG) == (SHA256 + "\n", "")
