"""SAEs of dictionary_learning: trained for three steps and saved by its `trainSAE`, loaded by its `from_pretrained`.

    python benchmarks/formats/make.py --only dictionary_learning     # 0.1.0

No trainer there makes an AutoEncoderNew; its state dict is saved by itself. AudioSAE publishes no package: its fixtures
are dictionary_learning's BatchTopKSAE too, the class from which its own descends, in the layout that its model cards on
the Hub describe: `ae.pt` with `encoder.{weight,bias}`, `decoder.weight`, `b_dec` and `k`, and a `config.json` that is
not nested. What that one selects, with no threshold, is the true selection over one clip, as in its paper.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from dictionary_learning.dictionary import AutoEncoder, AutoEncoderNew, GatedAutoEncoder, JumpReluAutoEncoder
from dictionary_learning.trainers.batch_top_k import BatchTopKSAE, BatchTopKTrainer
from dictionary_learning.trainers.gdm import GatedSAETrainer
from dictionary_learning.trainers.jumprelu import JumpReluTrainer
from dictionary_learning.trainers.matryoshka_batch_top_k import MatryoshkaBatchTopKSAE, MatryoshkaBatchTopKTrainer
from dictionary_learning.trainers.standard import StandardTrainer, StandardTrainerAprilUpdate
from dictionary_learning.trainers.top_k import AutoEncoderTopK, TopKTrainer
from dictionary_learning.training import trainSAE
from writing import DATA, D, F, K, keep, new, randomised, residuals

STEPS = 3
PLAIN = {"warmup_steps": 1, "sparsity_warmup_steps": 1}
SELECTING = {"k": K, "warmup_steps": 1, "threshold_start_step": 0}
CASES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "standard": (StandardTrainer, AutoEncoder, PLAIN),
    "standard_april": (StandardTrainerAprilUpdate, AutoEncoder, PLAIN),
    "gated": (GatedSAETrainer, GatedAutoEncoder, PLAIN),
    "jumprelu": (JumpReluTrainer, JumpReluAutoEncoder, PLAIN),
    "topk": (TopKTrainer, AutoEncoderTopK, SELECTING),
    "batchtopk": (BatchTopKTrainer, BatchTopKSAE, SELECTING),
    "matryoshka": (MatryoshkaBatchTopKTrainer, MatryoshkaBatchTopKSAE, {**SELECTING, "group_fractions": [0.25, 0.75]}),
}


class Activations:
    """Batches of residuals with a mean that is not zero, the same ones each time."""

    def __iter__(self) -> Any:
        for seed in range(120):
            yield residuals(seed, frames=32) + 0.3


def trained(trainer: Any, settings: dict[str, Any], folder: Path) -> Path:
    """What `trainSAE` saves of one SAE that begins with random weights."""

    def begin(self: Any, **given: Any) -> None:
        trainer.__init__(self, **given)
        randomised(self.ae)
        if hasattr(self.ae, "threshold") and self.ae.threshold.dim() == 1:
            self.ae.threshold.data.abs_()

    config = {
        "trainer": type(trainer.__name__, (trainer,), {"__init__": begin}),
        **{"activation_dim": D, "dict_size": F, "layer": 2, "lm_name": "random", "device": "cpu", "steps": STEPS},
        **settings,
    }
    trainSAE(Activations(), [config], STEPS, save_dir=str(folder), normalize_activations=True, device="cpu")
    return folder / "trainer_0"


def main() -> None:
    """Write every case."""
    x = residuals()
    for kind, (trainer, dictionary, settings) in CASES.items():
        folder = new(f"dictionary_learning-{kind}")
        with tempfile.TemporaryDirectory() as temporary:
            saved = trained(trainer, settings, Path(temporary))
            for name in ("ae.pt", "config.json"):
                shutil.copy(saved / name, folder / name)
        theirs = dictionary.from_pretrained(str(folder / "ae.pt"))
        with torch.no_grad():
            f = theirs.encode(x)
            keep(folder, x, f.clone(), theirs.decode(f))

    folder = new("dictionary_learning-new")
    torch.save(randomised(AutoEncoderNew(D, F)).state_dict(), folder / "ae.pt")
    theirs = AutoEncoderNew.from_pretrained(str(folder / "ae.pt"))
    with torch.no_grad():
        keep(folder, x, theirs.encode(x), theirs.decode(theirs.encode(x)))

    source = DATA / "dictionary_learning-batchtopk"
    state = torch.load(source / "ae.pt")
    said = json.loads((source / "config.json").read_text())["trainer"]
    theirs = BatchTopKSAE.from_pretrained(str(source / "ae.pt"))
    for kind, left_out in (("batchtopk", {"threshold"}), ("threshold", set())):
        folder = new(f"audiosae-{kind}")
        torch.save({name: tensor for name, tensor in state.items() if name not in left_out}, folder / "ae.pt")
        flat = {name: said[name] for name in ("activation_dim", "dict_size", "k", "lr", "steps", "seed")}
        (folder / "config.json").write_text(json.dumps(flat, indent=4))
        with torch.no_grad():
            f = theirs.encode(x, use_threshold=not left_out)
            keep(folder, x, f, theirs.decode(f))


if __name__ == "__main__":
    main()
