"""Reading an index: what was written comes back, from any thread; what is no index is refused in words."""

from __future__ import annotations

import json
import sqlite3
import threading
import zlib
from contextlib import closing

import numpy as np
import pytest

from audiosae_steer.errors import SteeringError
from audiosae_steer.explorer.index.index_file import new_index
from audiosae_steer.explorer.index.index_reader import Index, full_text
from audiosae_steer.explorer.index.index_schema import APPLICATION, BINS, VERSION, bin_of, pack_curve

CURVE = np.array([0, 1, 2, 4, 0], np.float32)


def written(path, *, clips: int = 2, effect: str = "{}"):
    """A small index by hand: feature 0 of layer 4 fires on clip 1; feature 1 on none."""
    scale, packed = pack_curve(CURVE)
    histogram = np.zeros(BINS, "<u4")
    histogram[bin_of(np.array([1, 2, 4], np.float32))] += 1
    with new_index(path) as writer:
        writer.meta({"model": "toy", "sounds": False, "labels": ["dog"], "seconds": 2.0})
        writer.add("layers", [(4, "encoder layer 4", "{}", "ab" * 32, 2, 8, 50.0, clips, 1024)])
        starts = [(i, f"a/clip-{i}.wav", 0.0 if i == 1 else 30.0) for i in range(1, clips + 1)]
        writer.add("clips", [(*each, 1.0, "dog", "a “quoted” dog", "src", "CC0", each[0] == 1) for each in starts])
        writer.add("features", [
            (4, 0, 3, 1, 4.0, 7 / 3, histogram.tobytes(), "dog", 0.25, 0.5),
            (4, 1, 0, 0, 0.0, 0.0, bytes(4 * BINS), "", None, None),
        ])  # fmt: skip
        writer.add(
            "examples", [(4, 0, "near", 0, 2, 0.5, 0.1, scale, packed), (4, 0, "top", 0, 1, 4.0, 0.06, scale, packed)]
        )
        writer.add("neighbours", [(4, 0, "cosine", 0, 1, 0.5)])
        writer.add("labels", [(4, 0, 0, "dog", 2, 1, 1.5, 1.1, 2.0)])
        writer.add("effects", [(4, 0, 1, "ablated", effect)])
        writer.add(
            "peaks",
            [(4, 1, zlib.compress(np.array([0], "<u2").tobytes()), zlib.compress(np.array([4], "<f2").tobytes()))],
        )
        writer.add("words", [("dog", "label", 4, 0, None), ("a quoted dog", "transcript", None, None, 1)])
    return path


def test_what_was_written_comes_back(tmp_path):
    effect = json.dumps(
        {"end": 0.5, "first": [" The", -1], "words": [[" a", 0.25], ["bad"]], "before": "x", "after": "y"}
    )
    index = Index(written(tmp_path / "i.sqlite", effect=effect))
    feature = index.feature(4, 0)
    assert (feature.fired, feature.clips, feature.peak, feature.label, feature.x) == (3, 1, 4.0, "dog", 0.25)
    assert feature.histogram.sum() == 3
    assert index.feature(4, 7) is None
    assert index.feature(5, 0) is None
    top, near = index.examples(4, 0)
    assert (top.kind, near.kind) == ("top", "near")  # in the order of KINDS, not of the alphabet
    np.testing.assert_allclose(top.curve, CURVE, atol=4 / 510)
    assert (top.clip.name, near.clip.name) == ("clip-1", "clip-2 from 30 s")
    assert (top.clip.redistributable, near.clip.redistributable) == (True, False)
    assert index.example_on(4, 0, 2).kind == "near"
    assert index.example_on(4, 0, 9) is None
    assert [(n.feature, n.value, n.fired) for n in index.neighbours(4, 0)] == [(1, 0.5, 0)]
    assert index.enriched(4, 0)[0].high == 2.0
    dogs = index.enrichment("dog")
    assert (dogs.layer.tolist(), dogs.feature.tolist()) == ([4], [0])
    assert dogs.low.tolist() == [index.enriched(4, 0)[0].low]
    assert len(index.enrichment("cat").feature) == 0
    (found,) = index.effects(4, 0)
    assert (found.end, found.first, found.words, found.after) == (0.5, (" The", -1.0), ((" a", 0.25),), "y")
    assert index.sound(1) is None
    assert not index.keeps_sound


def test_surprise_is_the_rarity_of_the_peak(tmp_path):
    firing = Index(written(tmp_path / "i.sqlite")).fires_on(4, 1)
    assert firing.features.tolist() == [0]
    # one frame of 1,024 is as high as 4
    assert firing.surprise.tolist() == [10.0]


def test_columns_of_a_layer(index):
    table = index.table(4)
    assert table.feature.tolist() == list(range(64))
    assert index.table(4) is table
    assert np.isnan(table.x[15])
    assert not np.isnan(table.x[14])
    for feature in (0, 15, 37):
        row = index.feature(4, feature)
        assert (row.fired, row.clips, row.peak, row.label) == (
            table.fired[feature], table.clips[feature], table.peak[feature], table.label[feature],
        )  # fmt: skip


def test_words_are_found_as_beginnings_and_never_as_operators(index):
    table = index.features(4)
    named = table.labelled(full_text("rai"))
    assert [table.label(row) for row in np.flatnonzero(named >= 0)] == ["rain"] * index.table(4).label.count("rain")
    assert (named >= 0).any()
    assert (table.labelled(full_text("unheard")) < 0).all()
    assert (table.labelled("") < 0).all()
    for hostile in (
        '"',
        'rain" OR "dog',
        "NEAR(",
        "text:",
        "*",
        "-",
        "(((",
        "\0",
        "AND OR NOT",
        '""""',
        "rain\x00dog",
        "x" * 5000,
    ):
        table.labelled(full_text(hostile))  # raises nothing
        index.clips_saying(hostile)
    assert full_text('a" OR b') == '"a"* "OR"* "b"*'
    assert full_text(' " * ') == ""
    clips = index.clips_saying("fox")
    assert clips
    assert all("fox" in index.clip(clip).transcript for clip in clips)


def test_columns_of_all_layers_are_those_of_each(index):
    every = index.features()
    assert every.layers == [3, 4]
    for layer in (3, 4):
        one, own = index.features(layer), every.rows_of(layer)
        for column in ("feature", "fired", "clips", "peak", "density", "layer"):
            np.testing.assert_array_equal(getattr(every, column)[own], getattr(one, column))
        assert [every.label(row) for row in range(own.start, own.stop)] == index.table(layer).label
        rows, known = every.find(layer, np.array([5, 1000, 0]))
        assert (rows.tolist(), known.tolist()) == ([own.start + 5, own.start], [True, False, True])
    assert every.find(9, np.array([1]))[1].tolist() == [False]


def test_numbers_of_clips_on_which_features_fire(index):
    clips = [3, 7, 9, 1000]
    fired = [set(index.peaks(4, clip)[0].tolist()) for clip in clips]
    counts = index.hits(4, clips)
    assert counts.tolist() == [sum(feature in each for each in fired) for feature in range(len(counts))]
    assert counts.sum() == sum(map(len, fired))
    assert index.hits(4, []).sum() == 0


def test_transcripts_are_found_wherever_they_were_written(index):
    with closing(sqlite3.connect(index.path)) as connection:  # after the labels, as no build does
        connection.execute("INSERT INTO words VALUES ('a new fox', 'transcript', NULL, NULL, 2)")
        connection.commit()
    assert 2 in Index(index.path).clips_saying("new fox")


def test_many_threads_at_once(index):
    expected = {feature: [each.peak for each in index.examples(4, feature)] for feature in range(64)}
    wrong = []

    def read(start: int) -> None:
        for feature in range(start, 64, 8):
            if [each.peak for each in index.examples(4, feature)] != expected[feature]:
                wrong.append(feature)

    threads = [threading.Thread(target=read, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(index._idle) <= 4


def test_it_is_never_written(index, index_file):
    with pytest.raises(sqlite3.OperationalError), index._connected() as connection:
        connection.execute("DELETE FROM clips")
    assert index.clip(1) is not None
    assert index.path.read_bytes() == index_file.read_bytes()


def test_a_path_with_signs_of_addresses(tmp_path, index_file):
    odd = tmp_path / "a?b#c%20 ä.sqlite"
    odd.write_bytes(index_file.read_bytes())
    opened = Index(odd)
    assert opened.clip(1) is not None
    opened.close()


def test_what_is_no_index_is_refused(tmp_path):
    with pytest.raises(SteeringError, match=r"there is no index .*explore build"):
        Index(tmp_path / "absent.sqlite")
    with pytest.raises(SteeringError, match="there is no index"):
        Index(tmp_path)
    text = tmp_path / "text"
    text.write_text("hello" * 1000)
    with pytest.raises(SteeringError, match="no explorer's index"):
        Index(text)
    (tmp_path / "empty").touch()
    with pytest.raises(SteeringError, match="no explorer's index"):
        Index(tmp_path / "empty")
    other = tmp_path / "other.sqlite"
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE layers (layer)")
        connection.execute(f"PRAGMA application_id = {APPLICATION}")
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    with pytest.raises(SteeringError, match=f"format {VERSION + 1}.*reads format {VERSION}"):
        Index(other)


def read_all(path):
    index = Index(path)
    index.table(4)
    for clip in index.clips():
        index.sound(clip.id)
    for feature in range(64):
        index.examples(4, feature)


def test_a_cut_file_is_refused_or_read_with_an_error_in_words(tmp_path, index_file):
    whole = index_file.read_bytes()
    cut = tmp_path / "cut.sqlite"
    for share in (0.001, 0.3, 0.9):
        cut.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises((SteeringError, sqlite3.DatabaseError)):
            read_all(cut)


def test_a_bomb_is_not_inflated(tmp_path):
    path = written(tmp_path / "i.sqlite")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE examples SET curve = ?", (zlib.compress(bytes(50 << 20), 9),))
        connection.commit()
    with pytest.raises(ValueError, match="inflates to more than"):
        Index(path).examples(4, 0)
