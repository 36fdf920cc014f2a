"""Costs on paper: the formulas are held against a count of a real encoder's operations, and against known figures."""

from __future__ import annotations

import pytest
import torch
from make import make_openai
from torch.utils.flop_counter import FlopCounterMode

from audiosae_steer.errors import WorkError
from audiosae_steer.evaluate.estimate.cost_rows import CostRow, cost_table, in_bytes, in_figures
from audiosae_steer.evaluate.estimate.paper_costs import (
    SHAPES,
    Shape,
    encoder_operations,
    paper_costs,
    sae_operations,
    shape_of,
)


def test_operations_of_an_encoder_are_those_that_are_counted() -> None:
    from whisper.model import disable_sdpa

    encoder = make_openai(0).encoder
    mels, d = encoder.conv1.in_channels, encoder.conv1.out_channels
    with torch.no_grad(), disable_sdpa(), FlopCounterMode(display=False) as counter:  # it misses fused attention
        encoder(torch.zeros(1, mels, 3000))
    convolutions = 2 * 3 * (mels * d * 3000 + d * d * 1500)
    counted = counter.get_total_flops() - convolutions
    assert encoder_operations(Shape(len(encoder.blocks), d), 30 / 3600) == pytest.approx(counted, rel=0.01)
    naive = 2 * 12 * d**2 * 1500 * len(encoder.blocks)  # weights alone, as for short texts
    assert naive != pytest.approx(counted, rel=0.1)


def test_operations_of_an_sae_are_those_that_are_counted() -> None:
    x, weights = torch.zeros(1500, 64), torch.zeros(64, 512)
    with FlopCounterMode(display=False) as counter:
        x @ weights
    assert sae_operations(Shape(1, 64), 30 / 3600) == pytest.approx(counter.get_total_flops())


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("small", ("40.5", "20.4", "84.6", "1,000–2,000", "3.32 PB", "432 TB", "36 TB", "1.47 TB")),
        ("large-v3", ("271", "151", "586", "1,000–2,000", "14.7 PB", "1.15 PB", "36 TB", "2.46 TB")),
    ],
)
def test_a_million_hours(name: str, values: tuple[str, ...]) -> None:
    """The figures that the design states, which were worked out apart from this code."""
    rows = [row.value for row in paper_costs(shape_of(name), 1e6) if row.origin == "arithmetic"]
    assert tuple(rows[1:9]) == values
    assert rows[9] == "1,000,000, $5"


def test_shapes_grow_and_others_are_refused() -> None:
    costs = [encoder_operations(shape, 1.0) for shape in SHAPES.values()]
    assert costs == sorted(costs)
    with pytest.raises(WorkError, match="'huge' are not known; expected one of tiny, base"):
        shape_of("huge")


def test_figures_and_the_table() -> None:
    assert [in_figures(x) for x in (0.03125, 84.56, 586.2, 2475.2, 1e6)] == [
        "0.0312",
        "84.6",
        "586",
        "2,480",
        "1,000,000",
    ]
    assert [in_bytes(x) for x in (12, 1000, 36e12, 3.317e15)] == ["12 B", "1 kB", "36 TB", "3.32 PB"]
    lines = cost_table([
        CostRow("arithmetic", "b", "2", "1 + 1"), CostRow("measured", "a", "10 s", ""),
        CostRow("assumed", "c", "1", "so"),
    ])  # fmt: skip
    assert lines == ["measured    a  10 s", "assumed     c     1  so", "arithmetic  b     2  1 + 1"]
