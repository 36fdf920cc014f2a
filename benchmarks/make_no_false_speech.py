"""Make the shipped recipe `no-false-speech` for tiny.en: learn the edits, fit the gate, calibrate, write the JSON.

    python benchmarks/make_no_false_speech.py --cache CACHE

Learns on the `find` part of the split in `corpus.py` and on synthetic noise, chooses strength and threshold on
`calibrate`, and never touches `test`. Seeded. Stages are cached, so that an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import corpus
import numpy as np
import torch
from numpy.typing import NDArray

from audiosae_steer import SAE, Add, SiteEdits, SiteGate, load_audio, load_sae, load_whisper, steer
from audiosae_steer.clip_gate import ClipGate
from audiosae_steer.discover.collect import residuals
from audiosae_steer.discover.fit_gate import assess, fit_gate, set_threshold
from audiosae_steer.discover.learn import Learned, LearnSettings, learn
from audiosae_steer.evaluate.transcribe import transcribe
from audiosae_steer.evaluate.wer import word_errors
from audiosae_steer.hub import sha256_of
from audiosae_steer.recipes import GateSpec, ModelSpec, Recipe, SAESpec, SiteSpec, checkpoints_dir
from audiosae_steer.sites import Site, family_of, fingerprint

RATE = 16_000
Samples = NDArray[np.float32]
LAYER = 4
DENSE = LearnSettings(lr=0.03, steps=250)


def synthetic_noise(seed: int, count: int) -> list[Samples]:
    """Noise that no microphone recorded: white, pink, brown, hum, tones, beeps, clicks, near-silence; 2 to 8 s."""
    rng = np.random.default_rng(seed)
    clips = []
    for number in range(count):
        n = int(rng.uniform(2, 8) * RATE)
        t = np.arange(n) / RATE
        white = rng.standard_normal(n)
        kind = number % 8
        if kind < 3:  # white, pink, brown
            spectrum = np.fft.rfft(white) / np.maximum(np.fft.rfftfreq(n, 1 / RATE), 20) ** (kind / 2)
            x = np.fft.irfft(spectrum, n)
        elif kind == 3:
            base = rng.choice([50, 60, 100, 120]) * rng.uniform(0.9, 1.6)
            x = sum(
                rng.uniform(0.1, 1) / h * np.sin(2 * np.pi * base * h * t + rng.uniform(0, 6)) for h in range(1, 12)
            )
        elif kind == 4:
            x = np.sin(2 * np.pi * rng.uniform(200, 3000) * t) + 0.3 * np.sin(2 * np.pi * rng.uniform(200, 3000) * t)
        elif kind == 5:
            x = np.sin(2 * np.pi * rng.uniform(400, 3000) * t) * (np.sin(2 * np.pi * rng.uniform(0.5, 6) * t) > 0)
        elif kind == 6:
            x = np.convolve(white * (rng.random(n) < rng.uniform(2, 30) / RATE), np.exp(-np.arange(800) / 80), "same")
        else:
            x = white * 1e-3
        x = x / (np.abs(x).max() + 1e-9) * 10 ** (rng.uniform(-45 if kind == 7 else -25, -1) / 20)
        clips.append((x + 1e-4 * rng.standard_normal(n)).astype(np.float32))
    return clips


def absent_clips(part: str, seed: int) -> list[Samples]:
    """Recorded clips without speech, at varied loudness, and synthetic noise."""
    rng = np.random.default_rng(seed)
    recorded = [load_audio(item.path)[: 30 * RATE] for item in corpus.nonspeech(part)]
    varied = [np.clip(x * 10 ** (rng.uniform(-20, 6) / 20), -1, 1).astype(np.float32) for x in recorded]
    return varied + synthetic_noise(seed + 1, 80 if part == "find" else 40)


def present_items(part: str, seed: int, most: int) -> list[corpus.Item]:
    """Utterances: all of the small corpora, and as many of the large one as there is room for."""
    rng = np.random.default_rng(seed)
    items = corpus.speech(part)
    small = [item for item in items if item.source != "speechocean762-train"]
    large = [item for item in items if item.source == "speechocean762-train"]
    picked = rng.permutation(len(large))[: max(most - len(small), 0)]
    return small + [large[i] for i in sorted(picked)]


def present_clips(part: str, items: Sequence[corpus.Item], seed: int, plain: bool = False) -> list[Samples]:
    """Their audio; a third with recorded noise mixed in at 0 to 20 dB, all at −30 to +6 dB, unless `plain`."""
    rng = np.random.default_rng(seed)
    noises = corpus.nonspeech(part)
    clips = []
    for item in items:
        x = load_audio(item.path)[: 30 * RATE]
        if not plain:
            if rng.random() < 1 / 3:
                noise = np.resize(load_audio(noises[int(rng.integers(len(noises)))].path), len(x))
                power = np.mean(x**2) / max(float(np.mean(noise**2)), 1e-10)
                x = x + noise * np.sqrt(power * 10 ** (-rng.uniform(0, 20) / 10))
            x = x * 10 ** (rng.uniform(-30, 6) / 20)
        clips.append(np.clip(x, -1, 1).astype(np.float32))
    return clips


def pooled(model: Any, sae: Any, layer: int, clips: Sequence[Samples]) -> NDArray[np.float64]:
    """Max-pooled features (clips, n_features) at a layer."""
    rows: list[torch.Tensor] = []
    for start in range(0, len(clips), 8):
        rows += residuals(model, clips[start : start + 8], [layer])[layer]
    return pool_max(sae, rows)


def pool_max(sae: SAE, rows: Sequence[torch.Tensor]) -> NDArray[np.float64]:
    """Max-pooled features (clips, n_features) of residuals (frames, d_model)."""
    with torch.no_grad():
        return np.stack([sae.encode(row.float()).amax(0).double().numpy() for row in rows])


def evaluate(
    model: Any, noise: Sequence[Samples], items: Sequence[corpus.Item], speech: Sequence[Samples]
) -> dict[str, float]:
    """Share of clips with text, filters off and on, and WER on plain speech, in transcribe()'s default mode."""
    heard = [transcribe(model, clip) for clip in noise]
    spoken = [transcribe(model, clip) for clip in speech]
    texts = [(item.text, said.text) for item, said in zip(items, spoken, strict=True) if item.text]
    errors = word_errors([a for a, _ in texts if a], [b for _, b in texts])
    return {
        "text": float(np.mean([bool(h.text) for h in heard])),
        "text_filtered": float(np.mean([bool(h.filtered().text) for h in heard])),
        "wer": 100 * errors.rate,
        "blanked": float(np.mean([not said.text for said in spoken])),
    }


def cached(path: Path, make: Any) -> Any:
    """What `make()` gives, from a file if it was made before."""
    if not path.is_file():
        value = make()
        torch.save(value, path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)
    return torch.load(path, weights_only=False)  # our own file of this very run


def main() -> None:
    """Run every stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True, help="folder for intermediate results")
    parser.add_argument("--features", type=int, default=64, help="most features to add to")
    parser.add_argument("--out", type=Path, default=checkpoints_dir() / "whisper-tiny.en")
    parser.add_argument("--strengths", type=float, nargs="+", default=[0.75, 1.0, 1.25])
    parser.add_argument("--only", help="run only the arms of the calibration whose name contains this")
    parser.add_argument("--stage", choices=["dense", "learn", "gate", "calibrate", "write"], default="write")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    model = load_whisper("tiny.en")
    clips = options.cache / "clips.pt"
    absent, items = absent_clips("find", 0), present_items("find", 0, 500)
    if options.stage == "dense":
        present = present_clips("find", items, 2)
        cached(
            options.cache / "dense.pt",
            lambda: learn(model, None, LAYER, absent, present, DENSE, cache=clips)._asdict(),
        )
        return
    sae = load_sae(options.out / f"encoder-{LAYER}.safetensors").float()
    present = present_clips("find", items, 2)
    if options.stage == "gate":
        gate = make_gate(options.cache, model, sae)
        print(f"gate: {len(gate.features)} features, {gate.calibration}")
        return
    name = f"learned-{options.features}.pt"
    settings = LearnSettings(features=options.features)

    def run() -> dict[str, Any]:
        return learn(model, sae, LAYER, absent, present, settings, cache=clips)._asdict()

    learned = Learned(**cached(options.cache / name, run))
    print(f"learned {len(learned.features)} amounts; last: {learned.history[-1]}")
    if options.stage == "learn":
        return
    gate = make_gate(options.cache, model, sae)
    print(f"gate: {len(gate.features)} features, {gate.calibration}")
    figures = calibrate(options, model, sae, learned, gate)
    print(json.dumps(figures, indent=1))
    if options.stage == "calibrate":
        return
    write(options, model, learned, gate, figures)


def make_gate(cache: Path, model: Any, sae: SAE) -> ClipGate:
    """Fit on `find`, place the threshold on `calibrate`."""

    def seen() -> list[NDArray[np.float64]]:
        kept = torch.load(cache / "clips.pt", weights_only=True)  # the residuals that learning began with
        return [pool_max(sae, kept["noise"]), pool_max(sae, [row[0] for row in kept["speech"]])]

    found = cached(cache / "pooled-find.pt", seen)
    gate, _ = fit_gate(found[0], found[1], "max")

    def unseen() -> list[NDArray[np.float64]]:
        items = present_items("calibrate", 10, 260)
        quiet = absent_clips("calibrate", 11)
        spoken = present_clips("calibrate", items, 12) + present_clips("calibrate", items, 12, plain=True)
        return [pooled(model, sae, LAYER, clips) for clips in (quiet, spoken)]

    rest = cached(cache / "pooled-calibrate.pt", unseen)
    print("before the threshold is placed:", assess(gate, rest[0], rest[1]))
    return set_threshold(gate, rest[0], rest[1])


def calibrate(options: Any, model: Any, sae: Any, learned: Learned, gate: ClipGate) -> dict[str, Any]:
    """Every strength, gated and not, on the calibration part."""
    noise = absent_clips("calibrate", 11)
    items = [item for item in present_items("calibrate", 10, 260) if item.text][:160]
    speech = present_clips("calibrate", items, 12, plain=True)
    add = Add(learned.features, learned.amounts)
    site = Site(LAYER)
    figures: dict[str, Any] = {}
    arms = [("unsteered", None, 0.0)]
    for strength in options.strengths:
        arms += [(f"ungated x {strength:g}", None, strength), (f"gated x {strength:g}", gate, strength)]
    for name, governed, strength in arms:
        if options.only and options.only not in name:
            continue
        path = options.cache / f"calibrate-{len(learned.features)}-{name.replace(' ', '')}.pt"

        def run(governed: Any = governed, strength: float = strength) -> dict[str, float]:
            if strength == 0:
                return evaluate(model, noise, items, speech)
            where = None if governed is None else SiteGate(site, sae, governed)
            with steer(model, [SiteEdits(site, sae, [add])], gate=where, strength=strength, allow_empty=True):
                return evaluate(model, noise, items, speech)

        started = time.time()
        figures[name] = cached(path, run)
        print(f"{name}: {figures[name]} ({time.time() - started:.0f} s)", flush=True)
    return figures


def write(options: Any, model: Any, learned: Learned, gate: ClipGate, figures: dict[str, Any]) -> None:
    """Write the gated recipe and the ungated one, each at the strength chosen on the calibration part."""
    dims = family_of(model).dims(model)
    file = f"encoder-{LAYER}.safetensors"
    sha256 = sha256_of(options.out / file)
    plain = figures["unsteered"]
    for name, arm in (("no-false-speech", "gated"), ("no-false-speech-ungated", "ungated")):
        tried = {s: figures[f"{arm} x {s:g}"] for s in options.strengths}
        budget = plain["wer"] + (0.1 if arm == "gated" else 0.4)
        allowed = [s for s, found in tried.items() if found["wer"] <= budget] or [min(tried)]
        chosen = min(allowed, key=lambda s: (tried[s]["text"], s))
        recipe = Recipe(
            name=name,
            description="tiny.en writes no text where nobody speaks: learned constants on SAE features of the last "
            "encoder layer"
            + (", for clips in which a gate finds no speech." if arm == "gated" else ", on every clip."),
            model=ModelSpec(family="whisper", name="tiny.en", **dims._asdict(), fingerprint=fingerprint(model)),
            saes={"last": SAESpec(file=file, sha256=sha256)},
            sites=[
                SiteSpec(
                    layer=LAYER,
                    sae="last",
                    edits=[
                        {
                            "kind": "add",
                            "features": list(learned.features),
                            "amount": [round(a, 5) for a in learned.amounts],
                        }
                    ],
                )
            ],
            gate=GateSpec(
                layer=LAYER,
                sae="last",
                features=list(gate.features),
                weights=[round(w, 6) for w in gate.weights],
                bias=round(gate.bias, 6),
                threshold=round(gate.threshold, 6),
                pool=gate.pool,
                calibration=gate.calibration,
            )
            if arm == "gated"
            else None,
            allow_empty=True,
            strength=chosen,
            provenance={
                "command": f"python benchmarks/make_no_false_speech.py --features {options.features} --cache CACHE",
                "learned": LearnSettings(features=options.features)._asdict(),
                "split": "benchmarks/corpus.py: learned on `find` and synthetic noise, chosen on `calibrate`",
                "data": "ESC-10, freely licensed sound effects, LibriSpeech, speechocean762, wake words",
            },
            measured={
                "part": "calibrate",
                "unsteered": plain,
                "by_strength": {f"{s:g}": found for s, found in tried.items()},
            },
        )
        recipe.save(options.out / f"{name}.json")
        print(f"wrote {options.out / name}.json at strength {chosen}")


if __name__ == "__main__":
    main()
