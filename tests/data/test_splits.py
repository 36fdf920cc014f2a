"""Parts that share no speaker, no recording and no kind of sound."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiosae_steer import AudioError
from audiosae_steer.data.sources import Clip
from audiosae_steer.data.splits import split

CLIPS = st.lists(
    st.builds(
        Clip,
        name=st.text(max_size=3),
        text=st.none(),
        group=st.sampled_from("abcdefgh"),
        label=st.none() | st.sampled_from(["rain", "dog", "wind"]),
        source=st.sampled_from(["here", "there"]),
    ),
    max_size=40,
)
SHARES = st.dictionaries(st.sampled_from(["find", "calibrate", "test"]), st.floats(0.05, 1.0), min_size=1)


@given(CLIPS, SHARES, st.integers(0, 5), st.sampled_from([("group",), ("group", "label")]), st.randoms())
def test_no_part_shares_anything_with_another(clips, shares, seed, apart, random) -> None:
    try:
        parts = split(clips, shares, seed, apart=apart)
    except AudioError:
        assert len({(clip.source, clip.group) for clip in clips}) < len(shares) or "label" in apart
        return
    assert set(parts) == set(shares)
    assert all(parts.values())
    assert sorted(i for part in parts.values() for i in part) == list(range(len(clips)))
    sides = [{(clips[i].source, clips[i].group) for i in part} for part in parts.values()]
    assert sum(map(len, sides)) == len(set().union(*sides))
    if "label" in apart:
        labels = [{clips[i].label for i in part} - {None} for part in parts.values()]
        assert sum(map(len, labels)) == len(set().union(*labels))

    order = list(range(len(clips)))
    random.shuffle(order)
    again = split([clips[i] for i in order], shares, seed, apart=apart)
    assert {name: sorted(order[i] for i in part) for name, part in again.items()} == parts


@given(st.integers(30, 200), st.integers(0, 20))
def test_shares_are_kept_where_groups_are_small(groups: int, seed: int) -> None:
    clips = [Clip(str(i), None, str(i), None, "here") for i in range(groups)]
    parts = split(clips, {"find": 0.5, "calibrate": 0.3, "test": 0.2}, seed)
    for name, share in {"find": 0.5, "calibrate": 0.3, "test": 0.2}.items():
        assert abs(len(parts[name]) - share * groups) <= 1.5


@given(st.integers(0, 100))
def test_where_a_folder_lies_does_not_matter(seed: int) -> None:
    here, there = ([Clip(str(i), None, str(i % 7), None, source) for i in range(21)] for source in ("/a", "/b/c"))
    shares = {"find": 2, "test": 1}
    assert split(here, shares, seed) == split(there, shares, seed)


def test_the_seed_matters() -> None:
    clips = [Clip(str(i), None, str(i), None, "here") for i in range(20)]
    assert len({str(split(clips, {"find": 1, "test": 1}, seed)) for seed in range(5)}) == 5


def test_what_cannot_be_split() -> None:
    clips = [Clip(str(i), None, "same", "rain", "here") for i in range(9)]
    with pytest.raises(AudioError, match="1 speakers, .* cannot be split into 2 parts: find, test"):
        split(clips, {"find": 1, "test": 1})
    with pytest.raises(AudioError, match="no shares"):
        split(clips, {"find": 0.0})
    with pytest.raises(AudioError, match="no shares"):
        split(clips, {})
    with pytest.raises(AudioError, match="by group or label"):
        split(clips, {"find": 1}, apart=("fold",))
    with pytest.raises(AudioError, match="by group or label"):
        split(clips, {"find": 1}, apart=())
