"""SAEs of EleutherAI's sparsify, saved by `save_to_disk`.

python benchmarks/formats/make.py --only sparsify     # eai-sparsify 1.3.3
"""

from __future__ import annotations

import os
from typing import Any

os.environ["SPARSIFY_DISABLE_TRITON"] = "1"  # its decoder without a GPU; read when it is imported

import torch
from sparsify import SparseCoder, SparseCoderConfig
from writing import D, F, K, keep, new, randomised, residuals

CASES: dict[str, dict[str, Any]] = {
    "topk": {"expansion_factor": F // D},
    "topk_num_latents": {"num_latents": F, "normalize_decoder": False, "multi_topk": True},
}


def main() -> None:
    """Write every case."""
    x = residuals()
    for kind, settings in CASES.items():
        theirs = randomised(SparseCoder(D, SparseCoderConfig(k=K, **settings)))
        if theirs.cfg.normalize_decoder:
            theirs.set_decoder_norm_to_unit_norm()
        folder = new(f"sparsify-{kind}")
        theirs.save_to_disk(folder)
        theirs = SparseCoder.load_from_disk(folder)
        with torch.no_grad():
            top_acts, top_indices, _ = theirs.encode(x)
            f = torch.zeros(len(x), F).scatter(-1, top_indices, top_acts)
            keep(folder, x, f, theirs.decode(top_acts, top_indices))


if __name__ == "__main__":
    main()
