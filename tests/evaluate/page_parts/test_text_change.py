"""Two texts as one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from audiosae_steer.evaluate.page_parts.text_change import text_change

TEXTS = st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=8).map(" ".join)


def test_a_replacement_goes_before_it_comes():
    assert text_change("the dog barks", "the cat barks") == [
        ("same", "the"), ("gone", "dog"), ("new", "cat"), ("same", "barks"),
    ]  # fmt: skip
    assert text_change("", "") == []


@given(TEXTS, TEXTS)
def test_both_texts_can_be_read_from_it(before, after):
    changes = text_change(before, after)
    assert " ".join(words for kind, words in changes if kind != "new") == before
    assert " ".join(words for kind, words in changes if kind != "gone") == after
