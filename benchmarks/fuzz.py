"""Untrusted files: fixtures changed at random 100,000 times, read or refused by one of this package's errors.

    pip install atheris
    python benchmarks/fuzz.py --inputs 100000 --out benchmarks/results/fuzz.json

Every file of every fixture of `tests/sae/formats/data`, files written on the spot (native, AudioSAE in both kinds of
torch file) and a recipe with its SAE are changed by `tests/helpers/mutate.py`, which knows their structure, or by
libFuzzer, which does not. With atheris, what reaches a new line of this package is kept and changed further; without it
(`--engine own`) the changes are made to the sound files alone, and nothing is guided.

The fuzzing runs in a process of its own, so that one that dies is seen and counted, and its input kept.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

HERE = Path(__file__).resolve()
sys.path.insert(0, str(HERE.parents[1] / "tests" / "helpers"))
sys.path.insert(0, str(HERE.parents[1]))


class Target(NamedTuple):
    """One file that is changed."""

    name: str
    """Fixture and file."""
    file: Path
    """Where the changed one is put, the others beside it."""
    sound: bytes
    """As it was."""


def targets(work: Path) -> list[Target]:
    """Every file of every fixture, and of a recipe."""
    from hostile import sources
    from make import make_sae

    from audiosae_steer.steering.recipes.load import shipped

    folders = sources(work)
    recipe = work / "recipe"
    recipe.mkdir()
    base = next(iter(shipped()))
    d_model = base.model.d_model
    make_sae("batchtopk-threshold", d=d_model, F=16).save(recipe / "sae.safetensors")
    edits = [
        {"kind": "add", "features": [3, 4], "amount": [1.0, -2.0], "window": [0.5, 1.0]},
        {"kind": "clamp", "features": [5], "high": 0.5},
        {"kind": "push", "vector": [0.1] * d_model},
    ]
    content = {
        **json.loads(base.model_dump_json(by_alias=True, exclude_none=True)),
        "saes": {"a": {"file": "sae.safetensors"}},
        "sites": [{"layer": 2, "sae": "a", "edits": edits}],
        "gate": {"layer": 1, "sae": "a", "features": [1, 2], "weights": [1.0, 1.0]},
    }
    (recipe / "recipe.json").write_text(json.dumps(content))
    folders["recipe"] = recipe
    return [
        Target(f"{name}/{file.name}", file, file.read_bytes())
        for name, folder in sorted(folders.items())
        for file in sorted(folder.iterdir())
    ]


def outcome(target: Target) -> str:
    """`read`, or the class of the error; those that are not of this package with their message."""
    from audiosae_steer import AudioSAESteerError, load_recipe, load_sae

    try:
        if target.file.parent.name == "recipe":
            load_recipe(target.file.parent).load_saes()
        else:
            load_sae(target.file.parent)
    except AudioSAESteerError as error:
        return type(error).__name__
    except BaseException as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    return "read"


class Run:
    """Tries inputs, counts what comes of them, and keeps what should not have come."""

    def __init__(self, work: Path, state: Path, wanted: int, engine: str) -> None:
        self.targets, self.state, self.wanted, self.engine = targets(work), state, wanted, engine
        before = json.loads(state.read_text()) if state.is_file() else {}
        self.outcomes, self.by_target = Counter(before.get("outcomes", {})), Counter(before.get("by_target", {}))
        self.strange: list[dict[str, str]] = before.get("strange", [])
        self.done, self.slowest = before.get("inputs", 0), before.get("slowest_seconds", 0.0)
        self.seconds, self.began = before.get("seconds", 0.0), time.monotonic()

    def one(self, number: int, content: bytes) -> None:
        """Try one input."""
        target = self.targets[number % len(self.targets)]
        target.file.write_bytes(content)
        self.state.with_suffix(".input").write_bytes(bytes([number % len(self.targets)]) + content)
        began = time.monotonic()
        came = outcome(target)
        self.slowest = max(self.slowest, time.monotonic() - began)
        target.file.write_bytes(target.sound)
        self.done += 1
        self.outcomes[came.split(":")[0]] += 1
        self.by_target[target.name] += 1
        if ":" in came and len(self.strange) < 100:
            kept = self.state.with_name(f"strange-{len(self.strange)}")
            kept.write_bytes(content)
            self.strange.append({"target": target.name, "what": came, "input": kept.name})
        if self.done % 1000 == 0 or self.done == self.wanted:
            self.save()
        if self.done % 5000 == 0:
            print(f"{self.done} of {self.wanted}: {dict(self.outcomes)}", flush=True)

    def save(self) -> None:
        """Write what is known so far."""
        found = {
            "engine": self.engine,
            "inputs": self.done,
            "seconds": round(self.seconds + time.monotonic() - self.began, 1),
            "slowest_seconds": round(self.slowest, 3),
            "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            "outcomes": dict(self.outcomes.most_common()),
            "strange": self.strange,
            "by_target": dict(sorted(self.by_target.items())),
        }
        self.state.write_text(json.dumps(found, indent=1))


def own(run: Run, seed: int) -> None:
    """Unguided: each input is a sound file, changed."""
    from mutate import mutate

    random = Random(seed)
    others = [target.sound for target in run.targets]
    while run.done < run.wanted:
        number = random.randrange(len(run.targets))
        run.one(number, mutate(random, run.targets[number].sound, others))


def guided(run: Run, seed: int, corpus: Path) -> None:
    """By atheris: the first byte names the file that is changed.

    Half of the inputs come of what reached new lines, half of any sound file; half of the changes know the structure.
    """
    import atheris
    from mutate import mutate

    corpus.mkdir(exist_ok=True)
    for number, target in enumerate(run.targets):
        (corpus / f"sound-{number:03d}").write_bytes(bytes([number]) + target.sound)
    others = [target.sound for target in run.targets]

    def change(data: bytes, longest: int, chance: int) -> bytes:
        random = Random(chance)
        if not data or random.random() < 0.5:  # for libFuzzer soon has its favourites
            number = random.randrange(len(run.targets))
            data = bytes([number]) + run.targets[number].sound
        own = random.random() < 0.5
        content = mutate(random, data[1:], others) if own else atheris.Mutate(data[1:], longest - 1)
        return (data[:1] + content)[:longest]

    def one(data: bytes) -> None:
        if data:
            run.one(data[0], data[1:])
        if run.done >= run.wanted:
            os._exit(0)  # libFuzzer counts otherwise, and does not come back

    longest = 2 * max(len(target.sound) for target in run.targets)
    options = [
        f"-seed={seed}",
        f"-max_len={longest}",
        "-timeout=60",
        "-rss_limit_mb=6000",
        "-verbosity=0",
        "-len_control=0",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], one, custom_mutator=change)
    atheris.Fuzz()


def worker(options: argparse.Namespace) -> None:
    """The process that may die."""
    warnings.simplefilter("ignore")
    if options.engine == "atheris":
        import atheris

        with atheris.instrument_imports(include=["audiosae_steer"]):
            import audiosae_steer.sae.load
            import audiosae_steer.steering.recipes.load  # noqa: F401

    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as work:
        run = Run(Path(work), options.state, options.inputs, options.engine)
        if options.engine == "atheris":
            guided(run, options.seed, options.state.with_name("corpus"))
        else:
            own(run, options.seed)


def has_atheris() -> bool:
    """Whether it can be imported here."""
    try:
        import atheris  # noqa: F401
    except ImportError:
        return False
    return True


def main() -> None:
    """Fuzz, and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--engine", choices=("atheris", "own"), default="atheris" if has_atheris() else "own")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", type=Path, help="folder for inputs that should not have passed; else a temporary one")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--state", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.state is not None:
        worker(given)
        return
    folder = given.work or Path(tempfile.mkdtemp(prefix="fuzz-"))
    folder.mkdir(parents=True, exist_ok=True)
    state, crashes = folder / "state.json", []
    while True:
        known: dict[str, Any] = json.loads(state.read_text()) if state.is_file() else {}
        if known.get("inputs", 0) >= given.inputs or len(crashes) >= 20:
            break
        command = [sys.executable, str(HERE), "--engine", given.engine, "--inputs", str(given.inputs)]
        command += ["--seed", str(given.seed + len(crashes)), "--state", str(state)]
        code = subprocess.run(command, check=False).returncode
        known = json.loads(state.read_text()) if state.is_file() else {}
        if known.get("inputs", 0) < given.inputs:
            kept = folder / f"crash-{len(crashes)}"
            if state.with_suffix(".input").is_file():
                kept.write_bytes(state.with_suffix(".input").read_bytes())
            crashes.append({"code": code, "input": kept.name})
    found = {
        "what": "load_sae on every format and load_recipe with its SAEs, on files changed at random",
        **{key: value for key, value in known.items() if key != "by_target"},
        "crashes": crashes,
        "by_target": known["by_target"],
        "machine": {"python": platform.python_version(), "system": platform.system(), "cores": os.cpu_count()},
        "command": f"python benchmarks/fuzz.py --inputs {given.inputs} --engine {given.engine} --seed {given.seed}",
    }
    print(json.dumps({key: value for key, value in found.items() if key != "by_target"}, indent=1))
    if given.out is not None:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"kept in {folder}")


if __name__ == "__main__":
    main()
