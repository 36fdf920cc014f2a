"""Making of a feature card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import SteeringError
from ...io.progress import Tell
from ...models.sites import Site
from ...sae.autoencoder import SAE
from ..frame.codes import ClipCodes, Patterns, patterns_of, pool_codes
from ..frame.control_dictionaries import control
from ..frame.nulls import p_value, permuted_labels
from ..frame.parts import one_part, parts_of
from ..frame.provenance import SAEFacts, SiteFacts, provenance
from ..frame.residual_clips import Residuals
from ..mel_windows.mel_records import MelPattern, MelSettings
from ..mel_windows.mel_search import activations_of, checked
from ..mel_windows.window_means import Spectra, pattern_of
from ..phone_names.alignment_files import Alignments
from ..phone_names.frame_phones import SILENT, FramePhones
from ..phone_names.naming import phone_counts
from ..phone_names.phone_records import PhoneSettings
from .card_clips import clips_of
from .card_findings import FeatureCard
from .card_neighbours import neighbours_of
from .card_records import (
    CardClip,
    CardLabel,
    CardPhone,
    CardSettings,
    Effect,
    Heard,
    Histogram,
    PartDensity,
    Place,
    RandomCheck,
)
from .feature_effects import effects_of, writes_text
from .firing_places import detected_speech, padding_of, places_of
from .random_features import check, concentration, label_aucs

BINS = 24


@dataclass(frozen=True)
class _Card:
    """Everything that the parts of a card are made from."""

    sae: SAE
    residuals: Residuals
    feature: int
    rate: float
    settings: CardSettings
    patterns: Patterns
    codes: ClipCodes
    activations: Sequence[NDArray[np.float32]]
    phones: FramePhones | None

    @property
    def fired(self) -> NDArray[np.bool_]:
        """(frames,) the feature fires."""
        return np.asarray(self.patterns.active[:, [self.feature]].todense()).reshape(-1) > 0

    @property
    def labelled(self) -> bool:
        """Clips have at least two labels."""
        return len(set(self.residuals.labels) - {None}) > 1 and None not in self.residuals.labels


def feature_card(
    sae: SAE,
    residuals: Residuals,
    feature: int,
    *,
    alignments: Alignments | None = None,
    model: Any = None,
    site: Site | None = None,
    settings: CardSettings | None = None,
    progress: Tell | None = None,
) -> FeatureCard:
    """Everything that is known of one feature of an SAE, beside random features that fire as often.

    Args:
        sae: the SAE.
        residuals: clips of files, with labels or without; see `read_residuals`.
        feature: its number.
        alignments: phones of the clips; see `read_alignments`. Without, speech is what Silero VAD takes for it, if the
            package `faster-whisper` is installed.
        model: the model that the residuals are of, with `site`: for padding, and for the effect on a Whisper's text.
        site: the site that they are of.
        settings: numbers of clips and features, nulls, and seed.
        progress: called with what is being done, how many are done, and how many there are.

    Raises:
        SiteError: the SAE does not fit the residuals.
        SteeringError: there is no such feature, it never fires, there are no files, or frames have no time.
        MissingExtraError: scipy is not installed.
    """
    settings = settings or CardSettings()
    _, rate = checked(sae, residuals, [feature])
    patterns = patterns_of(residuals, sae, progress=progress)
    codes = pool_codes(residuals, sae, progress=progress)
    peak = float(codes.max[:, feature].max())
    if not codes.fired[:, feature].any():
        raise SteeringError(
            f"feature {feature} fires on none of {patterns.frames} frames of these {len(residuals)} clips; give other "
            "audio, or another feature"
        )
    phones = None if alignments is None else _phones(residuals, alignments, patterns, settings)
    activations = activations_of(sae, residuals, [feature])[0]
    card = _Card(sae, residuals, feature, rate, settings, patterns, codes, activations, phones)
    clips = clips_of(sae, residuals, feature, activations, settings)
    places, speech_by = _places(card, model, site)
    effects, heard = _effects(card, clips, model, site, progress)
    random, mel, mel_random = _beside_random(card, progress)
    positive = np.concatenate(activations)
    counts, edges = np.histogram(positive[positive > 0], BINS, (0, peak))
    return FeatureCard(
        provenance=provenance(
            sites=[SiteFacts.of(residuals)], saes=[SAEFacts.of(sae, codes.l0)], settings=settings, seed=settings.seed
        ),
        feature=feature, name="", parts=_densities(card), peak=round(peak, 6),
        histogram=Histogram(tuple(round(float(x), 6) for x in edges), tuple(int(n) for n in counts)), clips=clips,
        neighbours=neighbours_of(sae, patterns, feature, settings.neighbours), labels=_labels(card),
        phones=_shares(card, phones), places=tuple(places), speech_by=speech_by, effects=tuple(effects),
        heard=tuple(heard), mel=mel, mel_random=mel_random, mel_seconds=MelSettings.seconds, random=tuple(random),
    )  # fmt: skip


def _phones(residuals: Residuals, alignments: Alignments, patterns: Patterns, settings: CardSettings) -> FramePhones:
    if residuals.excerpts is None:
        raise SteeringError("these residuals are of no files, which have names")
    spans = [each or () for each in alignments.of(residuals.excerpts)]
    chosen = PhoneSettings(phone_set=settings.phone_set, silence=settings.silence)
    return FramePhones.read(spans, patterns.starts, patterns.rate, chosen)


def _densities(card: _Card) -> tuple[PartDensity, ...]:
    """Firing by part, where clips can be split; else in all."""
    clips, excerpts = len(card.residuals), card.residuals.excerpts
    several = excerpts is not None and len(set(card.residuals.groups)) > 1
    try:
        parts = parts_of(excerpts, seed=card.settings.seed) if several and excerpts is not None else one_part(clips)
    except SteeringError:  # a label of one group only
        parts = one_part(clips)
    named = (("all", parts.find),) if parts.in_sample else (("find", parts.find), ("report", parts.report))
    found = []
    for name, rows in named:
        fired = card.codes.fired[rows, card.feature]
        found.append(
            PartDensity(name, int(card.codes.frames[rows].sum()), int(fired.sum()), len(rows), int((fired > 0).sum()))
        )
    return tuple(found)


def _labels(card: _Card) -> tuple[CardLabel, ...]:
    if not card.labelled:
        return ()
    values = card.codes.max[:, [card.feature]].astype(float)
    labels = [str(each) for each in card.residuals.labels]
    rng = np.random.default_rng([card.settings.seed, 4])
    drawn = [
        label_aucs(values, permuted_labels(labels, card.residuals.groups, rng).tolist())
        for _ in range(max(card.settings.shuffles, 1))
    ]
    found = []
    for label, auc in label_aucs(values, labels).items():
        null = [abs(float(each[label][0]) - 0.5) for each in drawn]
        p = float(p_value(abs(float(auc[0]) - 0.5), null))
        found.append(CardLabel(label, labels.count(label), round(float(auc[0]), 6), p))
    return tuple(sorted(found, key=lambda each: -abs(each.auc - 0.5)))


def _shares(card: _Card, phones: FramePhones | None) -> tuple[CardPhone, ...]:
    """Phones of the feature's aligned frames."""
    if phones is None:
        return ()
    aligned = phones.of >= SILENT
    fired = int(card.fired[aligned].sum())
    counts = phone_counts(card.patterns.active[:, [card.feature]], phones.of, len(phones.names))[0]
    share = phones.counts(np.arange(len(phones.of))) / max(int(aligned.sum()), 1)
    order = np.argsort(-counts, kind="stable")
    return tuple(
        CardPhone(
            phones.names[i], int(counts[i]), round(float(counts[i] / max(fired, 1)), 6),
            round(float(counts[i] / max(fired, 1) / share[i]), 6),
        )
        for i in order
        if counts[i]
    )  # fmt: skip


def _places(card: _Card, model: Any, site: Site | None) -> tuple[list[Place], str]:
    excerpts, settings = card.residuals.excerpts, card.settings
    speech = other = None
    source = "none"
    if card.phones is not None:
        speech, other, source = card.phones.of >= 0, card.phones.of == SILENT, "alignments"
    elif excerpts is not None:
        speech = detected_speech(excerpts, np.diff(card.patterns.starts).tolist(), card.rate)
        other, source = (None, "none") if speech is None else (~speech, "VAD")
    found = []
    if speech is not None and other is not None:
        found = places_of(card.fired, speech, other, card.patterns.starts, card.rate, settings.shuffles, settings.seed)
    if model is not None and site is not None and excerpts is not None and settings.padded_clips:
        samples = [item.read() for item in excerpts.items[: settings.padded_clips]]
        padding = padding_of(model, site, card.sae, card.feature, samples)
        found += [] if padding is None else [padding]
    return found, source


def _effects(
    card: _Card, clips: Sequence[CardClip], model: Any, site: Site | None, progress: Tell | None
) -> tuple[list[Effect], list[Heard]]:
    """Changes of the text on the top clips and on others, beside features of like density."""
    excerpts, settings = card.residuals.excerpts, card.settings
    if model is None or site is None or excerpts is None or not settings.effect_clips or not writes_text(model):
        return [], []
    rng = np.random.default_rng([card.settings.seed, 6])
    top = [clip.clip for clip in clips if not clip.near_miss][: settings.effect_clips]
    rest = rng.permutation(np.setdiff1d(np.arange(len(card.residuals)), top))[: settings.effect_clips]
    named = {
        kind: [(excerpts.items[int(i)].name, excerpts.items[int(i)].read()) for i in rows]
        for kind, rows in (("top", top), ("other", rest))
        if len(rows)
    }
    others = _like(card.codes.fired.sum(0), card.feature, settings.effect_features)
    peaks = [float(card.codes.max[:, i].max()) for i in (card.feature, *others)]
    return effects_of(model, site, card.sae, (card.feature, others), peaks, named, progress)


def _like(fired: NDArray[Any], feature: int, most: int) -> list[int]:
    """Other features that fire, of the nearest densities."""
    there = np.setdiff1d(np.flatnonzero(fired), [feature])
    away = np.abs(np.log(fired[there]) - np.log(max(int(fired[feature]), 1)))
    return [int(i) for i in there[np.argsort(away, kind="stable")[:most]]]


def _beside_random(
    card: _Card, progress: Tell | None
) -> tuple[list[RandomCheck], MelPattern | None, MelPattern | None]:
    """Measures beside those of features of a random SAE, and the mel patterns of both."""
    settings, excerpts, feature = card.settings, card.residuals.excerpts, card.feature
    if excerpts is None:
        return [], None, None
    windows = MelSettings(shuffles=max(settings.shuffles, 10), seed=settings.seed)
    spectra = Spectra.of([item.read() for item in excerpts.items], windows.seconds)
    mel = pattern_of(feature, card.activations, spectra, card.rate, windows)
    if not settings.random_features:
        return [], mel, None
    made = control("random", card.sae, card.residuals, seed=settings.seed)
    codes = pool_codes(card.residuals, made, what="pooling random features", progress=progress)
    fired = codes.fired.sum(0)
    others = np.array(_like(fired, feature, settings.random_features), np.int64)
    if not len(others):
        return [], mel, None
    own = np.array([feature])
    found = [
        check("share in the tenth of clips with most", float(concentration(card.codes, own)[0]),
              concentration(codes, others))
    ]  # fmt: skip
    if card.labelled:
        labels = [str(each) for each in card.residuals.labels]
        aucs = label_aucs(card.codes.max[:, own].astype(float), labels)
        random = label_aucs(codes.max[:, others].astype(float), labels)
        found.append(
            check("AUC of the label it tells best", max(float(each[0]) for each in aucs.values()),
                  np.stack(list(random.values())).max(0))
        )  # fmt: skip
    if card.phones is not None:
        drawn = patterns_of(card.residuals, made, what="encoding frames by random", progress=progress).active[:, others]
        found.append(
            check("share of its most frequent phone", _purity(card.patterns.active[:, own], card.phones)[0].item(),
                  _purity(drawn, card.phones))
        )  # fmt: skip
    random_mel = pattern_of(
        feature, activations_of(made, card.residuals, [feature])[0], spectra, card.rate, windows, "random"
    )
    return found, mel, random_mel


def _purity(active: Any, phones: FramePhones) -> NDArray[np.float64]:
    """Share of its most frequent phone among the aligned frames of each feature."""
    counts = phone_counts(active, phones.of, len(phones.names))
    fired = np.asarray(active[np.flatnonzero(phones.of >= SILENT)].sum(0)).reshape(-1)
    return np.asarray(counts.max(1) / np.maximum(fired, 1))
