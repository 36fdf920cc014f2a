"""SAEs of KempnerInstitute's overcomplete, saved as its own tests save them, or as a state dict.

    python benchmarks/formats/make.py --only overcomplete     # 0.3.0

A state dict does not say whether it is of an SAE or of a TopKSAE; the `config.json` beside it is ours. Importing the
package would import its vision models too, and with them torchvision and timm: its SAEs are imported past that.
"""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import torch
from writing import D, F, K, keep, new, randomised, residuals

package = ModuleType("overcomplete")
package.__path__ = find_spec("overcomplete").submodule_search_locations
sys.modules["overcomplete"] = package

from overcomplete.sae import SAE, BatchTopKSAE, JumpSAE, TopKSAE  # noqa: E402

MULTIPLIED = {"use_multiplier": True}
CASES: dict[str, tuple[Any, dict[str, Any], dict[str, Any] | None]] = {
    # class, its arguments, the settings beside a state dict; None saves the model itself
    "relu": (SAE, {}, {"class": "SAE"}),
    "topk": (TopKSAE, {"top_k": K}, None),
    "topk_state": (TopKSAE, {"top_k": K, "dictionary_params": MULTIPLIED}, {"class": "TopKSAE", "top_k": K}),
    "topk_identity": (TopKSAE, {"top_k": K, "dictionary_params": {"normalization": "identity"}}, None),
    "batchtopk": (BatchTopKSAE, {"top_k": 32 * K}, None),
    "jump": (JumpSAE, {"dictionary_params": MULTIPLIED}, {}),
    "jump_model": (JumpSAE, {}, None),
    "batchnorm": (JumpSAE, {"encoder_module": "mlp_bn_1"}, {}),
    "batchnorm_model": (TopKSAE, {"top_k": K, "encoder_module": "mlp_bn_1"}, None),
    "tied": (TopKSAE, {"top_k": K}, None),
}


def main() -> None:
    """Write every case."""
    x = residuals()
    for kind, (build, arguments, settings) in CASES.items():
        theirs = build(D, F, **arguments)
        if kind == "tied":
            theirs.tied(bias=True)
        randomised(theirs)
        if build is JumpSAE:
            with torch.no_grad():
                theirs.thresholds.sub_(0.7)
        theirs.train()
        for seed in range(3):  # the running figures of a BatchNorm, and a running threshold
            theirs(residuals(seed, frames=32))
        theirs.eval()
        folder = new(f"overcomplete-{kind}")
        torch.save(theirs if settings is None else theirs.state_dict(), folder / "sae.pt")
        if settings:
            (folder / "config.json").write_text(json.dumps(settings))
        with torch.no_grad():
            _, f, x_hat = theirs(x)
            keep(folder, x, f, x_hat)


if __name__ == "__main__":
    main()
