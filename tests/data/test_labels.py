"""Who is on which side, and a split that tears no recording apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from audiosae_steer.data.labels import from_csv, from_folders, unlabelled
from audiosae_steer.data.splits import hold_out
from audiosae_steer.errors import AudioError, SteeringError


def tone(path: Path, seconds: float = 0.5) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(int(seconds * 16_000), np.float32), 16_000)
    return path


@pytest.fixture
def folder(tmp_path) -> Path:
    for name in ("dogs/rex_1", "dogs/rex_2", "dogs/fido_1", "cats/tom_1", "cats/kit_1", "cats/kit_2"):
        tone(tmp_path / f"{name}.wav")
    return tmp_path


def test_folders_become_labels_and_recordings(folder):
    found = from_folders([folder / "dogs"], [folder / "cats"])
    assert [(e.window.path.name, e.group, e.present) for e in found] == [
        ("fido_1.wav", "fido", True),
        ("rex_1.wav", "rex", True),
        ("rex_2.wav", "rex", True),
        ("kit_1.wav", "kit", False),
        ("kit_2.wav", "kit", False),
        ("tom_1.wav", "tom", False),
    ]
    alone = from_folders([folder / "dogs"], [folder / "cats"], "file")
    assert len({e.group for e in alone}) == 6
    assert {e.present for e in unlabelled([folder])} == {None}


def test_a_long_file_is_several_clips_of_one_recording(folder):
    tone(folder / "dogs" / "long.wav", 65)
    found = [e for e in from_folders([folder / "dogs"], [folder / "cats"], "file") if e.window.path.name == "long.wav"]
    assert [e.window.start for e in found] == [0, 480_000, 960_000]
    assert len({e.group for e in found}) == 1


def test_no_file_is_on_both_sides(folder):
    with pytest.raises(AudioError, match=r"fido_1.wav is among .* and among .* \(3 such files\)"):
        from_folders([folder / "dogs"], [folder])
    with pytest.raises(SteeringError, match="groups is 'speaker'"):
        from_folders([folder / "dogs"], [folder / "cats"], "speaker")


def write(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "labels.csv"
    path.write_text(text, encoding=encoding)
    return path


def test_a_list_of_labels(folder):
    path = write(folder, "file,label,group\ndogs/rex_1.wav,1,\ncats/tom_1.wav,0,house\n")
    found = from_csv(path)
    assert [(e.window.path.name, e.group, e.present) for e in found] == [
        ("rex_1.wav", "rex", True),
        ("tom_1.wav", "house", False),
    ]
    path = write(folder, "label,file\ndog,rex_1.wav\nwolf,rex_2.wav\n hound ,fido_1.wav\n", "utf-8-sig")
    found = from_csv(path, folder / "dogs", "dog")
    assert [e.present for e in found] == [True, False, False]


@pytest.mark.parametrize(
    ("text", "positive", "message"),
    [
        ("path,label\nx,1\n", None, "no column 'file'; it has path, label, and needs file,label"),
        ("file\nx\n", None, "no column 'label'"),
        ("", None, "no column 'file'; it has none"),
        ("file,label\n", None, "names no files"),
        ("file,label\ndogs/rex_1.wav,1\ngone.wav,0\n", None, "names 1 of 2 files that are not there, .*gone.wav"),
        ("file,label\ndogs/rex_1.wav,dog\n", None, "labels 'dog'; expected 1 and 0, or say which"),
        ("file,label\ndogs/rex_1.wav,dog\n", "cat", "no label 'cat'; it has 'dog'"),
        ("file,label\ndogs/rex_1.wav,1\ndogs/rex_1.wav,0\n", None, "rex_1.wav two labels"),
        ("file,label\ndogs/rex_1.wav\n", None, "labels ''; expected"),
    ],
)
def test_lists_that_cannot_be_used_say_why(folder, text, positive, message):
    with pytest.raises(AudioError, match=message):
        from_csv(write(folder, text), None, positive)


def test_lists_that_are_none(folder):
    with pytest.raises(AudioError, match="no list of labels at .*gone.csv"):
        from_csv(folder / "gone.csv")
    (folder / "bytes.csv").write_bytes(b"file,label\n\xff\xfe,1\n")
    with pytest.raises(AudioError, match="cannot be read as a CSV in UTF-8"):
        from_csv(folder / "bytes.csv")


@given(
    st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=1, max_size=60),
    st.floats(0.05, 0.95),
    st.integers(0, 5),
)
def test_a_split_keeps_recordings_whole_and_both_kinds_on_both_sides(rows, share, seed):
    groups = [f"g{group}" for group, _ in rows]
    labels = np.array([flag for _, flag in rows])
    try:
        held = hold_out(labels, groups, share, seed)
    except SteeringError:
        return  # too few of a kind; the tests below say when
    names = np.array(groups)
    assert not set(names[held]) & set(names[~held])
    for side in (held, ~held):
        assert 0 < labels[side].sum() < side.sum()
    assert np.array_equal(held, hold_out(labels, groups, share, seed))


def test_about_the_share_is_held_out_and_the_seed_matters():
    labels = np.arange(200) % 2 == 0
    groups = [f"g{i // 2}-{i % 2}" for i in range(200)]
    held = hold_out(labels, groups, 0.3, 0)
    assert held[labels].sum() == held[~labels].sum() == 30
    assert not np.array_equal(held, hold_out(labels, groups, 0.3, 1))
    assert hold_out(labels, groups, 0.001, 0).sum() == 2  # one recording of either kind at least


def test_files_are_counted_and_not_their_rows() -> None:
    labels, files = np.array([True, True, True, False, False]), ["a.wav", "a.wav", "b.wav", "c.wav", "d.wav"]
    with pytest.raises(SteeringError, match=r"all 2 clips are of 1 \('speech'\), and it takes at least 2; give more"):
        hold_out(labels, ["speech"] * 3 + ["x", "y"], 0.3, 0, files=files)


@pytest.mark.parametrize(
    ("labels", "groups", "share", "message"),
    [
        ([True] * 4, "abcd", 0.3, "all 4 clips have what is looked for"),
        ([False] * 4, "abcd", 0.3, "all 4 clips lack what is looked for"),
        ([True, True, False, False], "aabc", 0.3, "too few recordings with .* all 2 clips are of 1 .*--groups file"),
        ([True, True, False, False], "abcc", 0.3, "too few recordings without"),
        ([True, True, False, False], "abcd", 1.0, "share to hold out is 1.0"),
    ],
)
def test_what_cannot_be_split_says_why(labels, groups, share, message):
    with pytest.raises(SteeringError, match=message):
        hold_out(np.array(labels), list(groups), share, 0)
