"""Seconds until the first page of `audiosae-steer explore` answers, with an empty cache and with a made one.

    python benchmarks/explorer_start.py --out benchmarks/results/explorer-start.json

The command opens on the embedded default: tiny.en, its shipped SAEs and the bundled clips. Each repeat takes a new
folder as the cache of indices; the weights of tiny.en are where openai-whisper keeps them, since a download measures
the network. Processor time of the command stands beside the wall time, which other work on the machine prolongs. The
number of threads is that of the environment (OMP_NUM_THREADS).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import torch
from machine import machine

COMMAND = [sys.executable, "-u", "-m", "audiosae_steer", "explore", "--no-open", "--port", "0"]


def started(cache: Path) -> dict[str, float]:
    """Seconds until it listens and until its first page is whole, and seconds of processor time by then."""
    environment = {**os.environ, "AUDIOSAE_STEER_CACHE": str(cache)}
    start = time.perf_counter()
    with subprocess.Popen(COMMAND, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        address = re.search(r"http://\S+", process.stdout.readline())
        listening = time.perf_counter() - start
        if address is None:
            raise SystemExit("the server did not start")
        with urllib.request.urlopen(address.group()) as answer:
            if answer.status != 200 or b"</html>" not in answer.read():
                raise SystemExit("the first page is not whole")
        found = {"first_page_s": time.perf_counter() - start, "listening_s": listening, "cpu_s": busy(process.pid)}
        process.terminate()
    return {name: round(seconds, 2) for name, seconds in found.items()}


def busy(process: int) -> float:
    """Seconds of processor time of a process, all its threads."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Start, ask, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    rows: dict[str, list[dict[str, float]]] = {"empty cache": [], "made cache": []}
    for _ in range(asked.repeats):
        with tempfile.TemporaryDirectory() as folder:
            for kind in rows:
                rows[kind].append(started(Path(folder)))
                print(f"{kind:12} " + "   ".join(f"{key} {value:6.2f}" for key, value in rows[kind][-1].items()))
    found: dict[str, Any] = {
        kind: {key: {"median": statistics.median(row[key] for row in each), "max": max(row[key] for row in each)}
               for key in each[0]} for kind, each in rows.items()
    }  # fmt: skip
    found |= {"repeats": asked.repeats, "threads": torch.get_num_threads(), "load": os.getloadavg()[0],
              "machine": machine()}  # fmt: skip
    if asked.out is not None:
        asked.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
