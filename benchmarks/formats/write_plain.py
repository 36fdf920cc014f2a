"""Plain dictionaries as NumPy and safetensors write them, and what NumPy makes of them by their formula.

python benchmarks/formats/make.py --only plain
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file
from writing import D, F, K, keep, new, residuals

CASES = ("relu_npz", "jumprelu", "topk_npz", "batchtopk", "relu_bare")


def main() -> None:
    """Write every case."""
    x = residuals().numpy()
    random = np.random.default_rng(0)
    for kind in CASES:
        W_enc, W_dec = (0.5 * random.standard_normal((F, D), dtype=np.float32) for _ in range(2))
        b_enc, b_dec = (0.2 * random.standard_normal(size, dtype=np.float32) for size in (F, D))
        arrays: dict[str, Any] = {"W_enc": W_enc, "W_dec": W_dec, "b_enc": b_enc, "b_dec": b_dec}
        if kind == "relu_bare":
            arrays, b_enc, b_dec = {"W_enc": W_enc.T.copy(), "W_dec": W_dec}, 0 * b_enc, 0 * b_dec
        pre = np.maximum((x - b_dec) @ W_enc.T + b_enc, 0)
        f = pre
        if kind == "jumprelu":
            arrays["threshold"] = threshold = random.random(F, dtype=np.float32)
            f = pre * (pre > threshold)
        elif kind == "batchtopk":
            arrays |= {"threshold": np.float32(0.7).reshape(()), "k": np.int64(K).reshape(())}
            f = pre * (pre > np.float32(0.7))
        elif kind == "topk_npz":
            arrays["k"] = np.int64(K)
            f = np.where(pre >= np.sort(pre, axis=-1)[:, -K:][:, :1], pre, 0)
        folder = new(f"plain-{kind}")
        if kind.endswith("npz"):
            arrays["W_dec"] = np.asfortranarray(W_dec.T)
            (np.savez if kind.startswith("relu") else np.savez_compressed)(folder / "dictionary.npz", **arrays)
        else:
            save_file({name: np.array(array, order="C") for name, array in arrays.items()}, folder / "sae.safetensors")
        keep(folder, *(torch.from_numpy(array.astype(np.float32)) for array in (x, f, f @ W_dec + b_dec)))


if __name__ == "__main__":
    main()
