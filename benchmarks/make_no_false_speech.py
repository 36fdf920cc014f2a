"""Make the shipped recipe `no-false-speech` for tiny.en: learn the amounts, fit the gate, calibrate, write the JSON.

    python benchmarks/make_no_false_speech.py --cache CACHE

Learns on the `find` part of the split in `corpus.py` and on synthetic noise, chooses the strength and the gate's
threshold on `calibrate`, and never touches `test`; figures on `test` are copied from `benchmarks/results/` if they are
there, and of this very recipe. Seeded. Stages are cached, so that an interrupted run goes on.

Calibration decodes the first 30 s of each clip from cached residuals, greedily; on noise no further than 48 tokens.
With timestamps clips are padded as `whisper.transcribe` pads them, without as `whisper.decode` and transformers do.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import corpus
import numpy as np
import torch
from false_speech import RESULTS, arm_key
from material import Samples, absent_clips, brief, present_clips, present_items
from numpy.typing import NDArray
from rich.progress import track

from audiosae_steer import SAE, ClipGate, load_sae, load_whisper
from audiosae_steer.discover.collect import Pad, residuals
from audiosae_steer.discover.fit_gate import assess, fit_gate, score, set_threshold
from audiosae_steer.discover.learn import Learned, LearnSettings, learn
from audiosae_steer.evaluate.false_speech import wrote
from audiosae_steer.evaluate.transcribe import LOGPROB, NO_SPEECH
from audiosae_steer.evaluate.wer import word_errors
from audiosae_steer.hub import sha256_of
from audiosae_steer.recipes import GateSpec, ModelSpec, Recipe, SAESpec, SiteSpec, checkpoints_dir
from audiosae_steer.sites import family_of, fingerprint

LAYER = 4
SETTINGS = LearnSettings()
PADS: dict[str, Pad] = {"timestamps": "zeros", "no timestamps": "silence"}
STRENGTHS = (0.75, 1.0, 1.25)


WER_BUDGET, BLANK_BUDGET = 0.1, 0.005
"""What calibration may cost on plain utterances: points of WER, and a share of the utterances left without text."""
NEAR = 0.01
"""Share of noise clips: a strength with so little more text is as good, and a smaller one is further from the cliff."""


class Set_(NamedTuple):
    """Clips of one kind, as residuals."""

    rows: list[torch.Tensor]
    """(frames, d_model) each, float16."""
    texts: list[str]
    """What is said; empty for noise."""


class Heard(NamedTuple):
    """What was written for one clip."""

    text: str
    filtered: str
    """The same with Whisper's own filters."""


def cached(path: Path, make: Callable[[], Any]) -> Any:
    """What `make()` gives (tensors, numbers and texts in plain containers), from a file if it was made before."""
    if not path.is_file():
        torch.save(make(), path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)
    return torch.load(path, weights_only=True)


def spoken_items(part: str) -> list[corpus.Item]:
    """The utterances of a part: for calibration, with known texts."""
    if part == "find":
        return present_items("find", 0, 500)
    return [item for item in present_items("calibrate", 10, 260) if item.text][:160]


def samples_of(part: str, kind: str) -> list[Samples]:
    """The clips of one kind: noise, speech as recorded (plain) or made louder, softer and noisy (hard), or brief."""
    seed = {"find": 0, "calibrate": 11}[part]
    if kind == "noise":
        return absent_clips(part, seed)
    if kind.startswith("brief"):
        whole = samples_of(part, "noise" if kind == "brief noise" else "hard")
        return brief(whole, seed + (100 if kind == "brief noise" else 101))
    return present_clips(part, spoken_items(part), 2 if part == "find" else 12, plain=kind == "plain")


def encode(model: Any, pad: Pad) -> dict[str, tuple[list[torch.Tensor], list[str]]]:
    """The calibration clips' residuals and texts, as `Set_` has them."""
    texts = [item.text or "" for item in spoken_items("calibrate")]
    sets = {}
    for kind in ("noise", "plain", "hard"):
        samples, rows = samples_of("calibrate", kind), []
        for start in track(range(0, len(samples), 8), f"encoding {kind}, {pad}"):
            rows += [r.clone() for r in residuals(model, samples[start : start + 8], [LAYER], pad)[LAYER].half()]
        sets[kind] = (rows, [""] * len(rows) if kind == "noise" else texts)
    return sets


def pooled(cache: Path, model: Any, sae: SAE, part: str, kind: str, pad: Pad) -> NDArray[np.float64]:
    """Max-pooled features (clips, n_features) of the clips of one kind."""

    def run() -> torch.Tensor:
        samples, found = samples_of(part, kind), []
        for start in track(range(0, len(samples), 8), f"pooling {part}, {kind}, {pad}"):
            rows = residuals(model, samples[start : start + 8], [LAYER], pad)[LAYER]
            with torch.no_grad():
                found += [sae.encode(row).amax(0).double() for row in rows]
        return torch.stack(found)

    result: NDArray[np.float64] = cached(cache / f"pooled-{part}-{kind}-{pad}.pt".replace(" ", "-"), run).numpy()
    return result


def decode(
    model: Any, rows: Sequence[torch.Tensor], vector: torch.Tensor, timed: bool, limit: int | None
) -> list[Heard]:
    """What the model writes for residuals to which a vector was added."""
    from whisper.decoding import DecodingOptions

    options = DecodingOptions(
        language="en", fp16=False, temperature=0.0, sample_len=limit, without_timestamps=not timed
    )
    heard = []
    close = family_of(model).allow_empty(model)
    for start in range(0, len(rows), 16):
        x = torch.stack(list(rows[start : start + 16])).float() + vector
        with torch.no_grad():
            results = model.decode(model.encoder.ln_post(x), options)
        for result in results:
            text = result.text.strip()
            dropped = result.no_speech_prob > NO_SPEECH and result.avg_logprob <= LOGPROB
            heard.append(Heard(text, "" if dropped else text))
    close()
    return heard


def write_all(model: Any, sets: dict[str, Set_], vector: torch.Tensor, timed: bool) -> dict[str, list[tuple[str, str]]]:
    """`decode` for every set: text and filtered text of each clip."""
    limits = {"noise": 48}
    return {
        name: [tuple(heard) for heard in decode(model, found.rows, vector, timed, limits.get(name))]
        for name, found in sets.items()
    }


def figures_of(sets: dict[str, Set_], heard: dict[str, list[Heard]]) -> dict[str, float]:
    """Shares of noise clips with text, WER in percent, and the share of utterances left without text."""
    found: dict[str, float] = {}
    for name, (_, texts) in sets.items():
        if name == "noise":
            found["text"] = float(np.mean([wrote(h.text) for h in heard[name]]))
            found["text_filters_on"] = float(np.mean([wrote(h.filtered) for h in heard[name]]))
        else:
            found[f"wer_{name}"] = 100 * word_errors(texts, [h.text for h in heard[name]]).rate
            found[f"blanked_{name}"] = float(np.mean([not wrote(h.text) for h in heard[name]]))
    return {key: round(value, 4) for key, value in found.items()}


def make_gate(cache: Path, model: Any, sae: SAE) -> tuple[ClipGate, dict[str, dict[str, list[bool]]]]:
    """Fit on `find`, place the threshold on `calibrate`; and, by mode, for which calibration clips it then opens.

    Whole clips and brief stretches of them, padded in both ways: a gate that knows only sentences takes single words
    for noise, and one that knows only silence after a clip is unsure of the zeros that `transcribe` puts there.
    """

    def gathered(part: str, *kinds: str) -> NDArray[np.float64]:
        return np.concatenate([pooled(cache, model, sae, part, kind, pad) for kind in kinds for pad in PADS.values()])

    noise = ("noise", "brief noise")
    gate, _ = fit_gate(gathered("find", *noise), gathered("find", "hard", "brief speech"), "max", max_features=64)
    absent, present = gathered("calibrate", *noise), gathered("calibrate", "plain", "hard", "brief speech")
    print("gate before its threshold is placed:", assess(gate, absent, present))
    gate = set_threshold(gate, absent, present, margin=0.2)
    opens = {}
    for mode, pad in PADS.items():
        scores = {
            kind: score(gate, pooled(cache, model, sae, "calibrate", kind, pad)) for kind in ("noise", "plain", "hard")
        }
        opens[mode] = {kind: (found > gate.threshold).tolist() for kind, found in scores.items()}
    return gate, opens


def calibrate(cache: Path, model: Any, learned: Learned, opens: dict[str, dict[str, list[bool]]]) -> dict[str, Any]:
    """Every strength, gated and not, in both modes. Gated: the text of either arm, as the gate decides."""
    figures: dict[str, Any] = {}
    for mode, pad in PADS.items():
        saved = cached(cache / f"calibrate-{pad}.pt", partial(encode, model, pad))
        sets = {kind: Set_(*found) for kind, found in saved.items()}
        heard: dict[float, dict[str, list[Heard]]] = {}
        for strength in (0.0, *STRENGTHS):
            arm = partial(write_all, model, sets, strength * learned.vector, mode == "timestamps")
            path = cache / f"calibrate-{len(learned.features)}-{strength}-{mode}.pt".replace(" ", "")
            made = {name: [Heard(*pair) for pair in pairs] for name, pairs in cached(path, arm).items()}
            heard[strength] = made
            if strength == 0.0:
                figures.setdefault("unsteered", {})[mode] = figures_of(sets, made)
                print(f"unsteered, {mode}: {figures['unsteered'][mode]}", flush=True)
                continue
            mixed = {
                name: [
                    a if opened else b
                    for a, b, opened in zip(made[name], heard[0.0][name], opens[mode][name], strict=True)
                ]
                for name in sets
            }
            for kind, texts in (("ungated", made), ("gated", mixed)):
                name = f"{kind} x {strength:g}"
                figures.setdefault(name, {})[mode] = figures_of(sets, texts)
                print(f"{name}, {mode}: {figures[name][mode]}", flush=True)
    return figures


def choose(figures: dict[str, Any]) -> float:
    """The smallest strength, among those within the budget, with about the least text, filters off."""
    plain = figures["unsteered"]["timestamps"]
    tried = {s: figures[f"gated x {s:g}"] for s in STRENGTHS}
    allowed = [
        s
        for s, found in tried.items()
        if found["timestamps"]["wer_plain"] <= plain["wer_plain"] + WER_BUDGET
        and found["timestamps"]["blanked_plain"] <= plain["blanked_plain"] + BLANK_BUDGET
    ]
    if not allowed:
        raise SystemExit(f"no strength keeps within the budget: {json.dumps(tried, indent=1)}")
    text = {s: float(np.mean([found["text"] for found in tried[s].values()])) for s in allowed}
    return min(s for s in allowed if text[s] <= min(text.values()) + NEAR)


def write(out: Path, model: Any, learned: Learned, gate: ClipGate, figures: dict[str, Any]) -> None:
    """Write the recipe at the strength chosen on `calibrate`; what the edits do without the gate goes along."""
    file = f"encoder-{LAYER}.safetensors"
    amounts = [round(amount, 5) for amount in learned.amounts]
    strength = choose(figures)
    recipe = Recipe(
        name="no-false-speech",
        description="Writes no text where nobody speaks: learned constants on SAE features of the last encoder layer, "
        "for clips in which a gate finds no speech.",
        model=ModelSpec(
            family="whisper", name="tiny.en", **family_of(model).dims(model)._asdict(), fingerprint=fingerprint(model)
        ),
        saes={"last": SAESpec(file=file, sha256=sha256_of(out / file))},
        sites=[
            SiteSpec(
                layer=LAYER,
                sae="last",
                edits=[{"kind": "add", "features": list(learned.features), "amount": amounts}],
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
            calibration={
                key: round(value, 5) if isinstance(value, float) else value for key, value in gate.calibration.items()
            },
        ),
        allow_empty=True,
        strength=strength,
        provenance={
            "command": "python benchmarks/make_no_false_speech.py --cache CACHE",
            "learned": SETTINGS._asdict(),
            "split": "benchmarks/corpus.py: learned on `find` and synthetic noise, chosen on `calibrate`",
            "data": "ESC-10, freely licensed sound effects, LibriSpeech, speechocean762, wake words",
        },
        measured={
            "calibrate": {
                "unsteered": figures["unsteered"],
                "steered": figures[f"gated x {strength:g}"],
                "without the gate": {f"x {s:g}": figures[f"ungated x {s:g}"]["timestamps"] for s in STRENGTHS},
            }
        },
    )
    recipe.measured.update(tested(recipe))
    recipe.save(out / f"{recipe.name}.json")
    print(f"wrote {out.name}/{recipe.name}.json at strength {strength:g}; measured: {list(recipe.measured)}")


def tested(recipe: Recipe) -> dict[str, Any]:
    """The figures on `test`, if `false_speech.py` has run with this very recipe."""
    path = RESULTS / f"false-speech-{recipe.model.name}-{recipe.name}.json"
    if not path.is_file():
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))
    if found["recipe"]["key"] != arm_key(recipe.model.name, recipe):
        return {}
    kept = ("text.nonspeech.filters-off", "text.nonspeech.filters-on", "wer.all.filters-off", "wer.all.filters-on")
    return {"test": {key: found["figures"][key] for key in kept}}


def main() -> None:
    """Run every stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True, help="folder for intermediate results")
    parser.add_argument("--out", type=Path, default=checkpoints_dir() / "whisper-tiny.en")
    options = parser.parse_args()
    cache = options.cache
    cache.mkdir(parents=True, exist_ok=True)
    corpus.assets()
    model = load_whisper("tiny.en")
    sae = load_sae(options.out / f"encoder-{LAYER}.safetensors").float()

    def run() -> dict[str, Any]:
        absent, present = samples_of("find", "noise"), samples_of("find", "hard")
        return learn(model, sae, LAYER, absent, present, SETTINGS, cache=cache / "clips.pt")._asdict()

    learned = Learned(**cached(cache / "learned.pt", run))
    print(f"learned {len(learned.features)} amounts; last: {learned.history[-1]}")
    gate, opens = make_gate(cache, model, sae)
    print(f"gate: {len(gate.features)} features, threshold {gate.threshold:.3f}, {gate.calibration}")
    write(options.out, model, learned, gate, calibrate(cache, model, learned, opens))


if __name__ == "__main__":
    main()
