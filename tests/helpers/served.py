"""A server in a thread of this process, and requests that no client sends."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from audiosae_steer.serve.running import Server, config_of
from audiosae_steer.serve.service_app import Service

BOUNDARY = b"----b0undary"


@contextmanager
def serving(service: Service) -> Iterator[str]:
    """Serve at a free port, once the models are warm; gives the address."""
    listening = socket.create_server(("127.0.0.1", 0))
    config: uvicorn.Config = config_of(service, "127.0.0.1", 0, drain=5)
    config.log_config = None
    server = Server(config, service)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        until(lambda: service.state == "ready" or service.failure is not None)
        assert service.failure is None, service.failure
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def until(condition, seconds: float = 120.0) -> None:
    """Wait for a condition."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.01)


def form(*parts: tuple[str, bytes], name: str = "a.wav") -> bytes:
    """A multipart body of these fields, of which `file` is a file of that name."""
    body = b""
    for field, value in parts:
        file = f'; filename="{name}"' if field == "file" else ""
        head = f'Content-Disposition: form-data; name="{field}"{file}\r\n\r\n'
        body += b"--" + BOUNDARY + b"\r\n" + head.encode() + value + b"\r\n"
    return body + b"--" + BOUNDARY + b"--\r\n"


def raw(path: str, body: bytes, *headers: bytes, host: bytes = b"localhost", length: int | None = None) -> bytes:
    """A request as it goes over the wire."""
    told = str(len(body) if length is None else length).encode()
    kind = b"Content-Type: multipart/form-data; boundary=" + BOUNDARY
    lines = [f"POST {path} HTTP/1.1".encode(), b"Host: " + host, kind, b"Content-Length: " + told, *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def send(address: str, data: bytes, seconds: float = 30.0) -> bytes:
    """The answer to these bytes: all that comes until the connection ends."""
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), seconds) as connection:
        answer = b""
        try:
            connection.sendall(data)
            while piece := connection.recv(65536):
                answer += piece
        except (ConnectionResetError, BrokenPipeError):
            pass
        return answer


def malformed(seed: int, *more: bytes) -> bytes:
    """A request that is wrong in one of many ways; its file is never sound."""
    dice = random.Random(seed)
    sound = dice.randbytes(dice.randrange(0, 300))
    heads = (b"RIFF\xff\xff\xff\xffWAVEfmt ", b"fLaC\x80\x00\x00\x22", b"OggS\x00\x02", b"\xff\xfb\x90\x00", b"ID3\x04")
    body = bytearray(form(("model", b"tiny.en"), ("file", dice.choice(heads) + sound), ("prompt", b"a" * 40)))
    for _ in range(dice.randrange(30) if dice.random() < 0.6 else 0):
        kind, at = dice.randrange(4), dice.randrange(len(body))
        if kind == 0:
            body[at] = dice.randrange(256)
        elif kind == 1:
            del body[at : at + dice.randrange(1, 60)]
        elif kind == 2:
            body[at:at] = dice.randbytes(dice.randrange(1, 40))
        else:
            body[at:at] = body[: dice.randrange(len(body))]
        body = body or bytearray(b"-")
    length = dice.choice([None, None, None, len(body) - 7, len(body) + 50, 0])
    headers = [dice.choice([b"X-A: 1", b"Transfer-Encoding: chunked", b"Content-Encoding: gzip", b"Connection: close"])]
    data = raw("/v1/audio/transcriptions", bytes(body), *headers, *more, b"Connection: close", length=length)
    if dice.random() < 0.2:
        data = data[: dice.randrange(len(data))]
    return data
