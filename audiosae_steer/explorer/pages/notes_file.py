"""Notes on features: own labels, texts and ratings of clips, in a JSON file beside the index and never in it."""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import SteeringError
from ...io import strict_json
from ...io.files import locked_folder, write_atomic
from ..index.index_reader import Index
from ..index.index_rows import Clip

FORMAT = 1
KIND = "audiosae-steer explorer notes"
LONGEST_LABEL, LONGEST_TEXT = 120, 4000
"""Characters."""
MOST_BYTES = 4 << 20
"""Of a file of notes."""
RATINGS = range(1, 6)


class Note(NamedTuple):
    """All that was noted on one feature."""

    label: str = ""
    text: str = ""
    ratings: Mapping[str, int] = {}
    """1 to 5 (how well the clip fits the feature) by clip, each named `recording@start`."""

    def __bool__(self) -> bool:
        return bool(self.label or self.text or self.ratings)


class Taken(NamedTuple):
    """Result of an import."""

    taken: int
    foreign: int
    """Notes on features of SAEs that are not in this index, which were left out."""


class Notes:
    """Notes beside an index, read once and written at each change.

    Args:
        index: whose features they are on.
        path: the file; None: `INDEX.notes.json` beside the index.

    Raises:
        SteeringError: the file is there and is no file of notes.
    """

    def __init__(self, index: Index, path: str | Path | None = None) -> None:
        self.path = Path(path) if path is not None else index.path.with_name(f"{index.path.stem}.notes.json")
        self._lock = threading.Lock()
        self._layers = {row.sae_sha256: row.layer for row in index.layers.values()}
        self._shas = {row.layer: row.sae_sha256 for row in index.layers.values()}
        self._features = {row.layer: row.features for row in index.layers.values()}
        self._foreign: list[Any] = []  # kept as they are: the file may be of two indices
        self._notes: dict[tuple[int, int], Note] = {}
        if self.path.exists():
            self._notes, self._foreign = self._read(_text_of(self.path), str(self.path), own=True)

    def none(self) -> Notes:
        """The same without a note, for pages that are passed on."""
        bare = copy.copy(self)
        bare._notes, bare._foreign = {}, []
        return bare

    def of(self, layer: int, feature: int) -> Note:
        """The note on a feature; an empty one where there is none."""
        return self._notes.get((layer, feature), Note())

    def labels(self, layer: int) -> dict[int, str]:
        """Own labels of a layer's features."""
        return {feature: label for (at, feature), label in self.all_labels().items() if at == layer}

    def all_labels(self) -> dict[tuple[int, int], str]:
        """Own labels by layer and feature."""
        with self._lock:
            return {place: note.label for place, note in self._notes.items() if note.label}

    def all(self) -> dict[tuple[int, int], Note]:
        """Notes by layer and feature, in their order."""
        with self._lock:
            return dict(sorted(self._notes.items()))

    def put(self, layer: int, feature: int, note: Note) -> None:
        """Note this on a feature in the place of what was noted; an empty note takes it away.

        Raises:
            SteeringError: it is too long, a rating is none, or the file cannot be written.
        """
        _check(note)
        with self._lock:
            changed = {**self._notes, (layer, feature): note}
            if not note:
                del changed[layer, feature]
            self._write(changed)
            self._notes = changed

    def rate(self, layer: int, feature: int, clip: Clip, rating: int | None) -> Note:
        """The note on a feature with a rating of a clip changed; None takes it away."""
        note = self.of(layer, feature)
        ratings = {key: value for key, value in note.ratings.items() if key != clip_key(clip)}
        if rating is not None:
            ratings[clip_key(clip)] = rating
        note = note._replace(ratings=ratings)
        self.put(layer, feature, note)
        return note

    def exported(self) -> str:
        """All notes as JSON, one feature each; what `take` reads."""
        return self._json(self.all())

    def take(self, text: str | bytes) -> Taken:
        """Add the notes of an export; where a feature has one already, the export's takes its place.

        Raises:
            SteeringError: it is no export of notes, or they cannot be written.
        """
        found, foreign = self._read(text, "what was given")
        with self._lock:
            changed = {**self._notes, **found}
            self._write(changed)
            self._notes = changed
        return Taken(len(found), len(foreign))

    def _read(self, text: str | bytes, name: str, own: bool = False) -> tuple[dict[tuple[int, int], Note], list[Any]]:
        """Notes on this index's features, and the rows on others.

        Of the own file empty rows are passed over, and rows on features beyond a layer's are kept as rows on others;
        what is given is refused for either.
        """
        notes, foreign = dict[tuple[int, int], Note](), []
        try:
            for number, each in enumerate(_rows(text), 1):
                sha, feature, note = _row(each, f"note {number}")
                layer = self._layers.get(sha)
                beyond = layer is not None and not 0 <= feature < self._features[layer]
                if layer is None or (own and beyond):
                    foreign.append(each)
                elif beyond:
                    most = self._features[layer] - 1
                    raise ValueError(f"note {number} is on feature {feature}, but layer {layer} has 0 to {most}")
                elif note:
                    notes[layer, feature] = note
                elif not own:
                    raise ValueError(f"note {number}, on feature {feature}, has no label, no text and no rating")
        except UnicodeError as error:
            raise SteeringError(f"{name} is no file of the explorer's notes: it is not text in UTF-8") from error
        except (ValueError, SteeringError) as error:
            raise SteeringError(f"{name} is no file of the explorer's notes: {error}") from error
        return notes, foreign

    def _write(self, notes: Mapping[tuple[int, int], Note]) -> None:
        try:
            content = self._json(notes, self._foreign).encode()
            strict_json.parse(content)  # what could not be read back is not written
        except ValueError as error:
            raise SteeringError(f"{self.path} could not be read back with this note: {error}") from error
        if len(content) > MOST_BYTES:
            raise SteeringError(f"{self.path} would hold more than {MOST_BYTES} bytes; keep notes shorter")
        with locked_folder(self.path.parent):
            write_atomic(self.path, content, SteeringError)

    def _json(self, notes: Mapping[tuple[int, int], Note], more: list[Any] | None = None) -> str:
        rows = [
            {
                "layer": layer, "sae_sha256": self._shas[layer], "feature": feature, "label": note.label,
                "note": note.text, "ratings": dict(sorted(note.ratings.items())),
            }
            for (layer, feature), note in sorted(notes.items())
        ]  # fmt: skip
        content = {"kind": KIND, "format": FORMAT, "notes": rows + (more or [])}
        return json.dumps(content, ensure_ascii=False, indent=1) + "\n"


def clip_key(clip: Clip) -> str:
    """Name of a clip that holds in other indices of the same recordings."""
    return f"{clip.recording}@{clip.start:g}"


def _rows(text: str | bytes) -> list[Any]:
    """Rows of a file of notes. ValueError: it is none."""
    content = strict_json.parse(text)
    if not isinstance(content, dict) or content.get("kind") != KIND or content.get("format") != FORMAT:
        raise ValueError(f'it lacks "kind": "{KIND}", "format": {FORMAT}')
    if not isinstance(content.get("notes"), list):
        raise ValueError('it lacks "notes", a list')
    rows: list[Any] = content["notes"]
    return rows


def _row(each: Any, name: str) -> tuple[str, int, Note]:
    """The SAE's sha256, the feature and the note of a row. ValueError, SteeringError: it is no note."""
    if not isinstance(each, dict):
        raise ValueError(f"{name} is no object with a feature, a label and more")
    label, text, ratings = each.get("label", ""), each.get("note", ""), each.get("ratings", {})
    feature, sha = each.get("feature"), each.get("sae_sha256")
    if type(feature) is not int:  # True is an int to Python
        raise ValueError(f'{name} names no feature: "feature" takes a whole number')
    if not isinstance(sha, str):
        raise ValueError(f'{name} names no SAE: "sae_sha256" takes text')
    for key, value in (("label", label), ("note", text)):
        if not isinstance(value, str):
            raise ValueError(f'the "{key}" of {name} is not text')
    if not isinstance(ratings, dict):
        raise ValueError(f'the "ratings" of {name} are no object with a rating for each clip')
    note = Note(label, text, ratings)
    _check(note)
    return sha, feature, note


def _check(note: Note) -> None:
    if len(note.label) > LONGEST_LABEL or len(note.text) > LONGEST_TEXT:
        raise SteeringError(f"a label has at most {LONGEST_LABEL} characters, and a note {LONGEST_TEXT}")
    if any(type(rating) is not int or rating not in RATINGS for rating in note.ratings.values()):
        raise SteeringError("a rating is a whole number from 1 to 5")


def _text_of(path: Path) -> bytes:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise SteeringError(f"{path} has more than {MOST_BYTES} bytes; it is no file of the explorer's notes")
        return path.read_bytes()
    except OSError as error:
        raise SteeringError(f"cannot read {path}: {error.strerror or error}") from error
