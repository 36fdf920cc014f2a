"""Export of a Whisper with its steering baked in, as a folder for the library that is to run it."""

from __future__ import annotations

import json
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from ..errors import ModelError, SteeringError, UnknownModelError
from ..io.files import MARK, atomic_folder, check_free
from ..models.load import comes_alone, load_processor, load_whisper
from ..models.marker import marked
from ..models.registry import family_of, fingerprint, unwrap
from ..models.whisper import read_transformers, write_ctranslate2, write_openai, write_transformers
from ..models.whisper.tokenizer import processor_for
from ..models.whisper.weights import Weights, to_transformers
from ..steering.bake import Baked, as_json, described
from ..steering.live import lives
from ..steering.recipes.schema import Recipe
from ..steering.steering import steer
from .vllm_rule import check_folder

Format = Literal["openai", "transformers", "ctranslate2", "vllm"]
DTYPES: dict[str, tuple[str, ...]] = {
    "openai": tuple(write_openai.DTYPES),
    "transformers": tuple(write_transformers.DTYPES),
    "ctranslate2": write_ctranslate2.QUANTIZATIONS,
    "vllm": ("float16", "bfloat16", "float32"),
}
"""Storage types of the weights, by format; the first is the default."""


class Exported(NamedTuple):
    """A folder that was written."""

    folder: Path
    """Path of the folder."""
    files: tuple[str, ...]
    """Names of its files."""
    format: Format
    """Format, by the library that reads it."""
    dtype: str
    """Storage type of the weights."""
    baked: Baked | None
    """Baked changes; None for an unchanged model."""
    loads: tuple[str, ...]
    """Lines of Python that load it."""
    notes: tuple[str, ...]
    """Limits of the format, and their effect."""


def bake_to(
    source: str | Path,
    recipe: str | Path | Recipe,
    to: str | Path,
    format: Format = "ctranslate2",
    *,
    dtype: str | None = None,
    strength: float | None = None,
) -> Exported:
    """Load a Whisper, bake a recipe into it, and write it.

    Args:
        source: model, as `load_whisper` takes it.
        recipe: recipe of constants alone, as `steer` takes it.
        to: folder to write; a new or empty one, or one that this function wrote before.
        format: `openai`, `transformers`, `ctranslate2` for faster-whisper, or `vllm`.
        dtype: storage type of the weights, of `DTYPES`; None takes float16, in transformers float32.
        strength: factor on the edits; None takes the recipe's.

    Raises:
        SteeringError, SiteError: the recipe cannot be baked; the message says why, and which can.
        ModelError: the folder holds other things or cannot be written, or there is no such format or dtype.
        RecipeError: the recipe does not fit the model.
        MissingExtraError: a library that this needs is not installed.
    """
    _check(format, dtype)
    check_free(Path(to))
    library: Literal["openai", "transformers"] = "openai" if format == "openai" else "transformers"
    model = load_whisper(source, library=library)
    baked = steer(model, recipe, strength=strength).bake()
    return export(model, to, format, dtype=dtype, baked=baked, source=source)


def export(
    model: Any,
    to: str | Path,
    format: Format = "ctranslate2",
    *,
    dtype: str | None = None,
    baked: Baked | None = None,
    source: str | Path | None = None,
    processor: Any = None,
) -> Exported:
    """Write a Whisper of either library as a folder for openai-whisper, transformers, faster-whisper or vLLM; atomic.

    Beside the weights go a card, and of a recipe its JSON. Where the steering allowed an empty text, the settings of
    transformers and CTranslate2 do so too; openai-whisper has no such setting.

    Args:
        model: a Whisper, unsteered; it is not changed.
        to: folder to write; a new or empty one, or one that this function wrote before.
        format: format, by the library that reads it.
        dtype: storage type of the weights, of `DTYPES`; None takes float16, in transformers float32.
        baked: result of `Steering.bake`.
        source: name, folder or file that the model was loaded from, for its name and its tokenizer.
        processor: its `WhisperProcessor`; None takes that of `source`, or one made of openai-whisper's vocabulary.

    Raises:
        SteeringError: the model is steered by hooks, which no file holds.
        UnknownModelError: the model is not a Whisper that writes text.
        ModelError: the folder holds other things or cannot be written, or there is no such format or dtype.
        MissingExtraError: a library that this needs is not installed.
    """
    chosen = _check(format, dtype)
    inner: Any = unwrap(model)
    _check_plain(inner)
    # a folder may be named by "." alone
    name = "model" if source is None else Path(os.path.abspath(source)).name.removesuffix(".pt") or "model"
    allow_empty = baked is not None and baked.allow_empty
    weights = _weights(inner, name, format)
    target = Path(to)
    with atomic_folder(target) as folder:
        if format == "openai" and weights is not None:
            write_openai.write(weights, folder / f"{name}.pt", chosen)
        else:
            transformed = inner if weights is None else to_transformers(weights, name)
            config = transformed.config
            used = processor or _processor(source, config.vocab_size, config.num_mel_bins)
            write = write_ctranslate2.write if format == "ctranslate2" else write_transformers.write
            write(transformed, folder, chosen, processor=used, allow_empty=allow_empty)
            if format == "vllm":
                check_folder(folder)
        found = Exported(
            target, (), format, chosen, baked, _loads(target, name, format, weights), _notes(format, allow_empty)
        )
        recipe = None if baked is None else baked.recipe
        if recipe is not None:
            recipe.save(folder / "recipe.json")
        (folder / "README.md").write_text(_card(found, name, inner), encoding="utf-8")
        (folder / MARK).write_text(json.dumps(_record(found, name, inner), indent=1) + "\n", encoding="utf-8")
        files = tuple(sorted(path.name for path in folder.iterdir()))
    return found._replace(files=files)


def _check(format: str, dtype: str | None) -> str:
    if format not in get_args(Format):
        raise ModelError(f"format is {format!r}; expected {', '.join(get_args(Format))}")
    if dtype is not None and dtype not in DTYPES[format]:
        raise ModelError(f"dtype is {dtype!r}; in the format {format} it is one of {', '.join(DTYPES[format])}")
    return dtype or DTYPES[format][0]


def _check_plain(model: Any) -> None:
    if family_of(model).name != "whisper" or not (hasattr(model, "dims") or hasattr(model, "proj_out")):
        raise UnknownModelError(
            f"{type(model).__name__} is no Whisper that writes text, for which alone there are formats here; a model "
            "of transformers is saved by its own save_pretrained()"
        )
    if lives(model):
        raise SteeringError(
            "this model is steered by hooks, which no file holds: bake() the steering first, or remove() it"
        )


def _weights(model: Any, name: str, format: Format) -> Weights | None:
    """Weights under openai-whisper's names; None for a transformers model that is written by transformers."""
    if not hasattr(model, "dims"):
        return read_transformers.from_model(model, name) if format == "openai" else None
    heads = model.dims.n_audio_head, model.dims.n_text_head
    pairs = [tuple(pair) for pair in model.alignment_heads.to_dense().nonzero().tolist()]
    return Weights.from_state(model.state_dict(), heads, name, pairs)


def _processor(source: str | Path | None, vocabulary: int, mels: int) -> Any:
    """Processor of the model's source; for weights alone, one of openai-whisper's vocabulary."""
    if source is not None and not Path(source).is_file():
        try:
            return load_processor(source)
        except ModelError as error:
            if not comes_alone(source):
                raise ModelError(
                    f"{error}\nA tokenizer that you have can be passed to export() as processor="
                ) from error
    return processor_for(vocabulary, mels)


def _loads(folder: Path, name: str, format: Format, weights: Weights | None) -> tuple[str, ...]:
    if format == "openai":
        file = str(folder / f"{name}.pt")
        heads = None if weights is None else write_openai.heads_line(weights)
        return (f"model = whisper.load_model({file!r})", *([] if heads is None else [heads]))
    if format == "transformers":
        return (f"model = transformers.WhisperForConditionalGeneration.from_pretrained({str(folder)!r})",)
    if format == "vllm":
        return (f"model = vllm.LLM({str(folder)!r}, max_model_len=448, limit_mm_per_prompt={{'audio': 1}})",)
    return (f"model = faster_whisper.WhisperModel({str(folder)!r})",)


VLLM = (
    "names and shapes of the tensors satisfy the rule of vLLM's Whisper, as we read it in 2026; it was not run in vLLM",
    "vLLM keeps encodings by the content of the sound: another strength of the recipe is another folder, and another "
    "server, never a setting of a request",
    "vLLM writes without timestamps unless it is asked for verbose_json, gives every model a language and a task, and "
    "reads no begin_suppress_tokens, so that a text may be empty",
)


def _notes(format: Format, allow_empty: bool) -> tuple[str, ...]:
    if format == "vllm":
        return VLLM
    if not allow_empty:
        return ()
    if format == "openai":
        return (
            "openai-whisper's SuppressBlank stays, which a file of weights cannot change: with timestamps, "
            "transcribe()'s default, silence is written as no text; without them (without_timestamps=True) the first "
            "token cannot be the end, and some text is written whatever the weights say",
        )
    setting = "begin_suppress_tokens" if format == "transformers" else "suppress_ids_begin"
    return (
        f"end-of-text is not among {setting} any more, so that an empty text can be written without timestamps too",
    )


def _card(found: Exported, name: str, model: Any) -> str:
    """Text of the folder's README."""
    baked = found.baked
    recipe = None if baked is None else baked.recipe
    what = f"with the recipe `{recipe.name}` of audiosae-steer baked in" if recipe is not None else "written anew"
    if baked is not None and recipe is None:
        what = "with a steering of audiosae-steer baked in"
    lines = [
        f"# Whisper {name}, {what}",
        "",
        f"Format: {found.format}, {found.dtype}. It needs no hook and no extra package:",
        "",
    ]
    lines += ["```python", *found.loads, "```", ""]
    if recipe is not None and recipe.description:
        lines += [f"`{recipe.name}`: {recipe.description}", ""]
    if baked is not None:
        lines += [f"What was changed, at strength {baked.strength:g}; all other weights are as they were:", ""]
        lines += [f"- {described(change)}" for change in baked.changes]
        lines += [""]
    if names := marked(model):
        listed = ", ".join(f"`{each}`" for each in names)
        lines += [
            f"In its weights: {listed}. None of them is to be run on it once more: it would be applied twice.",
            "",
        ]
    lines += [f"- {note}" for note in found.notes]
    if recipe is not None:
        lines += ["", "How it was found and what it was measured to do is in `recipe.json`."]
    return "\n".join(lines).rstrip() + "\n"


def _record(found: Exported, name: str, model: Any) -> dict[str, Any]:
    return {
        "written_by": f"audiosae-steer {version('audiosae-steer')}",
        "model": name,
        "fingerprint": fingerprint(model),
        "format": found.format,
        "dtype": found.dtype,
        "baked": None if found.baked is None else as_json(found.baked),
        "recipes": list(marked(model)),
    }
