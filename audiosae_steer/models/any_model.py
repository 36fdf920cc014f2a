"""Any model by name or folder: a Whisper as `load_whisper` finds it, or what transformers' config names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import ModelError, UnknownModelError
from . import transformers_folder
from .load import load_whisper


def load_model(source: str | Path) -> Any:
    """A model with its weights in float32.

    Args:
        source: as for `load_whisper`; or a transformers folder, or Hub id, of any other model.

    Raises:
        UnknownModelError: the source is none of these, or of a class that transformers does not have.
        ModelError: its files are damaged, or it is neither on this machine nor to be downloaded.
    """
    folder = Path(source)
    here = (folder / "config.json").is_file() and not (folder / "model.bin").is_file()
    if not here and (folder.exists() or str(source).count("/") != 1):
        return load_whisper(source)
    transformers = transformers_folder.library()
    import torch

    try:
        if here:
            named = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        else:
            named = transformers.AutoConfig.from_pretrained(str(source)).to_dict()
        kind = (named.get("architectures") or ["AutoModel"])[0]
        if named.get("model_type") == "whisper":
            return load_whisper(source)
        found = getattr(transformers, kind, None)
        if found is None:
            raise UnknownModelError(
                f"{source} is a {kind}, which transformers {transformers.__version__} does not have; load it by its "
                "own code, and pass the module to steer(model, site=Site(path=...))"
            )
        return found.from_pretrained(str(source), dtype=torch.float32).eval()
    except (OSError, ValueError, RuntimeError, AttributeError, TypeError, LookupError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise ModelError(
            f"{source} could not be loaded ({reason}); expected a folder with config.json and model.safetensors, as "
            "save_pretrained writes them, or the id of such a model on the Hub, within reach"
        ) from error
