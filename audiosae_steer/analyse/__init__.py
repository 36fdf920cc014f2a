"""The papers' analyses, each beside its null and its controls; `audiosae-steer analyse` on the command line."""

from __future__ import annotations

from .brain_responses.brain_response import Trf
from .brain_responses.responding import trf
from .brain_responses.response_files import Responses
from .brain_responses.response_preparation import Stimuli
from .brain_responses.response_tests import trf_of_stimuli
from .brain_responses.trf_records import TrfSettings
from .concept_erasure.concept_erasure import Erasure
from .concept_erasure.erasing import erasure
from .concept_erasure.erasure_records import ErasureSettings
from .diffusion_steps.block_steps import read_block_steps
from .diffusion_steps.diffusion_emergence import Emergence
from .diffusion_steps.emergence_records import EmergenceSettings
from .diffusion_steps.emerging import emergence
from .diffusion_steps.property_readers import LinearReader, PropertyReader
from .diffusion_steps.trajectories import Trajectory
from .domain_features.domain_assignments import Domains
from .domain_features.domain_counts import domains
from .domain_features.domain_excerpts import DomainExcerpts, excerpts_of_domains
from .domain_features.domain_records import DomainSettings
from .feature_cards.card_findings import FeatureCard
from .feature_cards.card_making import feature_card
from .feature_cards.card_records import CardSettings
from .feature_stability.coverage import Coverage
from .feature_stability.coverage_records import StabilitySettings
from .feature_stability.feature_stability import compare_patterns, stability
from .frame.codes import ClipCodes, Patterns, patterns_of, pool_codes
from .frame.control_dictionaries import Dense, control
from .frame.excerpts import Excerpt, Excerpts, excerpts_from_csv, excerpts_of
from .frame.intervals import Interval
from .frame.outcome import Outcome
from .frame.parts import Parts, parts_of, split_parts
from .frame.residual_clips import Residuals, read_residuals
from .labels.feature_labels import label_search, search_codes
from .labels.label_findings import LabelSearch
from .labels.label_records import LabelSettings
from .mel_windows.mel_findings import MelPatterns
from .mel_windows.mel_records import MelPattern, MelSettings
from .mel_windows.mel_search import mel_patterns
from .phone_names.alignment_files import Alignments, read_alignments
from .phone_names.phone_findings import Phones
from .phone_names.phone_records import PhoneSettings
from .phone_names.phone_search import name_patterns, phones
from .phone_names.textgrid import PhoneSpan
from .probes.probe_curve import ProbeCurve
from .probes.probe_records import ProbeSettings
from .probes.probing import probe

__all__ = [
    "Alignments",
    "CardSettings",
    "ClipCodes",
    "Coverage",
    "Dense",
    "DomainExcerpts",
    "DomainSettings",
    "Domains",
    "Emergence",
    "EmergenceSettings",
    "Erasure",
    "ErasureSettings",
    "Excerpt",
    "Excerpts",
    "FeatureCard",
    "Interval",
    "LabelSearch",
    "LabelSettings",
    "LinearReader",
    "MelPattern",
    "MelPatterns",
    "MelSettings",
    "Outcome",
    "Parts",
    "Patterns",
    "PhoneSettings",
    "PhoneSpan",
    "Phones",
    "ProbeCurve",
    "ProbeSettings",
    "PropertyReader",
    "Residuals",
    "Responses",
    "StabilitySettings",
    "Stimuli",
    "Trajectory",
    "Trf",
    "TrfSettings",
    "compare_patterns",
    "control",
    "domains",
    "emergence",
    "erasure",
    "excerpts_from_csv",
    "excerpts_of",
    "excerpts_of_domains",
    "feature_card",
    "label_search",
    "mel_patterns",
    "name_patterns",
    "parts_of",
    "patterns_of",
    "phones",
    "pool_codes",
    "probe",
    "read_alignments",
    "read_block_steps",
    "read_residuals",
    "search_codes",
    "split_parts",
    "stability",
    "trf",
    "trf_of_stimuli",
]
