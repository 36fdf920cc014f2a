"""Whisper weights out of a transformers folder, or from the Hub by its id."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError

from ...errors import HubError, MissingExtraError, ModelError
from ...io import strict_json
from ...io.hub.read import listing
from ...io.tensors.torch_file import describe
from . import layout, released
from .weights import Weights, transformers_name

FAILURES = (
    OSError, ValueError, RuntimeError, LookupError, TypeError, AttributeError, SafetensorError, HubError
)  # fmt: skip
"""All that transformers, and the Hub, are known to fail with."""
Loaded = TypeVar("Loaded")
MAX_SETTINGS = 4_000_000
"""Bytes of a file of settings, as in `io.strict_json`."""


def is_folder(path: Path) -> bool:
    """True if `path` is a folder with a transformers model in it."""
    return path.is_dir() and (path / "config.json").is_file() and not (path / "model.bin").is_file()


def load(source: Path | str) -> Any:
    """The `WhisperForConditionalGeneration` in a folder, or of a Hub id, in float32.

    transformers draws missing tensors at random and only logs it; here that is an error.

    Raises:
        ModelError: it is not a Whisper, is damaged or incomplete, or is neither here nor to be downloaded.
    """
    transformers = library()
    if isinstance(source, Path):
        _check_folder(source)
    model, report = or_model_error(
        lambda: transformers.WhisperForConditionalGeneration.from_pretrained(
            str(source), dtype=torch.float32, output_loading_info=True, **where(source)
        ),
        source,
    )
    missing = sorted(str(name) for name in report["missing_keys"] if str(name) != "proj_out.weight")
    if missing:
        raise ModelError(
            f"{source} is no complete Whisper: {len(missing)} tensors missing ({', '.join(missing[:5])}); fetch it "
            "again"
        )
    _complete_generation_config(model)
    return model.eval()


def read(source: Path | str) -> Weights:
    """The weights in a folder, or of a Hub id.

    Raises:
        ModelError: as `load`, or it is a variant that openai-whisper cannot express.
    """
    return from_model(load(source), str(source))


def from_model(model: Any, source: str) -> Weights:
    """The weights of a `WhisperForConditionalGeneration`; they share its memory.

    Raises:
        ModelError: it is a variant that openai-whisper cannot express.
    """
    config = model.config
    if config.activation_function != "gelu" or config.scale_embedding:
        raise ModelError(
            f"{source} has activation {config.activation_function!r} and scale_embedding {config.scale_embedding}; "
            'openai-whisper has gelu and no such scale: use library="transformers"'
        )
    embedding, projection = model.model.decoder.embed_tokens.weight, model.proj_out.weight
    if projection is not embedding and not torch.equal(projection, embedding):
        raise ModelError(
            f"{source} has an output projection of its own; openai-whisper's is the token embedding: use "
            'library="transformers"'
        )
    names = layout.names(config.encoder_layers, config.decoder_layers)
    openai_names = {transformers_name(name): name for name in names}
    state = {openai_names.get(name, name): tensor.detach() for name, tensor in model.model.state_dict().items()}
    heads = int(config.encoder_attention_heads), int(config.decoder_attention_heads)
    return Weights.from_state(state, heads, source, getattr(model.generation_config, "alignment_heads", None))


def library() -> Any:
    """The transformers package, or an error that tells how to install it."""
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError(
            "transformers is not installed; run: pip install 'audiosae-steer[transformers]'"
        ) from error
    return transformers


def where(source: Path | str) -> dict[str, bool]:
    """Arguments of `from_pretrained`: of a Hub id that the Hub was asked for in vain, the cache alone is read.

    Asked here, the Hub is asked once: transformers repeats it for half a minute, with a line of logging each time.

    Raises:
        HubError: there is no such repository; or no network, and nothing in the cache.
    """
    return {} if isinstance(source, Path) else {"local_files_only": not listing(source).online}


def in_short(error: Exception) -> str:
    """The first line of an error, cut at a word."""
    return textwrap.shorten((str(error).splitlines() or [type(error).__name__])[0], 300, placeholder=" …")


def or_model_error(get: Callable[[], Loaded], source: Path | str) -> Loaded:
    """The result of `get`; any of the many errors that transformers fails with becomes a ModelError."""
    try:
        return get()
    except FAILURES as error:
        reason = in_short(error)
        if isinstance(source, Path):
            raise ModelError(
                f"{source} is damaged or holds no Whisper ({reason}); expected config.json, model.safetensors and the "
                "tokenizer's files, as save_pretrained writes them: fetch it again"
            ) from error
        raise ModelError(
            f"{source} is no folder here, and could not be had from the Hub ({reason}). Ways to get a Whisper:\n"
            + released.ways_to_get(source.removeprefix("openai/whisper-"))
        ) from error


def _check_folder(folder: Path) -> None:
    """Refuse, before transformers reads it, what is no Whisper, or would take more memory than its files do."""
    path = folder / "config.json"
    try:
        if path.stat().st_size > MAX_SETTINGS:
            raise ValueError(f"it is larger than {MAX_SETTINGS / 1e6:.0f} MB")
        config = strict_json.parse(path.read_bytes(), lenient=True)
        kind = config.get("model_type")
    except (OSError, ValueError, AttributeError) as error:
        raise ModelError(f"{path} is not a model's configuration ({error}); fetch it again") from error
    if kind != "whisper":
        raise ModelError(f'{folder} holds a model of type {kind!r}; expected "whisper"')
    remote = [name for name, value in config.items() if "attn_implementation" in name and "/" in str(value)]
    if remote:  # transformers would fetch it from the Hub, and run it
        raise ModelError(f"{path} names code on the Hub under {remote[0]}; remove the line")
    # other *.bin files, of a training, are not read
    weights = list(folder.glob("model*.safetensors")) or list(folder.glob("pytorch_model*.bin"))
    numbers, size = _parameters(path, config), sum(file.stat().st_size for file in weights if file.is_file())
    if numbers > size:
        raise ModelError(f"{path} describes {numbers:,} weights, but its files have {size:,} bytes; fetch it again")
    for file in weights:
        if file.suffix == ".bin":
            try:
                describe(file)
            except (OSError, ValueError) as error:
                raise ModelError(
                    f"{file} is damaged, or would run code ({error}); expected model.safetensors"
                ) from error


def _parameters(path: Path, config: Any) -> int:
    """Count of the numbers that blocks, embeddings and positions of a configuration take, defaults left out."""

    def size(name: str) -> int:
        value = config.get(name, 0)
        if type(value) is not int or not 0 <= value < 1 << 31:
            raise ModelError(f"{path}: {name} is {value!r}; expected a whole number")
        return value

    width = size("d_model")
    encoder = size("encoder_layers") * (4 * width + 2 * size("encoder_ffn_dim"))
    decoder = size("decoder_layers") * (8 * width + 2 * size("decoder_ffn_dim"))
    rows = size("vocab_size") + size("max_source_positions") + size("max_target_positions") + 3 * size("num_mel_bins")
    return width * (encoder + decoder + rows)


def _complete_generation_config(model: Any) -> None:
    """Fine-tunes are often saved without generation_config.json; timestamps and long files need what is in it."""
    from .vocabulary import SIZES, generation_config

    config, theirs = model.config, model.generation_config
    if config.vocab_size not in SIZES or getattr(theirs, "no_timestamps_token_id", None) is not None:
        return
    heads = getattr(theirs, "alignment_heads", None) or [
        (layer, head)
        for layer in range(config.decoder_layers // 2, config.decoder_layers)
        for head in range(config.decoder_attention_heads)
    ]
    model.generation_config = generation_config(config.vocab_size, config.max_target_positions, heads)
