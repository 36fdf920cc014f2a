"""Time and size of the explorer's index: building one for tiny.en layer 4, and looking features up in a large one.

    python benchmarks/explorer_index.py build --minutes 15 --threads 1 --out benchmarks/results/explorer-index.json
    python benchmarks/explorer_index.py look --out benchmarks/results/explorer-index.json

`build` makes recordings of 30 s of the bundled clips, one after the other in a random order and at random levels, and
gives CPU time beside wall time, which is longer on a machine that others use. What grows with the audio (the pass) and
what does not much (findings, files) are timed apart; an hour is the pass, scaled, and the rest. `look` makes an index
of 12 layers of 6,144 features, 73,728 in all, one made and the others copied, and reads everything that a feature's
page shows, curves inflated, at random.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from machine import machine

from audiosae_steer import load_audio, load_whisper
from audiosae_steer.explorer.index.index_build import CHUNKS, SHARDS, SQLITE, build_index
from audiosae_steer.explorer.index.index_building import IndexJob, collect_chunks
from audiosae_steer.explorer.index.index_corpus import corpus_of
from audiosae_steer.explorer.index.index_settings import IndexSettings
from audiosae_steer.explorer.index.index_source import open_sae
from audiosae_steer.io.shipped import checkpoints_dir

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "explorer"))
from made_index import made_index

LAYERS, FEATURES, CLIPS = range(1, 13), 6144, 1200


def write_recordings(folder: Path, minutes: float) -> None:
    """Recordings of 30 s of the bundled clips, without a clip's own digest twice."""
    rng = np.random.default_rng(0)
    clips = [load_audio(path) for path in sorted((checkpoints_dir() / "clips").glob("*.flac"))]
    for number in range(round(minutes * 2)):
        pieces = [clips[i] * rng.uniform(0.3, 1) for i in rng.permutation(len(clips))[:12]]
        soundfile.write(folder / f"recording-{number:04d}.flac", np.concatenate(pieces)[: 30 * 16000], 16000)


def timed(what: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """What a call gives, and the seconds that it takes: on the clock, and of CPUs."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = what()
    return found, {"wall_s": round(time.perf_counter() - wall, 1), "cpu_s": round(time.process_time() - cpu, 1)}


def build(minutes: float) -> dict[str, Any]:
    """Times and sizes of a build."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "audio").mkdir()
        write_recordings(folder / "audio", minutes)
        corpus = corpus_of([folder / "audio"])
        job = IndexJob.of(load_whisper("tiny.en"), "tiny.en", [open_sae("tiny.en", 4)], corpus, IndexSettings())
        out = folder / "index"
        _, encoding = timed(lambda: collect_chunks(job, out / CHUNKS))
        chunks = sum(path.stat().st_size for path in (out / CHUNKS).rglob("*.parquet"))
        (out / "digest").write_text(job.digest)
        found, rest = timed(lambda: build_index(job, out))
        assert found is not None
        hour = {key: round(encoding[key] * 60 / minutes + rest[key], 1) for key in rest}
        sounds = sum(len(clip.media().flac or b"") for clip in _clips(out))
        return {
            "minutes": minutes, "clips": found.clips, "encoding": encoding, "findings_and_files": rest,
            "an_hour_by_arithmetic": hour, "features_that_fire": found.features[4][0],
            "mb": {
                "sqlite": round(found.path.stat().st_size / 1e6, 1), "of_it_sound": round(sounds / 1e6, 1),
                "parquet": round(sum(p.stat().st_size for p in (out / SHARDS).iterdir()) / 1e6, 1),
                "chunks": round(chunks / 1e6, 1),
            },
        }  # fmt: skip


def _clips(out: Path) -> Any:
    from audiosae_steer.explorer.index.part_files import read_part

    assert (out / SQLITE).is_file()
    return read_part(out / SHARDS).clips.values()


def large_index(path: Path) -> Path:
    """An index of all layers: the first is made, and the others are its copies."""
    made_index(path, (LAYERS[0],), FEATURES, CLIPS)
    with closing(sqlite3.connect(path)) as connection, connection:
        for table in ("layers", "features", "examples", "neighbours", "labels", "effects", "peaks"):
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            rest = ", ".join(column for column in columns if column != "layer")
            for layer in LAYERS[1:]:
                copied = f"INSERT INTO {table} (layer, {rest}) SELECT ?, {rest} FROM {table} WHERE layer = ?"
                connection.execute(copied, (layer, LAYERS[0]))
        for layer in LAYERS[1:]:
            connection.execute(
                "INSERT INTO words SELECT text, kind, ?, feature, clip FROM words WHERE kind = 'label' AND layer = ?",
                (layer, LAYERS[0]),
            )
    return path


EXAMPLES = "SELECT examples.*, clips.* FROM examples JOIN clips ON clips.id = clip WHERE layer = ? AND feature = ?"


def look() -> dict[str, Any]:
    """Times of reading what feature pages show, in a large made index."""
    with tempfile.TemporaryDirectory() as place:
        path, making = timed(lambda: large_index(Path(place) / "large.sqlite"))
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        rng = np.random.default_rng(1)
        times = []
        for layer, feature in zip(
            rng.integers(1, 13, 520).tolist(), rng.integers(0, FEATURES, 520).tolist(), strict=True
        ):
            start = time.perf_counter()
            for table in ("features", "neighbours", "labels", "effects"):
                connection.execute(
                    f"SELECT * FROM {table} WHERE layer = ? AND feature = ?", (layer, feature)
                ).fetchall()
            for row in connection.execute(EXAMPLES, (layer, feature)).fetchall():
                zlib.decompress(row[8])
            times.append((time.perf_counter() - start) * 1000)
        connection.close()
        warm = np.sort(times[20:])
        p50, p95 = (round(float(np.quantile(warm, share)), 2) for share in (0.5, 0.95))
        return {
            "features": len(LAYERS) * FEATURES, "gb": round(path.stat().st_size / 1e9, 2), "making": making,
            "page_ms": {"p50": p50, "p95": p95},
        }  # fmt: skip


def main() -> None:
    """Measure, and add the figures to those that are there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("build", "look"))
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    load = os.getloadavg()[0]
    found = build(args.minutes) if args.what == "build" else look()
    content = json.loads(args.out.read_text()) if args.out.is_file() else {}
    content[args.what] = {**found, "threads": args.threads, "load_before": round(load, 1), "machine": machine()}
    args.out.write_text(json.dumps(content, indent=1) + "\n")
    print(json.dumps(content[args.what], indent=1))


if __name__ == "__main__":
    main()
