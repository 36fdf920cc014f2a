from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from audiosae_steer.explorer.live import word_diff as module
from audiosae_steer.explorer.live.word_diff import word_diff

WORDS = st.lists(st.sampled_from(["the", "train", "leaves", "at", "seven", "The"]), max_size=12).map(" ".join)


def test_words_that_are_gone_new_and_the_same() -> None:
    found = word_diff("I'm going to go ahead and do that.", "I'm going to do that.")
    assert found == [("same", "I'm going to"), ("gone", "go ahead and"), ("same", "do that.")]
    assert word_diff("a b", "c") == [("gone", "a b"), ("new", "c")]


def test_nothing_before_or_after() -> None:
    assert word_diff("", "") == []
    assert word_diff("a", "") == [("gone", "a")]
    assert word_diff("", "a") == [("new", "a")]


@given(WORDS, WORDS)
def test_both_texts_can_be_read_from_it(before: str, after: str) -> None:
    found = word_diff(before, after)
    assert " ".join(each.words for each in found if each.kind != "new") == before
    assert " ".join(each.words for each in found if each.kind != "gone") == after


def test_endless_texts_are_not_compared(monkeypatch) -> None:
    monkeypatch.setattr(module, "MOST", 3)
    assert word_diff("a b c d", "a b c e") == [("gone", "a b c d"), ("new", "a b c e")]
