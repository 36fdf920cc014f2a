"""SAEs of discovery: opened from any source, and placed beside a recipe."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ..errors import RecipeError
from ..io.hub.read import sha256_of
from ..sae.autoencoder import SAE
from ..sae.load import load_sae
from ..steering.recipes.sae_source import SAESpec


def open_sae(source: SAE | str | Path, layer: int) -> SAE:
    """The SAE of that layer, in float32.

    Raises:
        CheckpointError: it is missing or damaged.
        HubError: the Hub did not give it.
    """
    if isinstance(source, SAE):
        return source
    single = Path(source).expanduser().is_file()
    return load_sae(source, None if single else layer).float()


def place_sae(sae: SAE, source: SAE | str | Path, layer: int, folder: Path) -> SAESpec:
    """Name of the SAE in a recipe in `folder`: pinned on the Hub, or a file beside it, which is copied if need be.

    Raises:
        RecipeError: the SAE cannot be written into the folder.
    """
    on_hub = sae.info.get("source")
    if isinstance(source, str) and not Path(source).expanduser().exists() and isinstance(on_hub, dict):
        return SAESpec(
            repo="/".join(part for part in (on_hub["repo"], on_hub.get("folder")) if part),
            layer=sae.info.get("layer"),
            revision=on_hub["revision"],
            sha256=on_hub["sha256"],
        )
    part = folder / f".sae-{os.getpid()}.part"
    try:
        given = None if isinstance(source, SAE) else Path(source).expanduser()
        if given is not None and given.suffix == ".safetensors" and given.is_file():
            name = given.name
            shutil.copyfile(given, part)
        else:
            name = f"encoder-{layer}.safetensors"
            sae.save(part)
        digest = sha256_of(part)
        if (folder / name).is_file() and sha256_of(folder / name) != digest:
            name = f"{Path(name).stem}-{digest[:8]}.safetensors"  # another SAE, which another recipe may need
        if not (folder / name).is_file():
            os.replace(part, folder / name)
    except OSError as error:
        raise RecipeError(f"cannot write the SAE into {folder}: {error.strerror}; choose another folder") from error
    finally:
        part.unlink(missing_ok=True)
    return SAESpec(file=name, sha256=digest)
