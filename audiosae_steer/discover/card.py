"""The model card of a recipe: what it is, how to use it, how it was found, what it does, and where it ends."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..evaluate.bench_report import MODES
from ..files import write_whole
from ..models.load import NAMES
from ..recipes import Recipe
from .dataset import parse

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
RENAMED = {"large": "large-v3", "turbo": "large-v3-turbo"}


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
    found: Mapping[str, Any],
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
        found: what the benchmark measured on the test clips.
        dealt: how the clips were dealt, as `deal` says it.
        refused: why there is none without gates.
        base: the model's id on the Hub.
        command: how it was made.
    """
    parts = [
        _front(dealt, base),
        f"# {gated.name} for Whisper {gated.model.name}",
        "Keeps Whisper from writing text where nobody speaks, with "
        "[audiosae-steer](https://pypi.org/project/audiosae-steer/).",
        _use(gated, ungated, base),
        _how(gated, ungated, dealt, command),
        "## Measured\n\n" + _measured(gated, ungated, found, refused),
        "## Limits\n\n" + _limits(gated),
        "## Data and licences\n\n" + _data(dealt),
    ]
    path = folder / "README.md"
    write_whole(path, "\n\n".join(parts) + "\n")
    return path


def _front(dealt: Mapping[str, Any], base: str | None) -> str:
    lines = ["---", "library_name: audiosae-steer", "pipeline_tag: automatic-speech-recognition"]
    if base is not None:
        lines.append(f"base_model: {base}")
    lines += ["tags:", *(f"- {tag}" for tag in ("audiosae-steer", "whisper", "sparse-autoencoder", "steering"))]
    repos = [spec.repo for spec in map(parse, _sources(dealt)) if spec is not None]
    if repos:
        lines += ["datasets:", *(f"- {repo}" for repo in dict.fromkeys(repos))]
    return "\n".join([*lines, "---"])


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


def _how(gated: Recipe, ungated: Recipe | None, dealt: Mapping[str, Any], command: str | None) -> str:
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
    lines = ["## How it was found", ""]
    if command:
        lines += [f"```sh\n{command}\n```", ""]
    lines += [
        f"{what[:1].upper()}{what[1:]}; learned by gradient through the frozen model: end of text on clips without "
        "speech, the unsteered model's own "
        "distribution over its transcript on speech. Clips were varied: loud and soft, noisy, as brief as a word, "
        "beside noise; synthetic noise was added. Gates are sparse logistic regressions on features of the encoder. "
        "Strength and thresholds were chosen on other clips, within a budget on speech.",
        "",
    ]
    for recipe in (gated, ungated):
        if recipe is not None:
            chosen = recipe.provenance.get("calibrated", {}).get("chosen", {}).get("in_words", "")
            lines.append(f"- `{recipe.name}.json`: {chosen or recipe.description}")
    lines += ["", "| | to find | to calibrate | to test | kept apart by |", "|---|---|---|---|---|"]
    for kind, sides in dealt.items():
        counts = " | ".join(str(sides[side]["clips"]) for side in ("find", "calibrate", "test"))
        lines.append(f"| clips {kind} | {counts} | {sides['apart']} |")
    return "\n".join(lines)


def _measured(gated: Recipe, ungated: Recipe | None, found: Mapping[str, Any], refused: str | None) -> str:
    parts = ["On the clips to test, which nothing was found or chosen on. Intervals are 95 %."]
    for mode, rows in found["clips"].items():
        lines = [
            f"{MODES[mode]}:",
            "",
            "| | text without speech | with Whisper's filters | WER on speech | change, points | speech lost |",
            "|---|---|---|---|---|---|",
        ]
        for arm, label in ARMS.items():
            if arm in rows:
                name = label.format(ungated=f"`{ungated.name}`" if ungated else "the edits without gates")
                lines.append(_row(name + (f" (`{gated.name}`)" if arm == shown(gated) else ""), rows[arm]))
        parts.append("\n".join(lines))
    if refused is not None:
        parts.append(f"There is no recipe without gates: {refused.strip()}")
    return "\n\n".join(parts)


def shown(recipe: Recipe) -> str:
    """The benchmark's arm that a recipe is."""
    clip, frame = recipe.gate is not None, recipe.frame_gate is not None
    return "both-gated" if clip and frame else "clip-gated" if clip else "frame-gated" if frame else "learned-1"


def _row(label: str, row: Mapping[str, Any]) -> str:
    noise, speech = row["noise"], row["speech"]
    wer = speech["wer"]
    cells = [_share(noise["text"]["after"]), _share(noise["filtered"]["after"])]
    if wer is None:
        cells += ["–", "–"]
    else:
        value, low, high = (100 * number for number in wer["change"])
        cells += [f"{wer['value']:.2%}", f"{value:+.2f} [{low:+.2f}, {high:+.2f}]"]
    return f"| {label} | {' | '.join(cells)} | {speech['new']} of {speech['clips']} |"


def _share(found: Any) -> str:
    hits, clips, low, high = found
    return f"{hits} of {clips} [{low:.1%}, {high:.1%}]"


def _limits(gated: Recipe) -> str:
    lines = [
        f"- It holds for the weights of {gated.model.name} alone. On a fine-tune of them it steers with a warning.",
        "- The figures hold for clips like those that were tested. A share of 0 in 100 clips may be 3 % in truth: see "
        "the intervals. Test it on clips of your own: `audiosae-steer bench false-speech`.",
        "- Speech that the model itself writes nothing for is not found by it either. Human sounds without words "
        "(laughter, crying, singing) may be taken for speech, or for none.",
    ]
    if gated.gate is not None or gated.frame_gate is not None:
        lines.append(
            "- Gates decide by 30-s windows, or by frames: very short, very quiet words in much noise are the first to "
            "be taken for none."
        )
    return "\n".join(lines)


def _data(dealt: Mapping[str, Any]) -> str:
    lines = []
    for source in _sources(dealt):
        spec = parse(source)
        note = spec.preset.note if spec is not None and spec.preset is not None else ""
        lines.append(f"- `{source}`" + (f": {note}" if note else ": its licence is that of its own page or folder"))
    return "\n".join([*lines, "", "No audio is part of these files. Whisper itself is under the MIT licence."])


def _sources(dealt: Mapping[str, Any]) -> list[str]:
    every = [
        name for sides in dealt.values() for side in ("find", "calibrate", "test") for name in sides[side]["sources"]
    ]
    return list(dict.fromkeys(every))
