"""`audiosae-steer serve` under load and under attack: the texts, the time it adds, its memory, and that it lives on.

    python benchmarks/serving.py --out benchmarks/results/serving-tiny.en.json
    python benchmarks/serving.py --clients 2 --requests 4 --pairs 4 --malformed 20 --fields 1000     # a short one

The server is a process of its own, with two recipes; the offline texts are made in this one, by the code of
`audiosae-steer transcribe`. One client alone is timed in pairs: a clip by the server, then the same clip offline. Then
the clients run at once, each request with a clip and a steering at random. Malformed uploads go over sockets; fuzzed
form fields to the function that checks them. Memory is that of a server whose model is never loaded.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import torch
from machine import machine

HERE = Path(__file__).resolve()
sys.path.insert(0, str(HERE.parents[1] / "tests" / "helpers"))

from form_fields import made  # noqa: E402
from served import malformed, send  # noqa: E402

from audiosae_steer import load_audio, load_whisper, steer  # noqa: E402
from audiosae_steer.evaluate.transcription.decoding import FALLBACK, Decoding  # noqa: E402
from audiosae_steer.evaluate.transcription.transcribe import transcribe_batch  # noqa: E402
from audiosae_steer.io.files import write_atomic  # noqa: E402
from audiosae_steer.io.shipped import checkpoints_dir  # noqa: E402
from audiosae_steer.serve.service_errors import ApiError  # noqa: E402
from audiosae_steer.serve.uploads import check_order  # noqa: E402

CLIPS = ("speech-01", "rain", "speech-02", "fan", "speech-03", "clicks", "speech-04", "alarm", "speech-05", "speech-06")
STEERINGS: tuple[tuple[str | None, float | None], ...] = (
    ("no-false-speech", None), (None, None), ("no-false-speech", 0.5), ("no-false-speech-constant", None),
)  # fmt: skip
PARTS = ("fields", "memory", "malformed", "overhead", "crowd")
UNLOADED = """
import threading, sys
from audiosae_steer.serve import running
running.load_whisper = lambda *a, **k: threading.Event().wait()
running.run(running.make_service(["tiny.en"], ["no-false-speech"]), port=int(sys.argv[1]), drain=1)
"""


@contextmanager
def server(port: int, *command: str, path: str = "/ready") -> Any:
    """A server as a process, from when it is ready."""
    process = subprocess.Popen([sys.executable, *command], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5):
                    break
            except OSError:
                assert process.poll() is None, "the server ended"
                time.sleep(0.2)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(120)
        except subprocess.TimeoutExpired:
            process.kill()


def resident(process: Any) -> float:
    """Megabytes that a process holds."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
    return 0.0 if found is None else round(int(found[1]) / 1024, 1)


class Offline:
    """Texts by the model in this process, each steering in turn."""

    def __init__(self) -> None:
        self.model = load_whisper("tiny.en")
        self.decoding = Decoding(filters=True, temperatures=FALLBACK)
        self.known: dict[Any, str] = {}

    def text(self, clip: str, recipe: str | None, strength: float | None) -> str:
        """The text of a clip."""
        key = clip, recipe, strength
        if key not in self.known:
            self.known[key] = self.timed(*key)[0]
        return self.known[key]

    def timed(self, clip: str, recipe: str | None, strength: float | None) -> tuple[str, float]:
        """The same, and the seconds from the file to the text."""
        path = checkpoints_dir() / "clips" / f"{clip}.flac"
        if recipe is None:
            began = time.monotonic()
            return transcribe_batch(self.model, [load_audio(path)], self.decoding)[0].text, time.monotonic() - began
        with steer(self.model, recipe, strength=strength):
            began = time.monotonic()
            return transcribe_batch(self.model, [load_audio(path)], self.decoding)[0].text, time.monotonic() - began


def ask(client: openai.OpenAI, clip: str, recipe: str | None, strength: float | None) -> Any:
    """One request."""
    steering = "off" if recipe is None else json.dumps({"recipe": recipe, "strength": strength})
    with (checkpoints_dir() / "clips" / f"{clip}.flac").open("rb") as file:
        return client.audio.transcriptions.create(
            model="tiny.en", file=file, response_format="verbose_json", extra_body={"steering": steering}
        )


def busy(process: Any) -> float:
    """Processor seconds that a process has used."""
    parts = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")


def overhead(client: openai.OpenAI, offline: Offline, pairs: int, process: Any) -> dict[str, Any]:
    """Seconds of one client alone beside those offline, in pairs; of the processor too, client's and server's."""
    rows = []
    for number in range(pairs + 1):
        clip = CLIPS[number % len(CLIPS)]
        began, used = time.monotonic(), busy(process) + time.process_time()
        said = ask(client, clip, "no-false-speech", None)
        served, worked = time.monotonic() - began, busy(process) + time.process_time() - used
        used = time.process_time()
        text, alone = offline.timed(clip, "no-false-speech", None)
        assert said.text == text, (clip, said.text, text)
        rows.append((served, alone, worked, time.process_time() - used))
    rows = rows[1:]  # the first is slow on both sides
    differences = [row[0] - row[1] for row in rows]
    work = [row[2] - row[3] for row in rows]
    return {
        "pairs": pairs,
        "p50 served ms": round(1000 * statistics.median(row[0] for row in rows), 1),
        "p50 offline ms": round(1000 * statistics.median(row[1] for row in rows), 1),
        "p50 of differences ms": round(1000 * statistics.median(differences), 1),
        "p50 of processor ms, served": round(1000 * statistics.median(row[2] for row in rows), 1),
        "p50 of processor ms, offline": round(1000 * statistics.median(row[3] for row in rows), 1),
        "p50 of differences of processor ms": round(1000 * statistics.median(work), 1),
        "quartiles of differences ms": [round(1000 * q, 1) for q in statistics.quantiles(differences, n=4)],
    }


def crowd(client: openai.OpenAI, offline: Offline, clients: int, requests: int, minutes: float) -> dict[str, Any]:
    """Texts of clients at once beside the offline ones."""
    dice = random.Random(0)
    plans = [[(dice.choice(CLIPS), *dice.choice(STEERINGS)) for _ in range(requests)] for _ in range(clients)]
    for each in sorted({each for plan in plans for each in plan}, key=str):
        offline.text(*each)
    began = time.monotonic()

    def run(plan: list[Any]) -> list[Any]:
        return [ask(client, *each) for each in plan if time.monotonic() - began < 60 * minutes]

    with ThreadPoolExecutor(clients) as threads:
        answers = list(threads.map(run, plans))
    seconds = time.monotonic() - began
    others = [
        {"asked": each, "served": said.text, "offline": offline.text(*each),
         "sampled": any(segment.temperature for segment in said.segments)}
        for plan, row in zip(plans, answers, strict=True)
        for each, said in zip(plan, row, strict=False)
        if said.text != offline.text(*each)
    ]  # fmt: skip
    return {
        "clients": clients, "requests": sum(map(len, answers)), "other texts": len(others), "examples": others[:5],
        "empty texts": sum(not said.text for row in answers for said in row), "seconds": round(seconds, 1),
    }  # fmt: skip


def attacks(port: int, count: int) -> dict[str, Any]:
    """Answers to malformed uploads, by status; 0 where the connection just ends."""
    address = f"http://127.0.0.1:{port}"
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda seed: send(address, malformed(seed), 60), range(count)))
    seen = Counter(int(answer.split()[1]) if answer else 0 for answer in answers)
    return {"uploads": count, "answers": {str(status): seen[status] for status in sorted(seen)}}


def fields(count: int) -> dict[str, int]:
    """Forms at random that the check takes or refuses; any other error ends this."""
    taken = 0
    for seed in range(count):
        try:
            check_order(made(seed), ("tiny.en",), {"a": 1.0, "b": 2.0}, unknown=seed % 2 == 0)
            taken += 1
        except ApiError as error:
            json.dumps(error.content).encode()
    return {"forms": count, "taken": taken, "refused": count - taken}


def main() -> None:
    """Measure, and write after each part."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--clients", type=int, default=8)
    options.add_argument("--requests", type=int, default=50, help="of each client")
    options.add_argument("--minutes", type=float, default=1e9, help="after which clients begin no other request")
    options.add_argument("--pairs", type=int, default=50)
    options.add_argument("--malformed", type=int, default=1000)
    options.add_argument("--fields", type=int, default=100_000)
    options.add_argument("--port", type=int, default=8741)
    options.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS, help="the file keeps the others")
    options.add_argument("--out", type=Path)
    given = options.parse_args()
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    kept = given.out is not None and given.out.is_file() and set(given.parts) != set(PARTS)
    found: dict[str, Any] = json.loads(given.out.read_text()) if kept else {"model": "tiny.en", "threads": 1}
    found |= {"machine": machine(), "load average": os.getloadavg()}

    def note(name: str, value: Any) -> None:
        found[name] = value
        print(name, json.dumps(value), flush=True)
        if given.out is not None:
            write_atomic(given.out, json.dumps(found, indent=1, ensure_ascii=False) + "\n")

    if "fields" in given.parts:
        note("fuzzed form fields", fields(given.fields))
    if "memory" in given.parts:
        with server(given.port, "-c", UNLOADED, str(given.port), path="/health") as process:
            note("memory before a model is loaded, MB", resident(process))
    if not {"malformed", "overhead", "crowd"} & set(given.parts):
        return
    offline = Offline()
    recipes = [part for name in ("no-false-speech", "no-false-speech-constant") for part in ("--recipe", name)]
    command = ("-m", "audiosae_steer", "serve", "--port", str(given.port), "--idle", "2", *recipes)
    with (
        server(given.port, *command) as process,
        openai.OpenAI(base_url=f"http://127.0.0.1:{given.port}/v1", api_key="-", max_retries=0, timeout=600) as client,
    ):
        if "malformed" in given.parts:
            note("malformed uploads", attacks(given.port, given.malformed))
        if "overhead" in given.parts:
            note("overhead", overhead(client, offline, given.pairs, process))
        if "crowd" in given.parts:
            note("at once", crowd(client, offline, given.clients, given.requests, given.minutes))
            note("metrics of that", metrics(given.port))
        note("memory at the end, MB", resident(process))


def metrics(port: int) -> dict[str, float]:
    """Batches, and windows that were decoded again."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        told = answer.read().decode()
    names = ("windows_again_total", "batch_windows_count", "batch_windows_sum")
    return {name: float(found[1]) for name in names if (found := re.search(rf"_{name}{{.*?}} (\S+)", told))}


if __name__ == "__main__":
    main()
