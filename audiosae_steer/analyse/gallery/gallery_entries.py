"""List of the analyses that a gallery is made of: one entry each, with its settings and how it is run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

from ...errors import SteeringError
from ...io.progress import Tell
from ..brain_responses.responding import trf
from ..brain_responses.trf_records import TrfSettings
from ..code_completeness.attribute_codes import code_tables
from ..code_completeness.attribute_tables import attributes_of
from ..code_completeness.completeness_records import CompletenessSettings
from ..code_completeness.measuring_completeness import check_groups, completeness
from ..code_quality.measuring_quality import quality
from ..code_quality.quality_records import QualitySettings
from ..code_quality.reconstructing import reconstruction_wer
from ..code_quality.reconstruction_records import ReconstructionSettings
from ..concept_erasure.erasing import erasure
from ..concept_erasure.erasure_records import ErasureSettings
from ..diffusion_steps.emergence_records import EmergenceSettings
from ..diffusion_steps.emerging import emergence
from ..domain_features.domain_counts import domains
from ..domain_features.domain_records import DomainSettings
from ..feature_cards.card_making import feature_card
from ..feature_cards.card_records import CardSettings
from ..feature_retrieval.retrieval_records import RetrievalSettings
from ..feature_retrieval.retrieving import retrieval
from ..feature_stability.coverage_records import StabilitySettings
from ..feature_stability.feature_stability import stability
from ..frame.control_dictionaries import control
from ..frame.outcome import Outcome
from ..frame.parts import parts_of
from ..labels.feature_labels import label_search
from ..labels.label_records import LabelSettings
from ..localisation.localisation_records import LocaliseSettings
from ..localisation.localising import localise
from ..mel_windows.mel_records import MelSettings
from ..mel_windows.mel_search import mel_patterns
from ..phone_names.phone_records import PhoneSettings
from ..phone_names.phone_search import phones
from ..probes.probe_records import ProbeSettings
from ..probes.probing import probe
from ..properties_of_frames.mapping import property_map
from ..properties_of_frames.property_records import PropertySettings
from .gallery_data import GalleryData

T = TypeVar("T")
FEATURES = 4
"""Features that mel patterns are made of."""
FEWER = {"permutations": 50, "draws": 200}
"""Settings that --quick reduces wherever an analysis has them."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An analysis of the gallery."""

    name: str
    """Its command."""
    settings: Any
    """Its settings, frozen."""
    run: Callable[[GalleryData, Any, Tell], Outcome]
    """Runs it. SteeringError: the data cannot bear it."""
    uses: tuple[str, ...] = ()
    """Fields of the data that its result hangs on, beside model, site, SAE and clips."""
    quick: Mapping[str, Any] = field(default_factory=dict)
    """Settings of --quick that are its own, beside `FEWER`."""
    encodes: bool = True
    """It reads the clips' residuals at the data's site."""

    def settled(self, common: Mapping[str, Any], quick: bool) -> tuple[Any, tuple[tuple[str, str, str], ...]]:
        """Its settings with those that all share, and those that --quick reduced: name, default, and reduced."""
        known = {each.name for each in fields(self.settings)}
        kept = {name: value for name, value in common.items() if name in known}
        fewer = {**{name: value for name, value in FEWER.items() if name in known}, **self.quick} if quick else {}
        told = tuple((name, _words(getattr(self.settings, name)), _words(value)) for name, value in fewer.items())
        return replace(self.settings, **kept, **fewer), told


def _words(value: Any) -> str:
    return (", ".join(map(str, value)) or "none") if isinstance(value, (list, tuple)) else str(value)


def _given(value: T | None, what: str) -> T:
    """The value. SteeringError: there is none."""
    if value is None:
        raise SteeringError(what)
    return value


def _labelled(data: GalleryData) -> None:
    """Refuse clips without labels, before they are encoded. SteeringError: they have none."""
    data.named_concept()


def _completeness(data: GalleryData, settings: CompletenessSettings, tell: Tell) -> Outcome:
    parts = parts_of(data.excerpts, share=settings.share, seed=settings.seed)
    check_groups(data.excerpts.groups, parts)
    attributes = attributes_of(data.excerpts, str(data.attributes), progress=tell)
    codes = code_tables(data.sae, data.residuals(tell), parts.find, settings=settings, progress=tell)
    groups = data.excerpts.groups
    return completeness(codes, attributes, groups=groups, parts=parts, settings=settings, progress=tell)


def _domains(data: GalleryData, settings: DomainSettings, tell: Tell) -> Outcome:
    _labelled(data)
    return domains(data.sae, data.residuals(tell), settings=settings, progress=tell)


def _emergence(data: GalleryData, settings: EmergenceSettings, tell: Tell) -> Outcome:
    trajectory = _given(data.trajectory, "no states of a flow were given: --trajectory, with --heads")
    latents = _given(data.latents, "no SAE of the flow's latents was given: --latents")
    reader = _given(data.reader, "no properties of the flow's latents were given: --heads")
    return emergence(trajectory, latents, reader, settings=settings, progress=tell)


def _erasure(data: GalleryData, settings: ErasureSettings, tell: Tell) -> Outcome:
    concept = data.named_concept()
    return erasure(data.sae, data.residuals(tell), concept, settings=settings, progress=tell)


def _feature(data: GalleryData, settings: CardSettings, tell: Tell) -> Outcome:
    (number,) = data.looked_at(1, tell)
    return feature_card(
        data.sae, data.residuals(tell), number, alignments=data.alignments, model=data.model, site=data.site,
        settings=settings, progress=tell,
    )  # fmt: skip


def _labels(data: GalleryData, settings: LabelSettings, tell: Tell) -> Outcome:
    _labelled(data)
    return label_search(data.sae, data.residuals(tell), settings=settings, progress=tell)


def _localise(data: GalleryData, settings: LocaliseSettings, tell: Tell) -> Outcome:
    source, base = data.named_concept(), data.background()
    if data.site.side != "encoder":
        raise SteeringError("layers of an encoder are patched, and the site is none of them; give --layer")
    last = _given(data.site.layer, "layers are patched, and the site is a module's path; give --layer")
    layers = range(1, last + 1)
    return localise(data.model, data.excerpts, base, source, layers, read=last, settings=settings, progress=tell)


def _mel(data: GalleryData, settings: MelSettings, tell: Tell) -> Outcome:
    numbers = data.looked_at(max(len(data.features), FEATURES), tell)
    return mel_patterns(data.sae, data.residuals(tell), numbers, settings=settings, progress=tell)


def _phones(data: GalleryData, settings: PhoneSettings, tell: Tell) -> Outcome:
    spoken = _given(
        data.alignments, "nothing says when which phone is spoken: --alignments, TextGrids, .lab files or a CSV"
    )
    return phones(data.sae, data.residuals(tell), spoken, settings=settings, progress=tell)


def _probe(data: GalleryData, settings: ProbeSettings, tell: Tell) -> Outcome:
    _labelled(data)
    return probe(data.sae, data.residuals(tell), settings=settings, progress=tell)


def _properties(data: GalleryData, settings: PropertySettings, tell: Tell) -> Outcome:
    return property_map(data.sae, data.residuals(tell), settings=settings, progress=tell)


def _quality(data: GalleryData, settings: QualitySettings, tell: Tell) -> Outcome:
    return quality(data.sae, data.residuals(tell), settings=settings, progress=tell)


def _reconstruction(data: GalleryData, settings: ReconstructionSettings, tell: Tell) -> Outcome:
    spoken = [item for item in data.excerpts.items if item.path in data.texts and item.start == 0]
    if not spoken:
        raise SteeringError("no clip has a transcript: a table with the columns file and text, such as text.tsv")
    if data.site.side != "encoder":
        raise SteeringError("frames of an encoder are replaced, and the site is none of its layers; give --layer")
    layer = _given(data.site.layer, "a layer is replaced, and the site is a module's path; give --layer")
    return reconstruction_wer(
        data.model, data.sae, layer, [item.read() for item in spoken], [data.texts[item.path] for item in spoken],
        settings=settings, cache=data.cache, progress=tell,
    )  # fmt: skip


def _retrieval(data: GalleryData, settings: RetrievalSettings, tell: Tell) -> Outcome:
    _labelled(data)
    return retrieval(data.sae, data.residuals(tell), settings=settings, progress=tell)


def _stability(data: GalleryData, settings: StabilitySettings, tell: Tell) -> Outcome:
    own = data.residuals(tell)
    others = None if data.other is None or data.other_site is None else data.residuals(tell, data.other_site)
    against = control("random", data.sae, own, seed=settings.seed) if data.other is None else data.other
    return stability(data.sae, against, own, others, settings=settings, progress=tell)


def _trf(data: GalleryData, settings: TrfSettings, tell: Tell) -> Outcome:
    heard = _given(data.responses, "no responses of the brain were given: --responses, .npz, .mat or a folder of them")
    return trf(data.sae, data.residuals(tell), heard, settings=settings, progress=tell)


ENTRIES: tuple[Entry, ...] = (
    Entry(name="quality", settings=QualitySettings(), run=_quality, quick={"orders": 5}),
    Entry(name="stability", settings=StabilitySettings(), run=_stability, uses=("other", "other_site"),
          quick={"shifts": 5}),
    Entry(name="labels", settings=LabelSettings(), run=_labels, quick={"permutations": 200, "naive_permutations": 5}),
    Entry(name="domains", settings=DomainSettings(), run=_domains),
    Entry(name="probe", settings=ProbeSettings(), run=_probe, quick={"random_orders": 5}),
    Entry(name="erasure", settings=ErasureSettings(), run=_erasure, uses=("concept",),
          quick={"random_orders": 2, "nonlinear": ("rbf",)}),
    Entry(name="retrieval", settings=RetrievalSettings(), run=_retrieval),
    Entry(name="localise", settings=LocaliseSettings(), run=_localise, uses=("concept",), encodes=False,
          quick={"pairs": 5}),
    Entry(name="properties", settings=PropertySettings(), run=_properties, quick={"most_frames": 2000}),
    Entry(name="completeness", settings=CompletenessSettings(), run=_completeness, uses=("attributes",),
          quick={"alphas": 10}),
    Entry(name="phones", settings=PhoneSettings(), run=_phones, uses=("alignments",),
          quick={"shifts": 5, "probe_frames": 4000}),
    Entry(name="mel", settings=MelSettings(), run=_mel, uses=("features",), quick={"shuffles": 100}),
    Entry(name="feature", settings=CardSettings(), run=_feature, uses=("features", "alignments"),
          quick={"shuffles": 100, "random_features": 30, "effect_clips": 2, "effect_features": 1}),
    Entry(name="reconstruction", settings=ReconstructionSettings(), run=_reconstruction, uses=("texts",),
          encodes=False),
    Entry(name="trf", settings=TrfSettings(), run=_trf, uses=("responses",), quick={"shifts": 200, "most": 30}),
    Entry(name="emergence", settings=EmergenceSettings(), run=_emergence, encodes=False,
          uses=("trajectory", "reader", "latents")),
)  # fmt: skip
"""The analyses, in the order in which they are run: one entry for each command that takes an SAE, and `localise`."""
