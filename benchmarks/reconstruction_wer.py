"""What an SAE loses, as users feel it: WER with every frame replaced by its reconstruction, beside WER without.

    python benchmarks/reconstruction_wer.py --model tiny.en --layer 4 --cache CACHE
    python benchmarks/reconstruction_wer.py --layer 4 --sae mine.safetensors --cache CACHE --every 4 --out mine.json

On the utterances of the `test` part of the split, greedy, with timestamps, the first 30 s of each: the SAE's
reconstruction takes the place of the residual, padding and all, as `error="drop"` with nothing edited has it. Loops
capped: with at most as many errors for an utterance as it has words. Interrupted, it continues from the cache.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
from pathlib import Path
from typing import Any

import corpus
import torch

from audiosae_steer import SAE, Scale, load_audio, load_sae, load_whisper, steer
from audiosae_steer.evaluate.metrics.wer import rate_difference, rate_interval, word_errors
from audiosae_steer.evaluate.transcription.from_residuals import Written, encode, write
from audiosae_steer.steering.recipes.load import checkpoints_dir

RESULTS = Path(__file__).parent / "results"


def texts_of(model: Any, sae: SAE | None, layer: int, items: list[corpus.Item], cache: Path, batch: int) -> list[str]:
    """What is written for each utterance; with an SAE, from its reconstruction."""
    digest = "unsteered"
    if sae is not None:
        threshold = b"" if sae.threshold is None else sae.threshold.numpy().tobytes()
        digest = hashlib.sha256(sae.W_enc.numpy().tobytes() + threshold).hexdigest()[:12]
    found: list[str] = []
    for start in range(0, len(items), batch):
        chosen = items[start : start + batch]
        names = " ".join(item.path.name for item in chosen)
        kept = cache / "texts" / f"{digest}-{layer}-{hashlib.sha256(names.encode()).hexdigest()[:12]}.json"
        if not kept.is_file():
            clips = [load_audio(item.path)[: 30 * 16_000] for item in chosen]
            rows = encode(model, clips, layer, cache=cache / "residuals", progress=False)
            written: list[Written]
            if sae is None:
                written = write(model, rows, layer)
            else:
                with steer(model, sae=sae, layer=layer, edits=[Scale(0, 1.0)], error="drop"):
                    written = write(model, rows, layer)
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps([row.text for row in written]), encoding="utf-8")
        found += json.loads(kept.read_text(encoding="utf-8"))
        print(f"{digest}: {len(found)} of {len(items)}", flush=True)
    return found


def main() -> None:
    """Transcribe, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny.en")
    parser.add_argument("--layer", type=int, required=True)
    parser.add_argument("--sae", action="append", help="file; default: the shipped one of that layer; repeatable")
    parser.add_argument(
        "--threshold", type=float, action="append", default=[], help="with this one as well; repeatable"
    )
    parser.add_argument("--cache", type=Path, required=True, help="folder, about 1 MB an utterance")
    parser.add_argument("--every", type=int, default=1, help="take every n-th utterance")
    parser.add_argument("--batch", type=int, default=16, help="utterances at once")
    parser.add_argument("--out", type=Path, help="default: results/reconstruction-wer-MODEL.json")
    options = parser.parse_args()
    shipped = checkpoints_dir() / f"whisper-{options.model}" / f"encoder-{options.layer}.safetensors"
    saes = {Path(name).stem: load_sae(name).float() for name in options.sae or [shipped]}
    for name, sae in list(saes.items()):
        for threshold in options.threshold:
            saes[f"{name}, threshold {threshold:g}"] = other = copy.deepcopy(sae)
            other.threshold = torch.tensor(threshold)
    items = corpus.speech("test")[:: options.every]
    references = [str(item.text) for item in items]
    model = load_whisper(options.model)
    cache = options.cache / options.model
    plain = word_errors(references, texts_of(model, None, options.layer, items, cache, options.batch))
    found: dict[str, Any] = {
        "utterances": len(items),
        "unsteered": {"wer": plain.rate, "interval": rate_interval(plain), "capped": plain.capped.rate},
    }
    print(f"unsteered: WER {plain.rate:.2%}, loops capped {plain.capped.rate:.2%}")
    for name, sae in saes.items():
        texts = texts_of(model, sae, options.layer, items, cache, options.batch)
        errors = word_errors(references, texts)
        change, capped = rate_difference(plain, errors), rate_difference(plain.capped, errors.capped)
        found[name] = {
            "wer": errors.rate, "capped": errors.capped.rate, "change": change, "capped_change": capped,
            "blanked": sum(not text.strip() for text in texts),
        }  # fmt: skip
        print(
            f"{name}: WER {errors.rate:.2%}, {100 * change.value:+.2f} points [{100 * change.low:+.2f}, "
            f"{100 * change.high:+.2f}]; loops capped {errors.capped.rate:.2%}, {100 * capped.value:+.2f} "
            f"[{100 * capped.low:+.2f}, {100 * capped.high:+.2f}]"
        )
    out = options.out or RESULTS / f"reconstruction-wer-{options.model}.json"
    out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {out}")


if __name__ == "__main__":
    main()
