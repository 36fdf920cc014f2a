"""Tables of committed results in pages of the documentation, between two comments that say what makes them."""

from __future__ import annotations

from pathlib import Path

from audiosae_steer.io.files import write_atomic

DOCS = Path(__file__).parents[1] / "docs"


def marks(script: str) -> tuple[str, str]:
    """The comments round a script's tables."""
    return f"<!-- tables: python benchmarks/{script} --docs -->", "<!-- end of tables -->"


def filled(text: str, script: str, tables: str) -> str:
    """A page's text with the script's tables in their place."""
    begin, end = marks(script)
    before, rest = text.split(begin)
    return f"{before}{begin}\n\n{tables.strip()}\n\n{end}{rest.split(end, 1)[1]}"


def fill(page: str, script: str, tables: str) -> None:
    """Write the tables into the page."""
    path = DOCS / page
    write_atomic(path, filled(path.read_text(encoding="utf-8"), script, tables))
