"""Sites of a model: its layers, or any module by path."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import nn

from ..errors import UnknownModelError
from ..io.shipped import checkpoints_dir
from ..models.registry import family_of, frame_rate_at, tap_at, unwrap
from ..models.sites import Dims, Family, Layout, Site, Tap
from .recipes.load import shipped

ON_THE_HUB = {
    ("whisper", Dims(768, 12, 12, 51865)): "Egorgij21/Audio-SAE/whisper-small",
    ("whisper", Dims(1280, 32, 32, 51866)): "Egorgij21/Audio-SAE/whisper-large-v3",
    ("whisper", Dims(1280, 32, 4, 51866)): "Egorgij21/Audio-SAE/whisper-large-v3-turbo",
    ("hubert", Dims(768, 12, 0, 0)): "Egorgij21/Audio-SAE/hubert-base",
    ("hubert", Dims(1024, 24, 0, 0)): "Egorgij21/Audio-SAE/hubert-large",
}
"""By family and sizes: the SAEs of AudioSAE's authors, one for each encoder layer. Folders as in docs/hub.md."""


class SiteInfo(NamedTuple):
    """A site of a model."""

    site: Site
    """To be passed to `steer(model, site=...)`; of a layer, `layer=` and `side=` do as well."""
    path: str
    """The module, as in `model.get_submodule(path)`; "→ " before it where the residual is what goes into it."""
    kind: str
    """Its class."""
    d_model: int | None
    """Width of the residual; None where only a pass would tell."""
    layout: Layout
    """Order of its axes."""
    frame_rate: float | None
    """Frames per second; None where they have no time, or none is known."""
    sae: str | None
    """An SAE that fits, if one is known: a file that ships with the package, or a repository on the Hub."""


def list_sites(model: Any, *, modules: bool = False) -> list[SiteInfo]:
    """Sites of a model, in the order of its layers.

    Args:
        model: a model of a known family; or any module, of which only modules are listed.
        modules: list modules by path as well, with the width that their weights have, if any.

    Raises:
        UnknownModelError: no family knows the model, and modules were not asked for.
    """
    inner = unwrap(model)
    family = family_of(inner, paths=modules)
    dims = family.dims(inner)
    names = {id(module): name for name, module in inner.named_modules()}
    found = []
    for side, count in (("encoder", dims.encoder_layers), ("decoder", dims.decoder_layers)):
        for layer in range(1, count + 1):
            site = Site(layer, "encoder" if side == "encoder" else "decoder")
            found.append(_layer(inner, family, dims, site, names))
    if modules:
        listed = {info.path for info in found}
        found += [
            _module(name, module) for name, module in inner.named_modules() if name and name not in listed
            and "parametrizations" not in name and not isinstance(module, (nn.ModuleList, nn.Dropout))
        ]  # fmt: skip
    if not found:
        raise UnknownModelError(f"{type(inner).__name__} holds no module that could be steered")
    return found


def _layer(model: nn.Module, family: Family, dims: Dims, site: Site, names: dict[int, str]) -> SiteInfo:
    tap: Tap = tap_at(model, family, site)
    path = ("→ " if tap.place == "input" else "") + names[id(tap.module)]
    width = tap.size or dims.d_model
    rate = frame_rate_at(model, family, site)
    return SiteInfo(site, path, type(tap.module).__name__, width, tap.layout, rate, _fitting(family, dims, site))


def _fitting(family: Family, dims: Dims, site: Site) -> str | None:
    for recipe in shipped():
        if recipe.model.family == family.name and recipe.model.dims == dims:
            folders = sorted(checkpoints_dir().glob(f"*/{site.side}-{site.layer}.safetensors"))
            fits = [path for path in folders if any(recipe.name == other.stem for other in path.parent.glob("*.json"))]
            named = [path for path in fits if recipe.model.name.split("/")[-1] in path.parent.name]
            if named:
                return str(named[0].resolve())
    known = ON_THE_HUB.get((family.name, dims))
    return None if known is None or site.side == "decoder" else f"{known}, layer {site.layer}"


def _module(path: str, module: nn.Module) -> SiteInfo:
    layout: Layout = "bdf" if isinstance(module, (nn.Conv1d, nn.ConvTranspose1d)) else "bfd"
    width = next(
        (
            getattr(module, name)
            for name in ("out_features", "out_channels", "embedding_dim")
            if isinstance(getattr(module, name, None), int)
        ),
        None,
    )
    if isinstance(module, nn.LayerNorm):
        width = int(module.normalized_shape[-1])
    return SiteInfo(Site(path=path, layout=layout), path, type(module).__name__, width, layout, None, None)
