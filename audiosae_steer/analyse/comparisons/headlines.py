"""The number by which results of each analysis are compared."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..code_completeness.completeness_result import Completeness
from ..code_quality.quality_result import Quality
from ..concept_erasure.concept_erasure import Erasure
from ..domain_features.domain_assignments import Domains
from ..feature_stability.coverage import Coverage
from ..frame.outcome import Outcome
from ..labels.label_findings import LabelSearch
from ..probes.probe_curve import ProbeCurve
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
    return _first_figure(result)


def _first_figure(result: Outcome) -> Headline:
    shown: Sequence[tuple[str, str]] = list(result.figures())
    if not shown:
        return Headline(type(result).__name__, None)
    value, says = shown[0]
    found = NUMBER.match(value.replace("−", "-"))
    scale = 0.01 if value.rstrip().endswith("%") else 1.0
    return Headline(says, None if found is None else float(found.group()) * scale)
