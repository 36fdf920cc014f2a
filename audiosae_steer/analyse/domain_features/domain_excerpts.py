"""Clips of several domains, with the source that each comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ...errors import AudioError
from ..frame.excerpts import Excerpts, excerpts_of


class DomainExcerpts(NamedTuple):
    """Clips labelled by their domain, and the source of each."""

    clips: Excerpts
    sources: tuple[str, ...]


def excerpts_of_domains(audio: Mapping[str, Sequence[str | Path]]) -> DomainExcerpts:
    """Clips of several domains: excerpts of at most 30 s, labelled by domain.

    The source of a clip is the path that it was given by, where a domain has several; of a single folder it is the
    subfolder. Recordings of one name count as one only within a source.

    Args:
        audio: folders, files, or `.txt` lists of files of each domain.

    Raises:
        AudioError: there is no audio, a file is not audio, or one is in two domains.
    """
    items, sources = [], []
    owner: dict[Path, str] = {}
    for domain, paths in audio.items():
        names = _names([Path(path) for path in paths])
        for path, name in zip(paths, names, strict=True):
            for item in excerpts_of([path]).items:
                other = owner.setdefault(item.path.resolve(), domain)
                if other != domain:
                    raise AudioError(f"{item.path.name} is in the domains {other} and {domain}; give it to one of them")
                source = name if len(names) > 1 else _subfolder(item.path, Path(path))
                items.append(item._replace(label=domain, group=f"{domain}/{source}/{item.group}"))
                sources.append(source)
    return DomainExcerpts(Excerpts(tuple(items)), tuple(sources))


def _subfolder(path: Path, given: Path) -> str:
    """Folder of a file right below the one that was given; that one itself if there is none between."""
    parts = path.relative_to(given).parts if given in path.parents else ()
    return parts[0] if len(parts) > 1 else given.stem


def _names(paths: Sequence[Path]) -> list[str]:
    """Names of paths, told apart by a number where several bear one."""
    stems = [path.stem for path in paths]
    return [f"{stem} {stems[: i + 1].count(stem)}" if stems.count(stem) > 1 else stem for i, stem in enumerate(stems)]
