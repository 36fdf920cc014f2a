"""Output on S3, by moto's server on the loopback with faults; skipped where moto and s3fs are not installed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from toy_work import AT_ONCE, Toy, content, names, toy_plan

from audiosae_steer.io.units.unit_plan import PLAN
from audiosae_steer.io.units.unit_run import RunSettings, run
from audiosae_steer.io.units.unit_store import FolderStore, ObjectStore, open_store

FAST = RunSettings(retry=AT_ONCE)
pytestmark = pytest.mark.filterwarnings("ignore")


class Faults:
    """A server in front of moto that answers some requests with 503, or with half of the body."""

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self.app = app
        self.busy = self.cut = 0
        self.refused = 0
        self.lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        with self.lock:
            busy = self.busy > 0 and method == "PUT" and "/units/" in path
            self.busy -= busy
        if busy:
            start("503 Slow Down", [("Content-Type", "application/xml")])
            return [b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"]
        told: list[Any] = []
        body = b"".join(self.app(environ, lambda status, headers, *rest: told.append((status, headers))))
        status, headers = told[-1]
        self.refused += status.startswith("412")
        with self.lock:
            cut = self.cut > 0 and method == "GET" and path.endswith(PLAN)
            self.cut -= cut
        start(status, headers)
        return [body[: len(body) // 2] if cut else body]


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[Faults, str]]:
    pytest.importorskip("s3fs", reason="s3fs is not installed here: pip install 'audiosae-steer[s3]'")
    moto = pytest.importorskip("moto.server", reason="moto is not installed here: pip install 'moto[server]'")
    from werkzeug.serving import make_server

    faults = Faults(moto.DomainDispatcherApplication(moto.create_backend_app))
    serving = make_server("127.0.0.1", 0, faults, threaded=True)
    thread = threading.Thread(target=serving.serve_forever, daemon=True)
    thread.start()
    yield faults, f"http://127.0.0.1:{serving.server_port}"
    serving.shutdown()
    thread.join()


@pytest.fixture
def bucket(server: tuple[Faults, str], monkeypatch: pytest.MonkeyPatch) -> tuple[Faults, ObjectStore]:
    faults, address = server
    for name, value in (("ENDPOINT_URL", address), ("ACCESS_KEY_ID", "test"), ("SECRET_ACCESS_KEY", "secret-test"),
                        ("DEFAULT_REGION", "us-east-1")):  # fmt: skip
        monkeypatch.setenv(f"AWS_{name}", value)
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    s3fs.S3FileSystem().mkdir("corpus")
    store = open_store("s3://corpus/out")
    assert isinstance(store, ObjectStore)
    yield faults, store
    s3fs.S3FileSystem().rm("corpus", recursive=True)


def test_output_on_s3_with_faults_is_that_of_a_folder(bucket: tuple[Faults, ObjectStore], tmp_path: Path) -> None:
    faults, store = bucket
    plan = toy_plan([*names(5), "bad"])
    faults.busy = 3
    run(plan, Toy(), store, settings=RunSettings(part=(1, 2), retry=AT_ONCE))
    assert not faults.busy
    faults.cut = 1
    run(plan, Toy(), store, settings=FAST)
    assert not faults.cut
    run(plan, Toy(), FolderStore(tmp_path), settings=FAST)
    assert {name: store.read(name) for name in store.names("")} == content(FolderStore(tmp_path))
    assert "secret-test" not in "".join(store.read(name).decode() for name in store.names(""))


def test_a_create_is_refused_where_someone_was_first(bucket: tuple[Faults, ObjectStore]) -> None:
    faults, store = bucket
    store.put("units/a.json", b"first")
    before = faults.refused
    store.put("units/a.json", b"second")
    assert faults.refused == before + 1
    assert store.read("units/a.json") == b"first"
    store.put("units/a.json", b"third", replace=True)
    assert store.read("units/a.json") == b"third"
