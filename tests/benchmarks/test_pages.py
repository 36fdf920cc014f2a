"""Tables in the documentation are those of the committed results."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(params=["beams", "clients", "frame_gates", "mixed"])
def script(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    before = set(sys.modules)
    yield importlib.import_module(request.param)
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(BENCHMARKS)):
            del sys.modules[name]


def test_the_page_has_the_tables_of_the_results(script: Any) -> None:
    name = script.__name__
    page = "clients.md" if name == "clients" else "results.md"
    text = (BENCHMARKS.parent / "docs" / page).read_text("utf-8")
    pages = importlib.import_module("pages")
    assert pages.filled(text, f"{name}.py", script.page()) == text
    assert pages.filled(text, f"{name}.py", "other") != text
