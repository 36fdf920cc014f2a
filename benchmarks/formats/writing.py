"""What the writers of fixtures share. It runs in the libraries' own environments, with torch and safetensors.

A fixture is `tests/sae/formats/data/<format>-<kind>/`: the files as a library wrote them, and beside them, in
`outputs.safetensors`, fixed residuals `x` (frames, d) with that library's own activations `f` and reconstructions
`x_hat` of them. All numbers are seeded and random; d = 16, F = 64.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

DATA = Path(__file__).resolve().parents[2] / "tests" / "sae" / "formats" / "data"
D, F, FRAMES, K = 16, 64, 6, 5


def new(name: str) -> Path:
    """An empty folder for a fixture."""
    folder = DATA / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def randomised(module: Any, seed: int = 0) -> Any:
    """`module` with every parameter drawn anew, so that no bias is zero and no two matrices are each other's mirror."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=g) * (0.5 if parameter.dim() > 1 else 0.2))
    return module


def residuals(seed: int = 1, frames: int = FRAMES) -> Tensor:
    """Residuals (frames, d)."""
    return torch.randn(frames, D, generator=torch.Generator().manual_seed(seed)) * 1.5


def keep(folder: Path, x: Tensor, f: Tensor, x_hat: Tensor) -> None:
    """Write what the library made of `x`, and say what it looks like."""
    tensors = {"x": x, "f": f, "x_hat": x_hat}
    save_file(
        {name: tensor.detach().float().contiguous() for name, tensor in tensors.items()}, folder / "outputs.safetensors"
    )
    size = sum(file.stat().st_size for file in folder.iterdir()) / 1e3
    print(
        f"{folder.name}: {', '.join(sorted(file.name for file in folder.iterdir()))}; {size:.0f} kB; "
        f"{float((f > 0).float().mean()):.0%} of the features fire"
    )
