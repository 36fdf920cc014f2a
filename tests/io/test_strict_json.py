"""Untrusted JSON, and text on its way to a terminal."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiosae_steer.errors import AudioSAESteerError, AudioSAESteerWarning, CheckpointError, is_one_line, printable
from audiosae_steer.io.strict_json import MAX_DEPTH, parse, plain

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(values)
def test_what_json_writes_is_read(value: object) -> None:
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False).encode()):
        assert parse(text) == value
        assert parse(text, lenient=True) == value


@pytest.mark.parametrize(
    "text",
    [
        "NaN",
        "[Infinity]",
        "1e999",
        "-1e999",
        '{"a": 1, "a": 1}',
        '"\\ud800"',
        '{"\\udfff": 1}',
        "9" * 30,
        "9" * 5000,
        "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1),
        "[" * 500_000,
        "\ufeff{}",
        b"\xff",
        "",
        "{'a': 1}",
    ],
)
def test_what_the_standard_does_not_allow_or_nobody_could_use(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(text)


def test_numbers_that_python_writes_are_none_where_that_is_allowed() -> None:
    assert parse('{"a": NaN, "b": [-Infinity, 1e999, 1.5]}', lenient=True) == {"a": None, "b": [None, None, 1.5]}
    assert parse("[" * MAX_DEPTH + "]" * MAX_DEPTH)


class _Pair(NamedTuple):
    path: Path
    pair: tuple[int, ...]


@dataclass(frozen=True)
class _Settings:
    name: str
    pairs: list[_Pair]
    by_number: dict[int, float | None]


def test_records_become_plain_json() -> None:
    settings = _Settings("a", [_Pair(Path("b") / "c", (1, 2))], {3: 0.5, 4: None})
    content = {
        "name": "a",
        "pairs": [{"path": str(Path("b") / "c"), "pair": [1, 2]}],
        "by_number": {"3": 0.5, "4": None},
    }
    assert plain(settings) == content
    assert parse(json.dumps(plain(settings))) == content
    assert plain((settings.pairs[0],), path=lambda path: path.name) == [{"path": "c", "pair": [1, 2]}]
    assert plain("text") == "text"


@given(st.text())
def test_what_is_printable_stays(text: str) -> None:
    shown = printable(text, None)
    assert printable(shown, None) == shown
    assert shown.isprintable() or all(not c.isascii() or c.isprintable() or c in "\n\t" for c in shown)
    if text.isprintable():
        assert shown == text


def test_commands_to_a_terminal_are_text() -> None:
    assert printable("a\x1b[2J\x07\x9b\u202eb\r\u2028\ud800 ä\n\té 漢") == (
        "a\\x1b[2J\\x07\\x9b\\u202eb\\r\\u2028\\ud800 ä\n\té 漢"
    )
    assert printable("x" * 5000) == "x" * 4000 + "…"
    assert is_one_line("a b ä")
    assert not any(is_one_line(text) for text in ("a\nb", "a\tb", "\x1b", "\ud800"))


def test_errors_and_warnings_show_nothing_else() -> None:
    assert str(CheckpointError("a\x1b[2J")) == "a\\x1b[2J"
    assert str(AudioSAESteerWarning("a\x1b[2J")) == "a\\x1b[2J"
    assert str(AudioSAESteerError()) == ""
    assert len(str(AudioSAESteerError("x" * 10_000))) == 4001
