"""SAEs of FREUD, saved by the `save_checkpoint` of its training with optimizer and settings, loaded as it loads them.

    python benchmarks/formats/make.py --only freud --freud CHECKOUT

FREUD is not on PyPI: CHECKOUT is a clone of github.com/ksadov/FREUD, as of commit e6b6564. The state is the one that
its `train` builds, after one step of its optimizer, with a best loss that is a number of NumPy's as there. The module
that saves it imports torchaudio, for its validation only: an empty module stands in for that.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from writing import D, F, K, keep, new, randomised, residuals

CASES: dict[str, dict[str, Any]] = {
    "l1": {"n_dict_components": F, "recon_alpha": 1e4},
    "topk": {"expansion_factor": F // D, "normalize_decoder": True, "k": K, "auxk_alpha": 0.03125},
}


def main(checkout: Path) -> None:
    """Write every case."""
    from transformers import get_linear_schedule_with_warmup  # which looks for torchaudio, and has to find none

    sys.path.insert(0, str(checkout))
    sys.modules["torchaudio"] = ModuleType("torchaudio")
    from src.dataset.activations import init_sae_from_checkpoint
    from src.models.config import L1AutoEncoderConfig, TopKAutoEncoderConfig
    from src.models.l1autoencoder import L1AutoEncoder
    from src.models.topkautoencoder import TopKAutoEncoder
    from src.scripts.train_sae import save_checkpoint

    x = residuals()
    for kind, config in CASES.items():
        settings = json.loads((checkout / "configs" / "train" / f"tiny_{kind}.json").read_text())
        if kind == "l1":
            model: Any = L1AutoEncoder(D, L1AutoEncoderConfig.from_dict(config))
        else:
            model = TopKAutoEncoder(D, TopKAutoEncoderConfig.from_dict(config))
        randomised(model)
        optimizer = (torch.optim.RAdam if kind == "l1" else torch.optim.Adam)(model.parameters(), lr=settings["lr"])
        if kind == "l1":
            scheduler: Any = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=100, eta_min=0)
        else:
            scheduler = get_linear_schedule_with_warmup(optimizer, num_warmup_steps=1, num_training_steps=100)
        out = model(x[None])
        loss = out.reconstruction_loss + out.l1_loss if kind == "l1" else out.fvu
        loss.backward()
        optimizer.step()
        scheduler.step()
        names = ("autoencoder_variant", "lr", "weight_decay", "steps", "whisper_config", "optimizer", "scheduler")
        state = {
            "model": model,
            "optimizer": optimizer,
            "scheduler": scheduler,
            "step": 1,
            "best_val_loss": np.array([loss.item()]).mean(),
            "hparams": {**{name: settings[name] for name in names}, "autoencoder_config": config, "activation_size": D},
        }
        folder = new(f"freud-{kind}")
        save_checkpoint(state, folder / "bestval.pth")
        (folder / "config.json").write_text(json.dumps({**settings, "autoencoder_config": config}, indent=2))
        # it means weights_only=False when it says nothing, as torch did when it was written
        with patch("torch.load", partial(torch.load, weights_only=False)):
            theirs = init_sae_from_checkpoint(str(folder / "bestval.pth"), device="cpu")
        with torch.no_grad():
            if kind == "l1":
                f = theirs.encode(x[None]).latent[0]
                keep(folder, x, f, theirs.decode(f))
            else:
                top_acts, top_indices = theirs.encode(x)
                f = torch.zeros(len(x), F).scatter(-1, top_indices, top_acts)
                keep(folder, x, f, theirs.decode(top_acts, top_indices))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
