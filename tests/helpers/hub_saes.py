"""AudioSAE's repository, with small SAEs."""

from __future__ import annotations

import io
import json

import torch

REPO = "Egorgij21/Audio-SAE-Whisper-small"


def audiosae_files(seed: int = 0) -> dict[str, bytes]:
    files = {"README.md": b"# SAEs", ".gitattributes": b"*.pt filter=lfs"}
    for layer in (1, 2, 3, 8):
        files[f"layer_{layer}/ae.pt"] = ae_pt(seed + layer)
        files[f"layer_{layer}/config.json"] = json.dumps({"activation_dim": 8, "dict_size": 32, "k": 5}).encode()
    return files


def ae_pt(seed: int, d: int = 8, F: int = 32) -> bytes:
    g = torch.Generator().manual_seed(seed)
    state = {
        "encoder.weight": torch.randn(F, d, generator=g),
        "encoder.bias": torch.randn(F, generator=g),
        "decoder.weight": torch.randn(d, F, generator=g),
        "b_dec": torch.randn(d, generator=g),
        "k": torch.tensor(5, dtype=torch.int),
        "threshold": torch.tensor(0.5),
    }
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()
