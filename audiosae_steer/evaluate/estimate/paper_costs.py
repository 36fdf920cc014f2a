"""Costs of encoding and storing a corpus, on paper: from a Whisper's sizes and stated assumptions, nothing measured."""

from __future__ import annotations

from typing import NamedTuple

from ...errors import WorkError
from .cost_rows import CostRow, in_bytes, in_figures

FRAMES, WINDOW = 1500, 30.0
"""Frames of a window of Whisper's encoder, and its seconds."""
HOUR = 3600.0
FLOPS = 200e12
"""Operations a second that a GPU is assumed to reach, of the 989 T that an H100 has in bfloat16."""
EXPANSION, KEPT, KEPT_BYTES = 8, 50, 4
"""SAEs are assumed to have 8 features for each of d_model, of which 50 a frame are kept in 4 bytes each: number and
value, of 16 bits."""
DECODED = (500, 1000)
"""Times real time at which a core is assumed to decode compressed audio and make its mel."""
PUTS_A_DOLLAR = 200_000
"""Writes to an object store for a dollar: 5 dollars a million are assumed."""


class Shape(NamedTuple):
    """Sizes of a Whisper's encoder."""

    layers: int
    d_model: int


SHAPES = {
    "tiny": Shape(4, 384), "base": Shape(6, 512), "small": Shape(12, 768), "medium": Shape(24, 1024),
    "large-v3": Shape(32, 1280),
}  # fmt: skip
"""Encoders by the model's name (Radford et al. 2023, table 1)."""


def shape_of(name: str) -> Shape:
    """Sizes of a Whisper's encoder by its name. WorkError: there is none of that name."""
    if name not in SHAPES:
        raise WorkError(f"the sizes of {name!r} are not known; expected one of {', '.join(SHAPES)}")
    return SHAPES[name]


def encoder_operations(shape: Shape, hours: float) -> float:
    """Floating-point operations of the encoder: 2 × weights × frames, and 4 × frames² × d_model a window and layer.

    A block has 12 d_model² weights: 4 in attention, 8 in its MLP. Attention takes as many operations for scores as
    for sums over values. The convolutions before the blocks, 1 to 3 % of the weights, are left out.
    """
    windows = hours * HOUR / WINDOW
    each = 2 * 12 * shape.d_model**2 * FRAMES + 4 * FRAMES**2 * shape.d_model
    return float(windows * shape.layers * each)


def sae_operations(shape: Shape, hours: float) -> float:
    """Floating-point operations of the SAEs' encoders on all layers: 2 × d_model × features × frames."""
    return float(shape.layers * 2 * shape.d_model * EXPANSION * shape.d_model * _frames(hours))


def paper_costs(shape: Shape, hours: float) -> list[CostRow]:
    """Rows of what so many hours cost."""
    encoder, saes = encoder_operations(shape, hours), sae_operations(shape, hours)
    frames, windows, d = _frames(hours), hours * HOUR / WINDOW, shape.d_model
    topk = frames * KEPT * KEPT_BYTES
    low, high = (hours / times for times in reversed(DECODED))
    gpu = (encoder + saes) / FLOPS / HOUR
    return [
        CostRow("assumed", "speed of a GPU", f"{FLOPS / 1e12:g} TFLOP/s", "effective; an H100 has 989 in bfloat16"),
        CostRow("assumed", "SAEs", f"{EXPANSION} × d_model", f"{KEPT} features a frame kept, {KEPT_BYTES} bytes each"),
        CostRow("assumed", "decoding and mel", f"{DECODED[0]}–{DECODED[1]:,} ×", "real time, on one core"),
        CostRow("assumed", "writes to an object store", "$5", "a million"),
        CostRow("arithmetic", "frames", f"{frames:.3g}", "50 a second"),
        CostRow("arithmetic", "encoder, TFLOP an hour of audio", in_figures(encoder / hours / 1e12),
                "2 × 12 d² × layers × frames, and attention"),
        CostRow("arithmetic", "SAE encoders on all layers, the same", in_figures(saes / hours / 1e12),
                "2 × d × features × layers × frames"),
        CostRow("arithmetic", "GPU hours, compute alone", in_figures(gpu), "the two over the speed of a GPU"),
        CostRow("arithmetic", "core hours of decoding and mel", f"{in_figures(low)}–{in_figures(high)}",
                "hours over times real time"),
        CostRow("arithmetic", "residuals of all layers", in_bytes(frames * d * 2 * shape.layers), "float16"),
        CostRow("arithmetic", "top-k of all layers", in_bytes(topk * shape.layers), "frames × kept × bytes × layers"),
        CostRow("arithmetic", "top-k of one layer", in_bytes(topk), "frames × kept × bytes"),
        CostRow("arithmetic", "one layer's maxima a window", in_bytes(windows * EXPANSION * d * 2), "dense, float16"),
        CostRow("arithmetic", "writes, a unit of an hour", f"{in_figures(hours)}, ${in_figures(hours / PUTS_A_DOLLAR)}",
                "one file; a record beside it doubles them"),
    ]  # fmt: skip


def _frames(hours: float) -> float:
    return hours * HOUR / WINDOW * FRAMES
