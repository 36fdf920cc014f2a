"""The server from outside: by OpenAI's own client, by eight at once, and by those who mean no good."""

from __future__ import annotations

import copy
import io
import json
import signal
import socket
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
import soundfile
from commands import CLIPS
from served import form, malformed, raw, send, serving, until

from audiosae_steer import load_audio, load_recipe, steer
from audiosae_steer.evaluate.transcription.decoding import FALLBACK, Decoding
from audiosae_steer.evaluate.transcription.subtitles import as_srt, as_vtt
from audiosae_steer.evaluate.transcription.transcribe import Transcript, transcribe_batch
from audiosae_steer.serve.access import LOOPBACK, Access
from audiosae_steer.serve.model_worker import ModelWorker, Task, Work
from audiosae_steer.serve.service_app import Service
from audiosae_steer.serve.service_metrics import Metrics
from audiosae_steer.serve.uploads import Limits

KEY = "correct horse"
GATED, CONSTANT = "no-false-speech", "no-false-speech-constant"
TEXTS, RAIN = ("speech-02.flac", "speech-08.flac"), "rain.flac"
PATH = "/v1/audio/transcriptions"
LIMITS = Limits(bytes=2_000_000, seconds=60, queue=8, idle=2.0)


@pytest.fixture(scope="module")
def service(tiny_en) -> Service:
    metrics = Metrics()
    worker = ModelWorker(
        "tiny.en", lambda: copy.deepcopy(tiny_en), {GATED: GATED, CONSTANT: CONSTANT}, batch=4, metrics=metrics
    )
    return Service({"tiny.en": worker}, LIMITS, metrics, access=Access(KEY, LOOPBACK))


@pytest.fixture(scope="module")
def address(service):
    with serving(service) as address:
        yield address


@pytest.fixture(scope="module")
def client(address):
    with openai.OpenAI(base_url=f"{address}/v1", api_key=KEY, max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def offline(tiny_en):
    """Transcript by the offline code, of one clip by one model that is steered alone."""
    found: dict[Any, Transcript] = {}

    def transcribe(clip: str, recipe: str | None = GATED, strength: float | None = None, words: bool = False):
        key = clip, recipe, strength, words
        if key not in found:
            decoding = Decoding(filters=True, temperatures=FALLBACK, word_timestamps=words)
            if recipe is None:
                found[key] = transcribe_batch(tiny_en, [load_audio(clip)], decoding)[0]
            else:
                with steer(tiny_en, recipe, strength=strength):
                    found[key] = transcribe_batch(tiny_en, [load_audio(clip)], decoding)[0]
        return found[key]

    return lambda clip, *more, **given: transcribe(str(CLIPS / clip), *more, **given)


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory) -> Path:
    """40 s: what Whisper hears in the second window depends on where the text of the first ends."""
    path = tmp_path_factory.mktemp("long") / "long.flac"
    parts = [load_audio(CLIPS / name) for name in ("speech-02.flac", "rain.flac", "speech-08.flac")]
    gap = np.zeros(12 * 16_000, np.float32)
    soundfile.write(path, np.concatenate([parts[0], parts[1], gap, parts[2], gap, parts[2]]), 16_000)
    return path


def speak(client: openai.OpenAI, clip: str | Path = TEXTS[0], **options: Any) -> Any:
    with (CLIPS / clip).open("rb") as file:
        return client.audio.transcriptions.create(model="whisper-1", file=file, **options)


def error_of(answer: bytes) -> tuple[int, dict[str, Any]]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["error"]


AUTH = b"Authorization: Bearer " + KEY.encode()


def test_json_and_text_of_the_official_client(client, offline) -> None:
    said = speak(client)
    assert said.text == offline(TEXTS[0]).text != ""
    assert said.usage.type == "duration"
    assert said.usage.seconds == pytest.approx(3.327)
    assert speak(client, RAIN, response_format="text") == "\n"


def test_subtitles_of_the_official_client(client, offline) -> None:
    assert speak(client, response_format="srt") == as_srt(offline(TEXTS[0]))
    assert speak(client, RAIN, response_format="vtt") == as_vtt(offline(RAIN)) == "WEBVTT\n\n"


def check_audit(applied: dict[str, Any], expected: Transcript) -> None:
    recipe = load_recipe(CLIPS.parent / "whisper-tiny.en" / f"{GATED}.json")
    assert (applied["recipe"], applied["strength"], applied["sha256"]) == (GATED, 1.0, recipe.sha256)
    assert [(g["gate"], g["start"], g["opened"], g["score"]) for g in applied["gates"]] == [
        (g.kind, g.start, g.opened, g.score) for g in expected.gates
    ]


def test_verbose_json_of_the_official_client_with_its_audit(client, offline) -> None:
    found, expected = speak(client, response_format="verbose_json"), offline(TEXTS[0])
    assert (found.task, found.language, found.duration) == ("transcribe", "english", 3.327)
    assert [(s.id, s.start, s.end, s.text) for s in found.segments] == [
        (n, *s[:3]) for n, s in enumerate(expected.segments)
    ]
    assert all(s.tokens and s.temperature == 0 for s in found.segments)
    assert found.words is None
    check_audit(found.steering, expected)


def test_times_of_words(client, offline, monkeypatch) -> None:
    from whisper import timing

    for name in ("dtw_cpu", "backtrace"):  # compiling them takes longer than running them as they are
        monkeypatch.setattr(timing, name, getattr(timing, name).py_func)
    found = speak(client, response_format="verbose_json", timestamp_granularities=["word"])
    expected = [word for segment in offline(TEXTS[0], words=True).segments for word in segment.words]
    assert [(w.word, w.start, w.end) for w in found.words] == [(w.text.strip(), w.start, w.end) for w in expected]
    assert found.segments is None


def test_a_stream_of_finished_segments_of_several_windows(client, offline, long_clip) -> None:
    events = list(speak(client, long_clip, stream=True, response_format="verbose_json"))
    expected = offline(long_clip)
    assert len(expected.windows) > 1
    assert [event.type for event in events] == ["transcript.text.delta"] * len(expected.segments) + [
        "transcript.text.done"
    ]
    assert "".join(event.delta for event in events[:-1]).strip() == events[-1].text == expected.text
    assert [(event.start, event.end) for event in events[:-1]] == [segment[:2] for segment in expected.segments]
    check_audit(events[-1].steering, expected)
    assert len({gate["start"] for gate in events[-1].steering["gates"]}) == len(expected.windows)


def test_models(client) -> None:
    assert [model.id for model in client.models.list()] == ["tiny.en"]
    assert client.models.retrieve("tiny.en").recipes == [GATED, CONSTANT]
    with pytest.raises(openai.NotFoundError, match="there is no model 'gpt-4o' here; there are tiny.en"):
        client.audio.transcriptions.create(model="gpt-4o", file=("a.wav", b"a"))


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
def test_a_model_of_english_cannot_translate(client) -> None:
    with (CLIPS / TEXTS[0]).open("rb") as file, pytest.raises(openai.BadRequestError, match="take a multilingual one"):
        client.audio.translations.create(model="tiny.en", file=file)


def test_eight_clients_at_once_get_the_texts_of_one_with_steering_of_their_own(client, offline, service) -> None:
    asked: list[tuple[str, str | None, float | None]] = [
        (TEXTS[0], GATED, None),
        (RAIN, GATED, None),
        (TEXTS[1], None, None),
        (TEXTS[0], CONSTANT, 0.25),
    ] * 2

    def ask(clip: str, recipe: str | None, strength: float | None) -> Any:
        steering = "off" if recipe is None else json.dumps({"recipe": recipe, "strength": strength})
        return speak(client, clip, response_format="verbose_json", extra_body={"steering": steering})

    held = threading.Event()
    with ThreadPoolExecutor(9) as threads:
        blocked = threads.submit(service.workers["tiny.en"].result, Work(Task(), 0.0, call=lambda model: held.wait()))
        waiting = [threads.submit(ask, *each) for each in asked]
        until(lambda: len(service.workers["tiny.en"]._waiting) == 8)
        held.set()  # so that they are decoded four by four
        found = [each.result() for each in waiting]
        blocked.result()
    for each, answer in zip(asked, found, strict=True):
        expected = offline(*each)
        assert answer.text == expected.text, each
        assert [(s.start, s.end, s.text) for s in answer.segments] == [s[:3] for s in expected.segments]
        assert [g["score"] for g in answer.steering["gates"]] == [g.score for g in expected.gates]
        assert answer.steering["recipe"] == each[1]
    assert found[1].text == "" != found[0].text
    assert {len(offline(*each).gates) > 0 for each in asked} == {True, False}


def test_one_too_many_is_told_when_to_come_again_and_killed_clients_free_their_slots(service, address, client) -> None:
    held = threading.Event()
    blocker = threading.Thread(
        target=service.workers["tiny.en"].result, args=(Work(Task(), 0.0, call=lambda model: held.wait()),)
    )
    blocker.start()
    body = form(("file", (CLIPS / RAIN).read_bytes()))
    host, port = address.removeprefix("http://").split(":")
    killed = []
    for _ in range(LIMITS.queue):
        connection = socket.create_connection((host, int(port)))
        connection.sendall(raw(PATH, body, AUTH))
        killed.append(connection)
    until(lambda: len(service.workers["tiny.en"]._waiting) == LIMITS.queue)
    with pytest.raises(openai.RateLimitError, match="8 requests are waiting, which is the limit") as refused:
        speak(client, RAIN)
    assert int(refused.value.response.headers["retry-after"]) >= 1
    assert b"requests_inside 8.0" in send_get(address, "/metrics")
    for connection in killed:
        connection.close()
    until(lambda: service.inside == 0)  # while the model is still busy
    assert not service.workers["tiny.en"]._waiting
    held.set()
    blocker.join()


def send_get(address: str, path: str, *headers: bytes, host: bytes = b"localhost") -> bytes:
    lines = [f"GET {path} HTTP/1.1".encode(), b"Host: " + host, b"Connection: close", *(headers or (AUTH,))]
    return send(address, b"\r\n".join(lines) + b"\r\n\r\n")


def test_health_and_metrics(address, client) -> None:
    assert send_get(address, "/health", b"X: 1").endswith(b'{"status":"ok"}')
    assert send_get(address, "/ready", b"X: 1").endswith(b'{"status":"ready"}')
    speak(client, RAIN)
    found = send_get(address, "/metrics").decode()
    for name in (
        'requests_total{route="/v1/audio/transcriptions",status="200"}',
        'windows_gated_total{model="tiny.en",recipe="no-false-speech"}',
        'empty_texts_total{model="tiny.en",recipe="no-false-speech"}',
        'batch_windows_bucket{le="4.0",model="tiny.en"}',
        'seconds_count{model="tiny.en",stage="decode"}',
    ):
        line = next(line for line in found.splitlines() if line.startswith(f"audiosae_steer_{name}"))
        assert float(line.split()[-1]) >= 1


def test_keys_hosts_and_origins(address) -> None:
    status, error = error_of(send_get(address, "/v1/models", b"Authorization: Bearer wrong"))
    assert (status, error["code"]) == (401, "invalid_api_key")
    assert error_of(send_get(address, "/metrics", b"X: 1"))[0] == 401
    rebound = send_get(address, "/v1/models", host=b"evil.example:8000")
    assert error_of(rebound) == (403, {**error_of(rebound)[1], "code": "host_not_allowed"})
    crossed = send_get(address, "/v1/models", AUTH, b"Origin: http://evil.example")
    assert error_of(crossed)[1]["code"] == "origin_not_allowed"
    assert send_get(address, "/v1/models", AUTH, b"Origin: http://localhost").startswith(b"HTTP/1.1 200")
    for host in (b"[::1", b"", b"a\\b@c"):
        assert error_of(send_get(address, "/v1/models", host=host))[0] == 403


@pytest.mark.parametrize(
    "name", ["../../../../etc/passwd", "..\\..\\boot.ini", "/etc/shadow", "a\x1b[2J\u202e.wav", ""]
)
def test_file_names_are_names_and_no_paths(address, name) -> None:
    body = form(("file", b"RIFF no sound"), name=name.replace("\x1b", "%1B"))
    status, error = error_of(send(address, raw(PATH, body, AUTH, b"Connection: close")))
    assert (status, error["code"]) == (415, "unsupported_audio")
    assert "etc" not in error["message"]
    assert "\x1b" not in error["message"]
    assert "root:" not in error["message"]


def test_an_upload_that_is_too_large(address, client) -> None:
    with pytest.raises(openai.APIStatusError, match="larger than 2 MB; send it as mp3") as refused:
        client.audio.transcriptions.create(model="tiny.en", file=("a.wav", bytes(3_000_000)))
    assert refused.value.status_code == 413
    chunked = raw(PATH, b"", AUTH).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    piece = b"10000\r\n" + bytes(65536) + b"\r\n"
    head = form(("file", b"X")).partition(b"\r\n\r\nX")[0] + b"\r\n\r\n"
    data = chunked + f"{len(head):x}\r\n".encode() + head + b"\r\n" + piece * 40
    assert error_of(send(address, data))[0] == 413  # which no header told of


def bomb(seconds: float, rate: int, channels: int) -> bytes:
    """Silence as FLAC: next to no bytes for very many samples."""
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", rate, channels, "PCM_16", format="FLAC") as sound:
        block = np.zeros((rate, channels), np.int16)
        for _ in range(int(seconds)):
            sound.write(block)
    return file.getvalue()


@pytest.mark.parametrize(("seconds", "rate", "channels"), [(900, 8000, 1), (50, 96_000, 8)])
def test_decompression_bombs(client, seconds, rate, channels) -> None:
    data = bomb(seconds, rate, channels)
    assert len(data) < 700_000 < seconds * rate * channels
    with pytest.raises(openai.APIStatusError, match=r"longer than 60 s|holds more sound than is read here") as refused:
        client.audio.transcriptions.create(model="tiny.en", file=("a.flac", data))
    assert refused.value.status_code == 413
    assert refused.value.code == "audio_too_long"


def test_slow_uploads_and_heads_are_given_up(address, service) -> None:
    body = form(("file", bytes(1000)))
    began = time.monotonic()
    status, error = error_of(send(address, raw(PATH, body[:200], AUTH, length=len(body))))
    assert (status, error["code"]) == (408, "upload_too_slow")
    assert send(address, b"POST /v1/audio/tra") == b""  # closed without a word
    assert send(address, b"") == b""
    assert time.monotonic() - began < 20
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as slow:  # a byte now and then is not enough
        slow.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: ")
        ended = False
        while not ended and time.monotonic() - began < 40:
            time.sleep(0.2)
            try:
                slow.sendall(b"a")
                slow.settimeout(0.01)
                ended = slow.recv(100) == b""
            except TimeoutError:
                pass
            except OSError:
                ended = True
    assert ended
    until(lambda: service.uploading == 0)


def test_malformed_uploads_leave_it_alive(address, client) -> None:
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda seed: send(address, malformed(seed, AUTH)), range(50)))
    seen = Counter(int(answer.split()[1]) for answer in answers if answer)
    assert set(seen) <= {400, 401, 404, 408, 413, 415}
    assert min(seen[400], seen[415]) > 4
    assert sum(seen.values()) > 30
    assert speak(client, RAIN).text == ""


def test_at_the_end_it_says_that_it_drains(service, address, client) -> None:
    from audiosae_steer.serve.running import Server, config_of

    server = Server(config_of(service, "127.0.0.1", 0, drain=1), service)
    server.handle_exit(signal.SIGTERM, None)
    try:
        assert server.should_exit
        assert service.state == "draining"
        assert b"503" in send_get(address, "/ready").splitlines()[0]
        with pytest.raises(openai.InternalServerError, match="the server is draining; try again shortly"):
            speak(client, RAIN)
    finally:
        service.draining = False
