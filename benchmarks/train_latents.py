"""Train an SAE on the latents of DiffRhythm's VAE, and measure it on a song that it never saw.

    python benchmarks/train_latents.py --latents LATENTS/ --out checkpoints/diffrhythm-vae/latents.safetensors
    python benchmarks/train_latents.py --latents LATENTS/ --out rms.safetensors --l1 0.05,0.5,5 --results OUT.json

LATENTS holds `.pt` files of (1, 64, T) float32, as `encode_export` gives them; the last by name is held out. The
latents are 64 numbers with little in common, which a sparse code explains slowly: the figures are printed for each k,
or with --l1, of the SAE of Paek et al., for each weight of its L1 loss.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor

from audiosae_steer.data.activations.shards import Activations
from audiosae_steer.sae.quality import measure
from audiosae_steer.training.settings import TrainSettings
from audiosae_steer.training.train import train_sae

RESULTS = Path(__file__).parent / "results"


def frames_of(path: Path) -> Tensor:
    """(T, 64)."""
    return torch.load(path, weights_only=True)[0].T.contiguous()


def main() -> None:
    """Train, measure, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latents", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="the SAE of the last k or weight")
    parser.add_argument("--k", default="4,8,16")
    parser.add_argument("--l1", help="weights, with commas: train relu-rms in the place of batchtopk")
    parser.add_argument("--n-features", type=int, default=512)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--results", type=Path, default=RESULTS / "sae-quality-diffrhythm-vae.json")
    given = parser.parse_args()
    paths = sorted(given.latents.glob("*.pt"))
    songs = [frames_of(path) for path in paths]
    activations = Activations(torch.cat(songs[:-1]).half(), songs[-1].half())
    sizes = {"n_features": given.n_features, "steps": given.steps, "batch": 1024}
    trainings = {f"k = {k}": TrainSettings(k=int(k), **sizes) for k in given.k.split(",")}
    if given.l1 is not None:
        trainings = {
            f"l1 = {l1}": TrainSettings(architecture="relu-rms", l1=float(l1), **sizes) for l1 in given.l1.split(",")
        }
    found = {}
    for name, settings in trainings.items():
        sae = train_sae(activations, settings)
        figures = measure(sae, songs[-1])
        found[name] = {"held_out_frames": len(songs[-1]), **figures._asdict()}
        given.results.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        print(f"{name}: held-out song, FVU {figures.fvu:.3f}, L0 {figures.l0:.1f}, never fire {figures.dead:.1%}")
    sae.info.update({"of": "latents of DiffRhythm's VAE", "songs": [path.stem for path in paths[:-1]]})
    given.out.parent.mkdir(parents=True, exist_ok=True)
    sae.half().save(given.out)
    print(f"wrote {given.out} and {given.results.name}")


if __name__ == "__main__":
    main()
