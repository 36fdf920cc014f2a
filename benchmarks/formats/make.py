"""Fixtures of `tests/sae/formats/data`, written anew, each by its own library in an environment of its own.

    python benchmarks/formats/make.py                                    # all but FREUD
    python benchmarks/formats/make.py --freud CHECKOUT                   # all; FREUD is not on PyPI
    python benchmarks/formats/make.py --only sparsify overcomplete       # some
    python benchmarks/formats/make.py --base .venv/bin/python            # on what that environment has already

A torch of the version in `constraints.txt` is installed once, or taken from `--base`, and each library on top of it, in
a temporary folder or in the one that `--work` names. `dictionary-learning` needs nnsight < 0.4, so it could not be
installed beside our own. Where a library asks for much that the code of its SAEs never imports, or for what cannot be
had together, it is installed with what that code imports (`parts`). The tests then compare without any of them.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
OURS = ("safetensors", "numpy")


class Library(NamedTuple):
    """What an environment holds."""

    package: str | None
    """As pip knows it; None if it is not on PyPI."""
    parts: tuple[str, ...] | None
    """What it imports, installed in the place of all that it asks for; None for all."""
    without: tuple[str, ...] = ()
    """What those ask for and never import, and what is not built for a torch without CUDA."""


LIBRARIES = {
    "plain": Library(None, ()),
    "sparsify": Library("eai-sparsify==1.3.3", None),
    "dictionary_learning": Library(
        "dictionary-learning==0.1.0",
        ("nnsight<0.4", "einops", "tqdm", "wandb", "datasets", "zstandard"),
        ("torchvision",),
    ),
    "overcomplete": Library("overcomplete==0.3.0", ("einops", "scipy", "scikit-learn<2", "tqdm")),
    "saelens": Library("sae-lens==6.54.12", None),
    "freud": Library(None, ("simple-parsing", "jaxtyping", "einops", "tqdm", "openai-whisper", "transformers<6")),
}


def main() -> None:
    """Make the environments and run the writers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=LIBRARIES, help="the libraries to run")
    parser.add_argument("--freud", type=Path, help="a clone of github.com/ksadov/FREUD")
    parser.add_argument("--base", type=Path, help="the Python of an environment that has a torch")
    parser.add_argument("--work", type=Path, help="where the environments are kept; a temporary folder by default")
    given = parser.parse_args()
    names = given.only or [name for name in LIBRARIES if name != "freud" or given.freud]
    if "freud" in names and given.freud is None:
        sys.exit("FREUD is not on PyPI: name a clone of github.com/ksadov/FREUD as --freud")
    with tempfile.TemporaryDirectory() as temporary:
        for name in names:
            python = environment(name, given.work or Path(temporary), given.base)
            arguments = [str(given.freud.resolve())] if name == "freud" else []
            clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
            subprocess.run([python, HERE / f"write_{name}.py", *arguments], cwd=HERE, env=clean, check=True)


def environment(name: str, work: Path, base: Path | None) -> Path:
    """The Python of the environment of a library; made where there is none."""
    torch = next(line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("torch=="))
    pins = work / "pins.txt"
    work.mkdir(parents=True, exist_ok=True)
    pins.write_text(f"{torch}\n")
    base = base or _made(work / "base", None, [[torch, *OURS]], pins)
    library = LIBRARIES[name]
    package = [library.package] if library.package else []
    calls = [package] if library.parts is None else [list(library.parts), ["--no-deps", *package] if package else []]
    return _made(work / name, base, [call for call in calls if call], pins, library.without)


def _made(folder: Path, base: Path | None, calls: list[list[str]], pins: Path, without: tuple[str, ...] = ()) -> Path:
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    if not (folder / "made").exists():
        venv.create(folder, with_pip=True, clear=True)
        if base is not None:
            below = subprocess.run(
                [base, "-c", "import site; print(site.getsitepackages()[0])"],
                check=True,
                capture_output=True,
                text=True,
            )
            site = next(folder.glob("**/site-packages"))
            (site / "base.pth").write_text(below.stdout)  # what is there is not installed again
        for call in calls:
            subprocess.run([python, "-m", "pip", "install", "-q", "-c", pins, *call], check=True)
        if without:
            subprocess.run([python, "-m", "pip", "uninstall", "-q", "-y", *without], check=True)
        (folder / "made").touch()
    return python


if __name__ == "__main__":
    main()
