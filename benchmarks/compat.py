"""The tests of everything that touches transformers, with another transformers than the one that is installed.

    python benchmarks/compat.py                          # 4.56.2, the oldest that is supported
    python benchmarks/compat.py --transformers 5.0.0

It is installed into a folder of its own, which comes first on the path of the tests alone.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
TESTS = (
    "models",
    "steering/test_latents.py",
    "steering/test_listing.py",
    "steering/test_steering.py",
    "steering/test_generation.py",
)


def main() -> None:
    """Install it and run them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transformers", default="4.56.2")
    parser.add_argument("tests", nargs="*", default=[f"tests/{name}" for name in TESTS])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        wanted = f"transformers=={given.transformers}"
        # pip speaks of the installed packages that would not go with it: these stay as they are
        done = subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--target", folder, wanted], check=False)
        if done.returncode:
            sys.exit(f"{wanted} could not be installed; see pip's own words above")
        for heavy in ("torch", "numpy"):  # those of the environment
            for path in Path(folder).glob(f"{heavy}*"):
                subprocess.run(["rm", "-rf", str(path)], check=True)
        environment = {**os.environ, "PYTHONPATH": folder}
        call = [sys.executable, "-m", "pytest", "-q", *given.tests]
        sys.exit(subprocess.run(call, cwd=ROOT, env=environment, check=False).returncode)


if __name__ == "__main__":
    main()
