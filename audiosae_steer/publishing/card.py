"""The model card of a recipe: what it is, how to use it, how it was found, what it does, and where it ends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..data.datasets import parse
from ..evaluate.benchmark.report import MODES
from ..evaluate.benchmark.results import BenchResults
from ..evaluate.metrics.rates import Share
from ..evaluate.metrics.wer import Difference
from ..io.files import write_whole
from ..models.load import NAMES
from ..steering.recipes.schema import Recipe

ARMS = {
    "unsteered": "unsteered",
    "contrast-1": "by contrast, ungated",
    "learned-1": "{ungated}",
    "clip-gated": "behind the clip gate alone",
    "frame-gated": "behind the frame gate alone",
    "both-gated": "behind both gates",
    "gate-alone": "the gate alone: no text where it opens",
    "vad-0.5": "Silero VAD",
}
"""The arms that a card shows, and how it calls them."""
TAGS = ("audiosae-steer", "whisper", "sparse-autoencoder", "steering")
"""By which a recipe against false speech is found on the Hub; the first is on everything of ours."""
ON_TEST = "On the clips to test, which nothing was found or chosen on. Intervals are 95 %."
LEARNED = (
    "learned by gradient through the frozen model: end of text on clips without speech, the unsteered model's own "
    "distribution over its transcript on speech."
)
RENAMED = {"large": "large-v3", "turbo": "large-v3-turbo"}


class MeasuredRow(NamedTuple):
    """Figures of one arm in one mode of decoding."""

    text: Share
    """Clips without speech with text, Whisper's filters off."""
    filtered: Share
    """The same with the filters on."""
    wer: float | None
    """Word error rate on speech; None if no text of it is known."""
    change: Difference | None
    """Its change against the unsteered model."""
    new: int
    """Clips with speech that are blanked, and are not by the unsteered model."""
    clips: int
    """Clips with speech."""


def measured_rows(found: BenchResults) -> dict[str, dict[str, MeasuredRow]]:
    """The figures of a card, by mode and arm."""
    return {
        mode: {
            arm: MeasuredRow(
                row.noise.text.after,
                row.noise.filtered.after,
                None if row.speech.wer is None else row.speech.wer.value,
                None if row.speech.wer is None else row.speech.wer.change,
                row.speech.new,
                row.speech.clips,
            )
            for arm, row in arms.items()
        }
        for mode, arms in (found.clips or {}).items()
    }


def base_model(model: str | Path | None) -> str | None:
    """The Hub's id of a model, by openai-whisper's name or as it is; None of a file or folder."""
    if model is None or Path(model).exists():
        return None
    name = str(model)
    if name in NAMES:
        return f"openai/whisper-{RENAMED.get(name, name)}"
    return name if name.count("/") == 1 and not name.endswith(".pt") else None


def write_card(
    folder: Path,
    gated: Recipe,
    ungated: Recipe | None,
    found: Mapping[str, Mapping[str, MeasuredRow]],
    dealt: Mapping[str, Any],
    *,
    refused: str | None = None,
    base: str | None = None,
    command: str | None = None,
) -> Path:
    """Write `README.md` beside a recipe; whole or not at all.

    Args:
        folder: where the recipe is.
        gated: the recipe.
        ungated: the one without gates, if there is one.
        found: rows measured on the test clips, by mode and arm.
        dealt: how the clips were dealt, as `deal` says it.
        refused: why there is none without gates.
        base: the model's id on the Hub.
        command: how it was made.
    """
    parts = [
        front(base, _sources(dealt), pipeline_tag="automatic-speech-recognition"),
        f"# {gated.name} for Whisper {gated.model.name}",
        "Keeps Whisper from writing text where nobody speaks, with "
        "[audiosae-steer](https://pypi.org/project/audiosae-steer/).",
        _use(gated, ungated, base),
        _how(gated, ungated, dealt, command),
        "## Measured\n\n" + _measured(gated, ungated, found, refused),
        "## Limits\n\n" + limits(gated),
        "## Data and licences\n\n" + data_and_licences(_sources(dealt)),
    ]
    path = folder / "README.md"
    write_whole(path, "\n\n".join(parts) + "\n")
    return path


def front(base: str | None, sources: Iterable[str], *, tags: Iterable[str] = TAGS, **more: Any) -> str:
    """A card's front matter, as the Hub understands it.

    Args:
        base: the model's id on the Hub.
        sources: where clips came from; of those, the data sets on the Hub are named.
        tags: by which the repository is found.
        more: other fields of the Hub's own.
    """
    from huggingface_hub import ModelCardData

    repos = [spec.repo for spec in map(parse, sources) if spec is not None]
    fields: dict[str, Any] = {"library_name": TAGS[0], **more, "base_model": base, "tags": list(tags)}
    data = ModelCardData(**fields, datasets=list(dict.fromkeys(repos)) or None)
    return f"---\n{data.to_yaml(original_order=[*fields, 'datasets'])}\n---"


def _use(gated: Recipe, ungated: Recipe | None, base: str | None) -> str:
    name = gated.model.name if gated.model.name in NAMES else base or gated.model.name
    lines = [
        "## Use it",
        "",
        "```python",
        "import audiosae_steer",
        "",
        f'model = audiosae_steer.load_whisper("{name}")',
        f'audiosae_steer.steer(model, "{gated.name}.json")  # model.transcribe() works as before',
        "```",
    ]
    if ungated is not None:
        lines += [
            "",
            f"`{ungated.name}.json` does without gates: it adds one constant vector, which `steering.bake()` "
            "writes into the weights, so that it costs nothing and runs wherever the model does (faster-whisper, too).",
        ]
    return "\n".join(lines)


def edited(recipe: Recipe) -> str:
    """What a recipe edits, as a sentence without its full stop."""
    gated = recipe
    layers = sorted({site.layer for site in gated.sites if site.side == "encoder"})
    count = sum(len(edit.get("features", ())) for site in gated.sites for edit in site.edits)
    decoder = [site for site in gated.sites if site.side == "decoder"]
    when = ", at the step that writes a text's first token" if any(site.steps == "first" for site in decoder) else ""
    parts = []
    if layers:
        parts.append(
            f"constants on {count} features of a sparse autoencoder at encoder layer {', '.join(map(str, layers))}"
        )
    if decoder:
        parts.append(f"a vector after each of {len(decoder)} decoder layers{when}")
    what = ", and ".join(parts)
    return f"{what[:1].upper()}{what[1:]}"


def _how(gated: Recipe, ungated: Recipe | None, dealt: Mapping[str, Any], command: str | None) -> str:
    lines = ["## How it was found", ""]
    if command:
        lines += [f"```sh\n{command}\n```", ""]
    lines += [
        f"{edited(gated)}; {LEARNED} Clips were varied: loud and soft, noisy, as brief as a word, beside noise; "
        "synthetic noise was added. Gates are sparse logistic regressions on features of the encoder. Strength and "
        "thresholds were chosen on other clips, within a budget on speech.",
        "",
    ]
    for recipe in (gated, ungated):
        if recipe is not None:
            chosen = recipe.provenance.get("calibrated", {}).get("chosen", {}).get("in_words", "")
            lines.append(f"- `{recipe.name}.json`: {chosen or recipe.description}")
    return "\n".join([*lines, "", *dealt_table(dealt)])


def _measured(
    gated: Recipe, ungated: Recipe | None, found: Mapping[str, Mapping[str, MeasuredRow]], refused: str | None
) -> str:
    parts = [ON_TEST]
    bare = f"`{ungated.name}`" if ungated else "the edits without gates"
    parts += [measured_table(mode, rows, gated, bare) for mode, rows in found.items()]
    if refused is not None:
        parts.append(f"There is no recipe without gates: {refused.strip()}")
    return "\n\n".join(parts)


def measured_table(mode: str, rows: Mapping[str, MeasuredRow], recipe: Recipe, bare: str) -> str:
    """What the benchmark measured in one mode of decoding, a row for each arm that a card shows.

    Args:
        mode: of `MODES`.
        rows: by arm.
        recipe: whose row is marked.
        bare: how the edits without gates are called.
    """
    lines = [
        f"{MODES[mode]}:",
        "",
        "| | text without speech | with Whisper's filters | WER on speech | change, points | speech lost |",
        "|---|---|---|---|---|---|",
    ]
    for arm, label in ARMS.items():
        if arm in rows:
            own = f" (`{recipe.name}`)" if arm == shown(recipe) else ""
            lines.append(_row(label.format(ungated=bare) + own, rows[arm]))
    return "\n".join(lines)


def shown(recipe: Recipe) -> str:
    """The benchmark's arm that a recipe is."""
    clip, frame = recipe.gate is not None, recipe.frame_gate is not None
    return "both-gated" if clip and frame else "clip-gated" if clip else "frame-gated" if frame else "learned-1"


def _row(label: str, row: MeasuredRow) -> str:
    cells = [_share(row.text), _share(row.filtered)]
    if row.wer is None or row.change is None:
        cells += ["–", "–"]
    else:
        value, low, high = (100 * number for number in row.change)
        cells += [f"{row.wer:.2%}", f"{value:+.2f} [{low:+.2f}, {high:+.2f}]"]
    return f"| {label} | {' | '.join(cells)} | {row.new} of {row.clips} |"


def _share(share: Share) -> str:
    return f"{share.hits} of {share.clips} [{share.low:.1%}, {share.high:.1%}]"


def limits(recipe: Recipe) -> str:
    """Where a recipe against false speech ends."""
    lines = [
        f"- It holds for the weights of {recipe.model.name} alone. On a fine-tune of them it steers with a warning.",
        "- The figures hold for clips like those that were tested. A share of 0 in 100 clips may be 3 % in truth: see "
        "the intervals. Test it on clips of your own: `audiosae-steer bench false-speech`.",
        "- Speech that the model itself writes nothing for is not found by it either. Human sounds without words "
        "(laughter, crying, singing) may be taken for speech, or for none.",
    ]
    if recipe.gate is not None or recipe.frame_gate is not None:
        lines.append(
            "- Gates decide by 30-s windows, or by frames: very short, very quiet words in much noise are the first to "
            "be taken for none."
        )
    return "\n".join(lines)


def data_and_licences(sources: Iterable[str]) -> str:
    """Where the clips came from, and under which licence as far as that is known here."""
    lines = []
    for source in sources:
        spec = parse(source)
        note = spec.preset.note if spec is not None and spec.preset is not None else ""
        lines.append(f"- `{source}`" + (f": {note}" if note else ": its licence is that of its own page or folder"))
    return "\n".join([*lines, "", "No audio is part of these files. Whisper itself is under the MIT licence."])


def dealt_table(dealt: Mapping[str, Any]) -> list[str]:
    """How many clips there were for what, as lines of a table."""
    lines = ["| | to find | to calibrate | to test | kept apart by |", "|---|---|---|---|---|"]
    for kind, sides in dealt.items():
        counts = " | ".join(str(sides[side]["clips"]) for side in ("find", "calibrate", "test"))
        lines.append(f"| clips {kind} | {counts} | {sides['apart']} |")
    return lines


def _sources(dealt: Mapping[str, Any]) -> list[str]:
    every = [
        name for sides in dealt.values() for side in ("find", "calibrate", "test") for name in sides[side]["sources"]
    ]
    return list(dict.fromkeys(every))
