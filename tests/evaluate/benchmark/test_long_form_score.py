"""Scores of long recordings: perfect, empty, shifted and invented transcripts, by hand and by the hundred."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiosae_steer import SteeringError, load_audio, load_processor, steer
from audiosae_steer.evaluate.benchmark.long_form_score import run_long, score
from audiosae_steer.evaluate.benchmark.long_recordings import (
    PAUSE,
    SPEECH,
    LongFile,
    Piece,
    assemble,
    synthetic_fillers,
)
from audiosae_steer.evaluate.transcription.transcribe import Segment, Transcript
from audiosae_steer.steering.recipes.load import checkpoints_dir

# Whisper's normaliser leaves its list of spellings open
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file .*english.json:ResourceWarning")

CLIPS = checkpoints_dir() / "clips"
VOCABULARY = ["red", "blue", "tree", "house", "river", "sun", "garden", "light", "stone", "bread"]
INVENTED = ["thank", "watching", "subscribe", "please", "bye"]


def build(blocks: list[tuple[float, str, str]], last: float = 0.0) -> LongFile:
    """Of (seconds before, kind of gap, words); an utterance lasts 0.4 s a word."""
    pieces, now = [], 0.0
    for before, kind, text in blocks:
        if before:
            pieces.append(Piece(now, now + before, None, kind))
        now += before
        seconds = 0.4 * len(text.split())
        pieces.append(Piece(now, now + seconds, text, SPEECH))
        now += seconds
    if last:
        pieces.append(Piece(now, now + last, None, "hum"))
    return LongFile(np.zeros(round((now + last) * 16_000), np.float32), tuple(pieces))


def written(*segments: tuple[float, float, str]) -> Transcript:
    found = tuple(Segment(start, end, f" {text}") for start, end, text in segments)
    return Transcript("".join(s.text for s in found).strip(), found, "en")


def perfect(file: LongFile, shift: float = 0.0) -> list[tuple[float, float, str]]:
    return [(p.start + shift, p.end + shift, str(p.text)) for p in file.speech]


utterance = st.lists(st.sampled_from(VOCABULARY), min_size=1, max_size=8).map(" ".join)
blocks = st.lists(
    st.tuples(st.floats(5, 30), st.sampled_from(["hum", "rain", "music"]), utterance), min_size=1, max_size=6
)
files = st.builds(build, blocks, st.floats(5, 30))
invented = st.lists(st.sampled_from(INVENTED), min_size=1, max_size=6).map(" ".join)


@given(files)
def test_a_perfect_transcript(file):
    found = score(written(*perfect(file)), file)
    assert (found.gap_words, found.loops, found.wer, found.deletions, found.false) == (0, 0, 0.0, 0, ())
    assert found.spoken.errors == (0,) * len(file.speech)
    assert found.drift == found.drift_95 == 0
    assert found.timed == len(file.speech)
    assert found.gap_seconds == pytest.approx(sum(g.end - g.start for g in file.gaps))
    assert sum(seconds for _, seconds in found.by_kind.values()) == pytest.approx(found.gap_seconds)


@given(files, st.floats(-25, 25))
def test_times_alone_are_no_errors(file, shift):
    found = score(written(*perfect(file, shift)), file)
    assert (found.gap_words, found.loops, found.wer, found.deletions) == (0, 0, 0.0, 0)
    assert found.drift == pytest.approx(abs(shift), abs=1e-6)
    assert found.drift_95 == pytest.approx(abs(shift), abs=1e-6)


@given(files)
def test_nothing_written_is_everything_deleted(file):
    found = score(Transcript("", (), "en"), file)
    words = sum(len(str(p.text).split()) for p in file.speech)
    assert (found.gap_words, found.loops, found.deletions, found.wer) == (0, 0, words, 1.0)
    assert math.isnan(found.drift)
    assert found.timed == 0


def in_gaps(file: LongFile, texts: list[str]) -> list[tuple[float, float, str]]:
    """One text in each gap, well inside it."""
    return [(g.start + 1, g.end - 1, text) for g, text in zip(file.gaps, texts, strict=False)]


@given(files, st.lists(invented, min_size=1, max_size=7), st.booleans())
def test_words_in_gaps_are_counted_beside_perfect_speech_and_beside_none(file, texts, heard):
    gaps = in_gaps(file, texts)
    found = score(written(*sorted([*gaps, *(perfect(file) if heard else [])])), file)
    words = sum(len(text.split()) for *_, text in gaps)
    said = sum(len(str(p.text).split()) for p in file.speech)
    assert found.gap_words == words
    assert found.deletions == (0 if heard else said)
    assert sum(found.spoken.errors) == (0 if heard else said)
    assert len(found.false) == len(gaps)
    assert sum(count for count, _ in found.by_kind.values()) == words
    kinds = {g.kind for g, _ in zip(file.gaps, gaps, strict=False)}
    assert all(bool(count) <= (kind in kinds) for kind, (count, _) in found.by_kind.items())
    assert found.words_per_minute == pytest.approx(words / found.gap_seconds * 60)


@given(files, st.lists(utterance, min_size=1, max_size=7))
def test_words_in_gaps_that_are_said_elsewhere_too(file, texts):
    gaps = in_gaps(file, texts)
    found = score(written(*sorted([*gaps, *perfect(file)])), file)
    assert found.gap_words == sum(len(text.split()) for *_, text in gaps)
    assert sum(found.spoken.errors) == 0
    assert found.timed == len(file.speech)


@given(files, st.lists(st.tuples(st.floats(0, 150), st.floats(0, 30), utterance), max_size=8))
def test_whatever_is_written_every_word_is_accounted_for(file, rows):
    found = score(written(*((a, a + n, text) for a, n, text in sorted(rows))), file)
    heard = sum(len(text.split()) for *_, text in rows)
    said = sum(found.spoken.words)
    assert 0 <= found.gap_words <= heard
    assert 0 <= found.deletions <= said
    # the alignment behind these counts is one of all; the usual rate is of the best
    assert sum(found.spoken.errors) + found.gap_words >= sum(found.whole.errors)
    # words not deleted come from words that are not of gaps
    assert said - found.deletions <= heard - found.gap_words


FILE = build([(20.0, "rain", "red blue tree house"), (0.5, PAUSE, "river sun"), (15.0, "hum", "garden light")], 10.0)
# speech at 20.0–21.6, 22.1–22.9 and 37.9–38.7 s; 48.7 s long


@pytest.mark.parametrize(
    ("segments", "gap_words", "errors", "wer"),
    [
        # real words of a segment that begins long before them are not false
        (
            [(0.0, 21.6, "red blue tree house"), (22.1, 22.9, "river sun"), (37.9, 38.7, "garden light")],
            0,
            (0, 0, 0),
            0,
        ),
        # false words before them, in the same segment
        ([(0.0, 21.6, "thank you red blue tree house"), (22, 39, "river sun garden light")], 2, (0, 0, 0), 2 / 8),
        # a word too many within speech
        ([(20.0, 23.0, "red blue big tree house river sun"), (37.9, 38.7, "garden light")], 0, (1, 0, 0), 1 / 8),
        # and one between two utterances that are no gap apart
        ([(20.0, 22.9, "red blue tree house so river sun"), (37.9, 38.7, "garden light")], 0, (0, 1, 0), 1 / 8),
        # after the last, far into the gap
        ([(20, 23, "red blue tree house river sun"), (37.9, 48, "garden light bye")], 1, (0, 0, 0), 1 / 8),
        # false words over two gaps and speech that is lost between them
        ([(20, 23, "red blue tree house river sun"), (25, 48, "thank you")], 2, (0, 0, 2), 2 / 8),
        # misheard words at the right time
        ([(20, 23, "red blue free house river sun"), (37.8, 38.9, "garden lights")], 0, (1, 0, 1), 2 / 8),
        # text after the end of the recording, and a segment without length
        ([(20, 23, "red blue tree house river sun"), (38, 39, "garden light"), (50, 50, "bye")], 1, (0, 0, 0), 1 / 8),
        # what the normaliser leaves nothing of
        ([(1, 9, "[music]"), (20, 23, "red blue tree house river sun"), (38, 39, "garden light.")], 0, (0, 0, 0), 0),
    ],
)
def test_by_hand(segments, gap_words, errors, wer):
    found = score(written(*segments), FILE)
    assert found.gap_words == gap_words
    assert found.spoken.errors == errors
    assert found.wer == wer


def test_drift_is_taken_where_a_segment_begins_with_the_utterance():
    found = score(written((19.5, 23.0, "red blue tree house river sun"), (40.0, 41.0, "garden light")), FILE)
    assert found.timed == 2  # the second utterance begins within a segment
    assert found.drift == pytest.approx((0.5 + 2.1) / 2)
    assert found.drift_95 == pytest.approx(0.5 + 0.95 * 1.6)


def test_loops():
    speech = [(20.0, 21.6, "red blue tree house"), (22.1, 22.9, "river sun"), (37.9, 38.7, "garden light")]
    thrice = [(25.0 + 2 * i, 27.0 + 2 * i, "Thank you.") for i in range(3)]
    assert score(written(*speech[:2], *thrice, speech[2]), FILE).loops == 3
    assert score(written(*speech[:2], *thrice[:2], speech[2]), FILE).loops == 0
    assert score(written((1, 9, "Bye, bye, bye!"), *speech), FILE).loops == 1
    assert score(written((1, 9, "Bye, bye!"), *speech), FILE).loops == 0
    assert score(written((1, 9, "and so we go on " * 9 + "to"), *speech), FILE).loops == 1  # compression
    dots = [(25.0 + 2 * i, 27.0 + 2 * i, ". .") for i in range(4)]
    found = score(written(*speech[:2], *dots, speech[2]), FILE)
    assert (found.loops, found.gap_words, len(found.false)) == (4, 0, 4)
    said = build([(9.0, "hum", "red red red"), (9.0, "hum", "red red red"), (9.0, "hum", "red red red")])
    assert score(written(*perfect(said)), said).loops == 0


def test_a_recording_without_speech():
    file = LongFile(np.zeros(16_000, np.float32), (Piece(0.0, 60.0, None, "rain"),))
    found = score(written((0.0, 30.0, "thank you"), (30.0, 60.0, "bye")), file)
    assert (found.gap_words, found.words_per_minute, found.deletions) == (3, pytest.approx(3.0), 0)
    assert found.by_kind == {"rain": (3, 60.0)}
    assert score(written(), file).gap_words == 0


@pytest.fixture(scope="module")
def recording() -> LongFile:
    """Three sentences in a little more than a minute."""
    texts = {
        "speech-04": "We walked along the river until the sun went down.",
        "speech-08": "The meeting was moved to Thursday.",
        "speech-06": "There is a small bakery on the corner of our street.",
    }
    spoken = [(load_audio(CLIPS / f"{name}.flac"), text) for name, text in texts.items()]
    noise = [load_audio(CLIPS / f"{name}.flac") for name in ("rain", "keyboard")]
    return assemble(spoken, {"noise": noise, **synthetic_fillers(1, 1)}, seed=5, minutes=0.8)


def test_transcribe_is_steered_and_writes_nothing_in_gaps(tiny_en, recording):
    before, seconds = run_long(tiny_en, recording)
    assert seconds > 0
    assert before.wer >= sum(before.spoken.errors) / sum(before.spoken.words)
    with steer(tiny_en, "no-false-speech"):
        after, _ = run_long(tiny_en, recording)
    assert after.gap_words <= before.gap_words
    assert after.deletions <= before.deletions + 2


def test_what_the_vad_leaves_has_no_words_in_gaps(tiny_en, recording):
    pytest.importorskip("faster_whisper", reason="faster-whisper, which carries the VAD, is not installed")
    found, _ = run_long(tiny_en, recording, how="vad")
    assert found.gap_words == 0
    assert found.spoken.rate < 0.3


def test_the_pipeline(tiny_en_hf, recording):
    before = tiny_en_hf.generation_config.to_dict()
    with steer(tiny_en_hf, "no-false-speech"):
        found, _ = run_long(tiny_en_hf, recording, processor=load_processor("tiny.en"), how="pipeline", num_beams=1)
    assert tiny_en_hf.generation_config.to_dict() == before
    assert found.gap_words == 0
    assert found.spoken.rate < 0.5
    assert found.timed


def test_what_cannot_be_run(tiny_en, tiny_en_hf, recording):
    with pytest.raises(SteeringError, match="transcribe.*pipeline.*vad"):
        run_long(tiny_en, recording, how="else")
    for model in (tiny_en, tiny_en_hf):
        with pytest.raises(SteeringError, match="load_processor"):
            run_long(model, recording, how="pipeline")
