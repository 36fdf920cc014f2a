"""What `import audiosae_steer` costs beyond `import torch`, in fresh interpreters that take turns.

python benchmarks/import_time.py
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys

PROGRAM = """
import time, torch
start = time.perf_counter()
{work}
print(time.perf_counter() - start)
"""
ARMS = {"import audiosae_steer": "import audiosae_steer", "import torch again": "import torch"}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    seconds: dict[str, list[float]] = {name: [] for name in ARMS}
    for _ in range(options.repeats):
        for name, work in ARMS.items():
            done = subprocess.run(
                [sys.executable, "-c", PROGRAM.format(work=work)], capture_output=True, text=True, check=True
            )
            seconds[name].append(float(done.stdout))
    found = {name: [statistics.median(s), min(s), max(s)] for name, s in seconds.items()}
    if options.json:
        print(json.dumps(found, indent=1))
        return
    for name, (middle, low, high) in found.items():
        print(f"{name} after torch: {middle:.3f} s ({low:.3f} to {high:.3f})")


if __name__ == "__main__":
    main()
