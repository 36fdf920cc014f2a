"""Responses of subjects to sounds, and their files: `.npz`, `.mat`, and folders in the manner of BIDS."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ...errors import SteeringError
from ...io.strict_json import parse
from ...io.tensors.digest import sha256_of_tensors
from ..frame.extra import import_extra

Numbers = NDArray[np.float64]
RATES = ("rate", "fs", "srate", "sfreq")
"""Names of the sampling rate in a file."""
ALONE = ("eegData", "eeg", "resp", "response", "responses", "data")
"""Names of the one array of a file that holds one response."""
SIDE = (*RATES, "channels", "mastoids", "stim", "stimulus")
"""Names of arrays that are no responses."""
FORMATS = (".npz", ".mat", ".npy", ".tsv")


class Listening(NamedTuple):
    """Response of one subject to one sound, from the sound's beginning."""

    subject: str
    stimulus: str
    """Name of the sound's file, without its ending."""
    samples: Numbers
    """(n, channels)."""


@dataclass(frozen=True)
class Responses:
    """Responses of one or more subjects, all at one rate and of the same channels."""

    items: tuple[Listening, ...]
    rate: float
    """Samples per second."""
    channels: tuple[str, ...]

    @classmethod
    def of(cls, items: Sequence[tuple[str, str, Any]], rate: float, channels: Sequence[str] | None = None) -> Responses:
        """Responses in memory.

        Args:
            items: (subject, stimulus, samples) with samples (n,) or (n, channels), from the sound's beginning on.
            rate: samples per second.
            channels: names of the channels; None: numbers.

        Raises:
            SteeringError: there are none, they differ in channels, hold NaN, or a subject heard a sound twice.
        """
        made = []
        for subject, stimulus, samples in items:
            y = np.asarray(samples, float)
            made.append(Listening(str(subject), str(stimulus), y[:, None] if y.ndim == 1 else y))
        widths = {each.samples.shape[1] if each.samples.ndim == 2 else 0 for each in made}
        names = tuple(map(str, channels or range(max(widths, default=0))))
        if not made or len(widths) != 1 or widths != {len(names)} or not rate > 0:
            raise SteeringError(
                f"{len(made)} responses with {sorted(widths)} channels, {len(names)} names and a rate of {rate} "
                "cannot be used; give responses (n, channels) that all have the same channels, and a rate above 0"
            )
        if not all(np.isfinite(each.samples).all() for each in made):
            raise SteeringError("the responses hold NaN or infinite numbers; interpolate or leave out those channels")
        pairs = [(each.subject, each.stimulus) for each in made]
        twice = next((pair for pair in pairs if pairs.count(pair) > 1), None)
        if twice:
            raise SteeringError(f"there are two responses of {twice[0]} to {twice[1]}; keep one, or average them")
        return cls(tuple(made), float(rate), names)

    @classmethod
    def read(cls, path: str | Path, rate: float | None = None) -> Responses:
        """Responses from a file or a folder.

        An `.npz` or `.mat` holds one subject's responses, named after the sounds, or as `eegData` a single one whose
        file is named `Subject_Run`. A folder holds such files, or `sub-*` folders with `*_eeg.npy`, `.npz`, `.mat` or
        `.tsv`, whose `*_eeg.json` has `SamplingFrequency` and whose `*_events.tsv` says by `onset`, `duration` and
        `stim_file` when which sound was played.

        Args:
            path: the file or folder.
            rate: samples per second, where the files do not say.

        Raises:
            SteeringError: nothing can be read, or no rate is known.
            MissingExtraError: scipy is not installed, for a `.mat`.
        """
        path = Path(path)
        if not path.exists():
            raise SteeringError(f"there is no {path}; give the file or folder of the responses")
        files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.suffix in FORMATS and p.is_file())
        recorded = [each for each in files if each.stem.endswith("_eeg")]
        files = recorded or [each for each in files if each.suffix in (".npz", ".mat")]
        if not files:
            raise SteeringError(
                f"{path.name} holds no responses; expected .npz or .mat, or sub-*/**/*_eeg.npy, .npz, .mat or .tsv "
                "(convert BrainVision or EDF first)"
            )
        items: list[tuple[str, str, Numbers]] = []
        rates: set[float] = set()
        channels: tuple[str, ...] | None = None
        for file in files:
            found, own, names = _recording(file) if file in recorded else _file(file)
            items += found
            channels = channels or names
            rates |= {own} if own else set()
        if len(rates) > 1 or (not rates and rate is None):
            said = f"say several rates, {sorted(rates)}; resample them" if rates else "say no rate; give --rate"
            raise SteeringError(f"the files of {path.name} {said}")
        return cls.of(items, rate or rates.pop(), channels)

    @property
    def subjects(self) -> tuple[str, ...]:
        """Subjects, by name."""
        return tuple(sorted({each.subject for each in self.items}))

    def digest(self) -> str:
        """sha256, in hex, over all responses, their names and the rate."""
        words = repr((self.rate, self.channels, [(each.subject, each.stimulus) for each in self.items]))
        return sha256_of_tensors([torch.from_numpy(each.samples) for each in self.items], words, dtype=torch.float64)


def matched(stimuli: Sequence[str], heard: Sequence[str]) -> dict[str, str]:
    """Response name of each sound: the same, or with the same last number where that is told without doubt.

    Raises:
        SteeringError: no sound has a response.
    """
    same = {name: name for name in stimuli if name in set(heard)}
    if same:
        return same
    by_number: dict[int, set[str]] = {}
    for name in heard:
        by_number.setdefault(_number(name), set()).add(name)
    numbers = [_number(name) for name in stimuli]
    found = {
        name: min(by_number[number])
        for name, number in zip(stimuli, numbers, strict=True)
        if number >= 0 and numbers.count(number) == 1 and len(by_number.get(number, ())) == 1
    }
    if not found:
        raise SteeringError(
            f"no sound has a response: sounds are {', '.join(sorted(stimuli)[:3])}, and responses are to "
            f"{', '.join(sorted(set(heard))[:3])}; name responses after the sounds' files"
        )
    return found


def _number(name: str) -> int:
    found = re.findall(r"\d+", name)
    return int(found[-1]) if found else -1


def _arrays(path: Path) -> dict[str, Any]:
    try:
        if path.suffix == ".npy":
            return {"data": np.load(path, allow_pickle=False)}
        if path.suffix == ".tsv":
            return {"data": np.genfromtxt(path, delimiter="\t", names=None, skip_header=0 if _numeric(path) else 1)}
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
        content = import_extra("scipy.io").loadmat(path, squeeze_me=False)
    except NotImplementedError as error:
        raise SteeringError(f"{path.name} is a .mat of version 7.3; save it as -v7, or as .npz") from error
    except (OSError, ValueError, EOFError, TypeError) as error:
        raise SteeringError(f"{path.name} cannot be read ({error}); write it again") from error
    return {name: value for name, value in content.items() if not name.startswith("__")}


def _numeric(path: Path) -> bool:
    with path.open(encoding="utf-8") as file:
        return re.fullmatch(r"[\d.eE+\-\s]*", file.readline()) is not None


def _file(path: Path) -> tuple[list[tuple[str, str, Numbers]], float | None, tuple[str, ...] | None]:
    """Responses of one `.npz` or `.mat`, its rate and channels."""
    found = _arrays(path)
    rate = next((float(np.asarray(found[name]).reshape(-1)[0]) for name in RATES if name in found), None)
    names = None
    if "channels" in found:
        names = tuple(str(np.asarray(each).reshape(-1)[0]) for each in np.asarray(found["channels"]).reshape(-1))
    own = {
        name: np.asarray(value, float)
        for name, value in found.items()
        if name not in SIDE and np.issubdtype(np.asarray(value).dtype, np.number)
    }
    alone = next((name for name in ALONE if name in own), None)
    if alone is not None:
        subject, _, run = path.stem.rpartition("_")
        return [(subject or path.stem, run or path.stem, own[alone])], rate, names
    if not own:
        raise SteeringError(f"{path.name} holds no response; expected arrays (n, channels) named after the sounds")
    return [(path.stem, name, value) for name, value in own.items()], rate, names


def _recording(path: Path) -> tuple[list[tuple[str, str, Numbers]], float | None, tuple[str, ...] | None]:
    """Responses of one recording of a folder in the manner of BIDS, cut by its events."""
    found = _arrays(path)
    values = [v for name, v in found.items() if name not in SIDE and np.issubdtype(np.asarray(v).dtype, np.number)]
    y = np.asarray(max(values, key=np.size), float) if values else np.zeros((0, 0))
    y = y[:, None] if y.ndim == 1 else y
    stem = path.name[: -len(f"_eeg{path.suffix}")]
    parts = dict(part.split("-", 1) for part in stem.split("_") if "-" in part)
    side = path.with_name(f"{stem}_eeg.json")
    content = parse(side.read_bytes()) if side.is_file() else {}
    rate = content.get("SamplingFrequency") if isinstance(content, dict) else None
    rate = float(rate) if isinstance(rate, (int, float)) else None
    listed = _table(path.with_name(f"{stem}_channels.tsv"))
    names = tuple(row["name"] for row in listed) if listed and all("name" in row for row in listed) else None
    subject = f"sub-{parts['sub']}" if "sub" in parts else path.parent.name
    events = [row for row in _table(path.with_name(f"{stem}_events.tsv")) if row.get("stim_file", "n/a") != "n/a"]
    if not events:
        return [(subject, parts.get("run", stem), y)], rate, names
    if rate is None:
        raise SteeringError(f"{side.name} does not give SamplingFrequency, without which events cannot be cut out")
    items = []
    for row in events:
        first = round(float(row["onset"]) * rate)
        seconds = row.get("duration", "n/a")
        last = len(y) if seconds in ("n/a", "") else first + round(float(seconds) * rate)
        items.append((subject, Path(row["stim_file"]).stem, y[first:last]))
    return items, rate, names


def _table(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    lines = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [dict(zip(lines[0], line, strict=False)) for line in lines[1:]]
