"""Alignments as aligners and annotators write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from audiosae_steer.analyse import Excerpts, PhoneSettings, PhoneSpan, read_alignments
from audiosae_steer.analyse.frame.excerpts import Excerpt
from audiosae_steer.analyse.phone_names.frame_phones import SILENT, UNALIGNED, FramePhones
from audiosae_steer.analyse.phone_names.phone_sets import phone_names
from audiosae_steer.errors import AudioError, SteeringError

LONG = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 1.5
tiers? <exists>
size = 3
item []:
    item [1]:
        class = "IntervalTier"
        name = "words"
        xmin = 0
        xmax = 1.5
        intervals: size = 1
        intervals [1]:
            xmin = 0
            xmax = 1.5
            text = "say ""a"" 1"
    item [2]:
        class = "TextTier"
        name = "tones"
        xmin = 0
        xmax = 1.5
        points: size = 1
        points [1]:
            number = 0.7
            mark = "H*"
    item [3]:
        class = "IntervalTier"
        name = "phones"
        xmin = 0
        xmax = 1.5
        intervals: size = 2
        intervals [1]:
            xmin = 0
            xmax = 0.25
            text = "S"
        intervals [2]:
            xmin = 0.25
            xmax = 1.5
            text = "EY1"
"""
SHORT = """File type = "ooTextFile"
"TextGrid"

0
1.5
<exists>
3
"IntervalTier"
"words"
0
1.5
1
0
1.5
"say ""a"" 1"
"TextTier"
"tones"
0
1.5
1
0.7
"H*"
"IntervalTier"
"phones"
0
1.5
2
0
0.25
"S"
0.25
1.5
"EY1"
"""
EXPECTED = (PhoneSpan(0.0, 0.25, "S"), PhoneSpan(0.25, 1.5, "EY1"))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.TextGrid", LONG.encode()),
        ("a.TextGrid", LONG.encode("utf-16")),
        ("a.textgrid", SHORT.encode()),
        ("a.lab", b"0 2500000 S\n2500000 15000000 EY1 -102.5\n"),
        ("a.lab", b"0.0 0.25 S\n0.25 1.5 EY1\n"),
        ("a.lab", b"separator ;\nnfields 1\n#\n0.25 125 S\n1.5 125 EY1\n"),
        ("a.csv", b"\xef\xbb\xbfstart,end,phone\n0,0.25,S\n0.25,1.5,EY1\n"),
        ("a.tsv", b"start\tend\tlabel\n0.25\t1.5\tEY1\n0\t0.25\tS\n"),
        ("all.csv", b"file,start,end,phone\na.flac,0,0.25,S\na.flac,0.25,1.5,EY1\n"),
    ],
)
def test_every_form_gives_the_same_phones(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert read_alignments(tmp_path).by_name == {"a": EXPECTED}


def test_a_tier_is_chosen_by_name(tmp_path):
    (tmp_path / "a.TextGrid").write_text(LONG, encoding="utf-8")
    assert read_alignments(tmp_path, tier="words").by_name["a"] == (PhoneSpan(0.0, 1.5, 'say "a" 1'),)
    with pytest.raises(AudioError, match="'words', 'phones'; name one"):
        read_alignments(tmp_path, tier="tones")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.TextGrid", "ooBinaryFile", "is a damaged TextGrid"),
        ("a.TextGrid", '"ooTextFile" "Pitch" 1 2', "no TextGrid in Praat's text form"),
        ("a.TextGrid", SHORT[:-20], "breaks off within a tier"),
        ("a.lab", "one two three", "is no label file"),
        ("a.csv", "file,phone\na,S\n", "expected \\[file,\\]start,end,phone"),
        ("a.csv", "start,end,phone\n0,nan,S\n", "no times in line 2"),
        ("a.csv", "start,end,phone\n1,0.5,S\n", "ends before it begins, in line 2"),
        ("a.txt", "0 1 S", "there are no alignments to read"),
    ],
)
def test_a_file_that_is_no_alignment_is_refused(tmp_path, name, content, says):
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(AudioError, match=says):
        read_alignments(tmp_path)


def excerpts(*places):
    return Excerpts(tuple(Excerpt(Path(path), start, 1.0, None, path) for path, start in places))


def test_alignments_find_their_clips_and_are_shifted_with_them(tmp_path):
    (tmp_path / "all.csv").write_text(
        "file,start,end,phone\na/x.flac,0,1.5,S\nb/x.flac,0,2,T\ny.wav,0,3,N\n", encoding="utf-8"
    )
    found = read_alignments(tmp_path / "all.csv")
    of = found.of(excerpts(("data/b/x.flac", 0.0), ("other/y.flac", 1.0), ("data/a/x.flac", 1.0), ("none.flac", 0.0)))
    assert of == ((PhoneSpan(0, 2, "T"),), (PhoneSpan(-1, 2, "N"),), (PhoneSpan(-1, 0.5, "S"),), None)
    with pytest.raises(AudioError, match="could have 2 alignments"):
        found.of(excerpts(("c/x.flac", 0.0)))
    with pytest.raises(AudioError, match="none of these 1 clips"):
        found.of(excerpts(("c/z.flac", 0.0)))


@pytest.mark.parametrize(
    ("kind", "label", "phone"),
    [
        ("as-is", "AH0", "AH0"),
        ("arpabet", "AH0", "AH"),
        ("ipa", "ˈt͡ʃ", "tʃ"),
        ("ipa", "a:", "aː"),
        ("sampa", "a  2", "a"),
        ("sampa", "!t +asp", ""),
        ("sampa", "s +sth", "s"),
        ("sampa", "+hoe", ""),
        ("sampa", "tasp +sth", "t"),
        ("sampa", "6 +lar", "6"),
        ("sampa", "+lar 2", ""),
        ("sampa", "(gef", ""),
    ],
)
def test_labels_become_phones(kind, label, phone):
    assert phone_names(kind, ())(label) == phone


def test_merges():
    assert phone_names("arpabet", ("AH=AX",))("AH1") == "AX"
    with pytest.raises(SteeringError, match="is no merge"):
        phone_names("arpabet", ("AH",))


def test_a_frame_has_the_phone_at_its_centre():
    spans = [[PhoneSpan(0.0, 0.05, "a"), PhoneSpan(0.05, 0.11, "sil"), PhoneSpan(0.11, 0.15, "b")]]
    read = FramePhones.read(spans, [0, 10], 50.0, PhoneSettings())  # centres .01, .03, .05, …
    assert read.names == ("a", "b")
    assert read.of.tolist() == [0, 0, SILENT, SILENT, SILENT, 1, 1, UNALIGNED, UNALIGNED, UNALIGNED]
    assert read.onsets[1].tolist() == [[0, 5]]
    assert read.offsets[1].tolist() == [[0, 7]]
    near = FramePhones.read(spans, [0, 10], 50.0, PhoneSettings(border=0.011))
    assert near.of.tolist() == [UNALIGNED, 0, UNALIGNED, SILENT, SILENT, UNALIGNED, 1, UNALIGNED, UNALIGNED, UNALIGNED]
    with pytest.raises(SteeringError, match="no frame has a phone"):
        FramePhones.read([[PhoneSpan(0, 1, "sil")]], [0, 10], 50.0, PhoneSettings())
    with pytest.raises(SteeringError, match="have no time"):
        FramePhones.read(spans, [0, 10], None, PhoneSettings())
    assert np.array_equal(read.counts(np.arange(10)), [2, 2])
