"""Codes to compare: an SAE's pooled features, the dense residual, random codes, and a rotation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ...errors import SteeringError
from ...io.progress import Tell
from ...sae.autoencoder import SAE, Gate
from ..frame.codes import pool_codes
from ..frame.extra import import_extra
from ..frame.parts import Indices
from ..frame.provenance import SAEFacts, SiteFacts
from ..frame.residual_clips import Residuals
from .completeness_records import CompletenessSettings

Matrix = NDArray[np.float64]
DENSE, PROJECTION, RELU_TOPK, ROTATED = "dense", "random projection", "random ReLU-TopK", "rotated"
"""Names of the controls."""
KINDS = {"projection": PROJECTION, "relu-topk": RELU_TOPK, "rotated": ROTATED}


class CodeTables(NamedTuple):
    """Codes of the same clips, and where they come from."""

    tables: dict[str, Matrix]
    """(clips, n) by name; the first is the one that the others are held against."""
    sites: tuple[SiteFacts, ...] = ()
    saes: tuple[SAEFacts, ...] = ()


def code_tables(
    sae: SAE,
    residuals: Residuals,
    find: Indices,
    *,
    settings: CompletenessSettings | None = None,
    name: str = "SAE",
    progress: Tell | None = None,
) -> CodeTables:
    """Pooled codes of clips: the SAE's, dense, and a random ReLU-TopK of as many features and as many on a frame.

    Features without support are columns of zeros: they count in n, as in the paper, and have no part in a fit.

    Args:
        sae: the SAE.
        residuals: clips at its site.
        find: clips to fit on, where support is counted.
        settings: pooling, support, controls and seed.
        name: of the SAE.
        progress: called with what is being done, how many are done, and how many there are.

    Raises:
        SiteError: the SAE does not fit the residuals.
        SteeringError: no feature has support.
    """
    settings = settings or CompletenessSettings()
    pooled = pool_codes(residuals, sae, progress=progress)
    seen = pooled.seen(find).mask(settings.min_frames, settings.min_clips)
    if not seen.any():
        raise SteeringError(
            f"no feature fires on {settings.min_frames} frames and in {settings.min_clips} clips of the {len(find)} "
            "clips to fit on; give more audio, or ask for less support"
        )
    own = np.where(seen, getattr(pooled, settings.pool), 0).astype(np.float64)
    tables = {name: own, DENSE: np.stack([x.double().mean(0).numpy() for x in residuals])}
    if "relu-topk" in settings.controls:
        made = _relu_topk(sae, max(round(pooled.l0), 1), settings.seed)
        other = pool_codes(residuals, made, what=f"pooling {RELU_TOPK}", progress=progress)
        flags = other.seen(find).mask(settings.min_frames, settings.min_clips)
        tables[RELU_TOPK] = np.where(flags, getattr(other, settings.pool), 0).astype(np.float64)
    return CodeTables(tables, (SiteFacts.of(residuals),), (SAEFacts.of(sae, pooled.l0),))


def with_controls(
    codes: Mapping[str, Any], find: Indices, settings: CompletenessSettings
) -> tuple[dict[str, Matrix], tuple[str, ...]]:
    """Codes with the controls that are asked for, and sentences on those that could not be made.

    The random projection and the random ReLU-TopK are of the code named `dense`, and as wide as the first code; the
    rotation mixes the first code's columns, standardised, orthogonally.

    Raises:
        SteeringError: a control is unknown, or the codes are no matrices of the same clips.
    """
    unknown = [kind for kind in settings.controls if kind not in KINDS]
    if unknown:
        raise SteeringError(f"control {unknown[0]!r} is unknown; expected one of {', '.join(KINDS)}")
    found = {name: np.asarray(code, np.float64) for name, code in codes.items()}
    lengths = {len(code) for code in found.values()}
    if not found or len(lengths) != 1 or any(code.ndim != 2 or not code.shape[1] for code in found.values()):
        raise SteeringError("codes are matrices (clips, n) by name, all of the same clips; give at least one")
    first = next(iter(found.values()))
    dense, said = found.get(DENSE), []
    for number, kind in enumerate(settings.controls):
        if KINDS[kind] in found:
            continue
        rng = np.random.default_rng([settings.seed, number])
        if kind == "rotated":
            found[ROTATED] = _rotated(first, find, rng)
        elif dense is None:
            said.append(f"no code is named {DENSE}, so that there is no {KINDS[kind]} of it")
        else:
            projected = (dense - dense[find].mean(0)) @ rng.standard_normal((dense.shape[1], first.shape[1]))
            if kind == "relu-topk":
                projected = _largest(projected, max(round(float((first != 0).sum(1).mean())), 1))
            found[KINDS[kind]] = projected
    return found, tuple(said)


def _relu_topk(sae: SAE, k: int, seed: int) -> SAE:
    """A random dictionary of the SAE's size, the k largest of each frame kept where they are above zero."""
    rows = torch.from_numpy(np.random.default_rng([seed, 7]).standard_normal(tuple(sae.W_enc.shape), np.float32))
    rows = rows / rows.norm(dim=1, keepdim=True)
    return SAE(
        rows, torch.zeros(len(rows)), rows, sae.b_dec.float().cpu(), gate=Gate("topk", k),
        normalisation=sae.normalisation, info={"control": "random ReLU-TopK"},
    )  # fmt: skip


def _largest(code: Matrix, k: int) -> Matrix:
    bound = np.partition(code, -k, axis=1)[:, [-k]] if k < code.shape[1] else np.full((len(code), 1), -np.inf)
    return np.where(code >= bound, np.maximum(code, 0), 0)


def _rotated(code: Matrix, find: Indices, rng: np.random.Generator) -> Matrix:
    spread = code[find].std(0)
    varies = np.flatnonzero(spread > 1e-12)
    turned = np.zeros_like(code)
    if len(varies):
        turn = import_extra("scipy.stats").ortho_group.rvs(len(varies), random_state=rng) if len(varies) > 1 else 1.0
        scaled = (code[:, varies] - code[find][:, varies].mean(0)) / spread[varies]
        turned[:, varies] = scaled @ turn if len(varies) > 1 else scaled
    return turned
