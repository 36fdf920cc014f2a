"""`audiosae-steer serve`, as a user starts and ends it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from commands import CLIPS, failed, run
from served import form, raw, send, until

SCRIPT = """
import sys
sys.path.insert(0, sys.argv[2])
from make import make_openai
from audiosae_steer.serve import running
running.load_whisper = lambda *a, **k: make_openai(d=64)
service = running.make_service(["small"], [], batch=2)
running.run(service, port=int(sys.argv[1]), drain=600)
"""


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--recipe", "no-such"], "there is no recipe 'no-such'"),
        (["--model", "tiny.en", "--model", "tiny.en"], "no model or recipe twice"),
        (["--max-mb", "0"], "limits above 0"),
        (["--api-key", " "], "the API key is empty"),
    ],
)
def test_what_cannot_be_served_is_said_at_once(options, said) -> None:
    assert said in failed(run("serve", *options))


def test_a_model_that_cannot_be_loaded_ends_it() -> None:
    result = run("serve", "--model", "no-such-model", "--port", 0)
    assert result.exit_code == 2
    assert "For a model on the Hub write user/name" in result.output
    assert "Traceback" not in result.output


def test_sigterm_lets_a_request_end(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    helpers = Path(__file__).parents[1] / "helpers"
    log = (tmp_path / "log").open("w+")
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(port), str(helpers)],
        stderr=log,
        stdout=log,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    try:
        get = b"GET /%s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        until(lambda: process.poll() is not None or b"200 OK" in quiet(address, get % b"ready"))
        request = raw(
            "/v1/audio/transcriptions", form(("temperature", b"1"), ("file", (CLIPS / "rain.flac").read_bytes()))
        )
        answers: list[bytes] = []
        client = threading.Thread(target=lambda: answers.append(send(address, request, 120)))
        client.start()
        until(lambda: b"requests_inside 1.0" in quiet(address, get % b"metrics"))
        process.send_signal(signal.SIGTERM)
        client.join()
        assert process.wait(60) in (0, -signal.SIGTERM)
        assert answers[0].startswith(b"HTTP/1.1 200 OK")
        assert b"connection: close" in answers[0].lower() or answers[0].endswith(b"}")
        log.seek(0)
        assert "Ready: the models are loaded and warm." in (told := log.read())
        assert "/ready" not in told
        assert "POST /v1/audio/transcriptions" in told
    finally:
        process.kill()
        process.wait()
        log.close()


def quiet(address: str, data: bytes) -> bytes:
    """The answer, or nothing where no server listens yet."""
    try:
        return send(address, data)
    except OSError:
        return b""
