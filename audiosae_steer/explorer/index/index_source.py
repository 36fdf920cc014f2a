"""SAEs of an index: each of its layer, with its name for a recipe, and the file to put beside the index."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from ...errors import CheckpointError
from ...io.files import write_atomic
from ...io.hub.read import sha256_of
from ...io.shipped import shipped_folders
from ...io.tensors.safetensors_header import read_header
from ...models.sites import Site
from ...sae.autoencoder import SAE
from ...sae.load import load_sae
from ...sae.save import SCHEMA
from ...steering.recipes.sae_source import SAESpec
from ...steering.shipped_saes import saes as shipped
from .index_settings import IndexFacts


class IndexedSAE(NamedTuple):
    """An SAE and the layer that it is for."""

    site: Site
    sae: SAE
    spec: dict[str, Any]
    """The SAE as a recipe names it: a file beside the index, or a repository."""
    sha256: str
    """sha256 of its file."""
    file: bytes | None = None
    """Content of the file beside the index; None of one on the Hub."""

    def put(self, folder: Path) -> None:
        """Put the SAE's file beside an index. CheckpointError: it cannot be written."""
        if self.file is not None and not (folder / self.spec["file"]).is_file():
            write_atomic(folder / self.spec["file"], self.file, CheckpointError)


def open_sae(source: str | Path, layer: int) -> IndexedSAE:
    """An SAE for an index, from a file, a folder, the Hub, or the name of a model whose SAEs ship.

    Args:
        source: as `load_sae` takes it.
        layer: the encoder layer that it is for, counted from 1.

    Raises:
        CheckpointError, HubError: it cannot be had.
    """
    path, site = Path(source).expanduser(), Site(layer)
    sae = load_sae(source, None if path.is_file() else layer)
    its = sae.info.get("source")
    if isinstance(its, dict) and "repo" in its and not path.exists():
        spec = {"repo": its["repo"], "layer": layer, "revision": its["revision"]}
        known = its.get("sha256")
        return IndexedSAE(site, sae, spec | ({"sha256": known} if known else {}), str(known or ""))
    name = f"encoder-{layer}.safetensors"
    own = path if path.is_file() and path.suffix == ".safetensors" else None
    if not path.exists() and str(source) in shipped_folders():
        own = next((each.path for each in shipped(str(source)) if each.site == site), None)
    with TemporaryDirectory(prefix="audiosae-steer-") as folder:
        if own is None or not _native(own):  # other formats are kept as this package's own, which recipes can name
            own = Path(folder) / name
            sae.save(own)
        sha, content = sha256_of(own), own.read_bytes()
    return IndexedSAE(site, sae, {"file": name, "sha256": sha}, sha, content)


def saes_beside(facts: IndexFacts, folder: Path) -> tuple[IndexedSAE, ...]:
    """The SAEs of an index, from the files beside it or from the Hub.

    Raises:
        RecipeError, CheckpointError: a file is missing, or another than the index was made with.
        HubError: the Hub did not give it.
    """
    found = []
    for each in facts.layers:
        sae = SAESpec(**each.sae).load(folder, f"the index in {folder}")
        file = None if "repo" in each.sae else (folder / each.sae["file"]).read_bytes()
        found.append(IndexedSAE(Site(each.layer), sae, each.sae, each.sae_sha256, file))
    return tuple(found)


def _native(path: Path) -> bool:
    return read_header(path).metadata.get("schema") == SCHEMA
