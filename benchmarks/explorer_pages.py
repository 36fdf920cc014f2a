"""Time of the explorer's pages on a made index of 73,728 features, and memory of its server before a model is loaded.

    python benchmarks/explorer_pages.py --index /tmp/made-73728.sqlite --out benchmarks/results/explorer-pages.json

The index (twelve layers of 6,144 features) is made of invented curves if it is not there. Pages go through the whole
application, as a request of the browser does, without the network; features are drawn at random from all layers. CPU
time stands beside the wall time, which other work on the machine prolongs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
from machine import machine

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "explorer"))

LAYERS, FEATURES, CLIPS = tuple(range(1, 13)), 6144, 400
WORDS = ("rain", "dog", "cough", "fox", "lazy windows")
"""Labels and words of the made index: the first three are the classes that are looked for."""
PLACES = {
    "feature page": "/feature/{layer}/{feature}.html", "features": "/?layer={layer}&page={page}",
    "search of words": "/?layer={layer}&words=rain", "search of all layers": "/?layer=all&page={page}",
    "words in all layers": "/?layer=all&words={word}", "class in all layers": "/?layer=all&on={label}&off=speech",
    "clip in all layers": "/?layer=all&clip={clip}", "clip page": "/clip/{layer}/{clip}.html",
    "map": "/map/{layer}.json", "sound": "/sound/{clip}.flac",
}  # fmt: skip


def made(path: Path) -> Path:
    """The index, made if it is not there."""
    if not path.is_file():
        from made_index import made_index

        print(f"making {path}", flush=True)
        made_index(path, layers=LAYERS, features=FEATURES, clips=CLIPS)
    return path


async def timed(app: Any, path: str) -> tuple[float, float]:
    """Seconds that the application takes for a request, and of CPU in all of its threads."""
    where, _, query = path.partition("?")
    status = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            status.append(message["status"])

    scope = {
        "type": "http", "method": "GET", "path": where, "raw_path": where.encode(), "query_string": query.encode(),
        "headers": [(b"host", b"localhost")], "scheme": "http", "server": ("localhost", 80), "http_version": "1.1",
        "root_path": "", "client": ("127.0.0.1", 1),
    }  # fmt: skip
    start, busy = time.perf_counter(), time.process_time()
    await app(scope, receive, send)
    took = time.perf_counter() - start, time.process_time() - busy
    if status != [200]:
        raise SystemExit(f"{path} was answered by {status}")
    return took


def times(path: Path, number: int) -> dict[str, Any]:
    """Median and 95th percentile in ms of each kind of page, warm."""
    from audiosae_steer.explorer.index.index_reader import Index
    from audiosae_steer.explorer.pages.explorer_app import explorer_app, explorer_site

    draw, app = random.Random(0), explorer_app(explorer_site(Index(path)))

    def some(pattern: str) -> str:
        return pattern.format(
            layer=draw.choice(LAYERS), feature=draw.randrange(FEATURES), page=draw.randrange(1, 200),
            clip=draw.randrange(1, CLIPS + 1), word=draw.choice(WORDS), label=draw.choice(WORDS[:3]),
        )  # fmt: skip

    async def all_of(pattern: str) -> list[tuple[float, float]]:
        for layer in LAYERS:  # what is kept of a layer is read at its first request
            for word in WORDS:
                await timed(app, pattern.format(layer=layer, feature=1, page=1, clip=1, word=word, label=word))
        return [await timed(app, some(pattern)) for _ in range(number)]

    found = {}
    for name, pattern in PLACES.items():
        wall, cpu = 1000 * np.array(asyncio.run(all_of(pattern))).T
        row = {
            f"{what}_{kind}_ms": round(float(np.percentile(values, share)), 1)
            for what, share in (("p50", 50), ("p95", 95))
            for kind, values in (("wall", wall), ("cpu", cpu))
        }
        found[name] = row
        print(f"{name:16} " + "   ".join(f"{key} {value:6.1f}" for key, value in row.items()), flush=True)
    return found


def memory(path: Path) -> dict[str, Any]:
    """Resident MB of the command's process when it listens, and after pages of all layers."""
    command = [sys.executable, "-u", "-m", "audiosae_steer", "explore", str(path), "--no-open", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = re.search(r"http://\S+", process.stdout.readline())
        if address is None:
            raise SystemExit("the server did not start")
        found = {"listening_mb": resident(process.pid)}
        for layer in LAYERS:
            for pattern in ("feature/{layer}/9.html", "?layer={layer}", "clip/{layer}/3.html", "map/{layer}.json"):
                urllib.request.urlopen(address.group() + pattern.format(layer=layer)).read()
        found["after_all_layers_mb"] = resident(process.pid)
        process.terminate()
    return found


def resident(process: int) -> int:
    """MB of a process's memory."""
    (line,) = (each for each in Path(f"/proc/{process}/status").read_text().splitlines() if each.startswith("VmRSS"))
    return round(int(line.split()[1]) / 1024)


def main() -> None:
    """Make, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--requests", type=int, default=300, help="of each kind")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    path = made(asked.index)
    found = {
        "features": len(LAYERS) * FEATURES, "clips": CLIPS, "index_mb": round(path.stat().st_size / 1e6),
        "requests": asked.requests, "pages": times(path, asked.requests), "server": memory(path), "machine": machine(),
    }  # fmt: skip
    print(json.dumps(found["server"]))
    if asked.out is not None:
        asked.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
