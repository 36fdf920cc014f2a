"""Candidates for examples: any partition of the clips, merged in any order, gives the same rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiosae_steer.explorer.index.example_candidates import LEVELS, Candidates, drawn, examples, joined, keep, nearest

TOP, EACH = 3, 2


def rows_of(clips: int, features: int, seed: int, values: np.ndarray | None = None) -> Candidates:
    """Rows with many ties: peaks of a few values only."""
    rng = np.random.default_rng(seed)
    feature, clip = np.nonzero(rng.random((features, clips)) < 0.7)
    peaks = rng.choice([0.1, 0.5, 0.52, 0.75, 0.9, 1.0, 2.0], len(feature)) if values is None else values[clip]
    key = (clip.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    curve = np.array([f"{f}/{c}".encode() for f, c in zip(feature, clip, strict=True)], object)
    peaks = peaks.astype(np.float32)
    return Candidates(feature.astype(np.int32), key, peaks, np.zeros(len(feature), np.int32), peaks, curve)


def same(one: Candidates, other: Candidates) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def folded(parts: list[Candidates], merge: Callable[[Candidates], Candidates]) -> Candidates:
    found = merge(parts[0])
    for part in parts[1:]:
        found = merge(joined([found, merge(part)]))
    return found


def split(rows: Candidates, seed: int, parts: int) -> list[Candidates]:
    """The rows by clip, in any order."""
    rng = np.random.default_rng(seed)
    keys = np.unique(rows.clip)
    of = dict(zip(keys.tolist(), rng.integers(parts, size=len(keys)).tolist(), strict=True))
    place = np.array([of[key] for key in rows.clip.tolist()], np.int64)
    order = rng.permutation(parts)
    found = []
    for part in order:
        own = np.flatnonzero(place == part)
        found.append(rows.pick(rng.permutation(own)))
    return found


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), clips=st.integers(1, 24), features=st.integers(1, 4), parts=st.integers(1, 6))
def test_any_partition_in_any_order_keeps_the_same(seed: int, clips: int, features: int, parts: int) -> None:
    rows = rows_of(clips, features, seed)
    if not len(rows.feature):
        return
    whole = keep(rows, TOP, EACH)
    assert same(folded(split(rows, seed, parts), lambda part: keep(part, TOP, EACH)), whole)
    margins = rows._replace(value=-rows.value)
    assert same(folded(split(margins, seed, parts), lambda part: nearest(part, EACH)), nearest(margins, EACH))


def test_ties_by_arrival_would_not_be_the_same() -> None:
    """The same check fails for a heap that keeps whichever of two equal clips came first."""

    def naive(rows: Candidates) -> Candidates:
        order = np.lexsort((-rows.value, rows.feature))
        rows = rows.pick(order)
        first = np.searchsorted(rows.feature, rows.feature)
        return rows.pick(np.arange(len(order)) - first < TOP)

    failed = 0
    for seed in range(8):
        rows = rows_of(20, 3, seed)
        failed += not same(folded(split(rows, seed, 4), naive), naive(rows))
    assert failed >= 6


def test_a_random_generator_would_not_be_the_same() -> None:
    """Likewise for a reservoir that draws by order of arrival."""

    def naive(rows: Candidates) -> Candidates:
        return rows.pick(np.sort(np.random.default_rng(0).permutation(len(rows.feature))[:TOP]))

    rows = rows_of(20, 1, 3)
    assert not same(folded(split(rows, 3, 4), naive), naive(rows))


def test_levels_are_of_the_highest_peak_that_comes_last() -> None:
    """A clip that doubles the highest peak makes other clips those at 90, 75 and 50 %, all of which were kept."""
    peaks = np.concatenate([np.linspace(0.02, 1.0, 400), [2.0]])
    feature, key = np.zeros(401, np.int32), np.arange(1, 402, dtype=np.uint64)
    curve = np.array([b""] * 401, object)
    rows = Candidates(feature, key, peaks.astype(np.float32), feature, peaks.astype(np.float32), curve)
    kept = folded([rows.pick(np.arange(i, min(i + 50, 401))) for i in range(0, 401, 50)], lambda r: keep(r, 1, EACH))
    assert len(kept.feature) < 80
    found = examples(kept, 1, EACH)
    assert kept.value[found["top"]].tolist() == [2.0]
    assert len(found["q50"]) == EACH
    assert np.all(np.abs(kept.value[found["q50"]] / 2.0 - LEVELS["q50"]) <= 0.051)
    assert len(found["q90"]) == len(found["q75"]) == 0  # no clip is there
    assert kept.value[found["threshold"]].tolist() == pytest.approx(peaks[:2].tolist())


@pytest.mark.parametrize("seed", range(4))
def test_a_clip_is_one_kind_of_example(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = keep(rows_of(60, 3, seed, rng.uniform(0.01, 1, 60)), TOP, EACH)
    found = examples(rows, TOP, EACH)
    chosen = np.concatenate(list(found.values()))
    assert len(np.unique(chosen)) == len(chosen)
    for feature in range(3):
        own = rows.value[(rows.feature == feature)]
        top = rows.value[found["top"][rows.feature[found["top"]] == feature]]
        assert top.tolist() == np.sort(own)[::-1][:TOP].tolist()
        for kind, level in LEVELS.items():
            mine = found[kind][rows.feature[found[kind]] == feature]
            assert np.all(np.abs(rows.value[mine] / own.max() - level) <= 0.051)


def test_the_draw_is_even() -> None:
    """Every clip has the same chance of being drawn: so is the mean of 0 to 1, within 5 standard errors."""
    lots = drawn(np.arange(100, dtype=np.int32).repeat(100), np.tile(np.arange(100, dtype=np.uint64), 100))
    share = lots.astype(np.float64) / 2.0**64
    assert abs(share.mean() - 0.5) < 5 * 12**-0.5 / 100
    assert len(np.unique(lots)) == len(lots)
