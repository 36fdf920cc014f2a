"""Make the demo clips: speech by espeak-ng and flite with texts of our own, and synthetic noises.

    apt-get install espeak-ng flite && python benchmarks/make_clips.py

The rule of selection, which looks at the *unsteered* tiny.en alone: of each kind of noise the first of its variants
on which it writes a word (greedy, Whisper's own filters off); failing that, the first with any text, a lone "." as a
rule; failing that, variant 0. Of the sentences, every one. No steering is involved. Writes the clips, `clips.json` and
the card into `checkpoints/clips`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from audiosae_steer import load_whisper
from audiosae_steer.evaluate.transcribe import transcribe
from audiosae_steer.evaluate.wer import word_errors
from audiosae_steer.recipes import checkpoints_dir

RATE = 16_000
SECONDS = 5.0
VARIANTS = 8
Samples = NDArray[np.float64]

SENTENCES = {
    "espeak-ng -v en-us -s 150": "The train to the coast leaves at seven from platform four.",
    "espeak-ng -v en-gb -s 150": "Please send me the report before the end of the week.",
    "espeak-ng -v en-us+f3 -s 145": "She opened the window because the room was too warm.",
    "flite -voice slt": "We walked along the river until the sun went down.",
    "flite -voice rms": "The doctor said that he should drink more water every day.",
    "flite -voice awb": "There is a small bakery on the corner of our street.",
    "flite -voice kal16": "My brother bought a new bicycle for his birthday.",
    "flite -voice slt --setf duration_stretch=1.2": "The meeting was moved to Thursday afternoon.",
    "flite -voice rms --setf duration_stretch=1.15": "Can you tell me how to get to the museum?",
}


def noise(rng: np.random.Generator, slope: float) -> Samples:
    """Noise whose power falls as 1/f^slope, at unit level."""
    n = int(SECONDS * RATE)
    spectrum = np.fft.rfft(rng.standard_normal(n))
    x = np.fft.irfft(spectrum / np.maximum(np.fft.rfftfreq(n, 1 / RATE), 20) ** (slope / 2), n)
    return x / x.std()


def band(x: Samples, low: float, high: float) -> Samples:
    """x between two frequencies."""
    spectrum = np.fft.rfft(x)
    f = np.fft.rfftfreq(len(x), 1 / RATE)
    return np.fft.irfft(spectrum * (f > low) * (f < high), len(x))


def seconds() -> Samples:
    """The time axis."""
    return np.arange(int(SECONDS * RATE)) / RATE


def strikes(rng: np.random.Generator, times: Samples, shape: Callable[[], Samples]) -> Samples:
    """A short sound at each of some times."""
    x = np.zeros(int(SECONDS * RATE))
    for at in (np.asarray(times) * RATE).astype(int):
        sound = shape() * rng.uniform(0.5, 1)
        end = min(at + len(sound), len(x))
        if 0 <= at < end:
            x[at:end] += sound[: end - at]
    return x


def ring(rng: np.random.Generator, length: float, decay: float, low: float, high: float) -> Samples:
    """A decaying burst of band-limited noise."""
    n = int(length * RATE)
    return band(rng.standard_normal(n), low, high) * np.exp(-np.arange(n) / (decay * RATE))


def white(rng: np.random.Generator) -> Samples:
    """Flat noise."""
    return noise(rng, 0)


def pink(rng: np.random.Generator) -> Samples:
    """1/f noise."""
    return noise(rng, 1)


def hum(rng: np.random.Generator) -> Samples:
    """Mains, with its harmonics."""
    base = rng.choice([50.0, 60.0])
    parts = [
        rng.uniform(0.2, 1) / h * np.sin(2 * np.pi * base * h * seconds() + rng.uniform(0, 6)) for h in range(1, 16)
    ]
    return sum(parts) + 0.01 * noise(rng, 0)


def fan(rng: np.random.Generator) -> Samples:
    """Broad noise, modulated by the blades, on a motor's tone."""
    blades = rng.uniform(15, 40)
    beat = 1 + 0.4 * np.sin(2 * np.pi * blades * seconds())
    return band(noise(rng, 1.2), 60, 3000) * beat + 0.3 * np.sin(2 * np.pi * 4 * blades * seconds())


def rain(rng: np.random.Generator) -> Samples:
    """Hiss and drops."""
    drops = np.sort(rng.uniform(0, SECONDS, int(rng.uniform(200, 600))))
    return 0.3 * band(noise(rng, 0.5), 800, 7500) + strikes(rng, drops, lambda: ring(rng, 0.02, 0.004, 1500, 7500))


def clicks(rng: np.random.Generator) -> Samples:
    """Single clicks."""
    times = np.cumsum(rng.exponential(0.35, 40))
    return strikes(rng, times, lambda: ring(rng, 0.01, 0.002, 500, 7000)) + 0.002 * noise(rng, 0)


def keyboard(rng: np.random.Generator) -> Samples:
    """Typing: a press and a release each time."""
    press = np.cumsum(rng.gamma(4, 0.04, 60))
    down = strikes(rng, press, lambda: ring(rng, 0.04, 0.008, 300, 5000))
    return down + 0.4 * strikes(rng, press + 0.07, lambda: ring(rng, 0.03, 0.005, 1000, 7000)) + 0.003 * noise(rng, 1)


def alarm(rng: np.random.Generator) -> Samples:
    """A beeping alarm clock."""
    pitch, pace = rng.uniform(1000, 3000), rng.uniform(2, 6)
    on = np.sin(2 * np.pi * pace * seconds()) > 0
    return on * np.sign(np.sin(2 * np.pi * pitch * seconds())) * 0.5 + 0.003 * noise(rng, 0)


def siren(rng: np.random.Generator) -> Samples:
    """A tone that rises and falls."""
    pace, low, high = rng.uniform(0.2, 2), rng.uniform(400, 700), rng.uniform(900, 1600)
    pitch = low + (high - low) * (0.5 + 0.5 * np.sin(2 * np.pi * pace * seconds()))
    return np.sin(2 * np.pi * np.cumsum(pitch) / RATE) + 0.02 * noise(rng, 1)


def engine(rng: np.random.Generator) -> Samples:
    """Firing pulses with a rumble."""
    firing = rng.uniform(20, 60) * (1 + 0.05 * np.sin(2 * np.pi * rng.uniform(0.1, 0.5) * seconds()))
    phase = np.cumsum(firing) / RATE
    return np.exp(-6 * (phase % 1)) * band(noise(rng, 1), 30, 2500) + 0.4 * np.sin(2 * np.pi * phase)


def tone(rng: np.random.Generator) -> Samples:
    """A dial tone: two steady sines."""
    a, b = rng.uniform(300, 450), rng.uniform(420, 900)
    return np.sin(2 * np.pi * a * seconds()) + np.sin(2 * np.pi * b * seconds()) + 0.01 * noise(rng, 0)


def wind(rng: np.random.Generator) -> Samples:
    """Gusts."""
    gust = np.abs(np.interp(seconds(), np.linspace(0, SECONDS, 12), rng.uniform(0.1, 1, 12)))
    return band(noise(rng, 1.5), 80, 1200) * gust


def drip(rng: np.random.Generator) -> Samples:
    """A dripping tap."""

    def drop() -> Samples:
        t = np.arange(int(0.08 * RATE)) / RATE
        return np.sin(2 * np.pi * (rng.uniform(700, 1500) + 6000 * t) * t) * np.exp(-t / 0.015)

    return strikes(rng, np.cumsum(rng.uniform(0.3, 0.9, 14)), drop) + 0.002 * noise(rng, 1)


def knock(rng: np.random.Generator) -> Samples:
    """Knocks on a door."""
    times = np.concatenate([start + 0.22 * np.arange(4) for start in (0.5, 2.6, 4.2)])
    return strikes(rng, times, lambda: ring(rng, 0.15, 0.03, 80, 900)) + 0.003 * noise(rng, 1)


def silence(rng: np.random.Generator) -> Samples:
    """An empty room, very quiet."""
    return noise(rng, 1)


def helicopter(rng: np.random.Generator) -> Samples:
    """Chopped low noise."""
    chop = np.maximum(np.sin(2 * np.pi * rng.uniform(8, 14) * seconds()), 0) ** 3
    return band(noise(rng, 1.3), 40, 1800) * chop


def machine(rng: np.random.Generator) -> Samples:
    """A stamping machine: a strike, a hiss, a whine."""
    times = np.arange(rng.uniform(0, 0.3), SECONDS, rng.uniform(0.45, 0.8))
    hits = strikes(rng, times, lambda: ring(rng, 0.12, 0.03, 100, 3000))
    return hits + 0.1 * np.sin(2 * np.pi * rng.uniform(300, 900) * seconds()) + 0.05 * noise(rng, 0.5)


KINDS: dict[str, tuple[Callable[[np.random.Generator], Samples], float]] = {
    "white noise": (white, -25),
    "pink noise": (pink, -22),
    "mains hum": (hum, -20),
    "fan": (fan, -22),
    "rain": (rain, -18),
    "clicks": (clicks, -12),
    "keyboard": (keyboard, -14),
    "alarm": (alarm, -16),
    "siren": (siren, -18),
    "engine": (engine, -16),
    "dial tone": (tone, -18),
    "wind": (wind, -18),
    "dripping tap": (drip, -12),
    "door knocks": (knock, -10),
    "near-silence": (silence, -62),
    "helicopter": (helicopter, -16),
    "stamping machine": (machine, -14),
}


def non_speech(label: str, variant: int) -> NDArray[np.float32]:
    """Variant `variant` of a kind of noise: samples at 16 kHz, its peak at the level of its kind, in dB."""
    make, level = KINDS[label]
    rng = np.random.default_rng([sorted(KINDS).index(label), variant])
    x = make(rng)
    fade = np.minimum(1, np.minimum(np.arange(len(x)), np.arange(len(x))[::-1]) / (0.02 * RATE))
    return (x / np.abs(x).max() * 10 ** ((level + rng.uniform(-3, 3)) / 20 + 0.2 * (level > -40)) * fade).astype(
        np.float32
    )


def speak(command: str, text: str) -> NDArray[np.float32]:
    """A sentence by one of the two synthesisers."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        arguments = command.split()
        tail = ["-w", str(path), text] if arguments[0] == "espeak-ng" else ["-o", str(path), "-t", text]
        try:
            subprocess.run([*arguments, *tail], check=True, capture_output=True)
        except FileNotFoundError:
            raise SystemExit(f"{arguments[0]} is not installed; run: apt-get install espeak-ng flite") from None
        x, rate = soundfile.read(path, dtype="float32")
    x = soxr.resample(x, rate, RATE)
    return (0.5 * x / np.abs(x).max()).astype(np.float32)


def main() -> None:
    """Make, choose, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=checkpoints_dir() / "clips")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    for old in out.glob("*.flac"):
        old.unlink()
    model = load_whisper("tiny.en")
    entries, rows = [], []
    for label in KINDS:
        heard = [transcribe(model, non_speech(label, variant)).text for variant in range(VARIANTS)]
        words = [i for i, text in enumerate(heard) if any(c.isalnum() for c in text)]
        chosen = (words or [i for i, text in enumerate(heard) if text] or [0])[0]
        text = heard[chosen]
        samples = non_speech(label, chosen)
        filtered = transcribe(model, samples).filtered().text
        file = f"{label.replace(' ', '-')}.flac"
        soundfile.write(out / file, samples, RATE)
        entries.append({"file": file, "kind": "nonspeech", "label": label, "variant": chosen, "seconds": SECONDS})
        rows.append((label, f"variant {chosen}", text, filtered))
        print(f"{label:18} variant {chosen}  {text!r}  with filters {filtered!r}", flush=True)
    heard_texts = []
    for number, (command, text) in enumerate(SENTENCES.items(), 1):
        samples = speak(command, text)
        said = transcribe(model, samples)
        heard_texts.append(said.text)
        voice = command.split()[0] + " " + command.split()[2]
        file = f"speech-{number:02d}.flac"
        soundfile.write(out / file, samples, RATE)
        entries.append(
            {
                "file": file,
                "kind": "speech",
                "label": voice,
                "made_by": command,
                "text": text,
                "seconds": round(len(samples) / RATE, 2),
            }
        )
        rows.append((voice, text, said.text, said.filtered().text))
        print(f"{voice:18} {text!r} -> {said.text!r}", flush=True)
    rate = word_errors(list(SENTENCES.values()), heard_texts).rate
    (out / "clips.json").write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")
    (out / "README.md").write_text(card(rows, rate), encoding="utf-8")


def card(rows: list[tuple[str, str, str, str]], rate: float) -> str:
    """The card that lies beside the clips."""

    def short(text: str) -> str:
        return textwrap.shorten(text, 80, placeholder=" …") or "(nothing)"

    table = "\n".join(f"| {a} | {b} | {short(c)} | {short(d)} |" for a, b, c, d in rows)
    return f"""# Demo clips

Sounds of our own, 16 kHz mono FLAC: {len(KINDS)} synthetic noises of {SECONDS:g} s and {len(SENTENCES)} sentences
spoken by espeak-ng and flite. Made by `python benchmarks/make_clips.py` (seeded; the voices may differ between versions
of the two programs, so the clips are committed). The texts are ours; the clips are in the public domain (CC0).

**How they were chosen.** Of each kind of noise, the first of {VARIANTS} seeded variants on which the *unsteered*
tiny.en writes a word (greedy, Whisper's own filters off); failing that, the first with any text, a lone "." as a rule;
failing that, variant 0. Every sentence is kept. Steering took no part. Synthetic noise is easier to make and to publish
than recordings, and it is not the same: figures on recorded sounds are in the repository's README.

What the unsteered tiny.en writes (word error rate on the sentences: {100 * rate:.1f} %):

| clip | variant, or what is said | filters off | Whisper's filters on |
|---|---|---|---|
{table}
"""


if __name__ == "__main__":
    main()
