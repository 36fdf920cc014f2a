"""The SAEs that ship with the package, and the models that they are for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import UnknownModelError
from ..io.shipped import shipped_folders
from ..io.tensors.safetensors_header import read_header
from ..models.registry import family_of, unwrap
from ..models.sites import Site
from .recipes.load import shipped


class SAEInfo(NamedTuple):
    """An SAE that ships with the package: `load_sae(info.name, layer=info.site.layer)`."""

    name: str
    """Of the model it is for, as `load_sae` and `load_whisper` take it."""
    site: Site | None
    """The site that it was trained at; None where no site is in a model: latents on their way to a decoder."""
    n_features: int
    """Number of features."""
    d_model: int
    """Width of the residual that it reads."""
    path: Path
    """Its file."""


def saes(model: Any = None) -> list[SAEInfo]:
    """The shipped SAEs that are for `model`, or all of them.

    Args:
        model: a model, or the name of one as `load_whisper` takes it (`tiny.en`); None: any.

    Raises:
        UnknownModelError: it is no model of a known family, or none of that name has SAEs here.
    """
    folders = shipped_folders()
    if isinstance(model, str):
        name = model.rpartition("/")[2].removeprefix("whisper-")
        if name not in folders:
            raise UnknownModelError(f"no SAE ships for {model!r}; SAEs ship for {', '.join(folders)}")
        folders = {name: folders[name]}
    elif model is not None:
        inner = unwrap(model)
        family, dims = family_of(inner), family_of(inner).dims(inner)
        # an SAE is for the model of the recipes beside it
        fitting = {r.folder for r in shipped() if (r.model.family, r.model.dims) == (family.name, dims)}
        folders = {name: folder for name, folder in folders.items() if folder in fitting}
    return [_info(name, path) for name, folder in folders.items() for path in sorted(folder.glob("*.safetensors"))]


def _info(name: str, path: Path) -> SAEInfo:
    n_features, d_model = read_header(path).shapes["W_enc"]
    found = re.fullmatch(r"(encoder|decoder)-(\d+)", path.stem)
    site = None
    if found is not None:
        site = Site(int(found[2]), "encoder" if found[1] == "encoder" else "decoder")
    return SAEInfo(name, site, n_features, d_model, path)
