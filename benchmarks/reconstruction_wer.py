"""What an SAE loses, as users feel it: WER with every frame replaced by its reconstruction, beside WER without.

    python benchmarks/reconstruction_wer.py --model tiny.en --layer 4 --cache CACHE
    python benchmarks/reconstruction_wer.py --layer 4 --sae mine.safetensors --cache CACHE --every 4 --out mine.json

`audiosae-steer analyse reconstruction` on the utterances of the `test` part of the split: greedy, with timestamps, the
first 30 s of each. Loops capped: with at most as many errors for an utterance as it has words.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import corpus

from audiosae_steer import load_audio, load_sae, load_whisper
from audiosae_steer.analyse import ReconstructionSettings, reconstruction_wer
from audiosae_steer.cli.console import progress
from audiosae_steer.steering.recipes.load import checkpoints_dir

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Transcribe, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny.en")
    parser.add_argument("--layer", type=int, required=True)
    parser.add_argument("--sae", help="file; default: the shipped one of that layer")
    parser.add_argument(
        "--threshold", type=float, action="append", default=[], help="with this one as well; repeatable"
    )
    parser.add_argument("--cache", type=Path, required=True, help="folder, about 1 MB an utterance")
    parser.add_argument("--every", type=int, default=1, help="take every n-th utterance")
    parser.add_argument("--batch", type=int, default=16, help="utterances at once")
    parser.add_argument("--out", type=Path, help="default: results/reconstruction-wer-MODEL.json")
    options = parser.parse_args()
    shipped = checkpoints_dir() / f"whisper-{options.model}" / f"encoder-{options.layer}.safetensors"
    sae = load_sae(options.sae or shipped).float()
    items = corpus.speech("test")[:: options.every]
    clips = [load_audio(item.path)[: 30 * 16_000] for item in items]
    settings = ReconstructionSettings(thresholds=tuple(options.threshold), batch=options.batch)
    with progress() as tell:
        found = reconstruction_wer(
            load_whisper(options.model), sae, options.layer, clips, [str(item.text) for item in items],
            settings=settings, cache=options.cache / options.model, progress=tell,
        )  # fmt: skip
    print(found.table())
    out = options.out or RESULTS / f"reconstruction-wer-{options.model}.json"
    out.write_text(found.to_json(), encoding="utf-8")
    print(f"wrote {out}")


if __name__ == "__main__":
    main()
