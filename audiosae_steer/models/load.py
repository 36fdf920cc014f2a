"""`load_whisper`: a Whisper by name, folder or file, as either library's model."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, Literal

import torch

from ..errors import MissingExtraError, ModelError, UnknownModelError
from . import ctranslate2, released
from .weights import Weights, from_transformers, to_openai, to_transformers

Library = Literal["openai", "transformers"]
NAMES = (
    "tiny.en",
    "tiny",
    "base.en",
    "base",
    "small.en",
    "small",
    "medium.en",
    "medium",
    "large-v1",
    "large-v2",
    "large-v3",
    "large",
    "large-v3-turbo",
    "turbo",
)


def load_whisper(source: str | Path, library: Library = "openai", device: str | torch.device = "cpu") -> Any:
    """A Whisper in float32, from wherever it is.

    Args:
        source: an openai-whisper name (`tiny.en`), looked for on this machine first; an openai-whisper `.pt` file; a
            transformers id (`openai/whisper-small`) or folder; or a CTranslate2 folder, as faster-whisper uses.
        library: whose model to return: `openai`'s `Whisper`, or transformers' `WhisperForConditionalGeneration`.
        device: where to put it.

    Raises:
        UnknownModelError: the source is none of these.
        ModelError: its files are damaged, or it is neither on this machine nor to be downloaded.
    """
    if library not in ("openai", "transformers"):
        raise ModelError(f'library is {library!r}; expected "openai" or "transformers"')
    found = _find(str(source))
    return _load(str(source) if found is None else found, library, str(source)).to(device)


def load_processor(source: str | Path) -> Any:
    """The `WhisperProcessor` (features and tokenizer) that goes with `load_whisper(source, "transformers")`."""
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError(
            "transformers is not installed; run: pip install 'audiosae-steer[transformers]'"
        ) from error
    library: Any = transformers
    found = _find(str(source))
    folder = found if isinstance(found, Path) else found[0].parent if isinstance(found, list) else None
    if folder is not None and (folder / "preprocessor_config.json").is_file():
        return library.WhisperProcessor.from_pretrained(folder)
    if folder is not None and (folder / "tokenizer.json").is_file():
        weights = _read(found, str(source)) if found is not None else None
        mels = weights.dims["n_mels"] if weights is not None else 80
        end = "<|endoftext|>"
        tokenizer = library.WhisperTokenizerFast(
            tokenizer_file=str(folder / "tokenizer.json"), bos_token=end, eos_token=end, unk_token=end, pad_token=end
        )
        return library.WhisperProcessor(library.WhisperFeatureExtractor(feature_size=mels), tokenizer)
    return _hub(lambda: library.WhisperProcessor.from_pretrained(_hub_id(str(source))), str(source))


def _find(source: str) -> list[Path] | Path | None:
    """Files of a wheel, a folder, or a file; None if `source` is to be downloaded."""
    path = Path(source)
    if path.exists():
        return path
    if source not in NAMES:
        if source.count("/") == 1 and not source.endswith(".pt"):
            return None
        raise UnknownModelError(
            f"there is no model {source!r}: no such file or folder, and no openai-whisper name ({', '.join(NAMES)}). "
            "For a model on the Hub write user/name"
        )
    return released.in_wheels(source) or released.in_openai_cache(source) or released.in_hub_cache(source)


def _load(found: list[Path] | Path | str, library: Library, source: str) -> Any:
    if isinstance(found, str):
        return _download(found, library)
    if library == "transformers" and _is_transformers_folder(found):
        return _from_pretrained(str(found))
    weights = _read(found, source)
    return to_openai(weights, source) if library == "openai" else to_transformers(weights, source)


def _read(found: list[Path] | Path | str, source: str) -> Weights:
    if isinstance(found, list):
        return ctranslate2.read(found)
    path = Path(found)
    if ctranslate2.is_folder(path):
        return ctranslate2.read(path / "model.bin")
    if _is_transformers_folder(path):
        return from_transformers(_from_pretrained(str(path)))
    if path.is_file() and path.suffix == ".pt":
        return _openai_file(path)
    raise UnknownModelError(
        f"{source} holds no Whisper: expected an openai-whisper .pt file, a transformers folder (config.json and "
        "model.safetensors) or a CTranslate2 folder (config.json and model.bin)"
    )


def _is_transformers_folder(found: list[Path] | Path | str) -> bool:
    return isinstance(found, Path) and (found / "config.json").is_file() and not ctranslate2.is_folder(found)


def _openai_file(path: Path) -> Weights:
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        dims, state = dict(checkpoint["dims"]), dict(checkpoint["model_state_dict"])
    except (OSError, EOFError, RuntimeError, KeyError, TypeError, ValueError, pickle.UnpicklingError) as error:
        raise ModelError(
            f"{path} is no openai-whisper checkpoint, or is damaged ({error}); download it again"
        ) from error
    weights = Weights.from_state(state, int(dims.get("n_audio_head", 0)), str(path))
    return weights._replace(alignment_heads=_alignment_heads(path.stem, weights))


def _alignment_heads(name: str, weights: Weights) -> tuple[tuple[int, int], ...] | None:
    import base64
    import gzip

    import numpy as np

    try:
        from whisper import _ALIGNMENT_HEADS
    except ImportError:
        return None
    dump = _ALIGNMENT_HEADS.get(name)
    if dump is None:
        return None
    mask = np.frombuffer(gzip.decompress(base64.b85decode(dump)), dtype=bool)
    mask = mask.reshape(weights.dims["n_text_layer"], weights.dims["n_text_head"])
    return tuple((int(layer), int(head)) for layer, head in np.argwhere(mask))


def _download(source: str, library: Library) -> Any:
    if source not in NAMES:
        model = _from_pretrained(source)
        return model if library == "transformers" else to_openai(from_transformers(model), source)
    if library == "transformers":
        return _from_pretrained(_hub_id(source))
    try:
        import whisper
    except ImportError as error:
        raise MissingExtraError(
            "openai-whisper is not installed; run: pip install 'audiosae-steer[whisper]'"
        ) from error
    try:
        return whisper.load_model(source, device="cpu")
    except (OSError, RuntimeError) as error:
        raise ModelError(
            f"{source} is not on this machine and could not be downloaded ({error}). Ways to get it:\n"
            + released.ways_to_get(source)
        ) from error


def _hub_id(source: str) -> str:
    names = {"large": "large-v3", "turbo": "large-v3-turbo"}
    return f"openai/whisper-{names.get(source, source)}" if source in NAMES else source


def _from_pretrained(source: str) -> Any:
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError(
            "transformers is not installed; run: pip install 'audiosae-steer[transformers]'"
        ) from error
    model: Any = transformers.WhisperForConditionalGeneration
    return _hub(lambda: model.from_pretrained(source, dtype=torch.float32).eval(), source)


def _hub(get: Any, source: str) -> Any:
    try:
        return get()
    except (OSError, ValueError) as error:
        name = source.removeprefix("openai/whisper-")
        raise ModelError(
            f"{source} could not be loaded ({str(error).splitlines()[0]}). Ways to get a Whisper:\n"
            + released.ways_to_get(name)
        ) from error
