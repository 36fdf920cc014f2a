"""Windows of 30 s whose speech is known to the frame, in the conditions in which gates are measured.

All are of the `test` part of the split. Those of noise at a ratio, quiet, telephone, reverberation and overlap are the
same draws of utterances, gaps and levels as those that come as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import corpus
import numpy as np
from mixed import ACCENTED, SECONDS, SEEDS, files, sounds, utterances
from numpy.typing import NDArray

from audiosae_steer import load_audio
from audiosae_steer.data.acoustics import SNRS, looped, quiet, reverb, telephone
from audiosae_steer.data.audio import SAMPLE_RATE, Samples
from audiosae_steer.discover.gates.fit_timestamps import RATE, frame_labels
from audiosae_steer.evaluate.benchmark.bench_clips import spread
from audiosae_steer.evaluate.benchmark.long_recordings import PAUSE, LongFile, levelled
from audiosae_steer.evaluate.benchmark.mixed_recordings import SILENCE, mix

FRAMES = 1500
"""Of a window."""
TAIL = 0.6
"""Seconds after speech in a hall that rings for 1.2 s (to −60 dB) that count neither as speech nor as none."""
OTHER_VOICE = (-5.0, 0.0)
"""RMS of a second speaker beside the first, in dB."""
STATIONARY = {
    "beach", "cave_ambience", "chainsaw", "exercise_bike", "fire", "fire-crackling", "fire_lava", "helicopter",
    "machinery", "nature", "pink_noise", "rain", "running_tap", "scifi_ambience", "sea-waves", "storm", "water",
    "white_noise", "wind",
}  # fmt: skip
"""Folders of the `test` part whose sounds go on and on; the others hold events."""
HUMAN = {"baby-cry", "person-sneeze"}
"""Those of human sounds, beside the collection of them."""


class Window(NamedTuple):
    """A window with what is known of its frames."""

    samples: Samples
    labels: NDArray[np.int64]
    """(1500,): 1 speech, 0 none, −1 neither."""


Make = Callable[[int], Window]


def conditions(count: int) -> Iterator[tuple[str, list[Window]]]:
    """So many windows of each condition, made when they are asked for."""
    spoken, noise = utterances("test", ACCENTED), sounds("test")
    plain = files("test", count, accents=ACCENTED)
    mixed = [each.mixed for each in plain]
    yield "mixed, as they come", [labelled(file) for file in mixed]
    for snr in SNRS:
        own = [mix(spoken, noise, SEEDS["test"] + n, under=(snr, snr)).mixed for n in range(count)]
        yield (
            f"noise under speech, {snr:g} dB",
            [Window(f.samples, noisy_only(f, frame_labels(f, FRAMES))) for f in own],
        )
    yield "quiet, −40 dB", [Window(quiet(f.samples), frame_labels(f, FRAMES)) for f in mixed]
    yield "telephone band", [Window(telephone(f.samples), frame_labels(f, FRAMES)) for f in mixed]
    yield "strong reverberation", [reverberant(f, n) for n, f in enumerate(mixed)]
    voices = [(x, text) for x, text in utterances("test", ACCENTED)]
    others = {text: apart(text, voices) for _, text in voices}
    yield "overlapping speakers", [overlapping(f, others, n) for n, f in enumerate(mixed)]
    accented = [item for item in corpus.speech("test") if item.source == "speechocean762" and item.text]
    yield "foreign accents", _drawn(_read(accented), noise, 1000, count)
    yield "single digits", _drawn(_read(corpus.apart("digits"), shortest=0.0), noise, 2000, count)
    yield "gaps of silence", [labelled(each.silent) for each in plain]
    for number, (kind, own_sounds) in enumerate(by_kind().items()):
        drawn = [mix(spoken, {kind: own_sounds}, SEEDS["test"] + 3000 + 1000 * number + n).mixed for n in range(count)]
        yield f"gaps of {kind}", [Window(f.samples, gaps_of(kind, f, frame_labels(f, FRAMES))) for f in drawn]


def single_words(count: int) -> list[Window]:
    """Windows of the wake words of the `calibrate` part, which its utterances are too long to stand for."""
    words = [item for item in corpus.speech("calibrate") if item.source == "wakewords" and item.text]
    spoken, noise = _read(words, shortest=0.0), sounds("calibrate")
    return [labelled(mix(spoken, noise, SEEDS["calibrate"] + 1000 + n).mixed) for n in range(count)]


def labelled(file: LongFile) -> Window:
    """A window as it is."""
    return Window(file.samples, frame_labels(file, FRAMES))


def noisy_only(file: LongFile, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """The labels without speech under which no noise goes on: that which follows a silent gap."""
    found, under = labels.copy(), SILENCE
    for piece in file.pieces:
        if piece.text is None and piece.kind != PAUSE:
            under = piece.kind
        elif under == SILENCE:
            _blank(found, piece.start, piece.end)
    return found


def gaps_of(kind: str, file: LongFile, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """The labels without gaps of another kind, silence among them."""
    found = labels.copy()
    for gap in file.gaps:
        if gap.kind != kind:
            _blank(found, gap.start, gap.end)
    return found


def reverberant(file: LongFile, seed: int) -> Window:
    """The window in a hall, cut at its end; what rings on in the first 0.6 s after speech counts as neither."""
    labels = frame_labels(file, FRAMES)
    for piece, after in zip(file.pieces, file.pieces[1:], strict=False):
        if piece.text is not None and after.text is None and after.kind != PAUSE:
            _blank(labels, after.start, min(after.start + TAIL, after.end))
    return Window(reverb(file.samples, seed)[: len(file.samples)], labels)


def overlapping(file: LongFile, others: Mapping[str, Sequence[Samples]], seed: int) -> Window:
    """The window with a second speaker beside each, from the first sound to the last of it, so that labels hold.

    Args:
        file: the window.
        others: for each text, voices that may speak beside it.
        seed: of the voices and their levels.
    """
    rng = np.random.default_rng(seed)
    samples = file.samples.copy()
    for piece in file.speech:
        start, stop = round(piece.start * SAMPLE_RATE), round(piece.end * SAMPLE_RATE)
        choice = others[str(piece.text)]
        voice = looped(choice[int(rng.integers(len(choice)))], stop - start, int(rng.integers(2**31)))
        rms = float(np.sqrt(np.mean(np.square(file.samples[start:stop], dtype=np.float64))))
        samples[start:stop] += levelled(voice, 20 * np.log10(rms) + rng.uniform(*OTHER_VOICE))
    return Window(np.asarray(np.clip(samples, -1, 1), np.float32), frame_labels(file, FRAMES))


def apart(text: str, voices: Sequence[tuple[Samples, str]]) -> list[Samples]:
    """Voices of other corpora than that of a text, and so of other speakers."""
    sources = {str(item.text): item.source for item in corpus.speech("test") if item.text}
    return [x for x, other in voices if sources[other] != sources[text]]


def by_kind() -> dict[str, list[Samples]]:
    """Sounds of the `test` part by what they are like: stationary noise, events, music, human sounds."""
    given = sounds("test")
    found: dict[str, list[Samples]] = {
        "stationary noise": [], "events": [], "music": given["music"], "human sounds": list(given["human"])
    }  # fmt: skip
    for item in corpus.nonspeech("test"):
        name = item.path.parent.name
        kind = "human sounds" if name in HUMAN else "stationary noise" if name in STATIONARY else "events"
        samples = load_audio(item.path)
        if float((samples**2).mean()) > 1e-8:
            found[kind].append(samples)
    return found


def _read(items: Sequence[corpus.Item], shortest: float = SECONDS[0]) -> list[tuple[Samples, str]]:
    """Utterances that fit into a window, some of very many."""
    found = [(load_audio(item.path), str(item.text)) for item in spread(list(items), 100)]
    return [(x, text) for x, text in found if shortest <= len(x) / SAMPLE_RATE <= SECONDS[1]]


def _drawn(
    spoken: Sequence[tuple[Samples, str]], noise: Mapping[str, Sequence[Samples]], seed: int, count: int
) -> list[Window]:
    return [labelled(mix(spoken, noise, SEEDS["test"] + seed + n).mixed) for n in range(count)]


def _blank(labels: NDArray[np.int64], start: float, end: float) -> None:
    """Let frames from one second to another count as neither."""
    labels[round(start * RATE) : round(end * RATE)] = -1
