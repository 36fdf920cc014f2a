"""What is told to others names no folder of this machine, and says all the rest."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiosae_steer.io.paths import without_places

NAMES = st.text("abcXYZ019._-", min_size=1, max_size=8).filter(lambda name: name.strip("."))


@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        ("learn --absent /home/al/noise --out '/mnt/x/my recipe.json'", "learn --absent noise --out 'my recipe.json'"),
        ("learn --absent=/home/alice/noise/ --out ~/r.json", "learn --absent=noise --out r.json"),
        (r"train --audio C:\Users\alice\audio --out D:/x/y.safetensors", "train --audio audio --out y.safetensors"),
        ("hub:user/repo@main and openai/whisper-tiny", "hub:user/repo@main and openai/whisper-tiny"),
        ("https://example.org/a/b, 3 m/s and/or 1 / 2", "https://example.org/a/b, 3 m/s and/or 1 / 2"),
        ("benchmarks/make.py ../shared/x", "benchmarks/make.py ../shared/x"),
        ("/home/John Smith/data/noise", "noise"),
        (r"C:\Users\John Smith\noise", "noise"),
        ("learn '/home/John Smith/noise' \"/mnt/my disk/a b.wav\"", "learn 'noise' \"a b.wav\""),
        ("file:///home/me/secret/noise", "noise"),
        ("--audio file:///home/me/noise --out ~me/data/r.json", "--audio noise --out r.json"),
        ("/mnt/a/b --out /mnt/c/d", "b --out d"),
        ("/ or // or ~", "/ or // or ~"),
        ("", ""),
    ],
)  # fmt: skip
def test_absolute_paths_alone_are_shortened(told: str, wanted: str) -> None:
    assert without_places(told) == wanted


@given(st.lists(NAMES, min_size=2, max_size=6), st.sampled_from(["/{}", "~/{}", "C:\\{}"]), st.text("ab c", max_size=5))
def test_any_path(parts: list[str], form: str, around: str) -> None:
    path = form.format(("\\" if "\\" in form else "/").join(parts))
    assert without_places(f"{around} {path} {around}") == f"{around} {parts[-1]} {around}"


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | NAMES,
                    lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner), max_leaves=20))  # fmt: skip
def test_what_holds_no_path_stays(value: Any) -> None:
    assert without_places(value) == value


def test_keys_and_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/users/John Smith")
    told = {"/mnt/a/x.wav": ["learn /users/John Smith/noise"], "n": (1, None)}
    assert without_places(told) == {"x.wav": ["learn noise"], "n": [1, None]}
