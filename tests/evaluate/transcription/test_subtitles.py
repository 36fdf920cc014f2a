"""Transcripts as files: read back by the rules of each format, and never left half-written."""

from __future__ import annotations

import html
import json
import re
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiosae_steer import SteeringError
from audiosae_steer.evaluate.transcription.subtitles import FORMATS, clock, write_transcript
from audiosae_steer.evaluate.transcription.transcribe import DecodedWindow, Segment, Transcript

SAID = Transcript(
    "Good morning. It works --> always.",
    (Segment(0.0, 2.5, " Good morning.", 0.0), Segment(3599.9996, 7325.25, " It works --> always.", 3570.0)),
    "en",
    (DecodedWindow(0.0, 0.1, -0.25), DecodedWindow(3570.0, 0.2, -0.5)),
)
NOTHING = Transcript("", (), "en", ())
TIME = re.compile(r"(?:(\d{2,}):)?([0-5]\d):([0-5]\d)[.,](\d{3})")
BREAKS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"


def seconds(stamp: str) -> float:
    match = TIME.fullmatch(stamp)
    assert match, stamp
    h, m, s, ms = (int(group or 0) for group in match.groups())
    return h * 3600 + m * 60 + s + ms / 1000


def cues(text: str) -> list[tuple[float, float, str]]:
    """The cues of an srt or vtt by its grammar: blocks between empty lines, the time in a line with an arrow."""
    found = []
    for block in filter(None, re.split(r"\n{2,}", text.strip("\n"))):
        lines = block.split("\n")
        stamps = [n for n, line in enumerate(lines) if "-->" in line]
        if not stamps:
            assert block == "WEBVTT"
            continue
        assert len(stamps) == 1, block
        start, end = lines[stamps[0]].split(" --> ")
        found.append((seconds(start), seconds(end), "\n".join(lines[stamps[0] + 1 :])))
    return found


def written(said: Transcript, path: Path) -> str:
    assert write_transcript(said, path) == path
    return path.read_bytes().decode("utf-8")


def test_srt(tmp_path):
    assert written(SAID, tmp_path / "a.srt") == (
        "1\n00:00:00,000 --> 00:00:02,500\nGood morning.\n\n2\n01:00:00,000 --> 02:02:05,250\nIt works -> always.\n\n"
    )


def test_vtt(tmp_path):
    assert written(SAID, tmp_path / "a.vtt") == (
        "WEBVTT\n\n00:00.000 --> 00:02.500\nGood morning.\n\n01:00:00.000 --> 02:02:05.250\nIt works --&gt; always.\n\n"
    )


def test_txt_is_what_was_said_and_nothing_else(tmp_path):
    assert written(SAID, tmp_path / "a.TXT") == "Good morning.\nIt works --> always.\n"


def test_json_holds_everything(tmp_path):
    content = json.loads(written(SAID, tmp_path / "a.json"))
    assert content["text"] == SAID.text
    assert content["language"] == "en"
    assert tuple(Segment(**segment) for segment in content["segments"]) == SAID.segments
    assert tuple(DecodedWindow(**window) for window in content["windows"]) == SAID.windows
    unknown = SAID._replace(windows=None, language=None)
    content = json.loads(written(unknown, tmp_path / "a.json"))
    assert content["windows"] is None
    assert content["language"] is None


@pytest.mark.parametrize(
    ("ending", "content"), [("srt", ""), ("vtt", "WEBVTT\n\n"), ("txt", ""), ("json", None)], ids=lambda v: str(v)[:4]
)
def test_nothing_said_is_a_valid_file(tmp_path, ending, content):
    found = written(NOTHING, tmp_path / f"a.{ending}")
    if content is None:
        assert json.loads(found) == {"text": "", "language": "en", "segments": [], "windows": [], "gates": []}
    else:
        assert found == content


@pytest.mark.parametrize("text", ["a ---> b", "a <--> b", "-->", "one\n\ntwo", "a\r\n\r\n1\r\n00:00:00,000 --> x"])
@pytest.mark.parametrize("ending", ["srt", "vtt"])
def test_a_text_cannot_pass_for_a_cue(tmp_path, text, ending):
    said = Transcript(text, (Segment(0, 1, text), Segment(1, 2, " then")))
    found = cues(written(said, tmp_path / f"a.{ending}"))
    assert [(start, end) for start, end, _ in found] == [(0, 1), (1, 2)]
    assert found[0][2]
    assert found[1][2] == "then"


def test_marks_are_escaped_where_the_format_has_tags(tmp_path):
    said = Transcript("x", (Segment(0, 1, " AT&T <i>now</i> &amp;"),))
    assert "\nAT&amp;T &lt;i&gt;now&lt;/i&gt; &amp;amp;\n" in written(said, tmp_path / "a.vtt")
    assert "\nAT&T <i>now</i> &amp;\n" in written(said, tmp_path / "a.srt")


@given(
    st.lists(
        st.tuples(st.floats(0, 90_000), st.floats(0, 30), st.text(min_size=1).filter(lambda t: t.strip())), max_size=5
    )
)
def test_any_text_and_time_survives(tmp_path_factory, rows):
    segments = tuple(Segment(start, start + length, text) for start, length, text in rows)
    said = Transcript("".join(text for *_, text in rows), segments)
    folder = tmp_path_factory.getbasetemp()

    def plain(text: str) -> str:
        return " ".join(part.strip() for part in re.split(f"[{BREAKS}]", text) if part.strip())

    for ending in ("srt", "vtt"):
        found = cues(written(said, folder / f"any.{ending}"))
        assert len(found) == len(rows)
        for (start, length, text), (begin, end, shown) in zip(rows, found, strict=True):
            assert abs(begin - start) <= 0.0006
            assert abs(end - start - length) <= 0.0006
            if ending == "vtt":
                assert html.unescape(shown) == plain(text)
            elif "->" not in text:
                assert shown == plain(text)
    assert written(said, folder / "any.txt").splitlines() == [plain(text) for *_, text in rows]
    content = json.loads(written(said, folder / "any.json"))
    assert [segment["text"] for segment in content["segments"]] == [text for *_, text in rows]


@pytest.mark.parametrize(
    ("at", "shown", "short"),
    [
        (0, "00:00:00.000", "00:00.000"),
        (0.0004, "00:00:00.000", "00:00.000"),
        (59.9996, "00:01:00.000", "01:00.000"),
        (3599.9994, "00:59:59.999", "59:59.999"),
        (3600, "01:00:00.000", "01:00:00.000"),
        (360_000.5, "100:00:00.500", "100:00:00.500"),
    ],
)
def test_clock(at, shown, short):
    assert clock(at) == shown
    assert clock(at, hours=False) == short
    assert clock(at, ",") == shown.replace(".", ",")


@pytest.mark.parametrize("name", ["a.doc", "a", "a.srt.bak"])
def test_an_unknown_ending_names_the_known_ones(tmp_path, name):
    with pytest.raises(SteeringError, match=f"{name}.*srt, vtt, txt, json"):
        write_transcript(SAID, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_or_is_a_file(tmp_path):
    (tmp_path / "file").write_text("x")
    for folder in ("nowhere", "file"):
        with pytest.raises(SteeringError, match=rf"cannot write .*{folder}.*; choose another folder"):
            write_transcript(SAID, tmp_path / folder / "a.srt")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("ending", FORMATS)
def test_a_failed_write_leaves_nothing_behind(tmp_path, ending):
    target = tmp_path / f"a.{ending}"
    target.mkdir()
    with pytest.raises(SteeringError, match="cannot write"):
        write_transcript(SAID, target)
    assert list(tmp_path.iterdir()) == [target]
    assert target.is_dir()


def test_a_file_that_is_there_is_replaced_and_keeps_its_permissions(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("long " * 1000)
    target.chmod(0o600)
    reader = target.open(encoding="utf-8")
    assert written(SAID, target) == "Good morning.\nIt works --> always.\n"
    with reader:  # who reads the old file meanwhile reads all of it
        assert reader.read() == "long " * 1000
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [target]
