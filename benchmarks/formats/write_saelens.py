"""SAEs of SAELens, saved by its own code, and what it encodes and decodes with them.

    python benchmarks/formats/make.py --only saelens     # sae-lens 6.54.12

A case "…-checkpoint" is what its trainer saves on the way; SAELens' own reading of that one is what it then saves for
inference. `tests/sae/formats/test_saelens.py` calls `write` too, where sae-lens is installed.
"""

from __future__ import annotations

import json
import tempfile
import warnings
from pathlib import Path
from typing import Any

from writing import FRAMES, D, F, new

CASES: dict[str, dict[str, Any]] = {
    "standard": {},
    "standard-raw-input": {"apply_b_dec_to_input": False},
    "standard-unit-norm": {"normalize_activations": "constant_norm_rescale"},
    "topk": {"k": 5},
    "topk-rescaled": {"k": 5, "rescale_acts_by_decoder_norm": True},
    "jumprelu": {},
    "jumprelu-raw-unit-norm": {"apply_b_dec_to_input": False, "normalize_activations": "constant_norm_rescale"},
    "gated": {},
    "gated-raw-input": {"apply_b_dec_to_input": False},
    "batchtopk": {"k": 5.0},
    "batchtopk-rescaled": {"k": 5.0, "rescale_acts_by_decoder_norm": True},
    "batchtopk-checkpoint": {"k": 5.0, "rescale_acts_by_decoder_norm": True},
    "matryoshka_batchtopk": {"k": 5.0, "matryoshka_widths": [16, 64]},
    "matryoshka_batchtopk-checkpoint": {"k": 5.0, "matryoshka_widths": [16, 64]},
}


def write(name: str, folder: Path, seed: int = 0, d_in: int = D, d_sae: int = F, dtype: str = "float32") -> Any:
    """Save the SAE of a case with SAELens' own code, and give SAELens' own reading of it back."""
    import torch
    from sae_lens import SAE, TrainingSAE

    architecture = name.split("-")[0]
    settings = {"rescale_acts_by_decoder_norm": False} if "topk" in architecture else {}
    settings = {**settings, **CASES[name], "d_in": d_in, "d_sae": d_sae, "dtype": dtype, "device": "cpu"}
    if architecture == "matryoshka_batchtopk":
        settings["matryoshka_widths"] = [d_sae // 4, d_sae]
    trained = architecture.endswith("batchtopk")
    kind = TrainingSAE if trained else SAE
    sae = kind.from_dict({"architecture": architecture, **settings})
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in sae.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=g) * (0.5 if parameter.dim() > 1 else 0.2))
        if architecture == "jumprelu":
            sae.threshold.copy_(torch.rand(d_sae, generator=g))
        if not trained:
            sae.save_model(folder)
            return SAE.load_from_disk(folder)
        sae.topk_threshold.fill_(0.7)
        if not name.endswith("checkpoint"):
            sae.save_inference_model(folder)
            return SAE.load_from_disk(folder)
        sae.save_model(folder)
        with tempfile.TemporaryDirectory() as temporary:
            sae.save_inference_model(temporary)
            return SAE.load_from_disk(temporary)


def outputs(sae: Any, seed: int = 1, frames: int = FRAMES) -> dict[str, Any]:
    """Fixed residuals, and what SAELens makes of them."""
    import torch

    x = torch.randn(frames, sae.cfg.d_in, generator=torch.Generator().manual_seed(seed)) * 1.5
    with torch.no_grad():
        f = sae.encode(x.to(sae.dtype))
        return {"x": x, "f": f.clone(), "x_hat": sae.decode(f)}


def main() -> None:
    """Write every case."""
    from safetensors.torch import load_file, save_file

    for name in CASES:
        with tempfile.TemporaryDirectory() as temporary, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # half the bytes on disk; but what SAELens itself folds in float16 is not what the numbers say
            sae = write(name, Path(temporary), dtype="float32" if name.endswith("checkpoint") else "float16")
            folder = new(f"saelens-{name}")
            save_file(load_file(Path(temporary) / "sae_weights.safetensors"), folder / "sae_weights.safetensors")
            config = json.loads((Path(temporary) / "cfg.json").read_text())
            sae = sae.float()  # SAELens computes in float32, as it does by default
            sae.dtype = sae.W_dec.dtype
            (folder / "cfg.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
            save_file({key: value.contiguous() for key, value in outputs(sae).items()}, folder / "outputs.safetensors")
        print(f"{folder.name}: {sum(file.stat().st_size for file in folder.iterdir()) / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
