"""Threads of a worker: sums of another order differ in their last bits, so that their number is part of the output."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def worker_threads(count: int) -> Iterator[None]:
    """So many threads of torch within the block."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
