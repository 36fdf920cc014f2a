"""A training that is killed, at any point, resumes to the same result."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from activations import sparse_frames, write_shards

from audiosae_steer import load_sae
from audiosae_steer.data.activations.shards import open_shards
from audiosae_steer.training.settings import TrainSettings
from audiosae_steer.training.train import train_sae

SETTINGS = TrainSettings(n_features=48, k=3, steps=300, batch=128, lr=5e-3, seed=3, buffer=1024)
PROGRAM = """
import json, os, random, signal, sys, time
from pathlib import Path

import sae_lens, torch

from audiosae_steer.training import train as training
from audiosae_steer.training.checkpoints import found_in
from audiosae_steer.data.activations.shards import open_shards
from audiosae_steer.training.settings import TrainSettings

torch.set_num_threads(1)
training.SAVE_EVERY = 5  # so that a kill often meets a checkpoint being written
shards, folder, out = map(Path, sys.argv[1:4])
rng = random.Random(0)


def begin():
    child = os.fork()  # importing takes longer than training
    if child == 0:
        sae = training.train_sae(
            open_shards(shards, 2), TrainSettings(**json.loads(sys.argv[4])), checkpoints=folder, progress=False
        )
        sae.save(out)
        os._exit(0)
    return child


def reached():
    return max((int(path.name.removeprefix("step-")) for path in found_in(folder)), default=0)


for _ in range(6):
    before, child = reached(), begin()
    while reached() == before and before < 300:
        time.sleep(0.002)
    time.sleep(rng.uniform(0, 0.1))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert before <= reached() <= 300
    print(reached(), flush=True)
assert os.waitpid(begin(), 0)[1] == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_at_random_points_it_resumes_to_the_same_sae(tmp_path: Path) -> None:
    pytest.importorskip("sae_lens", reason="SAELens (extra [train]) is not installed")
    shards = write_shards(tmp_path / "shards", sparse_frames(6000, 1), sparse_frames(300, 2), shards=4)
    folder, out = tmp_path / "checkpoints", tmp_path / "sae.safetensors"
    words = [sys.executable, "-c", PROGRAM, str(shards), str(folder), str(out), json.dumps(SETTINGS.as_json())]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    reached = [int(line) for line in done.stdout.split()]
    assert len(reached) == 6
    assert 0 < reached[0] < 300
    whole = train_sae(open_shards(shards, 2), SETTINGS, progress=False)
    for name, tensor in load_sae(out).state_dict().items():
        assert torch.equal(tensor, whole.state_dict()[name]), name
    assert [path.name for path in folder.iterdir()] == ["step-0000300"]
