"""Notes of an orchestra's players as a CSV of labels, and pitch engines against the notes' names.

`labels.tsv` of the folder names file, instrument and MIDI note. The CSV has the note as label and the instrument as
group, so that parts share no instrument. What a player was asked to play is taken as the truth.
"""

from __future__ import annotations

import argparse
import csv
import time
from itertools import pairwise
from pathlib import Path

import numpy as np

from audiosae_steer import load_audio
from audiosae_steer.analyse import pitch_engine, property_labels

RATE = 50.0
"""Frames per second at which pitch is read."""


def main() -> None:
    """Write the CSV, and print a row for each engine."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder with labels.tsv")
    parser.add_argument("--csv", type=Path, help="CSV of labels to write")
    parser.add_argument("--engines", default="", help="engines to check, with commas")
    given = parser.parse_args()
    with (given.folder / "labels.tsv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["part"] == "notes"]
    if given.csv is not None:
        with given.csv.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["file", "label", "group"])
            writer.writerows([row["file"], row["note"], row["instrument"]] for row in rows)
    off = {name: errors_of(name, given.folder, rows) for name in filter(None, given.engines.split(","))}
    for instrument in sorted({row["instrument"] for row in rows}):
        own = np.array([row["instrument"] == instrument for row in rows])
        shares = ", ".join(f"{name} {(np.abs(each[own]) <= 0.5).mean():.1%}" for name, each in off.items())
        print(f"{instrument}: {own.sum()} notes, within 50 cents: {shares}")
    for one, other in pairwise(off):
        alike = np.abs(off[one] - off[other]) <= 0.5
        octave = np.abs(np.abs(off[one]) - 12) <= 0.5
        print(
            f"{one} and {other}: {alike.mean():.1%} of the notes alike; {octave.sum()} by {one} an octave off, "
            f"{(octave & alike).sum()} of them alike"
        )


def errors_of(name: str, folder: Path, rows: list[dict[str, str]]) -> np.ndarray:
    """Median pitch of each note less its name's, in semitones, NaN without a pitch; prints how many are right."""
    engine, started = pitch_engine(name), time.process_time()
    off, seconds = [], 0.0
    for row in rows:
        samples = load_audio(folder / row["file"])
        seconds += len(samples) / 16000
        found = property_labels(samples, 16000, RATE, int(len(samples) / 16000 * RATE), engine=engine)
        heard = found.pitch[found.confidence >= 0.5]
        off.append(np.median(heard) - int(row["midi"]) if len(heard) else np.nan)
    errors = np.array(off)
    known = ~np.isnan(errors)
    right, octave = np.abs(errors) <= 0.5, np.abs(np.abs(errors) - 12) <= 0.5
    print(
        f"{name}: {right.mean():.1%} of {len(rows)} notes within 50 cents, {octave.mean():.1%} an octave off, "
        f"{(known & ~right & ~octave).mean():.1%} otherwise wrong, {(~known).mean():.1%} without a pitch; "
        f"{(time.process_time() - started) / seconds:.3f} s a second of sound"
    )
    return errors


if __name__ == "__main__":
    main()
