"""What the benchmarks say of themselves: the tests that they name, their help, and the files that they leave."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ROOT / "benchmarks"


def test_the_tests_that_compat_runs_exist() -> None:
    source = (BENCHMARKS / "compat.py").read_text(encoding="utf-8")
    listed = re.search(r"^TESTS = \((.*?)^\)", source, re.MULTILINE | re.DOTALL)
    assert listed is not None
    names = re.findall(r'"(.*)"', listed[1])
    assert len(names) == 5
    assert [name for name in names if not (ROOT / "tests" / name).exists()] == []


@pytest.mark.parametrize("file", sorted(BENCHMARKS.rglob("*.py")), ids=lambda path: path.stem)
def test_paths_of_tests_in_benchmarks_exist(file: Path) -> None:
    for path in re.findall(r"\btests(?:/\w+)+(?:\.py)?", file.read_text(encoding="utf-8")):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("word", ["-h", "--help"])
def test_the_corpus_has_a_help(word: str) -> None:
    done = subprocess.run([sys.executable, BENCHMARKS / "corpus.py", word], capture_output=True, text=True, check=True)
    assert "python benchmarks/corpus.py find" in done.stdout


def test_the_default_cache_is_ignored() -> None:
    default = re.search(r'"--cache", type=Path, default=Path\("(.*?)"\)', (BENCHMARKS / "false_speech.py").read_text())
    assert default is not None
    assert f"{default[1]}/" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
