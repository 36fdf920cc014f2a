"""Composition of one choice's edits: those that share a window become one map a feature and one vector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import EditError
from ..ops.joint import Joint
from ..sae.autoencoder import SAE
from .affine import Affine
from .edit_arguments import Window
from .edits import KINDS, Edit, FeatureEdit, Push, listed
from .joint_edits import JointEdit


class Stage(NamedTuple):
    """The edits that share one window, in float64."""

    window: Window | None
    firing: Affine
    """Maps of the features that fire."""
    silent: Affine
    """Maps of those that do not."""
    vector: Tensor
    """(d,): added to x."""
    joint: Joint | None = None
    """Rule that changes features together; no other edit of features is in its stage."""


def check(edits: Sequence[Edit], sae: SAE | None, d_model: int, frame_rate: float | None) -> None:
    """Check that these edits can be made at a site.

    Raises:
        EditError: they cannot.
    """
    for edit in edits:
        if isinstance(edit, Push):
            if len(edit.vector) != d_model:
                raise EditError(
                    f"Push has a vector of width {len(edit.vector)}; this site's residual is {d_model} wide"
                )
        elif isinstance(edit, FeatureEdit):
            if sae is None:
                raise EditError(f"{type(edit).__name__} edits features of an SAE: pass sae=, or use Push")
            if max(edit.features) >= sae.n_features:
                raise EditError(
                    f"feature {max(edit.features)} is out of range: this SAE has {sae.n_features}, counted from 0"
                )
        else:
            raise EditError(f"{edit!r} is not an edit; use {listed(KINDS.values())}")
        if edit.window is not None and frame_rate is None:
            raise EditError(
                "a window needs a site with a time axis; a decoder's steps have none: edit an encoder layer. Of a path "
                "say how many frames a second has: Site(path=..., frame_rate=...)"
            )


def as_push(edit: Edit, sae: SAE | None) -> Push:
    """A constant addition in feature space as one in x."""
    if isinstance(edit, Push):
        return edit
    if sae is None or not edit.constant:
        raise EditError(f"{edit!r} is no constant addition")
    w = sae.weights(torch.float64, torch.device("cpu"))
    amounts = edit.affine(_typical(edit, sae)).b
    factor = w.scale if w.norm == "scalar" else 1.0
    return Push((amounts @ w.W_dec[list(edit.features)]) / factor, window=edit.window)


def _typical(edit: FeatureEdit, sae: SAE) -> Tensor | None:
    return None if sae.typical is None else sae.typical.cpu()[list(edit.features)]


def compose(edits: Sequence[Edit], features: Sequence[int], sae: SAE | None, d_model: int) -> list[Stage]:
    """The stages of one choice of edits, with a column for each of `features`."""
    stages: list[Stage] = []
    place = {feature: column for column, feature in enumerate(features)}
    for edit in edits:
        at = len(stages) - 1
        if isinstance(edit, Push):  # pushes commute with everything, so any stage of that window will do
            at = next((i for i, stage in enumerate(stages) if stage.window == edit.window), -1)
        alone = isinstance(edit, JointEdit) or (
            at >= 0 and isinstance(edit, FeatureEdit) and stages[at].joint is not None
        )
        if at < 0 or stages[at].window != edit.window or alone:
            width = len(features)
            zero = torch.zeros(d_model, dtype=torch.float64)
            stages.append(Stage(edit.window, Affine.identity(width), Affine.identity(width), zero))
            at = len(stages) - 1
        stage = stages[at]
        if isinstance(edit, Push):
            stages[at] = stage._replace(vector=stage.vector + edit.amount * edit.vector)
        elif isinstance(edit, JointEdit):
            stages[at] = stage._replace(joint=edit.rule([place[feature] for feature in edit.features]))
        elif sae is not None:
            columns = [place[feature] for feature in edit.features]
            step = edit.affine(_typical(edit, sae))
            stages[at] = stage._replace(
                firing=_composed(stage.firing, columns, step),
                silent=stage.silent if edit.only_active else _composed(stage.silent, columns, step),
            )
    return stages


def _composed(map_: Affine, columns: list[int], step: Affine) -> Affine:
    new = Affine(*(field[columns] for field in map_)).then(step)
    fields = [field.clone() for field in map_]
    for field, values in zip(fields, new, strict=True):
        field[columns] = values
    return Affine(*fields)
