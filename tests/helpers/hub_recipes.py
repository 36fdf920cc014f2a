"""A small model, and recipes for it, for tests of what lies on the Hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from make import make_openai, make_sae

from audiosae_steer.io.hub.read import sha256_of
from audiosae_steer.models.registry import family_of, fingerprint


def small_model() -> Any:
    """A small random Whisper."""
    return make_openai()


def write_recipe(folder: Path, model: Any, **more: Any) -> Path:
    """A recipe for `model` with its SAE beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    make_sae("jumprelu", 64, 200).save(folder / "sae.safetensors")
    dims = family_of(model).dims(model)._asdict()
    content = {
        "schema": 1,
        "name": "mine",
        "description": "Turns things down.",
        "model": {"family": "whisper", "name": "small random", **dims, "fingerprint": fingerprint(model)},
        "saes": {"a": {"file": "sae.safetensors", "sha256": sha256_of(folder / "sae.safetensors")}},
        "sites": [{"layer": 2, "sae": "a", "edits": [{"kind": "scale", "features": [3, 4], "factor": 0.5}]}],
        **more,
    }
    (folder / "recipe.json").write_text(json.dumps(content))
    return folder / "recipe.json"


def files_in(folder: Path) -> dict[str, bytes]:
    """The files of a folder, by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}
