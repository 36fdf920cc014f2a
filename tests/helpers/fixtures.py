"""SAEs that other libraries wrote, and what those libraries make of them: `tests/sae/formats/data/<format>-<kind>/`.

Beside a library's own files lies `outputs.safetensors`: residuals `x` (frames, d), and the library's activations `f`
(frames, F) and reconstructions `x_hat` (frames, d) of them. `python benchmarks/formats/make.py` wrote them all.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

DATA = Path(__file__).parents[1] / "sae" / "formats" / "data"
OUTPUTS = "outputs.safetensors"
FIXTURES = sorted(folder.name for folder in DATA.iterdir() if (folder / OUTPUTS).is_file())


def format_of(name: str) -> str:
    """The format that a fixture is of."""
    return name.split("-")[0]


def fixture(name: str, tmp_path: Path) -> Path:
    """A copy of a fixture's folder that holds the library's own files alone."""
    folder = tmp_path / name
    shutil.copytree(DATA / name, folder, ignore=shutil.ignore_patterns(OUTPUTS))
    return folder


def outputs(name: str) -> dict[str, Tensor]:
    """`x`, and the library's own `f` and `x_hat` of it."""
    return load_file(DATA / name / OUTPUTS)
