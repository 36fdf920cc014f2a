"""Word error rates: hand-counted cases, a reference implementation, and what the bootstrap has to obey."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiosae_steer import AudioError
from audiosae_steer.evaluate.metrics.wer import Difference, WordErrors, rate_difference, rate_interval, word_errors

# Whisper's normaliser leaves its list of spellings open
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file .*english.json:ResourceWarning")

sentences = st.lists(st.sampled_from(["red", "blue", "tree", "house"]), max_size=7).map(" ".join)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "errors", "words", "deletions"),
    [
        ("the cat sat on the mat", "the cat sat on the mat", 0, 6, 0),
        ("the cat sat on the mat", "the cat sit on mat", 2, 6, 1),
        ("the cat sat on the mat", "", 6, 6, 6),
        ("hello", "hello there world", 2, 1, 0),
        ("red blue tree", "house house house house", 4, 3, 0),
        ("", "thank you", 2, 0, 0),
        ("", "", 0, 0, 0),
        ("[door slams]", "thank you", 2, 0, 0),
        ("red blue", ".", 2, 2, 2),
        ("The colour, Mr. Smith, isn't blue!", "the color mister smith is not blue", 0, 7, 0),
    ],
)
def test_hand_counted(reference, hypothesis, errors, words, deletions):
    assert word_errors([reference], [hypothesis]) == WordErrors((errors,), (words,), deletions)


def test_the_rate_is_over_all_words_and_not_the_mean_of_rates():
    found = word_errors(["red", "red blue tree house"], ["blue", "red blue tree house"])
    assert found.rate == 1 / 5
    assert found.deletions == 0


def test_words_written_for_silence_count_as_errors():
    assert word_errors(["red blue", ""], ["red blue", "thank you"]).rate == 1.0
    assert word_errors([""], [""]).rate == 0.0


@pytest.mark.parametrize(("references", "hypotheses"), [([], []), (["red"], []), (["red"], ["red", "blue"])])
def test_unequal_or_no_utterances_are_refused(references, hypotheses):
    with pytest.raises(AudioError, match=f"{len(references)} references and {len(hypotheses)} hypotheses"):
        word_errors(references, hypotheses)


def distance(a: list[str], b: list[str]) -> int:
    """Levenshtein's, by the textbook."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        new = [i]
        for j, y in enumerate(b, 1):
            new.append(min(row[j] + 1, new[-1] + 1, row[j - 1] + (x != y)))
        row = new
    return row[-1]


@given(st.lists(st.tuples(sentences, sentences), min_size=1, max_size=4))
def test_errors_are_levenshtein_distances(pairs):
    found = word_errors([a for a, _ in pairs], [b for _, b in pairs])
    assert found.errors == tuple(distance(a.split(), b.split()) for a, b in pairs)
    assert found.words == tuple(len(a.split()) for a, _ in pairs)
    assert 0 <= found.deletions <= sum(found.errors)


counts = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(1, 9)), min_size=1, max_size=12)


@given(counts)
def test_intervals_lie_where_they_can(rows):
    before = WordErrors(tuple(a for a, _, _ in rows), tuple(n for *_, n in rows), 0)
    after = WordErrors(tuple(b for _, b, _ in rows), before.words, 0)
    low, high = rate_interval(before)
    rates = [a / n for a, _, n in rows]
    assert min(rates) <= low <= high <= max(rates)
    change = rate_difference(before, after)
    assert change.value == pytest.approx(after.rate - before.rate)
    assert change.low <= change.high
    back = rate_difference(after, before)
    assert [-back.value, -back.high, -back.low] == pytest.approx(list(change), abs=1e-12)
    assert rate_difference(before, before) == Difference(0.0, 0.0, 0.0)


def test_the_interval_of_many_words_is_the_binomial_one():
    errors = (np.random.default_rng(0).random(2000) < 0.3).astype(int)
    found = WordErrors(tuple(errors.tolist()), (1,) * 2000, 0)
    low, high = rate_interval(found)
    half = 1.96 * (found.rate * (1 - found.rate) / 2000) ** 0.5
    assert low == pytest.approx(found.rate - half, abs=half / 8)
    assert high == pytest.approx(found.rate + half, abs=half / 8)
    assert rate_interval(found) == (low, high)
    assert rate_interval(found, seed=1) != (low, high)


def test_intervals_shrink_with_the_root_of_the_number_of_utterances():
    widths = []
    for n in (100, 400, 1600):
        low, high = rate_interval(WordErrors((0, 1, 2, 3) * (n // 4), (10,) * n, 0))
        widths.append(high - low)
    for wide, narrow in pairwise(widths):
        assert wide / narrow == pytest.approx(2, rel=0.15)


def test_the_difference_is_paired():
    # the utterances differ widely, and the change is the same in each: a paired interval has no width
    errors = np.random.default_rng(0).integers(1, 10, 200)
    before = WordErrors(tuple(errors.tolist()), (10,) * 200, 0)
    after = WordErrors(tuple((errors - 1).tolist()), (10,) * 200, 0)
    assert rate_difference(before, after) == pytest.approx(Difference(-0.1, -0.1, -0.1))
    low, high = rate_interval(before)
    assert high - low > 0.05
