"""Model cards: templates, front matter for the Hub, and the parts that several cards share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..data.datasets import parse
from ..errors import HubError
from ..models.load import NAMES
from ..steering.recipes.schema import Recipe

TAG = "audiosae-steer"
"""Library and tag of every repository on the Hub that this package reads."""
LEARNED = (
    "learned by gradient through the frozen model: end of text on clips without speech, the unsteered model's own "
    "distribution over its transcript on speech."
)
RENAMED = {"large": "large-v3", "turbo": "large-v3-turbo"}
"""Names of openai-whisper that differ from the Hub's."""


def render(template: str, header: Mapping[str, Any], **values: Any) -> str:
    """Text of a card, front matter first.

    Args:
        template: name of a Markdown template beside this module, without `.md`. Values are printed unescaped: Markdown
            has no escaping that fits every place, so untrusted text is made one line or one cell before.
        header: fields of the front matter, in order; None is left out.
        **values: values that the template prints.

    Raises:
        HubError: the Hub's client would not read the front matter back.
    """
    from huggingface_hub import ModelCard, ModelCardData

    try:
        data = ModelCardData(**header)
        card = ModelCard.from_template(
            data,
            template_path=str(Path(__file__).with_name(f"{template}.md")),
            header=data.to_yaml(original_order=list(header)),
            **values,
        )
        text, tags = card.content, card.data.tags
    except Exception as error:  # of YAML, or of the client
        raise HubError(f"the card's front matter would not be read: {error}; see the recipe's names") from error
    if not tags:
        raise HubError("the card's front matter came out empty; see the recipe's names")
    return f"{text}\n"


def base_model(model: str | Path | None) -> str | None:
    """Hub id of a model, from openai-whisper's name or an id; None for a file, a folder or another name."""
    if model is None or Path(model).exists():
        return None
    name = str(model)
    if name in NAMES:
        return f"openai/whisper-{RENAMED.get(name, name)}"
    return name if name.count("/") == 1 and not name.endswith(".pt") else None


def dataset_ids(sources: Iterable[str]) -> list[str] | None:
    """Hub ids of the data sets among the sources of clips, each once; None without any."""
    repos = [spec.repo for spec in map(parse, sources) if spec is not None]
    return list(dict.fromkeys(repos)) or None


def licence_lines(sources: Iterable[str]) -> str:
    """Sources of clips as a Markdown list, each with its licence as far as it is known."""
    lines = []
    for source in sources:
        spec = parse(source)
        note = spec.preset.note if spec is not None and spec.preset is not None else ""
        lines.append(f"- `{source}`" + (f": {note}" if note else ": its licence is that of its own page or folder"))
    return "\n".join(lines)


def edits_in_words(recipe: Recipe) -> str:
    """Learned edits of a recipe, as a sentence without its full stop."""
    layers = sorted({site.layer for site in recipe.sites if site.side == "encoder"})
    count = sum(len(edit.get("features", ())) for site in recipe.sites for edit in site.edits)
    decoder = [site for site in recipe.sites if site.side == "decoder"]
    when = ", at the step that writes a text's first token" if any(site.steps == "first" for site in decoder) else ""
    parts = []
    if layers:
        parts.append(
            f"constants on {count} features of a sparse autoencoder at encoder layer {', '.join(map(str, layers))}"
        )
    if decoder:
        parts.append(f"a vector after each of {len(decoder)} decoder layers{when}")
    words = ", and ".join(parts)
    return f"{words[:1].upper()}{words[1:]}"


def false_speech_limits(recipe: Recipe) -> str:
    """Limits of a recipe against false speech, as a Markdown list."""
    lines = [
        f"- It holds for the weights of {recipe.model.name} alone. On a fine-tune of them it steers with a warning.",
        "- The figures hold for clips like those that were tested. A share of 0 in 100 clips may be 3 % in truth: see "
        "the intervals. Test it on clips of your own: `audiosae-steer bench false-speech`.",
        "- Speech that the model itself writes nothing for is not found by it either. Human sounds without words "
        "(laughter, crying, singing) may be taken for speech, or for none.",
    ]
    if recipe.gates:
        lines.append(
            "- Gates decide by 30-s windows, or by frames: very short, very quiet words in much noise are the first to "
            "be taken for none."
        )
    return "\n".join(lines)


def partition_table(partitions: Mapping[str, Any]) -> str:
    """Numbers of clips by kind and partition, as a Markdown table.

    Args:
        partitions: `provenance` of `Partitions`.
    """
    lines = ["| | to find | to calibrate | to test | kept apart by |", "|---|---|---|---|---|"]
    for kind, sides in partitions.items():
        counts = " | ".join(str(sides[side]["clips"]) for side in ("find", "calibrate", "test"))
        lines.append(f"| clips {kind} | {counts} | {sides['apart']} |")
    return "\n".join(lines)
