"""Data sets of bundled clips for a server that speaks the Hub's protocol."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pyarrow
from hub_server import Hub, Repository
from pyarrow import parquet

import audiosae_steer

CLIPS = Path(audiosae_steer.__file__).parents[1] / "checkpoints" / "clips"


KNOWN = {entry["file"]: entry for entry in json.loads((CLIPS / "clips.json").read_text(encoding="utf-8"))}


ESC50 = "datasets/ashraq/esc50"


LIBRISPEECH = "datasets/openslr/librispeech_asr"


def put(hub: Hub, name: str, files: dict[str, bytes]) -> str:
    return hub.repositories.setdefault(name, Repository()).commit(files)


def table(columns: dict[str, list[Any]], rows_in_group: int = 2) -> bytes:
    buffer = io.BytesIO()
    parquet.write_table(pyarrow.table(columns), buffer, row_group_size=rows_in_group)
    return buffer.getvalue()


def audio(files: list[Path]) -> list[dict[str, Any]]:
    return [{"bytes": file.read_bytes(), "path": file.name} for file in files]
