"""Codec of random weights to show `analyse control` on, and the command's report of a sound that is planted.

    python benchmarks/made_control.py planted --out control-planted
    python benchmarks/made_control.py codec --audio CLIPS/ --filters 8 --hidden 32 --out encodec/

No weights of a codec are at hand. `planted` reports on the sum of sinusoids of `tests/helpers/planted_sound.py`, where
theory says at which amount the target is reached, and writes JSON, HTML and PNG. `codec` writes transformers'
EncodecModel of 24 kHz, whose weights are drawn at random, and whose codebooks are residuals of the
clips' latents, drawn one after the other, since codebooks that are not trained are zero.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path

import numpy as np
import torch

from audiosae_steer import load_audio
from audiosae_steer.analyse import ControlSettings, control_report, control_sounds

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "helpers"))
CLIPS, BOOKS, SECONDS = 60, 2, 2.0
"""Clips whose latents codebooks are drawn from, codebooks that the lowest bandwidth takes, and seconds of a clip."""


def planted(out: Path) -> None:
    """Report on the planted sound."""
    from planted_sound import TARGET, Loudest, World

    world = World(0, clips=8)
    shares = (0.0, 0.5, 0.9, 0.95, 1.05, 1.2, 1.5)
    settings = ControlSettings(engine=Loudest(), alphas=tuple(round(share * world.flips(), 6) for share in shares))
    given = (world.map, world.sae, world.residuals)
    found = control_report(*given, "pitch", TARGET, decoder=world.decoder, settings=settings)
    print(f"theory: the target leads from α = {world.flips():.4f} on\n\n{found.table()}")
    out.with_suffix(".json").write_text(found.to_json(), encoding="utf-8")
    found.report(out.with_suffix(".html"), control_sounds(found, *given, world.decoder, settings=settings))
    found.png(out.with_suffix(".png"))


def codec(folder: Path, sizes: dict[str, int], out: Path) -> None:
    """Draw weights and codebooks, and write the model."""
    from transformers import EncodecConfig, EncodecModel

    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = EncodecModel(EncodecConfig(**sizes)).eval()
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".mp3", ".flac", ".ogg", ".wav"))
    step = max(len(files) // CLIPS, 1)
    rows = []
    with torch.no_grad():
        for path in files[::step][:CLIPS]:
            samples = load_audio(path, sample_rate=model.config.sampling_rate)
            rows.append(model.encoder(torch.from_numpy(samples[: int(SECONDS * 24_000)])[None, None])[0].T)
        x = torch.cat(rows)
        rng = np.random.default_rng(0)
        for layer in model.quantizer.layers[:BOOKS]:
            book = layer.codebook.embed
            book.copy_(x[torch.from_numpy(rng.choice(len(x), len(book), replace=len(x) < len(book)))])
            x = x - book[torch.cdist(x, book).argmin(1)]
    model.save_pretrained(out)
    print(f"wrote {out}: codebooks of {sum(map(len, rows))} latents of {len(rows)} clips")


def main() -> None:
    """Make one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("planted", "codec"))
    parser.add_argument("--audio", type=Path, help="folder of the clips for the codebooks")
    parser.add_argument("--filters", type=int, default=32, help="of the codec's first convolution")
    parser.add_argument("--hidden", type=int, default=128, help="width of its latents")
    parser.add_argument("--out", type=Path, required=True, help="file of the report, or folder of the codec")
    given = parser.parse_args()
    if given.what == "codec" and given.audio is None:
        parser.error("say whose latents the codebooks are drawn from: --audio CLIPS/")
    if given.what == "planted":
        planted(given.out)
    else:
        codec(given.audio, {"num_filters": given.filters, "hidden_size": given.hidden}, given.out)


if __name__ == "__main__":
    main()
