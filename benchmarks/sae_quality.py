"""How well SAEs explain a Whisper on audio they were not trained on: FVU, L0, features that never fire.

    python benchmarks/sae_quality.py [--model base]                                  # the shipped ones
    python benchmarks/sae_quality.py --sae mine.safetensors --layer 4 --out mine.json  # another
    python benchmarks/sae_quality.py --sae mine.safetensors --l0 31 --out mine-31.json # with another threshold

On the `test` part of the split, as recorded, speech and non-speech apart and together; every frame of the audio, no
padding. With `--l0` the threshold is raised until so many features fire per frame of `calibrate`, on 40 clips of each.
A few frames of a Whisper's late layers are many times larger than the others and dominate a variance, so FVU is given
twice: of all frames, and without the frames whose norm is above four times the median.
"""

from __future__ import annotations

import argparse
import json
from itertools import product
from pathlib import Path

import corpus
import numpy as np
import torch
from rich.progress import track

from audiosae_steer import SAE, load_audio, load_sae, load_whisper
from audiosae_steer.data.activations.capture import residuals
from audiosae_steer.sae.quality import measure
from audiosae_steer.steering.recipes.load import checkpoints_dir

RATE, FRAMES = 16_000, 50
KINDS = {"speech": corpus.speech, "non-speech": corpus.nonspeech}


def spread(items: list[corpus.Item], count: int) -> list[corpus.Item]:
    """So many of them, evenly spread."""
    return items[:: max(len(items) // count, 1)][:count]


def frames_of(model: object, items: list[corpus.Item], layer: int) -> torch.Tensor:
    """(frames, d_model) of the first 30 s of each."""
    rows = []
    for item in track(items, f"layer {layer}, {items[0].kind}"):
        samples = load_audio(item.path)[: 30 * RATE]
        rows.append(residuals(model, [samples], [layer])[layer][0, : max(len(samples) * FRAMES // RATE, 1)])
    return torch.cat(rows)


def raised(sae: SAE, x: torch.Tensor, l0: float) -> SAE:
    """The SAE with its threshold raised until `l0` features fire per frame of x (frames, d_model), on average."""
    fired = [f[f > 0] for f in map(sae.encode, torch.split(x, 512))]
    values = torch.cat(fired).sort(descending=True).values
    if len(values) > round(l0 * len(x)):
        sae.threshold = values[round(l0 * len(x))].clone()
    return sae


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=64, help="of each kind, drawn under a seed")
    parser.add_argument("--model", default="tiny.en")
    parser.add_argument("--sae", action="append", help="file, in place of the shipped ones; repeatable")
    parser.add_argument("--layer", type=int, help="that --sae reads; default: what its file says")
    parser.add_argument("--out", type=Path, help="default: results/sae-quality-MODEL.json; needed with --sae")
    parser.add_argument("--l0", type=float, help="raise the threshold until so many fire on `calibrate`")
    options = parser.parse_args()
    saes: list[tuple[str, int, SAE]] = []
    for name in options.sae or sorted((checkpoints_dir() / f"whisper-{options.model}").glob("encoder-*.safetensors")):
        sae = load_sae(name).float()
        layer = options.layer or sae.info.get("layer") or int(Path(name).stem.split("-")[1])
        stem = Path(name).stem
        stem = stem if [Path(each).stem for each in options.sae or ()].count(stem) == 1 else str(name)
        saes.append((f"layer {layer}" if options.sae is None else f"{stem}, layer {layer}", layer, sae))
    out = options.out or Path(__file__).parent / "results" / f"sae-quality-{options.model}.json"
    if (options.sae or options.l0) and options.out is None:
        parser.error("--sae and --l0 need --out as well: the committed results are of the SAEs as shipped")
    model = load_whisper(options.model)
    rng = np.random.default_rng(0)
    found = {}
    for layer in sorted({layer for _, layer, _ in saes}):
        if options.l0:
            x = torch.cat([frames_of(model, spread(every("calibrate"), 40), layer) for every in KINDS.values()])
            for name, _, sae in (row for row in saes if row[1] == layer):
                print(f"{name}: threshold {float(raised(sae, x, options.l0).threshold):.4f}", flush=True)
        frames = {}
        for kind, every in KINDS.items():
            items = every("test")
            items = [items[i] for i in sorted(rng.permutation(len(items))[: options.clips])]
            frames[kind] = len(items), frames_of(model, items, layer)
        clips, rows = zip(*frames.values(), strict=True)
        frames["together"] = sum(clips), torch.cat(rows)
        for (kind, (count, x)), (name, _, sae) in product(frames.items(), [row for row in saes if row[1] == layer]):
            figures = {"clips": count, "frames": len(x), **measure(sae, x)._asdict()}
            found[f"{name}, {kind}"] = figures
            print(f"{name}, {kind}: {json.dumps(figures)}", flush=True)
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {out}")


if __name__ == "__main__":
    main()
