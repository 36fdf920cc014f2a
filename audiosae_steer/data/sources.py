"""Sources of clips: folders, files and lists on this machine, or data sets on the Hub."""

from __future__ import annotations

import io
import math
import random
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from ..errors import AudioError, AudioSAESteerWarning, HubError
from ..io.hub.read import Listing, is_cached, listing
from ..io.progress import track
from .audio import SAMPLE_RATE, SUFFIXES, Samples, audio_files, check_samples, decode
from .audio_paths import list_audio, recording_of
from .datasets import PRESETS, Spec, choose, fetch_files, parse, pinned, tables_beside
from .metadata import ClipMetadata
from .parquet import Parquet
from .sound_files import float_blocks, length
from .transcripts import transcripts

SECONDS = 30
"""Longest clip: the window that Whisper encodes at once."""
SHORTEST = 0.25
"""Seconds from which the rest of a recording is a clip of its own, as in `collect`."""
LONGEST = 24 * 3600
RATES = (1_000, 768_000)
CHANNELS = 64
"""Limits of what a header may claim: seconds, Hz and channels. Beyond them it is damaged, or meant to fill memory."""
NAMED = 10
"""Recordings that a warning names."""
T = TypeVar("T")


class Clip(NamedTuple):
    """One recording of a source, or a piece of 30 s of a longer one; without its samples."""

    name: str
    """The file's name, or the data set's; ends in "@30s" where it starts 30 s into a longer recording."""
    text: str | None
    """Its transcript, if the source has one."""
    group: str
    """Its speaker or recording: clips of one group belong on one side of every split."""
    label: str | None
    """Its kind of sound, if the source has one; of local files, the folder within the source."""
    source: str
    """Its source."""


class RemoteFile(NamedTuple):
    """A file of a data set."""

    name: str
    """Its name in the repository."""
    bytes: int
    """Its size; 0 where the Hub does not say."""
    cached: bool
    """This machine has it already."""


class Download(NamedTuple):
    """Files that opening a source downloads."""

    source: str
    """The source, pinned to the commit that its branch stands for now: open this one."""
    files: tuple[RemoteFile, ...]
    """All files that may be needed; empty for a local source. A small sample may need the first few alone."""
    note: str
    """Description and licence, where they are known here."""

    @property
    def missing(self) -> int:
        """Bytes still to download, at most."""
        return sum(file.bytes for file in self.files if not file.cached)

    def __str__(self) -> str:
        if not self.files:
            return f"{self.source}: on this machine, nothing to download"
        here = sum(file.bytes for file in self.files) - self.missing
        text = f"{self.source}: at most {self.missing / 1e6:,.0f} MB to download in {len(self.files)} files"
        text += f", {here / 1e6:,.0f} MB here already" if here else ""
        return f"{text}. {self.note}" if self.note else text


class _Item(NamedTuple):
    file: Path | Parquet
    row: int
    start: int


class Source:
    """Clips of a source, whose samples are read on demand; those of parquet files fastest in order."""

    def __init__(self, source: str, clips: Sequence[Clip], items: Sequence[_Item]) -> None:
        self.source = source
        """The source's name, pinned to a commit."""
        self.clips = tuple(clips)
        self._items = tuple(items)

    def __len__(self) -> int:
        return len(self.clips)

    def load(self, i: int, sample_rate: int = SAMPLE_RATE) -> Samples:
        """Samples of clip `i`: mono, at `sample_rate` Hz, at most 30 s.

        Raises:
            AudioError: its samples are damaged.
        """
        item, name = self._items[i], f"{self.clips[i].name} of {self.source}"
        return decode(_opened(item), name, sample_rate, start=item.start, seconds=SECONDS)

    def start(self, i: int) -> int:
        """Seconds into its recording at which clip `i` begins."""
        return self._items[i].start

    def file(self, i: int) -> Path | None:
        """The audio file that clip `i` is of; None of one in a parquet file."""
        file = self._items[i].file
        return file if isinstance(file, Path) else None


def plan_download(source: str | Path, *, most: int | None = None, seed: int = 0) -> Download:
    """List what opening `source` would download; the arguments are those of `open_source`.

    Raises:
        HubError: no such data set, revision or part; no permission; no network and nothing in the cache.
    """
    spec = parse(str(source))
    if spec is None:
        return Download(str(source), (), "")
    found = listing(spec.repo, spec.revision, "dataset")
    chosen = choose(found, spec)
    # how many clips a parquet file holds is not known before it is here
    taken = chosen if chosen[0].endswith(".parquet") else _sample(chosen, most, seed)
    names = (*tables_beside(found, chosen), *taken)
    files = [RemoteFile(n, found.sizes.get(n, 0), is_cached(spec.repo, n, found.commit, "dataset")) for n in names]
    return Download(pinned(spec, found.commit), tuple(files), spec.preset.note if spec.preset else "")


def open_source(source: str | Path, *, most: int | None = None, seed: int = 0, progress: bool = True) -> Source:
    """Open the clips of `source`; of a data set on the Hub, download the files that are needed and not cached.

    Recordings longer than 30 s become clips of 30 s; with a transcript they are left out, since it is not known which
    words fall into which clip. What cannot be decoded, or holds NaN or infinite samples, is left out. A warning counts
    both, and names the first of them.

    Args:
        source: a folder, an audio or parquet file, or a `.txt` list of audio. Tables beside the audio (`text.tsv`,
            `labels.csv`: columns file, text, speaker, label; LibriSpeech's `.trans.txt`) give transcripts. Or
            `hub:user/dataset[@revision][:part]`, where part is a config, a split, `config/split` or a shell pattern of
            file names; or one of PRESETS, as `hub:esc50`.
        most: most clips to take, drawn at random from all, or from the first parquet files that hold as many.
        seed: seed of that draw.
        progress: show a progress bar.

    Raises:
        HubError: no such data set, revision or part; no permission; no network and nothing in the cache.
        AudioError: there is no audio, a table or a parquet file cannot be read, or no clip can be decoded.
        MissingExtraError: it has parquet files, and pyarrow is not installed.
    """
    if most is not None and most < 1:
        raise AudioError(f"most={most} leaves no clip; expected 1 or more, or None for all")
    spec = parse(str(source))
    if spec is not None:
        name, rows = _remote_rows(spec, most, seed)
    else:
        name, rows = str(source), _local_rows(Path(source))
    if not rows:
        raise AudioError(f"{name} holds no clips: its table is empty; name another part")
    clips, items = _checked(name, _sample(rows, most, seed), progress)
    kept = _sample(range(len(clips)), most, seed)
    return Source(name, [clips[i] for i in kept], [items[i] for i in kept])


def _remote_rows(spec: Spec, most: int | None, seed: int) -> tuple[str, list[tuple[_Item, ClipMetadata]]]:
    found = listing(spec.repo, spec.revision, "dataset")
    chosen = choose(found, spec)
    name = pinned(spec, found.commit)
    if chosen[0].endswith(".parquet"):
        return name, _parquet_rows(spec, found, chosen, most)
    tables = tables_beside(found, chosen)
    picked = _sample(chosen, most, seed)
    folder = fetch_files(spec, found, [*tables, *picked])
    files = [folder / n for n in picked]
    every = [folder / n for n in chosen]
    known = transcripts(every, [(folder / table).parent for table in tables])
    return name, _file_rows(files, folder, known)


def _parquet_rows(
    spec: Spec, found: Listing, names: Sequence[str], most: int | None
) -> list[tuple[_Item, ClipMetadata]]:
    rows: list[tuple[_Item, ClipMetadata]] = []
    for name in names:
        table = Parquet(fetch_files(spec, found, [name]) / name, f"{name} of {spec.repo}")
        rows += _rows_of(table)
        if most is not None and len(rows) >= most:
            return rows
    shards = re.search(r"-of-(\d+)", names[-1])
    if not found.online and shards and len(names) < int(shards[1]):
        raise HubError(
            f"this machine's cache has {len(names)} of {int(shards[1])} files of {spec.repo}, and the Hub cannot be "
            "reached; connect once, or ask for fewer clips"
        )
    return rows


def _local_rows(path: Path) -> list[tuple[_Item, ClipMetadata]]:
    if path.suffix == ".parquet":
        if not path.is_file():
            raise AudioError(f"there is no parquet file at {path}")
        return _rows_of(Parquet(path, str(path)))
    if str(path) in PRESETS and not path.exists():
        raise AudioError(f"there is no folder {path}; the data set of that name is hub:{path}")
    if path.suffix == ".txt" or path.is_file():
        if not path.is_file():
            raise AudioError(f"there is no list of audio at {path}")
        files, root = list_audio([path]), None
    else:
        tables = sorted(path.rglob("*.parquet")) if path.is_dir() else []
        if tables and not any(file.suffix.lower() in SUFFIXES for file in path.rglob("*")):
            return [row for table in tables for row in _rows_of(Parquet(table, str(table)))]
        files, root = audio_files(path), path
    folders = {file.parent for file in files}
    if root is not None:
        folders |= {above for folder in folders for above in folder.parents if above.is_relative_to(root)}
    return _file_rows(files, root, transcripts(files, sorted(folders)))


def _rows_of(table: Parquet) -> list[tuple[_Item, ClipMetadata]]:
    return [(_Item(table, i, 0), row) for i, row in enumerate(table.rows)]


def _file_rows(
    files: Sequence[Path], root: Path | None, known: Mapping[Path, ClipMetadata]
) -> list[tuple[_Item, ClipMetadata]]:
    rows = []
    for file in files:
        name = file.relative_to(root).as_posix() if root is not None else file.as_posix()
        row = known.get(file, ClipMetadata())._replace(name=name)
        if row.label is None and "/" in name and root is not None:
            row = row._replace(label=file.parent.name)
        rows.append((_Item(file, 0, 0), row))
    return rows


def _group(row: ClipMetadata, name: str) -> str:
    """The clip's speaker or recording, by its metadata or by its name."""
    if row.group is not None:
        return row.group
    # LibriSpeech: speaker, chapter, utterance
    speaker = re.fullmatch(r"(\d+)-\d+-\d{4}", Path(name).stem)
    return speaker[1] if speaker else recording_of(Path(name))


def _checked(source: str, rows: Sequence[tuple[_Item, ClipMetadata]], progress: bool) -> tuple[list[Clip], list[_Item]]:
    """Clips of the rows that can be decoded, each with its item."""
    clips: list[Clip] = []
    items: list[_Item] = []
    damaged: list[str] = []
    long: list[str] = []
    for item, row in track(rows, "looking at the clips", progress):
        name = row.name or (f"{item.file.name}:{item.row}" if isinstance(item.file, Parquet) else str(item.file))
        try:
            seconds = _seconds(_opened(item), name)
        except AudioError as error:
            damaged.append(str(error))
            continue
        if row.text is not None and seconds > SECONDS:
            long.append(name)
            continue
        for start in range(0, max(math.ceil(seconds - SHORTEST), 1), SECONDS):
            piece = f"{name}@{start}s" if start else name
            clips.append(Clip(piece, row.text, _group(row, name), row.label, source))
            items.append(item._replace(start=start))
    left_out = [f"{len(damaged)} cannot be decoded ({_named(damaged, '; ')})"] if damaged else []
    left_out += [f"{len(long)} are longer than {SECONDS} s and have a text ({_named(long, ', ')})"] if long else []
    if not clips:
        raise AudioError(f"no clip of {source} can be used: of {len(rows)}, {' and '.join(left_out)}")
    if left_out:
        message = f"{source}: of {len(rows)} recordings, {' and '.join(left_out)}; they are left out"
        warnings.warn(message, AudioSAESteerWarning, stacklevel=3)
    return clips, items


def _named(of: Sequence[str], between: str) -> str:
    """The first of them, and the number of the others."""
    more = len(of) - NAMED
    return between.join([*of[:NAMED], *([f"and {more} more"] if more > 0 else [])])


def _opened(item: _Item) -> Path | io.BytesIO:
    return item.file if isinstance(item.file, Path) else io.BytesIO(item.file.sound(item.row))


def _seconds(file: Path | io.BytesIO, name: str) -> float:
    """Duration in seconds, by the header where it knows; a file that lacks its end, or is no sound, is damaged."""
    seconds, rate, channels = length(file, name, whole=True)
    if not 0 < seconds <= LONGEST or not RATES[0] <= rate <= RATES[1] or channels > CHANNELS:
        raise AudioError(f"{name} claims {seconds:.0f} s of {channels} channels at {rate} Hz, which no clip holds")
    for block in float_blocks(file):
        check_samples(block.mean(axis=1), name)
    return seconds


def _sample(items: Sequence[T], most: int | None, seed: int) -> list[T]:
    if most is None or len(items) <= most:
        return list(items)
    return [items[i] for i in sorted(random.Random(seed).sample(range(len(items)), most))]
