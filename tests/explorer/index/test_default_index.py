"""The embedded default, here on two of its clips and without effects, which take most of its minute."""

from __future__ import annotations

import json
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

import audiosae_steer.explorer.index.default_index as default_index
from audiosae_steer import load_sae
from audiosae_steer.explorer.index.default_index import build_default, index_cache
from audiosae_steer.explorer.index.index_corpus import Corpus, shipped_corpus
from audiosae_steer.explorer.index.index_settings import IndexSettings
from audiosae_steer.io.hub.read import sha256_of


def test_the_default_is_built_once_and_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = shipped_corpus()
    assert len(whole) == 26
    rows = [i for i, clip in enumerate(whole.clips) if clip.recording in ("fan.flac", "speech-08.flac")]
    corpus = Corpus.of([whole.clips[i] for i in rows], [""] * 2, lambda i, rate: whole.read(rows[i], rate))
    monkeypatch.setattr(default_index, "shipped_corpus", lambda: corpus)
    monkeypatch.setattr(default_index, "SETTINGS", IndexSettings(top=2, each=1, neighbours=2))
    monkeypatch.setattr(default_index, "LAYERS", (4,))
    monkeypatch.setenv("AUDIOSAE_STEER_CACHE", str(tmp_path))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    told: list[str] = []
    path = build_default(progress=lambda what, done, total: told.append(what))
    assert path.is_relative_to(index_cache())
    assert told[0] == "encoding clips"
    with closing(sqlite3.connect(path)) as connection:
        meta = dict(connection.execute("SELECT key, value FROM meta"))
        assert (json.loads(meta["model"]), json.loads(meta["library"])) == ("tiny.en", "openai")
        assert json.loads(meta["labels"]) == ["no speech", "speech"]
        clips = connection.execute("SELECT recording, licence, redistributable, transcript FROM clips").fetchall()
        assert clips == [("fan.flac", "CC0-1.0", 1, ""), ("speech-08.flac", "CC0-1.0", 1,
                                                         "The meeting was moved to Thursday.")]  # fmt: skip
        spec, sha = connection.execute("SELECT sae, sae_sha256 FROM layers").fetchone()
    beside = path.parent / json.loads(spec)["file"]
    assert sha256_of(beside) == sha == json.loads(spec)["sha256"]
    assert load_sae(beside).digest() == load_sae("tiny.en", 4).digest()
    written, told[:] = path.stat().st_mtime_ns, []
    assert build_default() == path
    assert (path.stat().st_mtime_ns, told) == (written, [])
