"""Search for features that fire on phones: fills `Phones`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import SteeringError
from ...io.progress import Tell
from ...sae.autoencoder import SAE
from ..frame.codes import Patterns, patterns_of
from ..frame.control_dictionaries import control
from ..frame.parts import Parts, one_part, parts_of, split_parts
from ..frame.provenance import SAEFacts, SiteFacts, provenance
from ..frame.residual_clips import Residuals
from .alignment_files import Alignments
from .frame_phones import SILENT, FramePhones
from .name_scores import Scored, score_names
from .naming import Names, boundary_features, name_features, named_by_chance, phone_counts
from .phone_examples import examples_of
from .phone_findings import Phones
from .phone_probe import probe_phones
from .phone_profiles import profile
from .phone_records import BoundaryFeature, ControlNames, NamedFeature, PhoneRow, PhoneSettings
from .textgrid import PhoneSpan

Counts = NDArray[np.int64]
Spans = Sequence[Sequence[PhoneSpan]]


@dataclass(frozen=True)
class _Frames:
    """The phones of all frames, by part."""

    phones: FramePhones
    parts: Parts
    rows: tuple[Counts, Counts]
    """Frames of `find` and of `report`."""

    @classmethod
    def of(cls, phones: FramePhones, parts: Parts, starts: Counts) -> _Frames:
        rows = [
            np.concatenate([np.arange(starts[clip], starts[clip + 1]) for clip in part])
            for part in (parts.find, parts.report)
        ]
        return cls(phones, parts, (rows[0], rows[1]))

    def of_part(self, number: int) -> Counts:
        """Phone of each frame of a part."""
        return self.phones.of[self.rows[number]]


class _Told(NamedTuple):
    """Features of a dictionary, named and scored."""

    names: Names
    scored: Scored | None
    purity: NDArray[np.float64]
    """(named features,) on `report`; NaN without frames."""
    counts: Counts
    """(named features, 2) aligned frames of `report` on which each fires, and those of its phone."""
    boundary: list[BoundaryFeature]


def phones(
    sae: SAE,
    residuals: Residuals,
    alignments: Alignments | Spans,
    *,
    settings: PhoneSettings | None = None,
    progress: Tell | None = None,
) -> Phones:
    """Name an SAE's features after the phones that they fire on, and score the names on other recordings.

    AudioSAE (arXiv 2602.05027) names a feature after a phone that fills more than half of its aligned active frames,
    and counts a frame as right if any active feature has the right name. Beside that: a lift over the phone's own
    share, names shuffled among the features, one vote per frame, a linear probe, and controls.

    Args:
        sae: the SAE.
        residuals: clips; those without an alignment are left out.
        alignments: see `read_alignments`; or the phones of each clip, in seconds of it.
        settings: writing of the phones, bounds, nulls, controls and seed.
        progress: called with what is being done, how many are done, and how many there are.

    Raises:
        SiteError: the SAE does not fit the residuals.
        AudioError: no clip has an alignment.
        SteeringError: no frame has a phone, there is nothing to report on, or no feature has support.
        MissingExtraError: scikit-learn is not installed.
    """
    settings = settings or PhoneSettings()
    kept, spans = _aligned(residuals, alignments)
    missing = len(residuals) - len(kept)
    warnings = [f"{missing} of {len(residuals)} clips have no alignment and are left out"] if missing else []
    residuals = residuals.pick(kept)
    parts = _parts(residuals, settings)
    patterns = patterns_of(residuals, sae, progress=progress)
    if progress is not None:
        progress("naming features", 0, 1)
    found = name_patterns(patterns, spans, parts=parts, settings=settings)
    frames = _Frames.of(FramePhones.read(spans, patterns.starts, patterns.rate, settings), parts, patterns.starts)
    controls = tuple(_control(name, sae, residuals, frames, settings, progress) for name in settings.controls)
    probed = None
    if settings.probe_frames:
        if progress is not None:
            progress("fitting the linear probe", 0, 1)
        find, report = ((residuals.pick(part), frames.of_part(i)) for i, part in enumerate(parts[:2]))
        probed = probe_phones(find, report, len(frames.phones.names), settings.probe_frames, settings.seed)
    origin = provenance(
        sites=[SiteFacts.of(residuals)], saes=[SAEFacts.of(sae, patterns.l0)], settings=settings, seed=settings.seed,
        in_sample=parts.in_sample, warnings=[*warnings, *found.provenance.warnings],
    )  # fmt: skip
    found = replace(found, controls=controls, probe=probed, provenance=origin)
    examples = examples_of(found, patterns, frames.phones, residuals, parts.report)
    return replace(found, examples=tuple(replace(each, clip=kept[each.clip]) for each in examples))


def name_patterns(
    patterns: Patterns,
    spans: Spans,
    *,
    parts: Parts | None = None,
    settings: PhoneSettings | None = None,
) -> Phones:
    """Name features by the frames on which they fire: `Phones` without controls, probe and examples.

    Args:
        patterns: frames on which features fire; see `patterns_of`.
        spans: phones of each clip, in seconds of it.
        parts: clips to name on and to report on; None: half of the groups each.
        settings: writing of the phones, bounds, nulls and seed.

    Raises:
        SteeringError: no frame has a phone, there is nothing to report on, or no feature has support.
        MissingExtraError: scipy is not installed.
    """
    settings = settings or PhoneSettings()
    if len(spans) != len(patterns.starts) - 1 or settings.permutations < 1:
        raise SteeringError(
            f"there are {len(spans)} alignments of {len(patterns.starts) - 1} clips, and {settings.permutations} "
            "shuffles; give one alignment for each clip, and shuffle at least once"
        )
    parts = parts or split_parts(patterns.groups, share=settings.share, seed=settings.seed)
    read = FramePhones.read(spans, patterns.starts, patterns.rate, settings)
    frames = _Frames.of(read, parts, patterns.starts)
    if not all((frames.of_part(number) >= 0).any() for number in (0, 1)):
        raise SteeringError("one part has no frame with a phone; give alignments of more speakers or recordings")
    told = _told(patterns, frames, patterns.groups, settings)
    if not len(told.names.seen):
        raise SteeringError(
            f"no feature fires on {settings.min_frames} aligned frames and in {settings.min_clips} clips of the part "
            f"find, of {len(parts.find)} clips; give more audio, or ask for less support"
        )
    chance = named_by_chance(patterns.pick(parts.find), read, frames.of_part(0), settings)
    counts = [read.counts(rows) for rows in frames.rows]
    scored = told.scored
    confusion = np.zeros((len(read.names), len(read.names) + 1), np.int64) if scored is None else scored.confusion
    return Phones(
        provenance=provenance(
            settings=settings, seed=settings.seed, in_sample=parts.in_sample, warnings=parts.warnings
        ),
        features=patterns.n_features,
        seen=len(told.names.seen),
        named_by_chance=chance,
        named=_named(patterns, frames, told, settings),
        rows=_rows(read, counts, told.names, confusion),
        silence=float((frames.of_part(1) == SILENT).sum() / max((frames.of_part(1) >= SILENT).sum(), 1)),
        scores=None if scored is None else scored.scores,
        majority=float(counts[1][counts[0].argmax()] / counts[1].sum()),
        confusion=tuple(tuple(int(n) for n in row) for row in confusion),
        boundary=tuple(told.boundary),
        rate=float(patterns.rate or 0),
        probe=None,
        controls=(),
    )  # fmt: skip


def _aligned(residuals: Residuals, given: Alignments | Spans) -> tuple[list[int], Spans]:
    """Clips that have an alignment, and the phones of each."""
    if isinstance(given, Alignments):
        if residuals.excerpts is None:
            raise SteeringError("these residuals are of no files, which have names; give the phones of each clip")
        found = given.of(residuals.excerpts)
        rows = [row for row, spans in enumerate(found) if spans]
        return rows, [found[row] or () for row in rows]
    if len(given) != len(residuals):
        raise SteeringError(f"there are {len(given)} alignments of {len(residuals)} clips; give one for each")
    return list(range(len(residuals))), given


def _parts(residuals: Residuals, settings: PhoneSettings) -> Parts:
    """Parts by speaker or recording; labels of clips are not looked at."""
    if residuals.excerpts is None:
        several = len(set(residuals.groups)) > 1
        return split_parts(residuals.groups, share=settings.share, seed=settings.seed) if several else one_part(
            len(residuals)
        )  # fmt: skip
    bare = replace(residuals.excerpts, items=tuple(item._replace(label=None) for item in residuals.excerpts.items))
    return parts_of(bare, share=settings.share, seed=settings.seed)


def _control(
    name: str, sae: SAE, residuals: Residuals, frames: _Frames, settings: PhoneSettings, progress: Tell | None
) -> ControlNames:
    """A control, named and scored as the SAE is."""
    made = control(name, sae, residuals, seed=settings.seed)
    patterns = patterns_of(residuals, made, what=f"encoding frames by {name}", progress=progress)
    told = _told(patterns, frames, residuals.groups, settings)
    held = int((told.purity > settings.least_purity).sum())
    return ControlNames(
        name, made.n_features, len(told.names.seen), len(told.names.features), held, len(told.boundary),
        None if told.scored is None else told.scored.scores,
    )  # fmt: skip


def _told(patterns: Patterns, frames: _Frames, groups: Sequence[str], settings: PhoneSettings) -> _Told:
    """Features named on `find` and scored on `report`."""
    find, report = (patterns.pick(part) for part in (frames.parts.find, frames.parts.report))
    phones, of = frames.phones, frames.of_part(1)
    names = name_features(find, phones, frames.of_part(0), settings)
    borders = tuple(phones.at_border[rows] for rows in frames.rows)
    boundary = boundary_features(find, report, (borders[0], borders[1]), names.seen)
    if not len(names.features):
        return _Told(names, None, np.zeros(0), np.zeros((0, 2), np.int64), boundary)
    active = report.active[:, names.features]
    own = phone_counts(active, of, len(phones.names))[np.arange(len(names.features)), names.phones]
    fired = np.asarray(active[np.flatnonzero(of >= SILENT)].sum(0)).reshape(-1).astype(np.int64)
    purity = np.where(fired > 0, own / np.maximum(fired, 1), np.nan)
    rows = np.flatnonzero(of >= 0)
    clip_groups = np.array([groups[int(clip)] for clip in frames.parts.report])[report.clip_of[rows]]
    scored = score_names(
        active[rows], (names.phones, names.lift), of[rows], len(phones.names), clip_groups.tolist(), settings
    )
    return _Told(names, scored, purity, np.stack([fired, own], 1), boundary)


def _named(patterns: Patterns, frames: _Frames, told: _Told, settings: PhoneSettings) -> tuple[NamedFeature, ...]:
    """Records of the named features, by phone and then the purest first."""
    names, phones = told.names, frames.phones
    report = np.isin(np.arange(len(patterns.starts) - 1), frames.parts.report)
    total = phones.counts(frames.rows[1])
    found = []
    for place in np.lexsort((-names.purity, names.phones)):
        feature, phone = int(names.features[place]), int(names.phones[place])
        events = [kind[phone][report[kind[phone][:, 0]]] for kind in (phones.onsets, phones.offsets)]
        fired, own = (int(n) for n in told.counts[place])
        found.append(
            NamedFeature(
                feature, phones.names[phone], int(names.frames[place]), float(names.purity[place]),
                float(names.lift[place]), fired, float(told.purity[place]) if fired else None,
                float(own / total[phone]) if total[phone] else None,
                *(profile(patterns, feature, at, settings.lags) for at in events),
            )
        )  # fmt: skip
    return tuple(found)


def _rows(phones: FramePhones, counts: list[Counts], names: Names, confusion: Counts) -> tuple[PhoneRow, ...]:
    found = []
    for number, phone in enumerate(phones.names):
        own = np.flatnonzero(names.phones == number)
        said = int(confusion[:, number].sum())
        right = int(confusion[number, number])
        found.append(
            PhoneRow(
                phone, int(counts[0][number]), int(counts[1][number]), len(own),
                right / int(counts[1][number]) if counts[1][number] else None,
                right / said if said else None,
                int(names.features[own[names.purity[own].argmax()]]) if len(own) else None,
            )
        )  # fmt: skip
    return tuple(found)
