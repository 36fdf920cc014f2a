"""Page and lines of a gallery: a row for each analysis."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...evaluate.html_page import render
from .gallery_records import Gallery, GalleryRow

IN_SAMPLE = "figures are of the clips that were chosen and fitted on"
HEADER = ("analysis", "figure", "null", "controls", "CPU s", "measure, or why not run")
"""Columns of `lines_of`."""


def page_of_gallery(gallery: Gallery) -> str:
    """The page, self-contained but for the links to the results beside it."""
    bounds = [] if gallery.clips == gallery.clips_given else [("all", "clips", gallery.clips_given, gallery.clips)]
    reduced = [*bounds, *((row.name, *each) for row in gallery.done for each in row.reduced)]
    warned = []
    if gallery.quick:
        warned.append("Run with --quick: fewer permutations and draws than the defaults; they are listed below.")
    seconds = (
        f"{gallery.cpu_seconds:.0f} s of one processor for all results, {gallery.encoding_seconds:.1f} s of them to "
        "read the model's activations in the last run."
    )
    return render(
        Path(__file__).with_suffix(".html"),
        title="Analyses of an SAE",
        lead=lead_of(gallery),
        warnings=warned,
        rows=[_shown(row) for row in gallery.rows],
        note=f"A number is to be read beside its null and its controls, on its own page. {seconds}",
        reduced=reduced,
    )


def lead_of(gallery: Gallery) -> str:
    """Sentence on the data of a gallery."""
    named = f", labels {', '.join(gallery.labels)}" if 0 < len(gallery.labels) <= 6 else ""
    many = f", {len(gallery.labels)} labels" if len(gallery.labels) > 6 else ""
    return (
        f"{len(gallery.done)} of {len(gallery.rows)} analyses of {gallery.model} at {gallery.site}, on "
        f"{gallery.clips} clips of {gallery.groups} speakers or recordings{named}{many}; audiosae-steer "
        f"{gallery.version}."
    )


def lines_of(gallery: Gallery) -> list[tuple[str, ...]]:
    """Cells of a table for a terminal, a line for each analysis, under `HEADER`."""
    lines: list[tuple[str, ...]] = []
    for row in gallery.rows:
        if row.headline is None:
            lines.append((row.name, "", "", "", "", f"not run: {row.why}"))
            continue
        told = _shown(row)
        controls = ", ".join(f"{name} {value}" for name, value in told["controls"])
        warned = f" ({len(told['warnings'])} warnings)" if told["warnings"] else ""
        lines.append((row.name, told["value"], told["null"], controls, told["cpu"], told["measure"] + warned))
    return lines


def _shown(row: GalleryRow) -> dict[str, Any]:
    """A row as the page prints it."""
    if row.headline is None:
        return {"name": row.name, "status": row.status, "why": row.why}
    found = row.headline
    value = next((value for value, says in row.figures if says == found.measure), _number(found.value))
    warnings = [*([IN_SAMPLE] if row.in_sample else []), *row.warnings]
    return {
        "name": row.name,
        "status": row.status,
        "title": row.title,
        "value": value,
        "interval": "" if found.interval is None else str(found.interval),
        "measure": found.measure,
        "null": "" if found.null is None else _number(found.null),
        "controls": [(name, _number(value)) for name, value in found.controls],
        "figures": row.figures,
        "warnings": list(dict.fromkeys(warnings)),
        "cpu": f"{row.cpu_seconds:.1f}",
    }


def _number(value: float | None) -> str:
    if value is None:
        return "none"
    return f"{value:g}" if value == round(value) else f"{value:.3f}"
