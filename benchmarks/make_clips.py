"""Make the demo clips: sounds without speech from `noises.py`, and sentences of ours spoken by espeak-ng and flite.

    apt-get install espeak-ng flite
    python benchmarks/make_clips.py            # choose, and write the clips, clips.json and the card
    python benchmarks/make_clips.py --check    # show what is written on every candidate; writes nothing

The rule of selection looks at the *unsteered* tiny.en alone, Whisper's own filters off; no steering is involved.
A kind's clip is the first of its variants on which it writes a word; failing that, the first with any text (a lone "."
as a rule); failing that, variant 0. The first ten kinds of `noises.KINDS` are kept whatever comes of them; of the
others, the first six with a word. Every sentence is kept.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import textwrap
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile
import soxr
from noises import KINDS, RATE, candidate
from numpy.typing import NDArray

from audiosae_steer import load_whisper
from audiosae_steer.evaluate.metrics.wer import word_errors
from audiosae_steer.evaluate.transcription.transcribe import transcribe
from audiosae_steer.steering.recipes.load import checkpoints_dir

VARIANTS = 4
ALWAYS = 10
"""Kinds that are kept whatever is written on them."""
OTHERS = 6
"""Kinds kept of the rest."""
SPEECH_LEVEL = -30.0
"""RMS of the sentences, in dB under full scale."""
HIGHEST_WER = 0.1

Audio = NDArray[np.float32]


class Sentence(NamedTuple):
    """What is said, and how."""

    voice: tuple[str, ...]
    """The command, without its text and output file."""
    text: str
    noise: str | None = None
    """Kind of noise behind it, 20 dB below; None: none."""


SENTENCES = (
    Sentence(("espeak-ng", "-v", "en-us", "-s", "150"), "The train to the coast leaves at seven from platform four."),
    Sentence(("espeak-ng", "-v", "en-gb", "-s", "150"), "Please send me the report before the end of the week."),
    Sentence(("espeak-ng", "-v", "en-us+f3", "-s", "145"), "She opened the window because the room was too warm."),
    Sentence(("flite", "-voice", "slt"), "We walked along the river until the sun went down."),
    Sentence(("flite", "-voice", "rms"), "The doctor said that he should drink more water every day.", "fan"),
    Sentence(("flite", "-voice", "awb"), "There is a small bakery on the corner of our street."),
    Sentence(("flite", "-voice", "kal16"), "My brother bought a new bicycle for his birthday."),
    Sentence(("flite", "-voice", "slt", "--setf", "duration_stretch=1.2"), "The meeting was moved to Thursday."),
    Sentence(
        ("flite", "-voice", "rms", "--setf", "duration_stretch=1.15"), "Can you tell me how to get to the museum?"
    ),
    Sentence(
        ("flite", "-voice", "slt", "--setf", "int_f0_target_mean=200"), "I left my keys on the table.", "keyboard"
    ),
)


class Heard(NamedTuple):
    """What the unsteered tiny.en writes on one clip."""

    text: str
    """Whisper's own filters off."""
    filtered: str
    """The same with them on."""

    @property
    def rank(self) -> int:
        """0: a word; 1: some other text; 2: nothing."""
        return 0 if any(c.isalnum() for c in self.text) else 1 if self.text else 2


class Clip(NamedTuple):
    """A clip to ship."""

    entry: dict[str, Any]
    """Its line in `clips.json`."""
    samples: Audio
    heard: Heard


def listen(model: Any, samples: Audio) -> Heard:
    """Transcribe as `whisper.transcribe` does at temperature 0, without and with its filters."""
    found = transcribe(model, samples)
    return Heard(found.text, found.filtered().text)


def speak(sentence: Sentence) -> Audio:
    """A sentence by one of the two synthesisers, at 16 kHz, in samples that 16-bit files hold exactly."""
    program, *_ = sentence.voice
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        tail = ["-w", str(path), sentence.text] if program == "espeak-ng" else ["-o", str(path), "-t", sentence.text]
        run(*sentence.voice, *tail)
        x, rate = soundfile.read(path, dtype="float64")
    x = soxr.resample(x, rate, RATE)
    x = (x - x.mean()) / x.std()
    if sentence.noise is not None:
        behind = np.resize(candidate(sentence.noise, VARIANTS), len(x))  # a variant that is no candidate itself
        x += 0.1 * behind / behind.std()
    x *= 10 ** (SPEECH_LEVEL / 20) / x.std()
    return (np.round(x * 2**15) / 2**15).astype(np.float32)


def run(*command: str, fine: tuple[int, ...] = (0,)) -> str:
    """What a command prints; any exit status not in `fine` ends the script."""
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        raise SystemExit(
            f"{command[0]} is not installed, and speaks the sentences; run: apt-get install espeak-ng flite"
        ) from None
    if done.returncode not in fine:
        raise SystemExit(f"{' '.join(command)} failed with status {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def versions() -> str:
    """The two programs, as installed here."""
    espeak = run("espeak-ng", "--version").split("Data at")[0].rsplit(":", 1)[1].strip()
    flite = next(word for word in run("flite", "--version", fine=(0, 1)).split() if word.startswith("flite-"))
    return f"espeak-ng {espeak}, {flite}"


def sounds(model: Any) -> list[Clip]:
    """The clips without speech, by the rule at the head of this file."""
    clips: list[Clip] = []
    for number, label in enumerate(KINDS):
        if len(clips) == ALWAYS + OTHERS:
            break
        heard: list[Heard] = []
        while len(heard) < VARIANTS and not any(h.rank == 0 for h in heard):
            heard.append(listen(model, candidate(label, len(heard))))
        variant = min(range(len(heard)), key=lambda i: (heard[i].rank, i))
        if number >= ALWAYS and heard[variant].rank:
            continue
        samples = candidate(label, variant)
        entry = {
            "file": f"{label.replace(' ', '-')}.flac",
            "kind": "nonspeech",
            "label": label,
            "seconds": len(samples) / RATE,
            "made_by": f"noises.candidate({label!r}, {variant})",
            "variant": variant,
        }
        clips.append(Clip(entry, samples, heard[variant]))
        print(f"{label:17} {variant}  {heard[variant]}", flush=True)
    return clips


def sentences(model: Any) -> list[Clip]:
    """The clips with speech."""
    clips = []
    for number, sentence in enumerate(SENTENCES, 1):
        samples = speak(sentence)
        entry = {
            "file": f"speech-{number:02d}.flac",
            "kind": "speech",
            "label": f"{sentence.voice[0]} {sentence.voice[2]}" + (f", {sentence.noise}" if sentence.noise else ""),
            "text": sentence.text,
            "seconds": round(len(samples) / RATE, 3),
            "made_by": " ".join(sentence.voice)
            + (f" + noises.candidate({sentence.noise!r}, {VARIANTS}) 20 dB below" if sentence.noise else ""),
        }
        clips.append(Clip(entry, samples, listen(model, samples)))
        print(f"{entry['label']:17} {clips[-1].heard}", flush=True)
    return clips


def check(model: Any) -> None:
    """Print what is written on every candidate."""
    ranks = []
    for label in KINDS:
        for variant in range(VARIANTS):
            heard = listen(model, candidate(label, variant))
            ranks.append(heard.rank)
            print(f"{label:17} {variant}  {short(heard.text):62} {short(heard.filtered)}", flush=True)
    print(f"{len(ranks)} candidates: text on {sum(r < 2 for r in ranks)}, words on {ranks.count(0)}")
    wrong = word_errors(*zip(*((c.entry["text"], c.heard.text) for c in sentences(model)), strict=True))
    print(f"word error rate on the sentences {wrong.rate:.1%}")


def short(text: str) -> str:
    """Text that fits into a table."""
    if len(text) > 60:
        text = textwrap.shorten(text, 60, placeholder=" …") if " " in text else f"{text[:40]}…"
    return text or "(nothing)"


def card(clips: list[Clip], rate: float) -> str:
    """The card that lies beside the clips."""
    silent = [clip for clip in clips if clip.entry["kind"] == "nonspeech"]
    counts = {
        "text": sum(c.heard.rank < 2 for c in silent),
        "words": sum(c.heard.rank == 0 for c in silent),
        "filtered": sum(bool(c.heard.filtered) for c in silent),
    }
    rows = (
        (c.entry["label"], c.entry.get("text", f"variant {c.entry.get('variant')}"), *map(short, c.heard))
        for c in clips
    )
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"""# Demo clips

Sounds of our own, 16 kHz mono FLAC: {len(silent)} without speech, made from seeded random numbers, and
{len(clips) - len(silent)} sentences of ours, spoken by synthetic voices ({versions()}), two of them with a noise 20 dB
below. `clips.json` lists them with their texts.

Made by `python benchmarks/make_clips.py`; the seed of a sound is its label and variant. Other versions of the two
programs may speak otherwise, so the clips are committed and the demo needs neither program.

Licence: texts and sounds are ours, and in the public domain (CC0).

## How they were chosen

By what the *unsteered* tiny.en writes (openai-whisper, timestamps, temperature 0, no fallback, Whisper's own filters
off). Steering took no part. Of {VARIANTS} seeded variants of each of {len(KINDS)} kinds, the first with a word (a
letter or a figure); failing that, the first with any text, a lone "." as a rule; failing that, variant 0. The first
{ALWAYS} kinds are kept whatever comes of them; of the others, the first {OTHERS} with a word. Every sentence is kept.
`--check` shows what is written on every candidate.

So the clips without speech are picked because text appears on them: they show what the model does, not how often it
does it. Figures on recorded sounds, which nobody picked, are in the repository's README.

## What the unsteered tiny.en writes

Text on {counts["text"]} of the {len(silent)} clips without speech, words on {counts["words"]}; with Whisper's
filters on, text on {counts["filtered"]}. Word error rate on the sentences: {100 * rate:.1f} %.

| clip | variant, or what is said | filters off | Whisper's filters on |
|---|---|---|---|
{table}
"""


def main() -> None:
    """Make, choose, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=checkpoints_dir() / "clips", help="folder to write to")
    parser.add_argument("--check", action="store_true", help="show what is written on every candidate; write nothing")
    arguments = parser.parse_args()
    versions()  # says at once if a program is missing
    model = load_whisper("tiny.en")
    if arguments.check:
        check(model)
        return
    spoken = sentences(model)
    rate = word_errors([c.entry["text"] for c in spoken], [c.heard.text for c in spoken]).rate
    if rate > HIGHEST_WER:
        raise SystemExit(f"the voices are not clear enough: word error rate {rate:.1%}, expected {HIGHEST_WER:.0%}")
    clips = sounds(model) + spoken
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    for old in out.glob("*.flac"):
        old.unlink()
    for clip in clips:
        soundfile.write(out / clip.entry["file"], clip.samples, RATE, subtype="PCM_16")
    listed = json.dumps([clip.entry for clip in clips], indent=1)
    (out / "clips.json").write_text(listed + "\n", encoding="utf-8")
    (out / "README.md").write_text(card(clips, rate), encoding="utf-8")


if __name__ == "__main__":
    main()
