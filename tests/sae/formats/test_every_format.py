"""Every SAE that another library wrote: read, the same as in that library, and the same once saved here.

A fourth column, that hostile files are refused, is `test_hostile.py`, over the same folders.
"""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import pytest
import torch
from fixtures import DATA, FIXTURES, fixture, format_of, outputs

from audiosae_steer import SAE, load_sae
from audiosae_steer.errors import ThresholdWarning
from audiosae_steer.sae.formats.registry import FORMATS


def read(path: Path) -> SAE:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ThresholdWarning)
        return load_sae(path)


def test_every_format_has_a_fixture() -> None:
    assert {format_of(name) for name in FIXTURES} | {"native"} == {format_.name for format_ in FORMATS}
    for name in FIXTURES:
        assert sum(file.stat().st_size for file in (DATA / name).iterdir()) < 60_000


@pytest.mark.parametrize("name", FIXTURES)
def test_reads(name: str, tmp_path: Path) -> None:
    folder = fixture(name, tmp_path)
    assert [format_.name for format_ in FORMATS if format_.recognises(folder)] == [format_of(name)]
    sae = read(folder)
    assert sae.info["format"] == format_of(name)
    assert (sae.d_model, sae.n_features) == (16, 64)
    for file in folder.iterdir():  # by content: no file's name matters but that of settings
        if file.suffix != ".json":
            file.rename(file.with_name(f"weights{file.suffix}"))
    assert torch.equal(read(folder).W_enc, sae.W_enc)


@pytest.mark.parametrize("name", FIXTURES)
def test_the_files_that_are_fetched_are_enough(name: str, tmp_path: Path) -> None:
    folder = fixture(name, tmp_path)
    (folder / "README.md").touch()
    names = sorted(file.name for file in folder.iterdir())
    needed = next(files for format_ in FORMATS if (files := format_.files(names)))
    assert "README.md" not in needed
    (tmp_path / "fetched").mkdir()
    for file in needed:
        shutil.copy(folder / file, tmp_path / "fetched" / file)
    sae, whole = read(tmp_path / "fetched" / needed[-1]), read(folder)
    assert (sae.info, sae.gate) == (whole.info, whole.gate)


@pytest.mark.parametrize("name", FIXTURES)
def test_equals_the_library_s_own_output(name: str, tmp_path: Path) -> None:
    sae, theirs = read(fixture(name, tmp_path)), outputs(name)
    f = sae.encode(theirs["x"])
    assert torch.equal(f > 0, theirs["f"] > 0)
    assert 0.01 < (f > 0).float().mean() < 0.7
    torch.testing.assert_close(f, theirs["f"], rtol=2e-5, atol=2e-5)
    torch.testing.assert_close(sae.decode(f, like=theirs["x"]), theirs["x_hat"], rtol=2e-5, atol=2e-5)
    torch.testing.assert_close(sae(theirs["x"]), theirs["x_hat"], rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("name", FIXTURES)
def test_round_trips(name: str, tmp_path: Path) -> None:
    sae, x = read(fixture(name, tmp_path)), outputs(name)["x"]
    sae.save(tmp_path / "native.safetensors")
    again = load_sae(tmp_path / "native.safetensors")
    assert (again.gate, again.normalisation, again.info) == (sae.gate, sae.normalisation, sae.info)
    for part, its in sae.state_dict().items():
        assert torch.equal(again.state_dict()[part], its), part
    # where a matrix lies in memory decides in which order it is summed up, and so its last bit
    torch.testing.assert_close(again.encode(x), sae.encode(x), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(again(x), sae(x), rtol=1e-6, atol=1e-6)
