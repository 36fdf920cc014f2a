"""The one pass over the audio: every clip through the model and the SAEs, alone, into partial indices."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...analyse.feature_cards.feature_effects import writes_text
from ...data.activations.by_clip import clip_residuals, takes_whole_windows
from ...data.activations.capture import frames_of, residuals
from ...data.audio import SAMPLE_RATE, Samples
from ...data.log_mel import HOP, log_mel, mel_power
from ...errors import SiteError, SteeringError
from ...evaluate.page_parts.mel_png import mel_png
from ...evaluate.page_parts.sound_bytes import sound_bytes
from ...io.files import write_atomic
from ...io.progress import Tell
from ...models.families.whisper_mel import mel
from ...models.registry import family_of, fingerprint, frame_rate_at, tap_at, unwrap
from ...models.sites import Site
from ...ops.reference import SAEWeights
from .clip_coding import code
from .index_corpus import Corpus
from .index_settings import CHUNK, IndexFacts, IndexSettings, LayerFacts, digest_of
from .index_source import IndexedSAE
from .part_files import read_part, write_part
from .partial_index import LayerCollector, Media, PartialClip, PartialIndex, merged

DIGEST = "digest"
"""Name of the file that tells what an index's folder is of."""


MEMO = 256 * 2**20
"""Bytes of residuals that are kept."""


class WindowMemo:
    """Residuals of the last clips' whole windows, for the effects that are measured at the end of a small build."""

    def __init__(self, limit: int = MEMO) -> None:
        self._limit, self._bytes = limit, 0
        self._kept: dict[int, dict[Site, Tensor]] = {}

    def of(self, position: int, read: Callable[[], dict[Site, Tensor]]) -> dict[Site, Tensor]:
        """Residuals (frames, d_model) by site of a clip's position; read if they are not known."""
        if position not in self._kept:
            found = read()
            self._kept[position] = found
            self._bytes += sum(x.nbytes for x in found.values())
            while self._bytes > self._limit and len(self._kept) > 1:
                self._bytes -= sum(x.nbytes for x in self._kept.pop(next(iter(self._kept))).values())
        return self._kept[position]


class IndexJob(NamedTuple):
    """All that a build works on."""

    model: Any
    """The model, loaded."""
    saes: tuple[IndexedSAE, ...]
    corpus: Corpus
    settings: IndexSettings
    facts: IndexFacts
    memo: WindowMemo

    @classmethod
    def of(cls, model: Any, name: str, saes: Sequence[IndexedSAE], corpus: Corpus, settings: IndexSettings) -> IndexJob:
        """A job.

        Args:
            model: a model of a known family that reads audio.
            name: its name, as it can be loaded by.
            saes: SAEs, each with its layer.
            corpus: the clips.
            settings: settings of the index.

        Raises:
            SiteError: a layer is not there, its frames have no time, or an SAE does not fit it.
            SteeringError: two SAEs are of one layer, or one has too many features.
        """
        inner = unwrap(model)
        family = family_of(inner)
        layers = []
        for each in sorted(saes, key=lambda each: each.site.layer or 0):
            rate = frame_rate_at(inner, family, each.site)
            if each.site.layer is None or each.site.side != "encoder" or rate is None:
                raise SiteError(f"an index is of encoder layers whose frames have a time, which {each.site} is not")
            if tap_at(inner, family, each.site).times is not None:
                raise SiteError(f"the frames of {each.site} are patches of several bands, which an index cannot show")
            width = family.dims(inner).d_model
            if each.sae.d_model != width:
                raise SiteError(
                    f"the SAE for {each.site} reads residuals of width {each.sae.d_model}, but the model's are {width} "
                    "wide; take an SAE that was trained for this model"
                )
            layers.append(
                LayerFacts(layer=each.site.layer, site=str(each.site), sae=each.spec, sae_sha256=each.sha256,
                           features=each.sae.n_features, width=each.sae.d_model, rate=float(rate))
            )  # fmt: skip
        library = "openai" if hasattr(inner, "dims") else "transformers"
        facts = IndexFacts(
            model=name, library=library, family=family.name, weights=fingerprint(inner) or "", layers=tuple(layers),
            settings=settings.of_parts,
        )  # fmt: skip
        return cls(model, tuple(saes), corpus, settings, facts, WindowMemo())

    @property
    def digest(self) -> str:
        """sha256, in hex, of what the partial indices depend on."""
        return digest_of(self.facts, self.corpus.marks)

    @property
    def chunks(self) -> list[range]:
        """Positions of the clips of each chunk, after which a build is saved."""
        return [range(i, min(i + CHUNK, len(self.corpus))) for i in range(0, len(self.corpus), CHUNK)]


def collect_part(job: IndexJob, clips: Sequence[int], progress: Tell | None = None) -> PartialIndex:
    """The partial index of the clips at these positions of the corpus.

    Each clip goes through the model alone, so that the result does not depend on which others are there.

    Args:
        job: the job.
        clips: positions in the corpus.
        progress: called with what is being done, how many clips are done, and how many there are.

    Raises:
        AudioError: a clip cannot be read.
        SteeringError: the model's residuals are not finite.
    """
    inner = unwrap(job.model)
    rate = family_of(inner).sample_rate(inner)
    top, each = job.settings.top, job.settings.each
    weights: Mapping[Site, SAEWeights] = {own.site: own.sae.float().weights(torch.float32) for own in job.saes}
    collectors = {own.site: LayerCollector(own.sae.n_features, top, each) for own in job.saes}
    found: dict[int, PartialClip] = {}
    for done, position in enumerate(clips):
        if progress is not None:
            progress("encoding clips", done, len(clips))
        about, samples = job.corpus.clips[position], job.corpus.read(position, rate)
        if job.settings.transcribe and not about.transcript:
            about = about._replace(transcript=_text(job.model, samples))
        for site, x in _residuals(job, position, samples):
            collectors[site].add(code(x, weights[site]), about.key)
        sound = sound_bytes(samples, rate) if job.settings.sounds else None
        media = partial(Media, sound, mel_png(_mel(inner, samples, rate)))
        found[about.key] = PartialClip(about, round(len(samples) / rate, 3), media)
    if progress is not None:
        progress("encoding clips", len(clips), len(clips))
    layers = {site.layer or 0: collector.layer() for site, collector in collectors.items()}
    return PartialIndex(job.facts, found, layers)


def collect_chunks(job: IndexJob, folder: Path, part: tuple[int, int] = (1, 1), progress: Tell | None = None) -> bool:
    """Make the partial indices of every chunk of a job, and keep them in a folder; those that are there are not redone.

    Several processes may work on one folder, each on its part.

    Args:
        job: the job.
        folder: the folder.
        part: number of this process, from 1, and the number of them.
        progress: called with what is being done, how many clips are done, and how many there are.

    Returns:
        True if all chunks are there.

    Raises:
        SteeringError: there is no such part, or the folder cannot be written.
        MissingExtraError: pyarrow is not installed.
    """
    if not 1 <= part[0] <= part[1]:
        raise SteeringError(f"part {part[0]}/{part[1]} does not exist; expected 1/{part[1]} to {part[1]}/{part[1]}")
    own = [i for i in range(len(job.chunks)) if i % part[1] == part[0] - 1]
    total = sum(len(job.chunks[i]) for i in own)
    done = 0
    for i in own:

        def tell(what: str, here: int, of: int, before: int = done) -> None:
            if progress is not None:
                progress(what, before + here, total)

        if not _chunk(folder, i).is_dir():
            write_part(collect_part(job, job.chunks[i], tell), _chunk(folder, i))
        done += len(job.chunks[i])
        tell("encoding clips", 0, 0, done)
    return all(_chunk(folder, i).is_dir() for i in range(len(job.chunks)))


def joined_chunks(job: IndexJob, folder: Path, progress: Tell | None = None) -> PartialIndex:
    """The index of all chunks in a folder. SteeringError: one is missing or damaged."""

    def parts() -> Iterator[PartialIndex]:
        for i in range(len(job.chunks)):
            if progress is not None:
                progress("merging", i, len(job.chunks))
            yield read_part(_chunk(folder, i))
        if progress is not None:
            progress("merging", len(job.chunks), len(job.chunks))

    return merged(parts())


def remove_chunks(folder: Path) -> None:
    """Remove the chunks of a job that is finished."""
    shutil.rmtree(folder, ignore_errors=True)


def claim(folder: Path, digest: str) -> None:
    """Note what the index in a folder is of. SteeringError: it holds another, or other files."""
    mark = folder / DIGEST
    if mark.is_file():
        known = mark.read_text("utf-8").strip()
        if known != digest:
            raise SteeringError(
                f"{folder} holds a build of another model, SAE or audio, or of other settings (digest {known[:12]}, "
                f"not {digest[:12]}); name another folder, or remove it"
            )
        return
    if folder.is_dir() and any(folder.iterdir()):
        raise SteeringError(f"{folder} is a folder with other files in it, which are left unchanged; name a new folder")
    write_atomic(mark, digest + "\n", SteeringError)


def _chunk(folder: Path, number: int) -> Path:
    return folder / f"{number:05d}"


def windows_of_clip(job: IndexJob, position: int, samples: Samples) -> dict[Site, Tensor]:
    """Residuals (frames, d_model) of a clip's whole window of 30 s at each site, padding and all, by one pass."""

    def read() -> dict[Site, Tensor]:
        sites = [own.site for own in job.saes]
        found = residuals(unwrap(job.model), [samples], [site.layer for site in sites if site.layer is not None])
        return {site: found[site.layer or 0][0].float().cpu() for site in sites}

    return job.memo.of(position, read) if job.settings.effects else read()


def _residuals(job: IndexJob, position: int, samples: Samples) -> Iterator[tuple[Site, Tensor]]:
    """Frames (frames, d_model) of one clip at each site, padding left out."""
    inner = unwrap(job.model)
    if not all(takes_whole_windows(inner, own.site) for own in job.saes):
        for own in job.saes:
            yield own.site, next(iter(clip_residuals(inner, own.site, [samples])))
        return
    for site, row in windows_of_clip(job, position, samples).items():
        x = row[: frames_of(len(samples), len(row))]
        if not torch.isfinite(x).all():
            raise SteeringError("the model's residuals hold NaN or infinite numbers; check its weights")
        yield site, x


def _mel(model: Any, samples: Samples, rate: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Spectrogram (frames, bands): a Whisper's own input; for other models, that of Whisper's definition."""
    if writes_text(model) and rate == SAMPLE_RATE:
        frames = max(round(len(samples) / HOP), 1)
        own: np.ndarray[Any, np.dtype[np.float32]] = mel(model, [samples])[0, :, :frames].T.float().cpu().numpy()
        return own
    if rate != SAMPLE_RATE:
        import soxr

        samples = soxr.resample(samples, rate, SAMPLE_RATE)
    return log_mel(mel_power(samples))


def _text(model: Any, samples: Samples) -> str:
    """A clip's text by the model; empty where it writes none."""
    from ...evaluate.transcription.decoding import Decoding
    from ...evaluate.transcription.transcribe import transcribe_batch
    from ...models.whisper.tokenizer import processor_for

    inner = unwrap(model)
    if not writes_text(inner):
        raise SteeringError("this model writes no text; leave --transcribe out")
    config: Any = getattr(inner, "config", None)
    processor = None if hasattr(inner, "dims") else processor_for(config.vocab_size, config.num_mel_bins)
    return transcribe_batch(model, [samples], Decoding(timestamps=False), processor=processor)[0].text.strip()
