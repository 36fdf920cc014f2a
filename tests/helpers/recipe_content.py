"""The content of a valid recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from make import make_sae

from audiosae_steer.io.hub.read import sha256_of
from audiosae_steer.models.registry import family_of, fingerprint


def content(model: Any, folder: Path) -> dict[str, Any]:
    """A recipe for a small model, its SAE beside it."""
    make_sae("batchtopk-threshold", 64, 200).save(folder / "sae.safetensors")
    return {
        "schema": 1,
        "name": "mine",
        "model": {
            "family": "whisper",
            "name": "small random",
            **family_of(model).dims(model)._asdict(),
            "fingerprint": fingerprint(model),
        },
        "saes": {"a": {"file": "sae.safetensors", "sha256": sha256_of(folder / "sae.safetensors")}},
        "sites": [
            {"layer": 2, "sae": "a", "edits": [{"kind": "add", "features": [3, 4], "amount": [1.0, 2.0]}]},
            {"layer": 1, "side": "decoder", "edits": [{"kind": "push", "vector": [0.1] * 64}]},
        ],
        "gate": {"layer": 1, "sae": "a", "features": [1, 2], "weights": [1.0, 1.0], "threshold": -1.0},
        "allow_empty": True,
        "strength": 0.5,
        "provenance": {"command": "by hand"},
    }
