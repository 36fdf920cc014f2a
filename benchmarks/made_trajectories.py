"""Trajectories that are made: from noise to real latents of DiffRhythm's VAE, with known times of decision.

    python benchmarks/made_trajectories.py --latents LATENTS/ --out made/

LATENTS holds `.pt` files of (1, 64, T) float32, as `encode_export` gives them. No weights of DiffRhythm are at hand, so
the flow is written by hand: Euler steps toward the latents of a clip whose coordinate along the first principal
component is another clip's until t = 0.3, and along the second until t = 0.7. It writes `path.npz`, the trajectory, and
`heads.npz`, softmax over the SAE's features for five classes of either coordinate, fitted on the other clips; it prints
how often these are right on the clips of the trajectory. Both are for `audiosae-steer analyse emergence`.
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from audiosae_steer import SAE, load_sae

FRAMES, STEPS, CLASSES = 64, 31, 5
DECIDED = {"first component": 0.3, "second component": 0.7}
Numbers = NDArray[np.float64]


def clips_of(folder: Path) -> tuple[Numbers, list[str]]:
    """Latents (clips, FRAMES, 64) and the song of each."""
    clips, songs = [], []
    for path in sorted(folder.glob("*.pt")):
        x = torch.load(path, weights_only=True)[0].T.double().numpy()
        for start in range(0, len(x) - FRAMES + 1, 4 * FRAMES):
            clips.append(x[start : start + FRAMES])
            songs.append(path.stem)
    return np.stack(clips), songs


def flow(final: Numbers, noise: Numbers, axes: Numbers) -> Numbers:
    """States (STEPS + 1, clips, FRAMES, 64) of Euler steps that head for other coordinates until their times."""
    other = np.roll(final, len(final) // 2, axis=0)
    times = np.linspace(0, 1, STEPS + 1)
    states = [noise]
    for t, later in pairwise(times):
        aim = final.copy()
        for axis, since in zip(axes, DECIDED.values(), strict=True):
            if t < since:
                aim += ((other - final) @ axis)[..., None] * axis
        states.append(states[-1] + (later - t) * (aim - states[-1]) / (1 - t))
    return np.stack(states)


def main() -> None:
    """Fit the heads, make the trajectory, write both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latents", type=Path, required=True)
    parser.add_argument("--sae", default="checkpoints/diffrhythm-vae/latents.safetensors")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=24, help="clips of the trajectory")
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    clips, songs = clips_of(given.latents)
    order = rng.permutation(len(clips))
    shown, fitted = order[: given.clips], order[given.clips :]
    train = clips[fitted].reshape(-1, clips.shape[-1])
    axes = np.linalg.eigh(np.cov(train.T))[1].T[::-1][: len(DECIDED)]
    sae: SAE = load_sae(given.sae).float()

    def features(x: Numbers) -> Numbers:
        with torch.no_grad():
            f: Numbers = sae.encode(torch.from_numpy(x).float()).reshape(-1, sae.n_features).double().numpy()
        return f

    heads: dict[str, Numbers] = {}
    for name, axis in zip(DECIDED, axes, strict=True):
        edges = np.quantile(train @ axis, np.linspace(0, 1, CLASSES + 1)[1:-1])
        model = LogisticRegression(C=0.1, max_iter=300).fit(features(clips[fitted]), np.digitize(train @ axis, edges))
        truth = np.digitize(clips[shown].reshape(-1, clips.shape[-1]) @ axis, edges)
        print(f"{name}: right on {model.score(features(clips[shown]), truth):.3f} of the frames of other clips")
        heads[f"{name}.weight"], heads[f"{name}.bias"] = model.coef_, model.intercept_
    noise = rng.standard_normal((given.clips, FRAMES, clips.shape[-1]))
    given.out.mkdir(parents=True, exist_ok=True)
    groups = [f"{songs[i]}, clip {i}" for i in shown]
    np.savez(given.out / "path.npz", trajectory=flow(clips[shown], noise, axes).astype(np.float32), groups=groups)
    np.savez(given.out / "heads.npz", **heads)
    print(f"wrote {given.out / 'path.npz'} and {given.out / 'heads.npz'}")


if __name__ == "__main__":
    main()
