"""The number by which results of each analysis are compared."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..brain_responses.brain_response import Trf
from ..code_completeness.completeness_result import Completeness
from ..code_quality.quality_result import Quality
from ..code_quality.reconstruction_result import Reconstructions
from ..concept_erasure.concept_erasure import Erasure
from ..domain_features.domain_assignments import Domains
from ..feature_cards.card_findings import FeatureCard
from ..feature_retrieval.retrieval_result import Retrieval
from ..feature_stability.coverage import Coverage
from ..frame.outcome import Outcome
from ..labels.label_findings import LabelSearch
from ..localisation.localisation_result import Localisation
from ..mel_windows.mel_findings import MelPatterns
from ..phone_names.phone_findings import Phones
from ..probes.probe_curve import ProbeCurve
from ..properties_of_frames.property_maps import PropertyMap
from .comparison_records import Headline

NUMBER = re.compile(r"^[+-]?\d+(?:\.\d+)?")


def headline_of(result: Outcome) -> Headline:
    """Headline number of a result; of an analysis without one of its own, the first that its page shows."""
    if isinstance(result, ProbeCurve):
        full = result.full
        controls = tuple((each.name, each.curves.full.score) for each in result.controls)
        null = None if full.null is None else full.null.high
        return Headline("balanced accuracy on all features", full.score, full.interval, null, controls)
    if isinstance(result, Coverage):
        shares = tuple((each.name, each.side.share) for each in result.controls)
        return Headline("share of features covered", result.share, result.interval, result.null_share, shares)
    if isinstance(result, Quality):
        controls = tuple((each.name, each.fvu) for each in result.controls)
        return Headline("fraction of variance unexplained", result.fvu, result.interval, 1.0, controls)
    if isinstance(result, Completeness):
        others = tuple((row.name, row.effective) for row in result.codes[1:] if row.effective is not None)
        return Headline("columns that carry an attribute, exp(H)", result.codes[0].effective, None, None, others)
    if isinstance(result, Erasure):
        controls = tuple((each.name, float(each.erased_k)) for each in result.controls if each.erased_k is not None)
        erased = None if result.erased_k is None else float(result.erased_k)
        by_chance = None if result.random_erased_k is None else float(result.random_erased_k)
        return Headline("features removed until the concept is gone", erased, None, by_chance, controls)
    if isinstance(result, Domains) and result.compared:
        first = result.compared[0]
        controls = tuple((each.name, float(each.assigned[0].total)) for each in result.controls)
        return Headline(f"features of one domain ({first.rule})", float(first.total), first.interval,
                        first.null_total, controls)  # fmt: skip
    if isinstance(result, LabelSearch):
        controls = tuple((each.name, float(sum(row.kept > 0 for row in each.rows))) for each in result.controls)
        return Headline("labels that a feature tells", float(len(result.found)), None, None, controls)
    return _of_features(result)


def _of_features(result: Outcome) -> Headline:
    """Headline number of analyses of features, clips and layers; else the first that the page shows."""
    if isinstance(result, Retrieval):
        controls = tuple((each.name, each.mean) for each in result.controls)
        null = None if result.mean.null is None else result.mean.null.high
        return Headline("mean average precision of names", result.mean.value, result.mean.interval, null, controls)
    if isinstance(result, PropertyMap):
        first = result.properties[0]
        controls = (*((each.name, each.accuracy) for each in first.scores[1:]), ("commonest class", first.majority))
        measure = f"accuracy of the class of {first.name}"
        return Headline(measure, first.score.accuracy, first.score.interval, first.score.null.high, controls)
    if isinstance(result, Phones):
        controls = tuple((each.name, float(each.named)) for each in result.controls)
        return Headline(
            "features named after a phone", float(len(result.named)), None, result.named_by_chance, controls
        )
    if isinstance(result, MelPatterns):
        clear, others = (sum(each.p < 0.05 for each in found) for found in (result.patterns, result.controls))
        by_chance = 0.05 * len(result.patterns)
        controls = (("controls", float(others)),) if result.controls else ()
        measure = f"of {len(result.patterns)} features have a mel pattern (p < 0.05)"
        return Headline(measure, float(clear), None, by_chance, controls)
    if isinstance(result, FeatureCard) and result.labels:
        told = result.labels[0]
        return Headline(f"AUC of feature {result.feature} for {told.label}, p {told.p:.3g}", told.auc, None, 0.5)
    if isinstance(result, Reconstructions):
        plain, written, *more = result.rows
        controls = tuple((each.name, each.wer) for each in (plain, *more))
        return Headline(f"word error rate of the {written.name}", written.wer, written.interval, None, controls)
    if isinstance(result, Localisation):
        row = max(result.layers, key=lambda each: each.excess)
        measure = f"move from {result.base} to {result.source} by layer {row.layer}, the most of all"
        return Headline(measure, row.move, row.interval, row.null)
    if isinstance(result, Trf):
        own_count, *rest = result.dictionaries
        controls = tuple((each.name, float(each.gaining)) for each in rest)
        measure = f"of {own_count.tested} features add to envelope and onsets"
        return Headline(measure, float(own_count.gaining), None, None, controls)
    return _first_figure(result)


def _first_figure(result: Outcome) -> Headline:
    shown: Sequence[tuple[str, str]] = list(result.figures())
    if not shown:
        return Headline(type(result).__name__, None)
    value, says = shown[0]
    found = NUMBER.match(value.replace("−", "-"))
    scale = 0.01 if value.rstrip().endswith("%") else 1.0
    return Headline(says, None if found is None else float(found.group()) * scale)
