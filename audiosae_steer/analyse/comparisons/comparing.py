"""Results of one analysis put side by side: fills a `Comparison`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from itertools import combinations
from typing import Any

import numpy as np

from ...errors import SteeringError
from ..frame.extra import import_extra
from ..frame.nulls import holm
from ..frame.outcome import Outcome
from ..frame.parts import UNGROUPED
from ..frame.provenance import finite, provenance, rounded
from ..probes.class_probes import accuracies, clip_weights, middle
from ..probes.probe_curve import ProbeCurve
from ..probes.probe_records import Told
from .comparison_records import Entry, PairedDifference
from .comparison_result import Comparison
from .headlines import headline_of

ALONE = (
    "each held-out clip is a group of its own: where speakers or recordings come several times, scores and intervals "
    "are too good; name them (groups, or the column group of the labels)"
)
WITHHELD = (
    "no groups are known: McNemar's p-values are withheld, and a code that tells speakers may pass for a better one"
)


def compare(results: Mapping[str, Outcome], *, draws: int = 1000, seed: int = 0) -> Comparison:
    """Put results of one analysis side by side; probes on the same held-out clips are compared in pairs.

    Args:
        results: results of one analysis by name, such as a `ProbeCurve` for each layer.
        draws: bootstrap draws of groups behind the interval of a paired difference.
        seed: seed of the draws.

    Raises:
        SteeringError: there are fewer than two results, or they are of different analyses.
        MissingExtraError: scipy is not installed, which McNemar's test takes.
    """
    kinds = list(dict.fromkeys(type(result).__name__ for result in results.values()))
    if len(results) < 2 or len(kinds) > 1:
        raise SteeringError(
            f"{len(results)} results of {', '.join(kinds) or 'nothing'} cannot be compared; give two or more of one "
            "analysis"
        )
    origins = [result.provenance for result in results.values()]
    warned = [
        f"{name}: {sentence}" if sum(sentence in other.warnings for other in origins) < len(origins) else sentence
        for name, origin in zip(results, origins, strict=True)
        for sentence in origin.warnings
    ]
    told = {name: result.told for name, result in results.items() if isinstance(result, ProbeCurve) and result.told}
    pairs, said = _paired(told, UNGROUPED in warned, draws, seed) if len(told) == len(results) else ((), ())
    if len({site.data for origin in origins for site in origin.sites}) > 1 and not pairs:
        said = (*said, "the results are of different data, so that their numbers differ by that as well")
    return Comparison(
        provenance=provenance(
            sites=[site for origin in origins for site in origin.sites],
            saes=[sae for origin in origins for sae in origin.saes],
            settings=origins[0].settings, seed=seed, in_sample=any(origin.in_sample for origin in origins),
            warnings=(*said, *warned),
        ),
        analysis=kinds[0],
        entries=tuple(_entry(name, result) for name, result in results.items()),
        pairs=pairs,
    )  # fmt: skip


def read_outcome(text: str | bytes) -> Outcome:
    """The result of whichever analysis that `to_json` wrote, told by its fields.

    Raises:
        SteeringError: it is of none.
    """
    try:
        content = json.loads(text)
    except ValueError as error:
        raise SteeringError(f"this is no JSON ({error}); give a file that --out of an analysis wrote") from error
    keys = set(content) if isinstance(content, dict) else set()
    for kind in sorted(_kinds(Outcome), key=lambda each: each.__name__):
        if keys == {field.name for field in fields(kind)}:
            found: Outcome = kind.from_json(text)
            return found
    raise SteeringError("this is no result of an analysis of this version; give a file that --out of one wrote")


def _kinds(kind: Any) -> set[Any]:
    """Classes of results; whoever imports this has imported all analyses of the package."""
    return {kind for each in kind.__subclasses__() for kind in {each, *_kinds(each)}}


def _entry(name: str, result: Outcome) -> Entry:
    origin = result.provenance
    site = origin.sites[0] if origin.sites else None
    sae = origin.saes[0] if origin.saes else None
    return Entry(
        name,
        None if site is None else site.model,
        None if site is None else site.site,
        None if sae is None or sae.sha256 is None else sae.sha256[:12],
        None if sae is None else sae.n_features,
        None if sae is None else sae.l0,
        headline_of(result),
        tuple((figure.value, figure.says) for figure in result.figures()),
    )


def _paired(
    told: Mapping[str, Told], ungrouped: bool, draws: int, seed: int
) -> tuple[tuple[PairedDifference, ...], tuple[str, ...]]:
    """Paired differences, and what a reader has to know of them."""
    first = next(iter(told.values()))
    if any((each.clips, each.truth, each.groups) != (first.clips, first.truth, first.groups) for each in told.values()):
        return (), ("the probes were scored on different clips: nothing is paired",)
    said = [WITHHELD] if ungrouped else []
    if len(set(first.groups)) == len(first.groups) and not ungrouped:
        said.append(ALONE)
    truth = np.array(first.truth)
    classes = int(truth.max()) + 1
    weights, once = clip_weights(first.groups, draws, seed), np.ones((1, len(truth)))
    scored = {}
    for name, each in told.items():
        guessed = np.array(each.guessed)
        drawn = None if weights is None else accuracies(guessed, truth, classes, weights)
        scored[name] = (guessed == truth, float(accuracies(guessed, truth, classes, once)[0]), drawn)
    binomial = import_extra("scipy.stats").binomtest
    found = []
    for a, b in combinations(told, 2):
        (right, score, drawn), (other, other_score, other_drawn) = scored[a], scored[b]
        alone, alone_other = int((right & ~other).sum()), int((other & ~right).sum())
        p = float(binomial(alone, alone + alone_other).pvalue) if alone + alone_other else 1.0
        interval = None if drawn is None or other_drawn is None else middle(drawn - other_drawn)
        difference = finite(score - other_score)
        found.append(
            PairedDifference(a, b, difference, interval, alone, alone_other, None if ungrouped else rounded(p), None)
        )
    if ungrouped:
        return tuple(found), tuple(said)
    adjusted = holm([pair.p for pair in found])
    return tuple(pair._replace(adjusted=rounded(value)) for pair, value in zip(found, adjusted, strict=True)), tuple(
        said
    )
