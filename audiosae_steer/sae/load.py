"""Loading of SAEs of every format from a file, a folder or the Hub.

The authors of AudioSAE name one repository for all of its models' SAEs, `Egorgij21/Audio-SAE`, beside the earlier ones
of one model each. Its layout is not published; it is taken to be `MODEL/layer_N/ae.pt` with `config.json` beside it.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Sequence
from numbers import Integral
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from ..errors import CheckpointError, HubError, ThresholdWarning
from ..io.paths import local
from ..io.shipped import shipped_folders
from ..io.tensors.sharded import INDEX, index_of, sha256_of_sae
from ..io.tensors.state_dict import NUMBERS, load_state
from ..io.tensors.torch_file import is_torch_file
from .autoencoder import SAE
from .formats.format import Format
from .formats.layers import files_in, files_of, folders_in, folders_of, hookpoint_layer, number_of, several, side_of
from .formats.native import save_sae
from .formats.registry import FORMATS
from .normalisation import settle

_ENDINGS = (".safetensors", ".pt", ".pth", ".npz", ".json")
__all__ = ["FORMATS", "Format", "load_sae", "save_sae"]


def load_sae(
    source: str | Path,
    layer: int | None = None,
    *,
    revision: str | None = None,
    activations: Tensor | Sequence[Tensor] | None = None,
) -> SAE:
    """An SAE from a file, a folder or the Hub.

    Args:
        source: a file, a folder, "user/repo" on the Hub, or "user/repo/folder", a folder in a repository that holds
            several models' layers; or the name of a model whose SAEs ship with the package (`tiny.en`), which `saes()`
            lists. `Egorgij21/Audio-SAE`, which AudioSAE's authors name for all their models, is taken to hold several;
            its layout is inferred from their earlier repositories of one model each.
        layer: which one, where there are several: 8 is `layer_8/`, `encoder-8.safetensors`, or sparsify's `layers.7/`,
            which counts from 0.
        revision: branch, tag or commit on the Hub; `info["source"]` records the commit that was taken.
        activations: residuals (frames, d_model) or (clips, frames, d_model) of the model and layer that it is for.
            With them, what the file leaves open is measured: how its input is normalised, and the threshold of a
            batchtopk gate that has none. `info["normalisation"]` and `info["threshold"]` say what was found.

    Raises:
        CheckpointError: there is nothing there, it is of no known format, or it is damaged; or there are several
            layers and `layer` is not among them, or several models; or it explains nothing of the activations.
        ActivationError: the activations are empty, of another width, or not finite.
        HubError: the Hub could not be reached, or has no such repository, revision, folder or layer; or the repository
            holds several models' layers, whose folders the message lists.
    """
    if activations is None:
        return _load(source, layer, revision)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ThresholdWarning)  # it is given one below
        sae, stated = _load(source, layer, revision)
    return settle(sae, activations, str(source), stated=stated)


def _load(source: str | Path, layer: int | None, revision: str | None) -> tuple[SAE, bool]:
    """The SAE, and True if its file says how its input is normalised."""
    if layer is not None and (isinstance(layer, bool) or not isinstance(layer, Integral)):
        raise CheckpointError(f"layer is {layer!r}; expected a whole number: layers are counted from 1")
    path = local(source)
    if not path.exists() and os.path.isfile(index_of(path)):
        path = local(index_of(path))
    if not path.exists() and str(source) in (ours := shipped_folders()):
        path = ours[str(source)]
    if not path.exists():
        on_hub = hub_place(source)
        if on_hub is None:
            raise CheckpointError(
                f"there is no SAE at {source}: no such file or folder, and none that ships with the package "
                f"({', '.join(shipped_folders())}); on the Hub write user/repo, or user/repo/folder"
            )
        return _from_hub(on_hub, layer, revision)
    if revision is not None:
        raise CheckpointError(f"{source} is on this machine, where there are no revisions; leave `revision` out")
    if path.is_file():
        sae, stated = _read(path)
        return _checked(sae, layer, None, str(path), path.absolute().parent.name), stated
    if not path.is_dir():  # a pipe, a device: reading it might never end
        raise CheckpointError(f"{path} is neither a file nor a folder; an SAE is one of them")
    files = files_of(files_in(path), layer, str(path))
    number = number_of(files)
    chosen = path if number is None else _place(path, files)
    sae, stated = _read(chosen)
    place = chosen.absolute() if chosen.is_dir() else chosen.absolute().parent
    return _checked(sae, layer, number, str(path), place.name), stated


class HubPlace(NamedTuple):
    """A repository on the Hub, or a folder in it."""

    repo: str
    """"user/repo"."""
    folder: str = ""
    """"whisper-small", or empty for the repository itself."""

    def __str__(self) -> str:
        return f"{self.repo}/{self.folder}" if self.folder else self.repo

    def inside(self, names: Sequence[str]) -> list[str]:
        """The files of a repository that lie in the folder, by their names there."""
        prefix = f"{self.folder}/" if self.folder else ""
        return [name.removeprefix(prefix) for name in names if name.startswith(prefix)]

    def full(self, names: Sequence[str]) -> list[str]:
        """The same files by their names in the repository."""
        return [f"{self.folder}/{name}" if self.folder else name for name in names]


def hub_place(source: str | Path) -> HubPlace | None:
    """The place on the Hub that `source` names: "user/repo" or "user/repo/folder"; None if it can only be a path.

    A path is what begins in a folder that is here, leads through `.` or `..`, or ends like the file of an SAE.
    """
    parts = str(source).split("/")
    if isinstance(source, Path) or len(parts) < 2 or not all(re.fullmatch(r"[\w.-]+", part) for part in parts):
        return None
    if len(parts) == 2:
        return HubPlace(str(source))
    if {".", ".."} & set(parts) or os.path.isdir(parts[0]) or parts[-1].endswith(_ENDINGS):
        return None
    return HubPlace("/".join(parts[:2]), "/".join(parts[2:]))


def from_hub(repo: str, layer: int | None, revision: str | None) -> SAE:
    """`load_sae` of a repository, or a folder in one, whatever folder of that name there may be here."""
    user, _, rest = repo.partition("/")
    name, _, folder = rest.partition("/")
    return _from_hub(HubPlace(f"{user}/{name}" if rest else user, folder), layer, revision)[0]


def _from_hub(place: HubPlace, layer: int | None, revision: str | None) -> tuple[SAE, bool]:
    from ..io.hub.read import Listing, fetch

    repo = str(place)

    def choose(listing: Listing) -> list[str]:
        names = place.inside(listing.files)
        if not names and place.folder:
            raise HubError(_no_folder(place, listing.files, online=listing.online))
        try:
            files = files_of(names, layer, repo, only="has" if listing.online else "is cached here with")
        except CheckpointError as error:
            raise HubError(str(error)) from error
        needed = next((names for format_ in FORMATS if (names := format_.files(files))), None)
        if needed is None:
            seen = ", ".join(files[:8]) or "nothing"
            offline = "" if listing.online else " in this machine's cache; connect once to fetch the rest"
            raise HubError(f"{repo} holds no SAE that is read here: it has {seen}{offline}")
        return place.full(needed)

    fetched = fetch(place.repo, choose, revision)
    weights = fetched.files[-1]
    file = fetched.folder / weights
    sae, stated = _read(file)
    folder = weights.rpartition("/")[0].rpartition("/")[2]
    sae = _checked(sae, layer, number_of(place.inside(fetched.files)), repo, folder)
    earlier = sae.info.get("source")
    sae.info["source"] = {
        "repo": place.repo,
        **({"folder": place.folder} if place.folder else {}),
        "revision": fetched.commit,
        "file": weights,
        "sha256": sha256_of_sae(file),
    }
    if isinstance(earlier, dict):
        sae.info["source"]["made_from"] = earlier
    return sae, stated


def _no_folder(place: HubPlace, names: Sequence[str], *, online: bool) -> str:
    folders = folders_of(names) or sorted({name.partition("/")[0] for name in names if "/" in name})
    where = "" if online else " in this machine's cache, and the Hub cannot be reached"
    return f"{place.repo} has no folder {place.folder}{where}; its folders are: {', '.join(folders[:20]) or 'none'}"


def _place(folder: Path, files: Sequence[str]) -> Path:
    first = folder / next((name for name in files if name.endswith(INDEX)), files[0])
    return first if first.parent == folder else first.parent


def _checked(sae: SAE, layer: int | None, number: int | None, where: str, folder: str) -> SAE:
    """`sae`, once the layer asked for, that of its place and that which its file names are known to be the same.

    So is the side that the name of its folder says and that which its file names.
    """
    said = sae.info.get("layer", number)
    wanted = number if layer is None else layer
    if wanted is not None and said is not None and said != wanted:
        what = "was asked for" if number is None else "is where it lies"
        raise CheckpointError(f"{where}: layer {wanted} {what}, but the SAE itself says layer {said}; take another")
    if layer is not None and said is None:
        raise CheckpointError(f"{where} holds a single SAE and does not say of which layer; leave `layer` out")
    if number is not None:
        sae.info.setdefault("layer", number)
    elif "layer" not in sae.info and hookpoint_layer(folder) is not None:
        sae.info.setdefault("hookpoint", folder)
    side = side_of(folder)
    if side is not None and sae.info.setdefault("side", side) != side:
        raise CheckpointError(f"{where}: it lies in {folder}, but the SAE itself says {sae.info['side']}; move it")
    return sae


def _read(path: Path) -> tuple[SAE, bool]:
    for format_ in FORMATS:
        if format_.recognises(path):
            return format_.read(path), format_.states_normalisation
    files = sorted(entry for entry in path.iterdir() if entry.is_file()) if path.is_dir() else [path]
    for file in files:
        local(file)  # where it may not be read, that is why
        if is_torch_file(file):
            load_state(file, NUMBERS)  # where a torch file cannot be read at all, the reason is what helps
    if path.is_dir() and (folders := folders_in(path)):
        raise CheckpointError(several(str(path), folders))
    saes = [file.name for file in files if any(format_.recognises(file) for format_ in FORMATS)]
    if len(saes) > 1:
        raise CheckpointError(f"{path} holds {len(saes)} SAEs, {', '.join(saes[:8])}; name the file of one")
    content = f"; it holds {', '.join(file.name for file in files[:8]) or 'nothing'}" if path.is_dir() else ""
    known = ", ".join(format_.name for format_ in FORMATS)
    raise CheckpointError(
        f"{path} is of no SAE format that is read here{content}. Read are {known}: ae.pt with config.json, "
        "a checkpoint of FREUD or a model of overcomplete, cfg.json with sae.safetensors or sae_weights.safetensors, "
        "a native safetensors file, or W_enc and W_dec in .safetensors or .npz. "
        "Of a folder of hookpoints, take one folder"
    )
