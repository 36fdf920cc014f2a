"""Activations for tests: sparse ones, in memory and in shards as `collect` writes them."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file


def sparse_frames(count: int, seed: int, d: int = 16, directions: int = 24, active: int = 3) -> torch.Tensor:
    """Frames that are what an SAE supposes: few of many directions at a time, an offset, and a little noise."""
    truth = torch.nn.functional.normalize(torch.randn(directions, d, generator=torch.Generator().manual_seed(0)), dim=1)
    g = torch.Generator().manual_seed(seed)
    chosen = torch.rand(count, directions, generator=g).topk(active).indices
    f = torch.zeros(count, directions).scatter(1, chosen, 1 + torch.rand(count, active, generator=g))
    return (5 * f @ truth + 2 + 0.05 * torch.randn(count, d, generator=g)).half()


def write_shards(
    folder: Path, train: torch.Tensor, held_out: torch.Tensor, shards: int, layer: int = 2, complete: bool = True
) -> Path:
    """The same frames in so many shards of uneven lengths; some hold nothing of what is held out."""
    folder.mkdir(parents=True, exist_ok=True)
    cuts = [round(len(train) * (n / shards) ** 1.3) for n in range(shards + 1)]
    for n in range(shards):
        held = held_out if n == shards // 2 else held_out[:0]
        tensors = {
            f"layer_{layer}.train": train[cuts[n] : cuts[n + 1]].clone(),
            f"layer_{layer}.held_out": held.clone(),
        }
        save_file(tensors, folder / f"shard-{n:05d}.safetensors")
    manifest = {"settings": {"layers": [layer]}, "complete": complete, "clips": 3 * shards, "shards": shards}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder
