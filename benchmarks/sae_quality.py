"""How well the shipped SAEs explain a Whisper on audio they were not trained on: FVU, L0, features that never fire.

    python benchmarks/sae_quality.py [--model base]

On the `test` part of the split, as recorded, speech and non-speech apart; every frame of the audio, no padding.
A few frames of a Whisper's late layers are many times larger than the others and dominate a variance, so FVU is given
twice: of all frames, and without the frames whose norm is above four times the median.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import corpus
import numpy as np
import torch
from rich.progress import track

from audiosae_steer import load_audio, load_sae, load_whisper
from audiosae_steer.discover.collect import residuals
from audiosae_steer.discover.train import measure
from audiosae_steer.recipes import checkpoints_dir

RATE, FRAMES = 16_000, 50
FAR = 4.0


def frames_of(model: object, items: list[corpus.Item], layer: int) -> torch.Tensor:
    """(frames, d_model) of the first 30 s of each."""
    rows = []
    for item in track(items, f"layer {layer}, {items[0].kind}"):
        samples = load_audio(item.path)[: 30 * RATE]
        rows.append(residuals(model, [samples], [layer])[layer][0, : max(len(samples) * FRAMES // RATE, 1)])
    return torch.cat(rows)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=64, help="of each kind, drawn under a seed")
    parser.add_argument("--model", default="tiny.en")
    options = parser.parse_args()
    folder = checkpoints_dir() / f"whisper-{options.model}"
    layers = sorted(int(path.stem.removeprefix("encoder-")) for path in folder.glob("encoder-*.safetensors"))
    out = Path(__file__).parent / "results" / f"sae-quality-{options.model}.json"
    model = load_whisper(options.model)
    rng = np.random.default_rng(0)
    found = {}
    for layer in layers:
        sae = load_sae(folder / f"encoder-{layer}.safetensors").float()
        for kind, every in (("speech", corpus.speech("test")), ("non-speech", corpus.nonspeech("test"))):
            items = [every[i] for i in sorted(rng.permutation(len(every))[: options.clips])]
            x = frames_of(model, items, layer)
            norm = x.norm(dim=-1)
            near = x[norm <= FAR * norm.median()]
            figures = {"clips": len(items), "frames": len(x), "far_frames": len(x) - len(near)}
            figures |= {"all": measure(sae, x)._asdict(), "without_far": measure(sae, near)._asdict()}
            found[f"layer {layer}, {kind}"] = figures
            print(f"layer {layer}, {kind}: {json.dumps(figures)}")
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {out}")


if __name__ == "__main__":
    main()
