"""Requests that fail, or are left by their clients: answers in words, a connection that stays, and one line of log."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import logging
import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from served import BOUNDARY, form, until
from starlette.testclient import TestClient
from whisper.model import ModelDimensions

from audiosae_steer.serve.model_worker import LeftError, ModelWorker, Task, Work
from audiosae_steer.serve.service_app import Service, make_app
from audiosae_steer.serve.service_metrics import Metrics
from audiosae_steer.serve.uploads import Limits

PATH = "/v1/audio/transcriptions"
TYPE = {"content-type": f"multipart/form-data; boundary={BOUNDARY.decode()}"}


def wav(samples: Any) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, np.asarray(samples, np.float32), 16_000, format="WAV", subtype="FLOAT")
    return out.getvalue()


QUIET = wav(np.zeros(1600))


@pytest.fixture
def worker() -> ModelWorker:
    """A worker whose thread never starts; its model is of openai-whisper's shape, and decodes nothing."""
    made = ModelWorker("toy", lambda: None, {}, batch=4, metrics=Metrics())
    made.model = SimpleNamespace(
        device=torch.device("cpu"),
        dims=ModelDimensions(80, 1500, 384, 6, 4, 51864, 448, 384, 6, 4),
        is_multilingual=False,
        num_languages=99,
    )
    made.ready.set()
    return made


@pytest.fixture
def service(worker) -> Service:
    return Service({"toy": worker}, Limits(queue=4), worker._metrics)


@pytest.fixture
def client(service) -> TestClient:
    return TestClient(make_app(service), base_url="http://localhost")


def asked(client: TestClient, *fields: tuple[str, bytes]) -> Any:
    return client.post(PATH, content=form(*fields), headers=TYPE)


@pytest.mark.parametrize("prompt", ["<|endoftext|>", "before <|0.00|> after"])
def test_a_prompt_with_a_special_token_is_refused_in_words(client, prompt) -> None:
    answer = asked(client, ("file", QUIET), ("prompt", prompt.encode()))
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, "prompt")
    assert "is a special token of Whisper's and no text" in error["message"]


def test_a_language_is_cut(client) -> None:
    answer = asked(client, ("file", QUIET), ("language", b"x" * 9000))
    assert answer.status_code == 400
    assert len(answer.json()["error"]["message"]) < 250


@pytest.mark.parametrize(("sample", "said"), [(1e30, "a sample of 1e+30, where full scale is 1"), (np.nan, "NaN")])
def test_a_sample_that_is_no_sound_is_unsupported_audio(client, sample, said) -> None:
    answer = asked(client, ("file", wav([0, sample, 0])))
    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "unsupported_audio")
    assert said in answer.json()["error"]["message"]


def test_a_failure_is_answered_counted_and_not_raised_to_the_server(client, service, worker, caplog) -> None:
    worker.result = lambda work: 1 / 0  # type: ignore[method-assign]
    answer = asked(client, ("file", QUIET))  # the client raises what the application does
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
    assert 'requests_total{route="/v1/audio/transcriptions",status="500"} 1.0' in service.metrics.text().decode()
    assert "ZeroDivisionError" in caplog.text


def waiting(worker: ModelWorker) -> float:
    found = worker._metrics.registry.get_sample_value("audiosae_steer_queue_windows", {"model": "toy"})
    assert found is not None
    return found


def test_windows_that_are_given_up_leave_the_gauge(worker) -> None:
    task, refused = Task(), []

    def wait() -> None:
        try:
            worker.result(Work(task, 0.0))
        except LeftError as error:
            refused.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    until(lambda: worker._waiting)
    assert waiting(worker) == 1
    worker.give_up(task)
    thread.join()
    assert waiting(worker) == 0
    assert refused


@pytest.mark.parametrize("stream", [b"true", b"false"])
def test_a_client_that_goes_leaves_one_line_of_log(service, worker, caplog, stream) -> None:
    caplog.set_level(logging.INFO)
    body, gone = form(("file", QUIET), ("stream", stream)), asyncio.Event()
    messages = [{"type": "http.request", "body": body, "more_body": False}]
    sent: list[Any] = []

    async def receive() -> Any:
        if messages:
            return messages.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    async def run() -> None:
        app = make_app(service)
        headers = [(b"host", b"localhost"), (b"content-type", TYPE["content-type"].encode())]
        scope = {"type": "http", "method": "POST", "path": PATH, "headers": headers, "query_string": b"",
                 "scheme": "http", "http_version": "1.1", "app": app}  # fmt: skip
        request = asyncio.ensure_future(app(scope, receive, send))
        while not (worker._waiting or request.done()):
            await asyncio.sleep(0.01)
        gone.set()
        await request
        while service.inside:
            await asyncio.sleep(0.01)
        gc.collect()  # at which asyncio tells of errors that nobody took up

    asyncio.run(asyncio.wait_for(run(), 60))
    gc.collect()
    assert sent[0]["status"] == 499
    assert waiting(worker) == 0
    mine = [record for record in caplog.records if record.name in ("audiosae_steer.serve", "asyncio")]
    assert [(record.levelname, bool(record.exc_info)) for record in mine if record.levelno >= logging.INFO] == [
        ("INFO", False)
    ]


def test_an_unknown_steering_of_a_server_without_recipes(client) -> None:
    answer = asked(client, ("file", QUIET), ("steering", json.dumps({"strength": 0.5}).encode()))
    assert answer.status_code == 400
    assert "this server has no recipes" in answer.json()["error"]["message"]
