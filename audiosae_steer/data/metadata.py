"""Metadata of a clip, and the columns of tables that it is read from."""

from __future__ import annotations

from typing import NamedTuple

FILES = ("file", "file_name", "filename", "path")
"""Columns with a file's name, in tables beside audio files; as below, the best first."""
NAMES = ("id", "filename", "file", "file_name", "path")
"""Columns with a clip's name, in parquet files."""
TEXTS = ("text", "sentence", "transcription", "transcript", "normalized_text", "raw_transcription")
LABELS = ("category", "label", "class", "class_name")
GROUPS = ("speaker_id", "speaker", "client_id", "src_file", "recording", "recording_id", "fold")
"""A speaker before a recording, a recording before a fold."""


class ClipMetadata(NamedTuple):
    """Metadata of one clip, as a table gives it; None where it gives none."""

    name: str | None = None
    """Its name in the data set."""
    text: str | None = None
    """Its transcript."""
    label: str | None = None
    """Its kind of sound."""
    group: str | None = None
    """The speaker or the recording that it comes from."""
