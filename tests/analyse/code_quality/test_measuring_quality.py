"""Quality of planted SAEs, and the number that flatters."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from planted import as_clips, coordinates

from audiosae_steer import SAE
from audiosae_steer.analyse import Quality, QualitySettings, Residuals, quality
from audiosae_steer.analyse.code_quality.measuring_quality import alive_curve
from audiosae_steer.errors import SiteError, SteeringError

QUICK = QualitySettings(orders=5, draws=100, controls=())


@pytest.mark.parametrize("seed", range(3))
def test_fvu_and_the_papers_l2_are_two_numbers(seed):
    """Frames far from zero: an SAE of its bias alone leaves all of the variance, and has a normalised L2 near 0."""
    rng = np.random.default_rng(seed)
    middle = torch.full((16,), 10.0)
    clips = [middle + torch.from_numpy(rng.standard_normal((30, 16))).float() for _ in range(10)]
    zero = torch.zeros(8, 16)
    sae = SAE(zero, torch.zeros(8), zero, torch.cat(clips).mean(0), gate="relu")
    found = quality(sae, Residuals.of(clips), settings=QUICK)
    assert found.fvu == pytest.approx(1, abs=1e-5)
    assert found.fvu == pytest.approx(sae.fvu(torch.cat(clips)), abs=1e-5)
    assert found.interval.low <= 1 <= found.interval.high
    # a toy that reports L2 alone calls it good; the mean frame beside it shows that it is not
    assert found.l2 < 0.015
    assert found.controls[0].l2 == pytest.approx(found.l2, abs=1e-6)
    x = torch.cat(clips)
    assert found.l2 == pytest.approx(float((((x - sae.b_dec) ** 2).sum(1) / (x**2).sum(1)).mean()), rel=1e-5)
    assert found.silent == 1


def test_reconstruction_and_controls():
    rng = np.random.default_rng(0)
    clips = as_clips([np.maximum(rng.standard_normal((50, 12)), 0) for _ in range(8)], groups=list("aabbccdd"))
    found = quality(coordinates(12), clips, settings=QualitySettings(orders=2, draws=50))
    assert found.fvu == 0
    assert found.l0 == pytest.approx(6, abs=0.5)
    assert found.controls[1].name == "random"
    assert found.controls[1].fvu > 0.5
    assert found.controls[1].l0 == pytest.approx(found.l0, abs=0.1)
    assert Quality.from_json(found.to_json()).to_json() == found.to_json()
    with pytest.raises(SiteError, match="width 9"):
        quality(coordinates(9), clips)
    with pytest.raises(SteeringError, match="no frames"):
        quality(coordinates(12), Residuals.of([torch.zeros(1, 12)]))


def test_features_alive_within_so_many_frames():
    """Feature 0 fires at once in each clip, feature 1 in the last clip alone, feature 2 never."""
    frames = np.array([100, 100, 100])
    first = np.array([[0, 999, 999], [0, 999, 999], [0, 50, 999]])
    points = alive_curve(first, frames, orders=1)
    assert [(p.frames, p.share) for p in points] == [(100, pytest.approx(1 / 3)), (200, pytest.approx(1 / 3)),
                                                    (300, pytest.approx(2 / 3))]  # fmt: skip
    mixed = alive_curve(first, frames, orders=60)
    assert mixed[0].low == pytest.approx(1 / 3)
    assert mixed[0].high == pytest.approx(2 / 3)
    assert mixed[0].share == pytest.approx(4 / 9, abs=0.08)  # the last clip comes first in a third of the orders
    assert mixed[-1].low == mixed[-1].high == pytest.approx(2 / 3)
