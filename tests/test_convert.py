"""Conversion of single SAEs and of whole repositories, and the commands that do it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from formats.test_audiosae import state as audiosae_state
from formats.test_measured import residuals, trained, write
from hub_server import Repository, served
from make import make_sae
from test_cli import failed, run
from test_hub import REPO, audiosae_files

from audiosae_steer import SAE, CheckpointError, Gate, Normalisation, load_sae
from audiosae_steer.convert import convert, layers_in, recalibrated
from audiosae_steer.files import write_whole
from audiosae_steer.quality import measure
from audiosae_steer.recipes import checkpoints_dir

SHIPPED = checkpoints_dir() / "whisper-tiny.en" / "encoder-4.safetensors"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Twelve layers as AudioSAE lays them out."""
    for layer in range(1, 13):
        folder = tmp_path / "in" / f"layer_{layer}"
        folder.mkdir(parents=True)
        torch.save(audiosae_state(seed=layer), folder / "ae.pt")
        (folder / "config.json").write_text(json.dumps({"activation_dim": 10, "dict_size": 48, "k": 4}))
    return tmp_path / "in"


def test_a_whole_repository(repository: Path, tmp_path: Path) -> None:
    told = []
    done = convert(repository, tmp_path / "out", progress=lambda *words: told.append(words))
    assert layers_in(repository) == layers_in(tmp_path / "out") == list(range(1, 13))
    assert [one.path.name for one in done] == [f"layer-{n}.safetensors" for n in range(1, 13)]
    assert (told[0], told[-1]) == (("converting", 0, 12), ("converting", 12, 12))
    for layer in (1, 7, 12):
        ours, theirs = load_sae(tmp_path / "out", layer), load_sae(repository, layer)
        x = torch.randn(9, 10)
        assert torch.equal(ours.encode(x), theirs.encode(x))
        assert (ours.info["layer"], ours.info["side"], ours.info["format"]) == (layer, "encoder", "audiosae")


def test_an_interrupted_conversion_goes_on(repository: Path, tmp_path: Path, monkeypatch) -> None:
    from audiosae_steer.formats import native

    written = []

    def stops(path: Path, data: bytes, raising: type) -> None:
        if len(written) == 5:
            raise KeyboardInterrupt
        write_whole(path, data, raising)
        written.append(path)

    monkeypatch.setattr(native, "write_whole", stops)
    with pytest.raises(KeyboardInterrupt):
        convert(repository, tmp_path / "out")
    monkeypatch.setattr(native, "write_whole", write_whole)
    times = {path: path.stat().st_mtime_ns for path in written}
    done = convert(repository, tmp_path / "out")
    assert [one.sae is None for one in done] == [True] * 5 + [False] * 7
    assert {path: path.stat().st_mtime_ns for path in written} == times
    torch.save(audiosae_state(seed=99), repository / "layer_2" / "ae.pt")  # another content is converted anew
    assert [one.sae is not None for one in convert(repository, tmp_path / "out")][:3] == [False, True, False]
    assert all(one.sae is not None for one in convert(repository, tmp_path / "out", precision="float16"))


def test_one_damaged_layer_costs_no_more_than_itself(repository: Path, tmp_path: Path) -> None:
    (repository / "layer_3" / "ae.pt").write_bytes(b"PK\x03\x04 no")
    with pytest.raises(CheckpointError, match=r"1 of 12 layers .* were not converted.*\n  layer 3: "):
        convert(repository, tmp_path / "out")
    assert layers_in(tmp_path / "out") == [1, 2, *range(4, 13)]


def test_from_the_hub_pinned_to_its_commit(tmp_path: Path, monkeypatch) -> None:
    with served(monkeypatch, tmp_path) as hub:
        hub.repositories[REPO] = Repository()
        commit = hub.repositories[REPO].commit(audiosae_files())
        done = convert(REPO, tmp_path / "out")
        assert [one.path.name for one in done] == [f"layer-{n}.safetensors" for n in (1, 2, 3, 8)]
        sae = load_sae(tmp_path / "out", 8)
        assert sae.info["source"]["revision"] == sae.info["converted"]["from"]["revision"] == commit
        hub.requests.clear()
        assert all(one.sae is None for one in convert(REPO, tmp_path / "out"))
        assert hub.downloads() == []
        convert(REPO, tmp_path / "one", 8)
        assert hub.downloads() == []
        assert layers_in(tmp_path / "one") == [8]


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_half_precision_reports_what_it_costs(tmp_path: Path, precision: str) -> None:
    x = residuals()
    sae = trained(x, Normalisation())
    (done,) = convert(write(tmp_path, sae), tmp_path / "x.safetensors", precision=precision, activations=x)
    read = load_sae(tmp_path / "x.safetensors")
    assert read.W_enc.dtype == read.W_dec.dtype == getattr(torch, precision)
    assert read.b_enc.dtype == read.threshold.dtype == torch.float32
    assert done.before.fvu != done.after.fvu
    assert done.after.fvu == pytest.approx(measure(read, x).fvu, rel=1e-6)
    assert read.info["measured"]["fvu"] == done.after.fvu
    assert read.info["measured"]["fvu_before_rounding"] == done.before.fvu
    assert read.info["normalisation"]["chosen"] == "none"


def test_a_weight_that_half_precision_cannot_hold(tmp_path: Path) -> None:
    sae = make_sae()
    sae.W_dec[0, 0] = 1e6
    sae.save(tmp_path / "in.safetensors")
    with pytest.raises(CheckpointError, match="1e\\+06 does not fit into float16; take --precision bfloat16"):
        convert(tmp_path / "in.safetensors", tmp_path / "out.safetensors", precision="float16")
    assert not (tmp_path / "out.safetensors").exists()


def test_single_files(tmp_path: Path) -> None:
    make_sae().save(tmp_path / "in.safetensors")
    (one,) = convert(tmp_path / "in.safetensors", tmp_path / "out", 4)
    assert one.path == tmp_path / "out" / "layer-4.safetensors"
    assert load_sae(one.path, 4).info["layer"] == 4
    with pytest.raises(CheckpointError, match="says that it is of layer 4, not 5"):
        convert(one.path, tmp_path / "five.safetensors", 5)
    with pytest.raises(CheckpointError, match="no such file or folder"):
        convert(tmp_path / "nothing", tmp_path / "x.safetensors")
    (tmp_path / "several").mkdir()
    for layer in (1, 2):
        shutil.copy(tmp_path / "in.safetensors", tmp_path / "several" / f"layer-{layer}.safetensors")
    with pytest.raises(CheckpointError, match="is a file, and 2 layers"):
        convert(tmp_path / "several", tmp_path / "in.safetensors")


def test_a_threshold_for_another_k() -> None:
    x = residuals()
    sae = trained(x, Normalisation())
    for k in (2, 4, None):
        found = recalibrated(sae, x, k)
        assert measure(found, x).l0 == pytest.approx(k or sae.gate.k, abs=0.05)
        assert found.gate == Gate("batchtopk", k or sae.gate.k)
    with pytest.raises(CheckpointError, match="this one is jumprelu"):
        recalibrated(make_sae(), torch.randn(5, 12))
    with pytest.raises(CheckpointError, match="k = 99 is more"):
        recalibrated(sae, x, 99)


def test_the_commands_without_audio(repository: Path, tmp_path: Path) -> None:
    result = run("convert", repository, tmp_path / "out", "--precision", "float16")
    assert result.exit_code == 0, result.output
    assert "layer-12.safetensors: SAE(d_model=10, n_features=48, gate=batchtopk, k=4, threshold=0.4)" in result.stdout
    assert "what rounding costs was not measured: give --audio" in result.stdout
    assert "was converted before" in run("convert", repository, tmp_path / "out", "--precision", "float16").stdout
    shown = run("inspect", repository, "--layer", 3).stdout
    assert "48 features of a residual 10 wide" in shown
    assert "decoder rows: norms" in shown
    facts = json.loads(run("inspect", repository, "--json").stdout)
    assert len(facts) == 12
    assert facts[f"{repository}, layer 12"]["k"] == 4
    assert "no such file" in failed(run("inspect", tmp_path / "nothing"))
    assert "does not say of which layer" in failed(
        run("calibrate-threshold", repository / "layer_3" / "ae.pt", "--audio", tmp_path, "--out", tmp_path / "x")
    )


@pytest.mark.filterwarnings("ignore:unclosed file .*english.json:ResourceWarning")
def test_the_commands_with_audio_on_tiny_en(tmp_path: Path) -> None:
    sae = load_sae(SHIPPED)
    content = {
        "encoder.weight": sae.W_enc.float() * sae.normalisation.scale,
        "encoder.bias": sae.b_enc.float(),
        "decoder.weight": (sae.W_dec.float() / sae.normalisation.scale).T.contiguous(),
        "b_dec": sae.b_dec.float() / sae.normalisation.scale,
        "k": torch.tensor(sae.gate.k),
        "threshold": torch.tensor(-1.0),
    }
    # with the scale folded away it reads raw residuals: W(s·x − b) = sW(x − b/s)
    torch.save(content, tmp_path / "ae.pt")
    clips = checkpoints_dir() / "clips"
    result = run(
        "convert", tmp_path / "ae.pt", tmp_path / "out.safetensors", "--layer", 4, "--audio", clips, "--most", 6,
        "--cache", tmp_path / "cache", "--precision", "float16",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "normalisation: none; the least FVU of 5 candidates" in result.stdout
    assert "threshold: calibrated on" in result.stdout
    assert "before it was rounded" in result.stdout
    again = load_sae(tmp_path / "out.safetensors", 4)
    assert 0 < again.info["measured"]["fvu"] < 0.3
    result = run(
        "calibrate-threshold", tmp_path / "out.safetensors", "--k", 10, "--audio", clips, "--most", 6,
        "--cache", tmp_path / "cache", "--out", tmp_path / "ten.safetensors",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "L0 10.0" in result.stdout
    assert isinstance(load_sae(tmp_path / "ten.safetensors"), SAE)
