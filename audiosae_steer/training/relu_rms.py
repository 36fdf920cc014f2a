"""Training of an SAE whose features go through a ReLU and an RMSNorm, as a class of SAELens."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

EPSILON = 1e-6
"""Of the RMSNorm, in the trained SAE's file; the paper does not state its own."""


def relu_rms_class(lens: Any) -> Any:
    """SAELens' standard training SAE with an RMSNorm after its ReLU, and the L1 norm taken ahead of it.

    h = ReLU(W x + b), f = h/√(mean(h²) + EPSILON), x̂ = W_dec f + b_dec, loss ‖x − x̂‖² + λ‖h‖₁ (Paek et al., arXiv
    2510.23802). The norm has no gain of its own: rows of W_dec are free to be of any length.

    Args:
        lens: the module `sae_lens`.
    """

    class ReLURMSTrainingSAE(lens.StandardTrainingSAE):  # type: ignore[misc]
        """As above."""

        def encode_with_hidden_pre(self, x: Tensor) -> tuple[Tensor, Tensor]:
            """Features and pre-activations (frames, F) of frames x (frames, d_model)."""
            hidden_pre = self.hook_sae_acts_pre(self.process_sae_in(x) @ self.W_enc + self.b_enc)
            h = hidden_pre.relu()
            f = h / torch.sqrt(h.square().mean(-1, keepdim=True) + EPSILON)
            return self.hook_sae_acts_post(f), hidden_pre

        def calculate_aux_loss(
            self, step_input: Any, feature_acts: Tensor, hidden_pre: Tensor, sae_out: Tensor
        ) -> dict[str, Tensor]:
            """λ times the mean over frames of ‖h‖₁."""
            return {"l1_loss": step_input.coefficients["l1"] * hidden_pre.relu().sum(-1).mean()}

    return ReLURMSTrainingSAE
