"""Command that edits a sound: `edit`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import typer
from numpy.typing import NDArray

from ..errors import AudioError, EditError, MissingExtraError
from .analyse.common import SAEOption, read_map
from .console import say, say_table
from .options import Options, with_settings

if TYPE_CHECKING:
    from ..sae.autoencoder import SAE
    from ..steering.edits import FeatureEdit

UNITS = {"pitch": ("st", "semitones", ""), "loudness": ("db", ""), "centroid": ("oct", "octaves", "")}
AMOUNT = re.compile(r"([+-]?\d+(?:\.\d+)?)\s*([A-Za-z]*)")
FRAME_RATE = 50.0
"""Frames per second at which both sounds are measured."""


@dataclass(frozen=True, kw_only=True)
class Concept:
    """Edit by concept."""

    map: Path | None = None
    """Property map, .json, that `analyse properties --out` wrote for the SAE."""
    property: str | None = None
    """Property to move: pitch, loudness, centroid."""
    by: str | None = None
    """Amount to move it by: +6dB, -2st (semitones), +0.5oct."""
    to: float | None = None
    """Class to move it to: a MIDI note, dB re the loud end of the map's clips, Hz."""
    alpha: float = 1.0
    """Amount with --to, in typical norms."""
    keep: Literal["none", "rms"] = "none"
    """Keep the RMS of the edited features, or nothing."""
    toward: bool = False
    """With --to, take for each frame as much as it takes, --alpha at most."""


@dataclass(frozen=True, kw_only=True)
class Features:
    """Edit of features."""

    feature: tuple[int, ...] = ()
    """Feature to scale; repeatable."""
    scale: float = 2.0
    """Factor of the features' activations."""


@dataclass(frozen=True, kw_only=True)
class Passage:
    """Way through the codec."""

    side: Literal["encoder", "decoder"] = "decoder"
    """Latents to edit: of the encoder, before the quantizer, or the decoder's."""
    window: str | None = None
    """Seconds to edit: 1.0,2.5; default: all."""
    strength: float = 1.0
    """Strength; 0 gives the codec's own sound."""
    bandwidth: float | None = None
    """Bandwidth in kbit/s; default: the model's lowest."""
    html: Path | None = None
    """Page to write: both sounds to compare by ear, level-matched, blind if wanted."""


@with_settings(
    Options(defaults=Concept(), parameter="concept"),
    Options(defaults=Features(), parameter="features"),
    Options(defaults=Passage(), parameter="passage"),
)
def edit(
    sound: Annotated[Path, typer.Argument(help="audio file to edit")],
    out: Annotated[Path, typer.Argument(help="audio file to write: .wav or .flac")],
    model: Annotated[str, typer.Option("--model", "-m", help="codec: folder of transformers, or Hub id")],
    sae: SAEOption,
    concept: Concept,
    features: Features,
    passage: Passage,
) -> None:
    """Send a sound through a codec with features of its latents edited, by number or by concept."""
    from ..io.files import write_atomic
    from ..models.load import load_model
    from ..models.registry import family_of, unwrap
    from ..sae.load import load_sae
    from ..steering.latents import edit_audio

    _check(sound, out, concept, features)
    opened = load_sae(sae).float()
    edits = edits_of(opened, concept, features, _window(passage.window))
    loaded = load_model(model)
    inner: Any = unwrap(loaded)
    rate = family_of(inner).sample_rate(inner)
    given = _samples(sound, rate, inner)
    through: dict[str, Any] = {"sae": opened, "side": passage.side, "bandwidth": passage.bandwidth}
    plain = edit_audio(loaded, given, edits, strength=0.0, **through).numpy()
    edited = edit_audio(loaded, given, edits, strength=passage.strength, **through).numpy()
    clipped = _write(out, edited, rate)
    rows = _measured({"input": given, "codec alone": plain, "edited": edited}, rate)
    say_table(("sound", "pitch, MIDI", "loudness, dB", "centroid, Hz"), rows)
    if clipped:
        say(f"{clipped} samples were beyond full scale and are clipped")
    if passage.html is not None:
        facts = [(row[0], f"pitch {row[1]}, loudness {row[2]} dB, centroid {row[3]} Hz") for row in rows]
        facts += [("edit", each.words()) for each in edits]
        page = _page(sound, given, plain, edited, rate, facts)
        passage.html.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(passage.html, page, AudioError)
    say(f"wrote {out}" + ("" if passage.html is None else f" and {passage.html}"))


def edits_of(sae: SAE, concept: Concept, features: Features, window: tuple[float, float] | None) -> list[FeatureEdit]:
    """The edits that were asked for. EditError, SteeringError: they cannot be made."""
    from ..analyse.control_by_concept.control_bench import check_map
    from ..steering.edits import Scale

    if features.feature:
        return [Scale(list(features.feature), features.scale, window=window)]
    mapped = read_map(concept.map)
    check_map(mapped, sae)
    name = str(concept.property)
    keep: Any = None if concept.keep == "none" else concept.keep
    if concept.by is not None:
        return mapped.edit_by(name, amount_of(name, concept.by), keep=keep, window=window)
    mode: Any = "toward" if concept.toward else "add"
    return mapped.edit(name, float(concept.to or 0.0), concept.alpha, keep=keep, mode=mode, window=window)


def amount_of(name: str, words: str) -> float:
    """Number of an amount such as +6dB, -2st or 0.5oct. EditError: it is none, or its unit is another property's."""
    found = AMOUNT.fullmatch(words.strip())
    known = UNITS.get(name, ("",))
    if found is None or found[2].lower() not in known:
        unit = {"pitch": "+2st", "loudness": "+6dB", "centroid": "+0.5oct"}.get(name, "+1")
        raise EditError(f"--by {words!r} is no amount of {name}; write for example {unit}")
    return float(found[1])


def _check(sound: Path, out: Path, concept: Concept, features: Features) -> None:
    if out.suffix.lower() not in (".wav", ".flac"):
        raise AudioError(f"{out.name} does not end in .wav or .flac; name a file of one of these")
    if sound.resolve() == out.resolve():
        raise AudioError(f"{out} is the input itself; name another file to write")
    if bool(features.feature) == (concept.property is not None):
        raise EditError("say what to edit: --feature N --scale 2, or --map MAP --property loudness --by +6dB")
    if concept.property is not None and (concept.by is None) == (concept.to is None):
        raise EditError(f"say how to move {concept.property}: --by +6dB, or --to VALUE --alpha 2; one of both")


def _window(words: str | None) -> tuple[float, float] | None:
    if words is None:
        return None
    try:
        start, end = (float(each) for each in words.split(","))
    except ValueError as error:
        raise EditError(f"--window {words!r} is not two numbers of seconds, such as 1.0,2.5") from error
    return start, end


def _samples(path: Path, rate: int, model: Any) -> NDArray[np.float32]:
    """Samples (channels, n) at the model's rate, in as many channels as it takes."""
    import soxr

    from ..data.audio import load_audio
    from ..data.sound_files import read

    config = getattr(model, "config", None)
    channels = model.channels if config is None else config.audio_channels
    if channels == 1:
        return load_audio(path, sample_rate=rate)[None]
    load_audio(path, sample_rate=rate)  # refuses what is no sound, in words
    samples, own = read(path, str(path))
    taken = samples[:, :channels] if samples.shape[1] >= channels else np.repeat(samples[:, :1], channels, 1)
    return np.ascontiguousarray(soxr.resample(taken, own, rate, quality="HQ").T, np.float32)


def _write(out: Path, samples: NDArray[np.float32], rate: int) -> int:
    """Write the file atomically, and return the number of samples that were clipped."""
    import soundfile

    from ..io.files import atomic_file

    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(out, AudioError) as part, part.open("wb") as file:
        name = out.suffix.lower().removeprefix(".").upper()
        soundfile.write(file, np.clip(samples, -1, 1).T, rate, format=name, subtype="PCM_24")
    return int((np.abs(samples) > 1).sum())


def _measured(sounds: dict[str, NDArray[np.float32]], rate: int) -> list[tuple[str, ...]]:
    """Medians of each sound's properties over its frames; pitch where its engine is installed."""
    from ..analyse.properties_of_frames.frame_properties import property_labels
    from ..analyse.properties_of_frames.named_engines import pitch_engine
    from ..analyse.properties_of_frames.pitch_engines import Pitches

    engine: Any
    try:
        engine = pitch_engine()
    except MissingExtraError:

        def engine(samples: Any, times: Any) -> Pitches:
            return Pitches(np.zeros(len(times)), np.zeros(len(times)))

    rows: list[tuple[str, ...]] = []
    for name, samples in sounds.items():
        mono = samples.mean(0)
        found = property_labels(mono, rate, FRAME_RATE, max(int(len(mono) / rate * FRAME_RATE), 1), engine=engine)
        pitch = found.pitch[found.confidence >= 0.5]
        heard = found.centroid[~np.isnan(found.centroid)]
        rows.append(
            (name, f"{np.median(pitch):.1f}" if len(pitch) else "none", f"{np.median(found.loudness):.1f}",
             f"{np.median(heard):.0f}" if len(heard) else "none")
        )  # fmt: skip
    return rows


def _page(sound: Path, given: Any, plain: Any, edited: Any, rate: int, facts: list[tuple[str, str]]) -> str:
    from ..evaluate.listening.ab_page import Compared, ab_page

    sounds = [
        Compared("codec alone", plain, "the same way without the edit"),
        Compared("edited", edited, "with the edit"),
        Compared("input", given, "before the codec"),
    ]
    says = "The sound through the codec, without and with the edit: what differs between A and B is the edit alone."
    return ab_page(f"{sound.name}, edited", says, sounds, rate, facts)
