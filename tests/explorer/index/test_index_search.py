"""Search: each condition keeps what meets it, all of them together, in the order that is asked for."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import numpy as np
import pytest

from audiosae_steer.explorer.index.index_search import PAGE, SORTS, Query, search


def all_of(index, **asked):
    query, found, page = Query(4, **asked), [], 1
    while True:
        result = search(index, query._replace(page=page))
        found += result.features
        if page >= result.pages:
            assert result.total == len(found)
            return found
        page += 1


def test_without_a_condition_all_that_fire_come_page_by_page(index):
    found = all_of(index)
    assert sorted(found) == [i for i in range(64) if i % 16 != 15]
    assert len(search(index, Query(4)).features) == PAGE
    assert sorted(all_of(index, alive=False)) == list(range(64))
    table = index.table(4)
    assert [table.peak[i] for i in found] == sorted(table.peak[found], reverse=True)


@pytest.mark.parametrize("sort", SORTS)
def test_orders_and_their_reverse(index, sort):
    forward, backward = all_of(index, sort=sort), all_of(index, sort=sort, reverse=True)
    assert sorted(forward) == sorted(backward)
    table = index.table(4)
    key = {
        "best": lambda i: -table.peak[i], "density": lambda i: -table.fired[i], "peak": lambda i: -table.peak[i],
        "clips": lambda i: -table.clips[i], "feature": lambda i: i,
        "label": lambda i: (not table.label[i], table.label[i]),
    }[sort]  # fmt: skip
    assert [key(i) for i in forward] == sorted(key(i) for i in forward)
    if sort == "label":
        assert [bool(table.label[i]) for i in backward] == sorted(
            (bool(table.label[i]) for i in backward), reverse=True
        )
    else:
        assert [key(i) for i in backward] == sorted((key(i) for i in backward), reverse=True)


def test_by_density(index):
    table, frames = index.table(4), index.layers[4].frames
    found = all_of(index, least=0.01, most=0.05)
    assert sorted(found) == [i for i in range(64) if 0.01 <= table.fired[i] / frames <= 0.05]
    assert found


def test_by_class_and_not_by_another(index):
    dogs = all_of(index, on="dog")
    found = index.enrichment("dog")
    assert sorted(dogs) == sorted(found.feature[found.layer == 4].tolist())
    assert dogs
    assert all_of(index, on="dog", off="dog") == []
    rest = all_of(index, off="dog")
    assert set(rest) == {i for i in range(64) if i % 16 != 15} - set(dogs)
    result = search(index, Query(4, on="dog", off="rain"))
    assert "of 10 dog clips" in result.reasons[0]
    assert "not enriched for rain" in result.reasons[0]


def test_by_words_names_come_before_transcripts_and_own_labels_first(index):
    named = [feature for feature, label in enumerate(index.table(4).label) if label == "rain" and feature != 62]
    own = {(4, 62): "heavy rain", (3, 61): "rain of another layer"}
    found = search(index, Query(4, words="rain"), own)
    assert found.features[0] == 62
    assert found.reasons[0] == "your label"
    assert found.features[1 : 1 + len(named)] == sorted(named, key=lambda each: -index.table(4).peak[each])
    assert set(found.reasons[1 : 1 + len(named)]) == {"label"}
    assert search(index, Query(4, words="rain"), {(4, 62): "heavy snow"}).reasons[0] != "your label"
    assert search(index, Query(4, words="unheardof")).total == 0


def test_by_what_is_said_on_the_clips_where_it_fires(index):
    with closing(sqlite3.connect(index.path)) as connection:  # now each fires on two clips of 40
        connection.execute("UPDATE features SET clips = 2")
        connection.commit()
    clips = index.clips_saying("fox")
    found = search(index, Query(4, words="fox"))
    assert found.total > 0
    hits = [sum(feature in index.peaks(4, clip)[0] for clip in clips) for feature in found.features]
    assert hits == sorted(hits, reverse=True)
    assert found.reasons[0] == f"fires on {hits[0]} of {len(clips)} clips with these words"


def test_by_clip_in_the_order_of_surprise(index):
    firing = index.fires_on(4, 7)
    found = search(index, Query(4, clip=7))
    assert found.features == firing.features.tolist()[:PAGE]
    assert search(index, Query(4, clip=10_000)).total == 0


def test_conditions_hold_together(index):
    both = all_of(index, on="dog", least=0.01)
    assert set(both) == set(all_of(index, on="dog")) & set(all_of(index, least=0.01))


def test_a_page_beyond_the_last_is_the_last(index):
    assert search(index, Query(4, page=99)).page == search(index, Query(4)).pages
    assert search(index, Query(4, page=0)).page == 1


ASKED = [
    {}, {"words": "rain"}, {"words": "fox"}, {"on": "dog"}, {"on": "dog", "off": "rain"}, {"clip": 7},
    {"least": 0.01, "most": 0.05}, {"alive": False}, {"words": "do", "clip": 3},
]  # fmt: skip


@pytest.mark.parametrize("asked", ASKED)
def test_all_layers_are_each_layer_in_one(index, asked):
    with closing(sqlite3.connect(index.path)) as connection:  # as above: then words of transcripts tell features apart
        connection.execute("UPDATE features SET clips = 2")
        connection.commit()
    own = {(3, 14): "old dog", (4, 62): "heavy rain"}
    both, page = set(), 1
    while True:
        found = search(index, Query(None, **asked, page=page), own)
        for place in zip(found.layers, found.features, found.reasons, strict=True):
            assert place not in both
            both.add(place)
        if page >= found.pages:
            break
        page += 1
    assert len(both) == found.total
    each = set()
    for layer in (3, 4):
        pages = search(index, Query(layer, **asked), own).pages
        for page in range(1, pages + 1):
            one = search(index, Query(layer, **asked, page=page), own)
            assert set(one.layers) <= {layer}
            each |= set(zip(one.layers, one.features, one.reasons, strict=True))
    assert both == each
    assert {layer for layer, _, _ in both} == {3, 4} or "clip" in asked


@pytest.mark.parametrize("sort", SORTS)
def test_all_layers_in_one_order(index, sort):
    found = search(index, Query(None, sort=sort))
    table = index.features()
    keys = {
        "best": -table.peak, "peak": -table.peak, "density": -table.density, "clips": -table.clips,
        "feature": np.arange(len(table)),
    }  # fmt: skip
    if sort == "label":
        names = [table.label(row) for row in found.rows]
        assert names == sorted(filter(None, map(table.label, range(128))))[: len(names)]
    else:
        assert keys[sort][found.rows].tolist() == sorted(keys[sort][table.fired > 0])[:PAGE]
    assert len(set(found.layers)) == (1 if sort == "feature" else 2)
