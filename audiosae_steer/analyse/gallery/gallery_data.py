"""Data of a gallery: what the analyses are given, read once for all of them, and the clips that ship."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import SteeringError
from ...evaluate.demo.run import read_clips
from ...io.progress import Tell
from ...io.shipped import checkpoints_dir
from ...io.tensors.digest import sha256_of_tensors
from ...models.registry import fingerprint, unwrap
from ...models.sites import Site
from ...sae.autoencoder import SAE
from ..brain_responses.response_files import Responses
from ..diffusion_steps.property_readers import LinearReader
from ..diffusion_steps.trajectories import Trajectory
from ..frame.codes import MIN_CLIPS, MIN_FRAMES, pool_codes
from ..frame.excerpts import Excerpts, excerpts_of
from ..frame.residual_clips import Residuals, read_residuals
from ..phone_names.alignment_files import Alignments

DENSEST = 0.1
"""Share of frames above which a feature that nobody named is not looked at: it is on nearly always."""
LABELS = {"speech": "speech", "nonspeech": "not speech"}
"""Labels of the clips that ship, by their kind."""


@dataclass(frozen=True, kw_only=True)
class GalleryData:
    """Data of the analyses; each that lacks some of it is left out, and says so."""

    model: Any
    """The model, loaded, and not steered."""
    site: Site
    sae: SAE
    """The SAE of that site, in float32."""
    excerpts: Excerpts
    """Clips, with labels or without."""
    texts: Mapping[Path, str] = field(default_factory=dict)
    """Transcripts, by file."""
    concept: str | None = None
    """Label to erase and to patch in; None: that of the most groups."""
    features: tuple[int, ...] = ()
    """Features for mel patterns, the first of them for a card; none: see `looked_at`."""
    attributes: str | Path = "free"
    """Attributes of the sound, as `attributes_of` takes them."""
    other: SAE | None = None
    """SAE to compare with; None: the random control."""
    other_site: Site | None = None
    """Site that it reads; None: the same."""
    alignments: Alignments | None = None
    """Phones of the clips."""
    responses: Responses | None = None
    """Responses of the brain to the clips."""
    trajectory: Trajectory | None = None
    """States of a flow."""
    reader: LinearReader | None = None
    """Properties of its latents."""
    latents: SAE | None = None
    """SAE of its latents."""
    cache: Path | None = None
    """Folder for activations; None: none is kept."""
    _kept: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    def residuals(self, tell: Tell | None = None, site: Site | None = None) -> Residuals:
        """The clips' residuals at a site, None the data's own; they are read once."""
        site = site or self.site
        if site not in self._kept:
            self._kept[site] = read_residuals(self.model, site, self.excerpts, cache=self.cache, progress=tell)
        found: Residuals = self._kept[site]
        return found

    def looked_at(self, count: int, tell: Tell | None = None) -> tuple[int, ...]:
        """Features to look at: those named, or the `count` that fire on the most frames, up to a tenth of all.

        Raises:
            SteeringError: none fires on 50 frames and in 5 clips.
        """
        if self.features:
            return self.features[:count]
        if "densest" not in self._kept:
            codes = pool_codes(self.residuals(tell), self.sae, progress=tell)
            seen = codes.seen()
            share = seen.frames / max(codes.frames.sum(), 1)
            kept = np.flatnonzero(seen.mask(MIN_FRAMES, MIN_CLIPS) & (share <= DENSEST))
            self._kept["densest"] = kept[np.argsort(-share[kept], kind="stable")]
        found = self._kept["densest"]
        if not len(found):
            raise SteeringError(
                f"no feature fires on {MIN_FRAMES} frames, in {MIN_CLIPS} clips and on at most {DENSEST:.0%} of all "
                "frames; name features to look at"
            )
        return tuple(int(number) for number in found[:count])

    def named_concept(self) -> str:
        """The concept, or the label of the most groups. SteeringError: no clip has a label."""
        by_label: dict[str, set[str]] = {}
        for item in self.excerpts.items:
            if item.label is not None:
                by_label.setdefault(item.label, set()).add(item.group)
        if not by_label:
            raise SteeringError("the clips have no labels; give a CSV with columns file,label[,group][,start,end]")
        return self.concept or min(by_label, key=lambda label: (-len(by_label[label]), label))

    def background(self) -> str:
        """The label of the most clips besides the concept. SteeringError: there is none."""
        concept = self.named_concept()
        others = [item.label for item in self.excerpts.items if item.label not in (None, concept)]
        if not others:
            raise SteeringError(f"all clips with a label are {concept!r}; give clips of another label as well")
        return min({str(each) for each in others}, key=lambda label: (-others.count(label), label))

    def digest(self, uses: Sequence[str]) -> str | None:
        """sha256, in hex, over model, site, SAE, clips, and those fields that an analysis uses beside them.

        None of a model whose weights cannot be told, of which no result is taken for that of another run.
        """
        if "digest" not in self._kept:
            words = (self.sae.digest(), self.excerpts.digest(), repr((self.excerpts.report, self.excerpts.grouped)))
            self._kept["digest"] = (fingerprint(unwrap(self.model)), str(self.site), *words)
        weights, *parts = self._kept["digest"]
        if weights is None:
            return None
        parts = [weights, *parts, *(f"{name} {self._word(name)}" for name in uses)]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def _word(self, name: str) -> str:
        value = getattr(self, name)
        if hasattr(value, "digest"):
            return str(value.digest())
        if isinstance(value, Alignments):
            return repr(sorted(value.by_name.items()))
        if isinstance(value, LinearReader):
            return sha256_of_tensors([part for head in value.heads.values() for part in head], repr([*value.heads]))
        if name == "attributes" and Path(value).is_file():
            return hashlib.sha256(Path(value).read_bytes()).hexdigest()
        if name == "texts":
            return repr([self.texts.get(item.path) for item in self.excerpts.items])
        return repr(value)

    def fewer(self, most: int, seed: int = 0) -> GalleryData:
        """The same with at most so many clips, labels and groups in turn, drawn at random."""
        if len(self.excerpts) <= most:
            return self
        items = self.excerpts.items
        order = np.random.default_rng(seed).permutation(len(items))
        cells: dict[tuple[str, str], int] = {}
        groups: dict[str, dict[str, int]] = {}
        ranked = []
        for row in order:
            label, group = items[row].label or "", items[row].group
            within = cells[label, group] = cells.get((label, group), -1) + 1
            place = groups.setdefault(label, {}).setdefault(group, len(groups[label]))
            ranked.append((within, place, label, int(row)))
        rows = sorted(row for *_, row in sorted(ranked)[:most])
        flags = self.excerpts.report
        chosen = replace(
            self.excerpts, items=tuple(items[row] for row in rows),
            report=None if flags is None else tuple(flags[row] for row in rows),
        )  # fmt: skip
        return replace(self, excerpts=chosen, _kept={})


def bundled_clips() -> tuple[Excerpts, dict[Path, str]]:
    """The clips that ship, labelled speech or not speech, voices and kinds of sound their groups; and transcripts."""
    clips = {clip.path.resolve(): clip for clip in read_clips(checkpoints_dir() / "clips")}
    items = []
    for item in excerpts_of([checkpoints_dir() / "clips"]).items:
        clip = clips[item.path.resolve()]
        voice = clip.label.partition(" (")[0].partition(",")[0]
        items.append(item._replace(label=LABELS[str(clip.kind)], group=voice))
    texts = {item.path: text for item in items if (text := clips[item.path.resolve()].text)}
    return Excerpts(tuple(items), grouped=True), texts
