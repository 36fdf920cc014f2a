"""A recipe in prose: what it does to what, what was measured, and how it was made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .recipes.load import succeeded
from .recipes.schema import Recipe, site_of
from .record_words import name, sentences, words
from .trade_off import gate_sentence, is_number, measured_sentences, trade_sentences


def told(recipe: Recipe) -> list[str]:
    """Paragraphs: what it does, to what, behind which gate; how it was measured, and made; and its files."""
    paragraphs = [_begins(recipe), _edits(recipe), _gates(recipe), _measured(recipe), _made(recipe), _files(recipe)]
    return [each for each in paragraphs if each]


def _begins(recipe: Recipe) -> str:
    model = recipe.model
    return (
        f"{recipe.name} is a recipe for {model.name}, a {model.family} of width {model.d_model} with "
        f"{model.encoder_layers} encoder and {model.decoder_layers} decoder layers. {recipe.description}".strip()
    )


def _edits(recipe: Recipe) -> str:
    steps = {spec.steps for spec in recipe.sites}
    said = []
    for spec in recipe.sites:
        own = _FIRST if spec.steps == "first" and len(steps) > 1 else ""
        error = "" if spec.error == "keep" else ", the SAE's error dropped"
        said.append(f"after {site_of(spec)} ({'; '.join(edit.words() for edit in spec.build())}{own}{error})")
    gated = "for clips or frames for which its gate opens" if recipe.gate or recipe.frame_gate else "for every clip"
    empty = (
        "It lets the model write an empty text where it edits."
        if recipe.allow_empty
        else "Whether the model may write an empty text is left as the model has it."
    )
    return (
        f"It changes the residual {gated}{_FIRST if steps == {'first'} else ''}: {', '.join(said)}. "
        f"Its strength is {recipe.strength:g}. {empty}"
    )


_FIRST = ", at the step that writes a text's first token alone"


def _gates(recipe: Recipe) -> str:
    said = []
    for spec in recipe.gates:
        gate = spec.build()
        trade = trade_sentences(gate)
        said += [gate_sentence(gate, str(site_of(spec))), *trade]
        windows = gate.calibration.get("windows")
        said += [f"They are of {windows} windows of speech and noise."] if trade and is_number(windows) else []
        rest = {} if trade and set(gate.calibration) <= _TOLD else gate.calibration
        said += [] if not rest else sentences(rest, "Its calibration")
    return " ".join(said)


_TOLD = {"auc", "clips", "frames", "windows", "margin", "budget"} | {
    f"open_{which}{interval}" for which in ("absent", "present") for interval in ("", "_95")
}
"""Of a gate's calibration: what its sentences say, and settings."""


def _measured(recipe: Recipe) -> str:
    said = measured_sentences(recipe.measured)
    for key, content in recipe.measured.items():
        in_words = _SENTENCES[key](content) if key in _SENTENCES and isinstance(content, dict) else None
        if in_words is not None:
            said.append(in_words)
            continue
        known = [_compared(part, value) for part, value in content.items()] if isinstance(content, dict) else [None]
        if key == "calibrate" and said:
            continue
        if known and all(known):
            said += [f"{name(key).capitalize()}: {'; '.join(each for each in known if each)}."]
        else:
            said += sentences({key: content})
    return f"How it was measured. {' '.join(said)}" if said else ""


def _compared(key: str, value: Any) -> str | None:
    """Counts before and after, as the benchmark writes them, in words; None if it is something else."""
    before: Any
    after: Any
    before, after = (value.get(part, ()) if isinstance(value, dict) else () for part in ("before", "after"))
    filters = key.rpartition(".")[2].replace("-", " ")
    if not all(isinstance(each, list) and all(is_number(n) for n in each) for each in (before, after)):
        return None
    if key.startswith("text.nonspeech.") and len(before) == len(after) == 4:
        return (
            f"with Whisper's {filters}, text for {after[0]} of {after[1]} clips without speech ({after[2]:.1%} to "
            f"{after[3]:.1%}), {before[0]} unsteered"
        )
    if key.startswith("wer.") and len(before) == len(after) == 3:
        return (
            f"with Whisper's {filters}, a word error rate of {after[0]:.2%} on {value.get('utterances')} utterances, "
            f"{before[0]:.2%} unsteered"
        )
    return None


def _held_out(content: dict[str, Any]) -> str | None:
    """Learning's record of the clips that it held out, in words; None if something is missing."""
    if not {"text", "words_changed", "blanked", "steps"} <= set(content):
        return None
    return (
        f"In learning, on clips that were held out and with every clip edited, it wrote text for {content['text']:.1%} "
        f"of those without speech, changed {content['words_changed']:.1%} of the words of those with speech, and left "
        f"{content['blanked']:.1%} of them without text, after {content['steps']} steps."
    )


def _mixed(content: dict[str, Any]) -> str | None:
    """Word errors on windows of speech and noise, in words; None if something is missing."""
    arms = {key: value for key, value in content.items() if isinstance(value, dict) and is_number(value.get("wer"))}
    if not {"unsteered", "steered"} <= set(arms):
        return None
    others = "; ".join(_errors(key, arms[key]) for key in arms if key not in ("unsteered", "steered"))
    return (
        f"On {content.get('windows', 'some')} windows of 30 s with speech and noise by turns: "
        f"{_errors('unsteered', arms['unsteered'])}; {_errors('steered', arms['steered'])}"
        + (f"; for comparison, {others}." if others else ".")
    )


def _errors(arm: str, content: dict[str, Any]) -> str:
    rest = [f"{content[kind]:.1%} {kind}" for kind in ("inserted", "deleted") if is_number(content.get(kind))]
    return f"{arm}, a word error rate of {content['wer']:.1%}" + (f" ({', '.join(rest)})" if rest else "")


_SENTENCES: dict[str, Callable[[dict[str, Any]], str | None]] = {"held_out": _held_out, "mixed": _mixed}
"""Sentences of parts of what was measured."""


def _made(recipe: Recipe) -> str:
    if not recipe.provenance:
        return ""
    note, rest = succeeded(recipe.provenance), dict(recipe.provenance)
    command, data = rest.pop("command", None), rest.pop("data", None)
    left = [name(key) for key, value in rest.items() if isinstance(value, dict)]
    said = [] if command is None else [f"It was made by `{command}`."]
    said += [] if note is None else [f"Note: {note}."]
    said += sentences({key: value for key, value in rest.items() if not isinstance(value, dict)})
    said += _data(data) if isinstance(data, dict) else [] if data is None else sentences({"data": data})
    said += [] if not left else [f"The settings of each step are in its file, under provenance: {', '.join(left)}."]
    return " ".join(["How it was found.", *said])


def _data(data: dict[str, Any]) -> list[str]:
    """Clips that it was learned on, as `learn` notes them; any other record as it is."""
    kinds = {kind: data.get(kind) for kind in ("without speech", "with speech")}
    after, split = data.get("clips after varying"), data.get("split")
    if not (isinstance(after, dict) and all(isinstance(kind, dict) and kind.get("clips") for kind in kinds.values())):
        return sentences({"data": data})
    from_ = " and ".join(f"{words('clips', kind['clips'])} clips {name}" for name, kind in kinds.items() if kind)
    return [
        f"It was learned on {from_}, which made {after.get('absent')} and {after.get('present')} by varying them, and "
        f"{after.get('held_absent')} and {after.get('held_present')} that were held out."
        + (f" The {split}." if isinstance(split, str) else "")
    ]


def _files(recipe: Recipe) -> str:
    said = [
        f"{key!r} is {sae.file or sae.repo} (sha256 {sae.sha256 or 'not recorded'})" for key, sae in recipe.saes.items()
    ]
    return "" if not said else f"Its SAE{'s' if len(said) > 1 else ''}: {'; '.join(said)}."
