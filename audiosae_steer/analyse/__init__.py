"""The papers' analyses, each beside its null and its controls; `audiosae-steer analyse` on the command line."""

from __future__ import annotations

from .brain_responses.brain_response import Trf
from .brain_responses.responding import trf
from .brain_responses.response_files import Responses
from .brain_responses.response_preparation import Stimuli
from .brain_responses.response_tests import trf_of_stimuli
from .brain_responses.trf_records import TrfSettings
from .code_completeness.attribute_codes import CodeTables, code_tables
from .code_completeness.attribute_tables import Attributes, attributes_of
from .code_completeness.completeness_records import CompletenessSettings
from .code_completeness.completeness_result import Completeness
from .code_completeness.measuring_completeness import completeness
from .code_quality.measuring_quality import quality
from .code_quality.quality_records import QualitySettings
from .code_quality.quality_result import Quality
from .code_quality.reconstructing import reconstruction_wer
from .code_quality.reconstruction_records import ReconstructionSettings
from .code_quality.reconstruction_result import Reconstructions
from .comparisons.comparing import compare, read_outcome
from .comparisons.comparison_result import Comparison
from .concept_erasure.concept_erasure import Erasure
from .concept_erasure.erasing import erasure
from .concept_erasure.erasure_records import ErasureSettings
from .control_by_concept.control_records import ControlSettings
from .control_by_concept.control_reports import ControlReport
from .control_by_concept.controlling import control_report
from .control_by_concept.heard_arms import control_sounds
from .control_by_concept.latent_sounds import Decoder, codec_decoder
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
from .feature_retrieval.retrieval_records import RetrievalSettings
from .feature_retrieval.retrieval_result import Retrieval
from .feature_retrieval.retrieving import read_names, retrieval
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
from .gallery.all_analyses import analyse_all
from .gallery.gallery_data import GalleryData, bundled_clips
from .gallery.gallery_records import Gallery, GalleryRow, GallerySettings
from .labels.feature_labels import label_search, search_codes
from .labels.label_findings import LabelSearch
from .labels.label_records import LabelSettings
from .localisation.localisation_records import LocaliseSettings
from .localisation.localisation_result import Localisation
from .localisation.localising import localise
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
from .properties_of_frames.frame_properties import FrameProperties, property_labels
from .properties_of_frames.mapped_property import MappedProperty
from .properties_of_frames.mapping import property_map
from .properties_of_frames.named_engines import pitch_engine
from .properties_of_frames.pitch_engines import PitchEngine
from .properties_of_frames.property_maps import PropertyMap
from .properties_of_frames.property_records import PropertySettings

__all__ = [
    "Alignments",
    "Attributes",
    "CardSettings",
    "ClipCodes",
    "CodeTables",
    "Comparison",
    "Completeness",
    "CompletenessSettings",
    "ControlReport",
    "ControlSettings",
    "Coverage",
    "Decoder",
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
    "FrameProperties",
    "Gallery",
    "GalleryData",
    "GalleryRow",
    "GallerySettings",
    "Interval",
    "LabelSearch",
    "LabelSettings",
    "LinearReader",
    "Localisation",
    "LocaliseSettings",
    "MappedProperty",
    "MelPattern",
    "MelPatterns",
    "MelSettings",
    "Outcome",
    "Parts",
    "Patterns",
    "PhoneSettings",
    "PhoneSpan",
    "Phones",
    "PitchEngine",
    "ProbeCurve",
    "ProbeSettings",
    "PropertyMap",
    "PropertyReader",
    "PropertySettings",
    "Quality",
    "QualitySettings",
    "ReconstructionSettings",
    "Reconstructions",
    "Residuals",
    "Responses",
    "Retrieval",
    "RetrievalSettings",
    "StabilitySettings",
    "Stimuli",
    "Trajectory",
    "Trf",
    "TrfSettings",
    "analyse_all",
    "attributes_of",
    "bundled_clips",
    "code_tables",
    "codec_decoder",
    "compare",
    "compare_patterns",
    "completeness",
    "control",
    "control_report",
    "control_sounds",
    "domains",
    "emergence",
    "erasure",
    "excerpts_from_csv",
    "excerpts_of",
    "excerpts_of_domains",
    "feature_card",
    "label_search",
    "localise",
    "mel_patterns",
    "name_patterns",
    "parts_of",
    "patterns_of",
    "phones",
    "pitch_engine",
    "pool_codes",
    "probe",
    "property_labels",
    "property_map",
    "quality",
    "read_alignments",
    "read_block_steps",
    "read_names",
    "read_outcome",
    "read_residuals",
    "reconstruction_wer",
    "retrieval",
    "search_codes",
    "split_parts",
    "stability",
    "trf",
    "trf_of_stimuli",
]
