"""Random changes to every fixture: read or refused. `benchmarks/fuzz.py` makes many more."""

from __future__ import annotations

import warnings
from pathlib import Path
from random import Random

import pytest
import torch
from hostile import sources
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutate import mutate

from audiosae_steer import CheckpointError, load_sae


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bytes]]:
    found = sources(tmp_path_factory.mktemp("sound"))
    return {name: {file.name: file.read_bytes() for file in folder.iterdir()} for name, folder in found.items()}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("changed")


@settings(max_examples=250, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32), data=st.data())
def test_a_changed_file_is_read_or_refused(
    sound: dict[str, dict[str, bytes]], place: Path, seed: int, data: st.DataObject
) -> None:
    files = sound[data.draw(st.sampled_from(sorted(sound)))]
    changed = data.draw(st.sampled_from(sorted(files)))
    others = [content for each in sound.values() for content in each.values()]
    random, folder = Random(seed), place / "x"
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for name, content in files.items():
        (folder / name).write_bytes(mutate(random, content, others) if name == changed else content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            sae = load_sae(folder)
        except CheckpointError as error:
            assert len(str(error)) < 5000  # noqa: PT017 - it need not raise
            return
    assert torch.isfinite(sae.W_enc.float()).all()
    assert torch.isfinite(sae.W_dec.float()).all()
