"""What the features of a learned recipe respond to: where they fire, and what the recipe does to them.

    python benchmarks/learned_features.py --recipe no-false-speech --cache CACHE

On the `calibrate` part of the split: for each of the largest edits, the share of speech, non-speech and padding frames
in which the feature fires, and the kinds of sound on which it is strongest. Writes a table and a JSON.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import corpus
import torch
from rich.progress import track

from audiosae_steer import load_audio, load_recipe, load_whisper
from audiosae_steer.evaluate.transcription.from_residuals import encode

RESULTS = Path(__file__).parent / "results"
FRAMES_PER_SECOND = 50


def main() -> None:
    """Encode, count, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny.en")
    parser.add_argument("--recipe", default="no-false-speech")
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=120, help="of each kind")
    parser.add_argument("--top", type=int, default=16, help="features to list")
    given = parser.parse_args()
    model = load_whisper(given.model)
    recipe = load_recipe(given.recipe, model)
    spec = next(spec for spec in recipe.sites if spec.sae is not None)
    sae = recipe.load_saes()[str(spec.sae)].float()
    edit = spec.edits[0]
    norms = sae.rows(edit["features"], torch.float32).W_dec.norm(dim=-1).tolist()
    rows = sorted(
        zip(edit["features"], edit["amount"], norms, strict=True), key=lambda row: -abs(row[1]) * row[2]
    )[: given.top]  # fmt: skip
    features = [feature for feature, _, _ in rows]
    fired = {
        "speech": torch.zeros(len(features)),
        "non-speech": torch.zeros(len(features)),
        "padding": torch.zeros(len(features)),
    }
    frames = dict.fromkeys(fired, 0)
    peaks: dict[str, list[torch.Tensor]] = {}
    for kind, items in (("speech", corpus.speech("calibrate")), ("non-speech", corpus.nonspeech("calibrate"))):
        chosen = items[:: max(1, len(items) // given.clips)][: given.clips]
        for item in track(chosen, description=kind):
            x = load_audio(item.path)[: 30 * 16_000]
            (row,) = encode(model, [x], spec.layer, cache=given.cache, progress=False)
            with torch.no_grad():
                f = sae.encode(row.float()[None])[0][:, features]
            end = min(len(x) * FRAMES_PER_SECOND // 16_000 + 1, len(f))
            for name, part in ((kind, f[:end]), ("padding", f[end:])):
                fired[name] += (part > 0).sum(0)
                frames[name] += len(part)
            label = item.path.parent.name if kind == "non-speech" else item.source
            peaks.setdefault(label, []).append(f[:end].amax(0))
    strongest = {label: torch.stack(found).mean(0) for label, found in peaks.items()}
    table: list[dict[str, Any]] = []
    for column, (feature, amount, norm) in enumerate(rows):
        best = sorted(strongest, key=lambda label: -float(strongest[label][column]))[:3]
        table.append(
            {
                "feature": feature,
                "amount": amount,
                "moves the residual by": round(abs(amount) * norm, 4),
                **{f"fires on {name}": round(float(fired[name][column]) / max(frames[name], 1), 4) for name in fired},
                "strongest on": [label for label in best if strongest[label][column] > 0],
            }
        )
    print(
        "| feature | amount | fires on speech | on non-speech | on padding | strongest on |\n|---|---|---|---|---|---|"
    )
    for line in table:
        shares = " | ".join(f"{line[f'fires on {name}']:.1%}" for name in fired)
        print(
            f"| {line['feature']} | {line['amount']:+.3f} | {shares} | {', '.join(line['strongest on']) or 'nothing'} |"
        )
    out = RESULTS / f"learned-features-{recipe.model.name}.json"
    out.write_text(
        json.dumps({"recipe": recipe.name, "layer": spec.layer, "features": table}, indent=1) + "\n", encoding="utf-8"
    )
    print(f"wrote {out.name}")


if __name__ == "__main__":
    main()
