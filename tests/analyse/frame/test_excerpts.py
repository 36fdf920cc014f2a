"""Excerpts from lists of labels and folders."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from audiosae_steer.analyse import excerpts_from_csv, excerpts_of
from audiosae_steer.errors import AudioError


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name, seconds in (("anna_1", 2), ("anna_2", 1), ("ben_1", 3), ("long", 61)):
        soundfile.write(tmp_path / f"{name}.wav", 0.1 * rng.standard_normal(int(seconds * 16000)), 16000)
    return tmp_path


def written(folder, text):
    (folder / "labels.csv").write_text(text)
    return folder / "labels.csv"


def test_labels_with_groups_and_stretches(folder):
    path = written(
        folder,
        "file,label,group,start,end\nanna_1.wav,a,anna,0.5,1.0\nanna_1.wav,o,anna,1.0,1.5\nben_1.wav,a,ben,,\n",
    )
    found = excerpts_from_csv(path)
    assert found.grouped
    assert found.groups == ("anna", "anna", "ben")
    assert found.labels == ("a", "o", "a")
    assert [item.name for item in found.items] == ["anna_1.wav@0.5s", "anna_1.wav@1s", "ben_1.wav"]
    samples = found.items[0].read()
    whole = soundfile.read(folder / "anna_1.wav")[0]
    assert len(samples) == 8000
    assert np.allclose(samples, whole[8000:16000], atol=1e-4)


def test_without_groups_recordings_are_told_by_name(folder):
    found = excerpts_from_csv(written(folder, "file,label\nanna_1.wav,x\nanna_2.wav,y\nben_1.wav,x\n"))
    assert not found.grouped
    assert found.groups == ("anna", "anna", "ben")


def test_long_files_are_cut_into_windows(folder):
    found = excerpts_of([folder / "long.wav"])
    assert [(item.start, item.seconds) for item in found.items] == [(0, 30), (30, 30), (60, 1)]
    assert set(found.groups) == {"long"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("file,kind\nanna_1.wav,x\n", "no column 'label'"),
        ("file,label\nnobody.wav,x\n", "not there"),
        ("file,label\nanna_1.wav,\n", "no label in line 2"),
        ("file,label\nanna_1.wav,x\nanna_1.wav,y\n", "two labels"),
        ("file,label,start,end\nanna_1.wav,x,one,2\n", "expected seconds"),
        ("file,label,start,end\nanna_1.wav,x,1,0.5\n", "ends before it begins"),
        ("file,label,start,end\nanna_1.wav,x,7,8\n", "lasts 2 s"),
    ],
)
def test_lists_that_cannot_be_used(folder, text, says):
    with pytest.raises(AudioError, match=says):
        excerpts_from_csv(written(folder, text))


def test_the_digest_is_of_content_and_not_of_folders(folder, tmp_path):
    text = "file,label\nanna_1.wav,x\nben_1.wav,y\n"
    first = excerpts_from_csv(written(folder, text)).digest()
    other = tmp_path / "elsewhere"
    other.mkdir()
    for name in ("anna_1.wav", "ben_1.wav"):
        (other / name).write_bytes((folder / name).read_bytes())
    assert excerpts_from_csv(written(folder, text), other).digest() == first
    assert excerpts_from_csv(written(folder, text.replace("y", "z"))).digest() != first


def test_a_part_to_report_on(folder):
    clips = excerpts_of([folder / "anna_1.wav"])
    both = clips.with_report(excerpts_of([folder / "ben_1.wav"]))
    assert both.report == (False, True)
    with pytest.raises(AudioError, match="in both parts"):
        clips.with_report(clips)
    inner = folder / "inner"
    inner.mkdir()
    (inner / "eve_1.wav").write_bytes((folder / "ben_1.wav").read_bytes())
    clips = excerpts_of([folder])
    assert sum(clips.reported(inner).report) == 1
    with pytest.raises(AudioError, match="none of these"):
        excerpts_of([folder / "long.wav"]).reported(inner)
