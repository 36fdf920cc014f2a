"""Data sets on the Hub: their names as sources, and the files that a name stands for."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from ..errors import HubError
from ..io.hub.read import Listing, fetch
from .audio import SUFFIXES
from .transcripts import is_table


class Preset(NamedTuple):
    """A data set with a short name."""

    repo: str
    """Its repository on the Hub."""
    files: tuple[str, ...]
    """Shell patterns; the first that matches any file counts, since repositories hold the same part twice."""
    note: str
    """Description and licence."""


PRESETS = {
    "esc50": Preset(
        "ashraq/esc50",
        ("data/*.parquet", "*.parquet"),
        "ESC-50 (Piczak 2015): 2,000 sounds of 50 kinds, 5 s each. Non-speech, but with voices (a baby "
        "cries, people laugh, cough, sneeze). CC BY-NC 3.0",
    ),
    "librispeech-test-clean": Preset(
        "openslr/librispeech_asr",
        ("all/test.clean/*.parquet", "clean/test/*.parquet"),
        "LibriSpeech test-clean (Panayotov et al. 2015): 2,620 utterances of 40 speakers, read. CC BY 4.0",
    ),
}


class Spec(NamedTuple):
    """A source `hub:name[@revision][:part]`, parsed."""

    repo: str
    """The data set's repository on the Hub."""
    revision: str | None
    """Branch, tag or commit."""
    part: str | None
    """Config, split, both or a shell pattern."""
    preset: Preset | None
    """The preset of that name."""
    name: str
    """The name as it was given."""


def parse(source: str) -> Spec | None:
    """Parse a source; None if it is not on the Hub.

    Raises:
        HubError: it begins with `hub:`, and is malformed.
    """
    if not source.startswith("hub:"):
        return None
    found = re.fullmatch(r"hub:([\w.-]+(?:/[\w.-]+)?)(?:@([^:@\s]+))?(?::(.+))?", source)
    if found is None:
        raise HubError(f"{source!r} names no data set; expected hub:user/dataset[@revision][:part]")
    name, revision, part = found.groups()
    preset = PRESETS.get(name)
    if preset is None and "/" not in name:
        raise HubError(f"there is no data set called {name} here; expected hub:user/dataset or hub:{'|'.join(PRESETS)}")
    return Spec(preset.repo if preset else name, revision, part, preset, name)


def pinned(spec: Spec, commit: str) -> str:
    """The source's name, pinned to a commit."""
    return f"hub:{spec.name}@{commit}" + (f":{spec.part}" if spec.part else "")


def choose(found: Listing, spec: Spec) -> tuple[str, ...]:
    """Names of the files of the requested part: parquet files, or else audio.

    Raises:
        HubError: there is no such part, or there are several and none was named.
    """
    data = [n for n in found.files if n.endswith(".parquet") or PurePosixPath(n).suffix.lower() in SUFFIXES]
    chosen: list[str] = []
    if spec.part is not None:
        chosen = [n for n in data if _is_part(n, spec.part)]
    elif spec.preset is not None:
        fitting = ([n for n in data if fnmatch.fnmatchcase(n, pattern)] for pattern in spec.preset.files)
        chosen = next((names for names in fitting if names), [])
    else:
        chosen = data
    parts = sorted({_part_of(n) for n in data if n.endswith(".parquet")})
    where = "" if found.online else " in this machine's cache, and the Hub cannot be reached"
    if not chosen:
        asked = f" in {spec.part}" if spec.part else ""
        seen = ", ".join(parts or data[:8]) or ", ".join(found.files[:8]) or "nothing"
        hint = "" if data or spec.revision else f"; the Hub may keep it converted: hub:{spec.name}@refs/convert/parquet"
        raise HubError(f"{spec.repo} has no parquet file and no audio{asked}{where}; it has {seen}{hint}")
    tables = [n for n in chosen if n.endswith(".parquet")]
    if spec.part is None and spec.preset is None and len({_part_of(n) for n in tables}) > 1:
        raise HubError(f"{spec.repo} has several parts; say which, as hub:{spec.name}:{parts[0]}: {', '.join(parts)}")
    return tuple(tables or chosen)


def _part_of(name: str) -> str:
    """The config and split that a parquet file is a shard of: "clean/test" of clean/test/0000.parquet."""
    return re.sub(r"([-/]\d+(-of-\d+)?(-[0-9a-f]+)?)?\.parquet$", "", name)


def _is_part(name: str, part: str) -> bool:
    if any(sign in part for sign in "*?["):
        return fnmatch.fnmatchcase(name, part)
    return re.search(rf"(^|/){re.escape(part.strip('/'))}($|/|-\d|\.\w+$)", name) is not None


def tables_beside(found: Listing, chosen: Sequence[str]) -> list[str]:
    """Names of the tables beside the chosen audio, or in folders above it."""
    above = {str(parent) for n in chosen if not n.endswith(".parquet") for parent in PurePosixPath(n).parents}
    return [n for n in found.files if is_table(n) and str(PurePosixPath(n).parent) in above]


def fetch_files(spec: Spec, found: Listing, names: Sequence[str]) -> Path:
    """Download files into the Hub's cache; returns their folder there.

    Raises:
        HubError: they cannot be had, or the data set changed since it was listed.
    """
    # by branch, not by commit: so the cache remembers what the branch stood for, for use without the Hub
    fetched = fetch(spec.repo, lambda _: names, spec.revision, "dataset")
    if fetched.commit != found.commit:
        raise HubError(f"{spec.repo} changed while it was read; try again, or pin a commit as hub:{spec.name}@commit")
    return fetched.folder
