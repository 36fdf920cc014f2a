"""Files that are kept: the old or the new, whatever moment a process is killed at."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from audiosae_steer import CheckpointError
from audiosae_steer.errors import AudioSAESteerError
from audiosae_steer.io.files import atomic_file, atomic_folder, stays_inside, write_atomic

unix = pytest.mark.skipif(os.name != "posix", reason="signals, links and permissions as on Unix")


def test_what_is_written_is_there_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "down" / "x"
    write_atomic(path, b"one")
    write_atomic(path, "zwei ä")
    assert path.read_bytes() == "zwei ä".encode()
    assert list(path.parent.iterdir()) == [path]


def test_an_error_leaves_the_old_file(tmp_path: Path) -> None:
    write_atomic(tmp_path / "x", "old")

    def half() -> None:
        with atomic_file(tmp_path / "x") as part:
            part.write_text("ne")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half()
    assert (tmp_path / "x").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_place_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(CheckpointError, match="cannot write .*folder"):
        write_atomic(tmp_path / "folder", "x", CheckpointError)
    (tmp_path / "file").touch()
    with pytest.raises(AudioSAESteerError, match="cannot write"):
        write_atomic(tmp_path / "file" / "x", "x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


@unix
def test_a_library_that_writes_for_its_owner_alone_does_not_decide(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    with atomic_file(tmp_path / "x") as part:
        part.unlink()
        part.write_bytes(b"1")
        part.chmod(0o600)
    with atomic_folder(tmp_path / "folder") as folder:
        (folder / "y").write_bytes(b"1")
        (folder / "y").chmod(0o600)
    for path in (tmp_path / "x", tmp_path / "folder" / "y"):
        assert path.stat().st_mode == (tmp_path / "other").stat().st_mode


@unix
def test_permissions_are_those_of_the_file_before_or_of_any_new_one(tmp_path: Path) -> None:
    write_atomic(tmp_path / "x", "1")
    (tmp_path / "other").touch()
    assert (tmp_path / "x").stat().st_mode == (tmp_path / "other").stat().st_mode
    (tmp_path / "x").chmod(0o600)
    write_atomic(tmp_path / "x", "2")
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o600


@unix
def test_what_a_killed_process_left_goes_with_the_next_write_and_what_a_living_one_writes_stays(tmp_path: Path) -> None:
    stale = tmp_path / ".x.0123456789ab.part"
    stale.touch()
    (tmp_path / ".y.0123456789ab.part").touch()
    with atomic_file(tmp_path / "x") as part:
        part.write_text("first")
        assert not stale.exists()
        write_atomic(tmp_path / "x", "second")
        assert part.exists()
    assert (tmp_path / "x").read_text() == "first"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".y.0123456789ab.part", "x"]


def test_many_writers_at_once(tmp_path: Path) -> None:
    texts = [f"{n}" * 10_000 for n in range(8)]

    def run(text: str) -> None:
        for _ in range(20):
            write_atomic(tmp_path / "x", text)

    threads = [threading.Thread(target=run, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "x").read_text() in texts
    assert len(list(tmp_path.iterdir())) == 1


WRITER = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
folder = Path(sys.argv[1])
import make
import torch
from audiosae_steer.data.activations.manifest import write_manifest
from audiosae_steer.io.files import atomic_file, write_atomic
from safetensors.torch import save_file
saes = [make.make_sae(d=64, F=2000, seed=seed) for seed in (0, 1)]
from audiosae_steer.steering.recipes.load import shipped
recipe = next(iter(shipped()))
def shard(n):
    with atomic_file(folder / "shard-00000.safetensors") as part:
        save_file({"x": torch.full((400, 300), float(n))}, part)
writes = (
    lambda n: saes[n].save(folder / "sae.safetensors"),
    lambda n: recipe.model_copy(update={"description": str(n) * 50_000}).save(folder / "recipe.json"),
    shard,
    lambda n: write_manifest(folder, {"n": [n] * 20_000}),
    lambda n: write_atomic(folder / "README.md", f"# {n}\\n" + str(n) * 500_000 + "\\n"),
    lambda n: write_atomic(folder / "results.json", json.dumps([n] * 100_000)),
)
for n in (0, 1):
    for write in writes:
        write(n)
print("ready", flush=True)
while True:
    for n in (0, 1):
        for write in writes:
            write(n)
"""


def assert_whole(folder: Path) -> None:
    """Each file is one of the two that are written."""
    import json

    import torch
    from make import make_sae
    from safetensors.torch import load_file

    from audiosae_steer import load_recipe, load_sae

    sae = load_sae(folder / "sae.safetensors")
    assert any(torch.equal(sae.W_enc, make_sae(d=64, F=2000, seed=seed).W_enc) for seed in (0, 1))
    assert load_recipe(folder / "recipe.json").description in ("0" * 50_000, "1" * 50_000)
    shard = load_file(folder / "shard-00000.safetensors")["x"]
    assert shard.shape == (400, 300)
    assert shard.unique().tolist() in ([0.0], [1.0])
    assert json.loads((folder / "manifest.json").read_text())["n"] in ([0] * 20_000, [1] * 20_000)
    assert (folder / "README.md").read_text() in [f"# {n}\n" + str(n) * 500_000 + "\n" for n in "01"]
    assert json.loads((folder / "results.json").read_text()) in ([0] * 100_000, [1] * 100_000)


@unix
def test_killed_at_any_moment(tmp_path: Path) -> None:
    chance = random.Random(0)
    names = {"sae.safetensors", "recipe.json", "shard-00000.safetensors", "manifest.json", "README.md", "results.json"}
    command = [sys.executable, "-c", WRITER, str(tmp_path), str(Path(__file__).parents[1] / "helpers")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    left = 0
    for attempt in range(12):
        if attempt > 2 and left:
            break
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"ready\n"
            # the writer went through all files before it was ready: what was left of the last one is gone
            time.sleep(chance.random() / 5)
            for _ in range(1000):  # in the middle of one, if it can be had
                if any(path.suffix == ".part" for path in tmp_path.iterdir()):
                    break
                time.sleep(0.0005)
            writer.send_signal(signal.SIGKILL)
        assert_whole(tmp_path)
        # safetensors writes beside its target, in a file of its own, which it then moves
        strange = {path.name for path in tmp_path.iterdir() if not path.name.startswith(".tmp")} - names
        assert all(name.startswith(".") and name.endswith(".part") for name in strange)
        assert len(strange) <= 1
        left += len(strange)
    assert left  # else it was never killed in the middle of a write
    for name in names:
        write_atomic(tmp_path / name, b"")
    assert {path.name for path in tmp_path.iterdir() if not path.name.startswith(".tmp")} == names


@unix
def test_inside(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "deep").mkdir(parents=True)
    (home / "a").touch()
    (tmp_path / "b").touch()
    (home / "deep" / "up").symlink_to("../a")
    (home / "out").symlink_to("../b")
    (tmp_path / "door").symlink_to("home")
    assert stays_inside(home, home / "a")
    assert stays_inside(home, home / "deep" / "up")
    assert stays_inside(tmp_path / "door", tmp_path / "door" / "a")
    assert not stays_inside(home, home / "out")
    assert not stays_inside(home / "deep", home / "deep" / "up")
