"""Residual frames clip by clip, padding left out: read from a model once, then from disk, or given in memory."""

from __future__ import annotations

import hashlib
import json
import shutil
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...data.activations.by_clip import clip_residuals_at
from ...errors import SiteError, SteeringError
from ...io.files import atomic_file
from ...io.progress import Tell
from ...io.tensors.digest import sha256_of_tensors
from ...models.registry import family_of, fingerprint, tap_at, unwrap
from ...models.sites import Site
from ...steering.live import lives
from .excerpts import Excerpts

CHUNK = 16
"""Clips of one file of the cache."""
BATCH = 8
"""Clips of one pass of a Whisper."""


class _Stored(NamedTuple):
    """A clip's frames on disk."""

    path: Path
    key: str


class _Temporary:
    """A folder that is removed with the last thing that refers to this, or when Python ends."""

    def __init__(self) -> None:
        self.path = Path(mkdtemp(prefix="audiosae-steer-"))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


@dataclass(frozen=True)
class Residuals:
    """Residual frames (frames, d_model) of clips at one site, in float32; iterating gives one clip after the other.

    Only one clip is in memory at a time, unless the frames were given in memory.
    """

    clips: tuple[Tensor | _Stored, ...]
    frames: NDArray[np.int64]
    """(clips,) frames that are sound."""
    groups: tuple[str, ...]
    """Group of each clip."""
    labels: tuple[str | None, ...]
    """Label of each clip."""
    rate: float | None
    """Frames per second, of an AST those of all bands; None where frames have no time."""
    width: int
    """d_model."""
    model: str | None = None
    """Name of the model's family; None of residuals that were given."""
    weights: str | None = None
    """Fingerprint of the model's weights."""
    site: str | None = None
    """Site, in words."""
    digest: str = ""
    """sha256, in hex, of the data."""
    excerpts: Excerpts | None = None
    """The clips' files; None of residuals that were given."""
    _keeps: Any = field(default=None, repr=False, compare=False)

    @classmethod
    def of(
        cls,
        clips: Sequence[Tensor],
        *,
        groups: Sequence[str] | None = None,
        labels: Sequence[str | None] | None = None,
        rate: float | None = 50.0,
        sound: Sequence[int] | None = None,
    ) -> Residuals:
        """Residuals that are in memory.

        Args:
            clips: frames (frames, d_model) of each clip.
            groups: group of each; None: each clip is one of its own.
            labels: label of each.
            rate: frames per second.
            sound: number of frames of each clip that are sound, the rest padding; None: all.

        Raises:
            SteeringError: there are no clips, they are not of one width, or the lists differ in length.
        """
        kept = [clip[: len(clip) if sound is None else sound[i]].detach().float() for i, clip in enumerate(clips)]
        groups = tuple(groups) if groups is not None else tuple(f"clip {i}" for i in range(len(kept)))
        labels = tuple(labels) if labels is not None else (None,) * len(kept)
        if not kept or len({clip.shape[1] for clip in kept}) > 1 or not len(kept) == len(groups) == len(labels):
            raise SteeringError(
                f"{len(kept)} clips with {len(groups)} groups and {len(labels)} labels cannot be analysed; give at "
                "least one clip (frames, d_model), all of one width, and a group and a label for each"
            )
        words = json.dumps([[len(clip) for clip in kept], groups, labels])
        frames = np.array([len(clip) for clip in kept], np.int64)
        return cls(
            tuple(kept), frames, groups, labels, rate, kept[0].shape[1], digest=sha256_of_tensors(kept, words)
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.clips)

    def __iter__(self) -> Iterator[Tensor]:
        return (self.read(number) for number in range(len(self)))

    def read(self, number: int) -> Tensor:
        """Frames (frames, d_model) of one clip. SteeringError: the cache is damaged."""
        clip = self.clips[number]
        if isinstance(clip, Tensor):
            return clip
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(clip.path, framework="pt") as file:
                found: Tensor = file.get_tensor(clip.key)
                return found
        except (SafetensorError, OSError) as error:
            raise SteeringError(f"{clip.path} is damaged ({error}); remove it, and run this again") from error

    def pick(self, rows: Any) -> Residuals:
        """The clips at these positions."""
        rows = [int(row) for row in rows]
        return replace(
            self,
            clips=tuple(self.clips[i] for i in rows),
            frames=self.frames[rows],
            groups=tuple(self.groups[i] for i in rows),
            labels=tuple(self.labels[i] for i in rows),
            excerpts=None if self.excerpts is None else replace(
                self.excerpts, items=tuple(self.excerpts.items[i] for i in rows),
                report=None if self.excerpts.report is None else tuple(self.excerpts.report[i] for i in rows),
            ),
        )  # fmt: skip


def read_residuals(
    model: Any,
    site: Site,
    excerpts: Excerpts,
    *,
    cache: Path | None = None,
    also: Sequence[Site] = (),
    progress: Tell | None = None,
) -> Residuals:
    """Residuals of excerpts at one site of a model. What is on disk is used again, so an interrupted run resumes.

    Args:
        model: a model of a known family that reads audio. Of a steered one the residuals are as steered, and nothing
            of them is cached.
        site: where to read.
        excerpts: see `excerpts_of` and `excerpts_from_csv`.
        cache: folder for the frames, 1.5 kB each of a Whisper-tiny; None takes a temporary one.
        also: other sites, whose frames a pass that is made for `site` writes to the cache as well.
        progress: called with what is being done, how many are done, and how many there are.

    Raises:
        SiteError: there is no such site, or the model takes no audio.
        AudioError: a file cannot be read.
        SteeringError: there are no excerpts, or the residuals are not finite.
    """
    if not len(excerpts):
        raise SteeringError("there are no clips to analyse; give at least one")
    inner = unwrap(model)
    family = family_of(inner)
    tap = tap_at(inner, family, site)
    rate = family.frame_rate(inner, site) if site.path is None else site.frame_rate
    weights = fingerprint(inner)
    digest = excerpts.digest()
    kept = _Temporary() if cache is None or lives(inner) else None
    folder = kept.path if kept is not None else Path(cache or ".")
    sound = _sound(excerpts)
    together = {site, *also} if kept is None and weights is not None else {site}
    known = {each: _known(weights, each, sound) for each in sorted(together, key=str)}
    clips: list[_Stored] = []
    frames: list[int] = []
    width = 0
    for start in range(0, len(excerpts), CHUNK):
        if progress is not None:
            progress(f"encoding at {site}", start, len(excerpts))
        paths = {each: folder / f"frames-{name}-{start // CHUNK:05d}.safetensors" for each, name in known.items()}
        missing = {each: path for each, path in paths.items() if weights is None or not path.is_file()}
        if site in missing:
            _write(missing, inner, Excerpts(excerpts.items[start : start + CHUNK]), family.sample_rate(inner))
        for key, (count, across) in _shapes(paths[site]).items():
            clips.append(_Stored(paths[site], key))
            frames.append(count)
            width = across
    if progress is not None:
        progress(f"encoding at {site}", len(excerpts), len(excerpts))
    if rate is not None and tap.times is not None:  # several frames, of several bands, at one time
        rate *= max(round(sum(frames) / (rate * sum(item.seconds for item in excerpts.items))), 1)
    return Residuals(
        tuple(clips), np.array(frames, np.int64), excerpts.groups, excerpts.labels, rate, width, model=family.name,
        weights=weights, site=str(site), digest=digest, excerpts=excerpts, _keeps=kept,
    )  # fmt: skip


def check_fits(sae: Any, residuals: Residuals) -> None:
    """Refuse an SAE that does not read residuals of this width. SiteError: it does not."""
    if sae.d_model != residuals.width:
        raise SiteError(
            f"this SAE reads residuals of width {sae.d_model}, but these are {residuals.width} wide; take an SAE that "
            "was trained for this model"
        )


def _sound(excerpts: Excerpts) -> str:
    """Digest of the sound alone: clips that get other labels or groups are not encoded again."""
    return replace(excerpts, items=tuple(item._replace(label=None, group="") for item in excerpts.items)).digest()


def _known(weights: str | None, site: Site, sound: str) -> str:
    """Name of the frames of a sound at a site, in the cache."""
    return hashlib.sha256(json.dumps([weights, str(site), sound]).encode()).hexdigest()[:24]


def _write(paths: Mapping[Site, Path], model: Any, excerpts: Excerpts, sample_rate: int) -> None:
    from safetensors.torch import save

    tensors: dict[Site, dict[str, Tensor]] = {site: {} for site in paths}
    for start in range(0, len(excerpts), BATCH):
        samples = [item.read(sample_rate) for item in excerpts.items[start : start + BATCH]]
        for number, rows in enumerate(clip_residuals_at(model, list(paths), samples), start):
            for site, row in rows.items():
                tensors[site][f"{number:02d}"] = row.to(torch.float32).contiguous()
    for site, path in paths.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path, SteeringError) as part:
            part.write_bytes(save(tensors[site]))


def _shapes(path: Path) -> dict[str, tuple[int, int]]:
    """Shape of each clip in a file of the cache, in order."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            shapes = {key: file.get_slice(key).get_shape() for key in sorted(file.keys())}
    except (SafetensorError, OSError) as error:
        raise SteeringError(f"{path} is damaged ({error}); remove it, and run this again") from error
    return {key: (int(shape[0]), int(shape[1])) for key, shape in shapes.items()}
