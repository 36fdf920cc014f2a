"""A training that is killed, at any point, goes on to the same result."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from activations import sparse_frames, write_shards

from audiosae_steer import load_sae
from audiosae_steer.training.checkpoints import found_in
from audiosae_steer.training.frames import open_shards
from audiosae_steer.training.settings import Settings
from audiosae_steer.training.train import train_sae

SETTINGS = Settings(n_features=48, k=3, steps=400, batch=128, lr=5e-3, seed=3, buffer=1024)
PROGRAM = """
import sys
from pathlib import Path
from audiosae_steer.training import train as training
from audiosae_steer.training.frames import open_shards
from audiosae_steer.training.settings import Settings

training.SAVE_EVERY = 5  # so that a kill often meets a checkpoint being written
shards, folder, out = map(Path, sys.argv[1:4])
training.train_sae(
    open_shards(shards, 2), Settings(*eval(sys.argv[4])), checkpoints=folder, progress=False
).save(out)
"""


def test_killed_at_random_points_it_goes_on_to_the_same_sae(tmp_path: Path) -> None:
    pytest.importorskip("sae_lens", reason="SAELens (extra [train]) is not installed")
    shards = write_shards(tmp_path / "shards", sparse_frames(6000, 1), sparse_frames(300, 2), shards=4)
    folder, out = tmp_path / "checkpoints", tmp_path / "sae.safetensors"
    words = [sys.executable, "-c", PROGRAM, str(shards), str(folder), str(out), repr(tuple(SETTINGS))]
    rng, reached, kills = random.Random(0), 0, 0
    for _ in range(3):
        begun = len(found_in(folder)) and int(found_in(folder)[-1].name.removeprefix("step-"))
        with subprocess.Popen(words, stderr=subprocess.PIPE) as process:
            while process.poll() is None:  # importing takes most of the time: it is killed when it is under way
                newest = found_in(folder)
                if newest and int(newest[-1].name.removeprefix("step-")) > begun:
                    time.sleep(rng.uniform(0, 0.3))
                    break
                time.sleep(0.005)
            process.kill()
            process.wait()
            said = process.stderr.read().decode() if process.stderr is not None else ""
        if process.returncode != -signal.SIGKILL:
            assert process.returncode == 0, said
            break
        kills += 1
        now = int(found_in(folder)[-1].name.removeprefix("step-"))  # what is there is whole: the next run reads it
        assert now >= reached
        reached = now
    assert kills
    if not out.is_file():
        subprocess.run(words, check=True)
    whole = train_sae(open_shards(shards, 2), SETTINGS, progress=False)
    for name, tensor in load_sae(out).state_dict().items():
        assert torch.equal(tensor, whole.state_dict()[name]), name
    assert [path.name for path in folder.iterdir()] == ["step-0000400"]
