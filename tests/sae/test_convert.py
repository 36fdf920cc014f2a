"""Conversion of single SAEs and of whole repositories, and the commands that do it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from audiosae_files import state as audiosae_state
from click.testing import Result
from commands import failed, run
from fixtures import DATA, OUTPUTS
from hub_saes import REPO, audiosae_files
from hub_server import Repository, served
from make import make_sae
from permissions import without_permission
from safetensors.torch import save_file
from trained_saes import residuals, trained, write

from audiosae_steer import SAE, CheckpointError, Gate, Normalisation, SteeringError, load_sae, save_sae
from audiosae_steer.data.activations.for_sae import collect_sample, sites_in
from audiosae_steer.io.files import write_atomic
from audiosae_steer.models.sites import Site
from audiosae_steer.sae.convert import ConvertSettings, convert, layers_in, recalibrated
from audiosae_steer.sae.quality import measure
from audiosae_steer.steering.recipes.load import checkpoints_dir

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


def test_an_interrupted_conversion_resumes(repository: Path, tmp_path: Path, monkeypatch) -> None:
    from audiosae_steer.sae import save

    written = []

    def stops(path: Path, data: bytes, raising: type) -> None:
        if len(written) == 5:
            raise KeyboardInterrupt
        write_atomic(path, data, raising)
        written.append(path)

    monkeypatch.setattr(save, "write_atomic", stops)
    with pytest.raises(KeyboardInterrupt):
        convert(repository, tmp_path / "out")
    monkeypatch.setattr(save, "write_atomic", write_atomic)
    times = {path: path.stat().st_mtime_ns for path in written}
    done = convert(repository, tmp_path / "out")
    assert [one.sae is None for one in done] == [True] * 5 + [False] * 7
    assert {path: path.stat().st_mtime_ns for path in written} == times
    torch.save(audiosae_state(seed=99), repository / "layer_2" / "ae.pt")  # another content is converted anew
    assert [one.sae is not None for one in convert(repository, tmp_path / "out")][:3] == [False, True, False]
    assert all(
        one.sae is not None
        for one in convert(repository, tmp_path / "out", settings=ConvertSettings(precision="float16"))
    )


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
    (done,) = convert(
        write(tmp_path, sae), tmp_path / "x.safetensors", settings=ConvertSettings(precision=precision), activations=x
    )
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
        convert(
            tmp_path / "in.safetensors", tmp_path / "out.safetensors", settings=ConvertSettings(precision="float16")
        )
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
    with pytest.raises(CheckpointError, match="name of one file, .* 2 layers; .*--layer N, or name a folder"):
        convert(tmp_path / "several", tmp_path / "in.safetensors")


def test_another_layer_side_or_activations_is_another_conversion(tmp_path: Path) -> None:
    source, out = tmp_path / "in.safetensors", tmp_path / "out.safetensors"
    signs = torch.cat([torch.eye(8), -torch.eye(8)])  # explains anything
    SAE(signs, torch.zeros(16), signs.clone(), torch.zeros(8), gate=Gate("relu")).save(source)
    x = torch.randn(200, 8, generator=torch.Generator().manual_seed(0))

    def converted(*args, **other) -> bool:
        return convert(source, out, *args, **other)[0].sae is not None

    assert converted(3)
    assert not converted(3)
    assert converted(4, settings=ConvertSettings(side="decoder"))
    assert (load_sae(out).info["layer"], load_sae(out).info["side"]) == (4, "decoder")
    for frames, anew in ((x, True), (x.clone(), False), (lambda layer: x, False), (x[1:], True)):
        assert converted(4, activations=frames, settings=ConvertSettings(measured_on="64 files of clean")) == anew


def test_layer_0_is_a_layer(tmp_path: Path) -> None:
    for layer in (0, 1):
        (tmp_path / "in" / f"layer_{layer}").mkdir(parents=True)
        torch.save(audiosae_state(seed=layer), tmp_path / "in" / f"layer_{layer}" / "ae.pt")
    assert [one.path.name for one in convert(tmp_path / "in", tmp_path / "out")] == [
        "layer-0.safetensors", "layer-1.safetensors"
    ]  # fmt: skip
    assert torch.equal(load_sae(tmp_path / "out", 0).b_enc, load_sae(tmp_path / "in", 0).b_enc)


def test_the_side_that_a_file_or_a_folder_says(tmp_path: Path) -> None:
    for name in ("decoder.layers.2", "encoder.blocks.4", "layers.5"):
        shutil.copytree(DATA / "sparsify-topk", tmp_path / "in" / name, ignore=shutil.ignore_patterns(OUTPUTS))
    sides = {one.sae.info["layer"]: one.sae.info["side"] for one in convert(tmp_path / "in", tmp_path / "out")}
    assert sides == {3: "decoder", 5: "encoder", 6: "encoder"}
    assert sites_in(tmp_path / "in") == {3: Site(3, "decoder"), 5: Site(5), 6: Site(6)}
    assert sites_in(tmp_path / "in" / "decoder.layers.2", 3) == {3: Site(3, "decoder")}
    assert sites_in(tmp_path / "in", 6, "decoder") == {6: Site(6, "decoder")}
    assert sites_in(tmp_path / "out" / "layer-3.safetensors") == {None: Site(3, "decoder")}
    for source in (tmp_path / "in", tmp_path / "out"):
        with pytest.raises(CheckpointError, match="says that it is of side decoder, not encoder"):
            convert(source, tmp_path / "x.safetensors", 3, settings=ConvertSettings(side="encoder"))
    odd = tmp_path / "odd" / "encoder.blocks.2"
    odd.mkdir(parents=True)
    shutil.copy(tmp_path / "out" / "layer-3.safetensors", odd)
    for source in (odd, odd / "layer-3.safetensors", tmp_path / "odd"):
        with pytest.raises(CheckpointError, match=r"lies in encoder\.blocks\.2, but the SAE itself says decoder"):
            load_sae(source)


def test_nothing_is_overwritten_but_native_files(tmp_path: Path) -> None:
    torch.save(audiosae_state(), tmp_path / "ae.pt")
    make_sae().save(tmp_path / "in.safetensors")
    (tmp_path / "thesis.txt").write_text("precious")
    (tmp_path / "other.safetensors").write_text("precious")
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    save_file({"x": torch.zeros(2)}, tmp_path / "whisper.safetensors")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for source, out, why in (
        ("ae.pt", "ae.pt", "name a folder"),
        ("in.safetensors", "in.safetensors", "is the source itself"),
        ("ae.pt", "thesis.txt", "name a folder"),
        ("ae.pt", "other.safetensors", "no native SAE"),
        ("ae.pt", "model.safetensors", "index.json is there already, and no native SAE"),
        ("ae.pt", "whisper.safetensors", "no native SAE"),
    ):
        with pytest.raises(CheckpointError, match=why):
            convert(tmp_path / source, tmp_path / out, settings=ConvertSettings(precision="float16"))
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    (one,) = convert(tmp_path / "ae.pt", tmp_path / "v1.0")
    assert one.path == tmp_path / "v1.0" / "sae.safetensors"
    (one,) = convert(tmp_path / "ae.pt", tmp_path / "in.safetensors")
    assert load_sae(one.path).d_model == 10


def test_a_file_in_parts_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out").mkdir()
    save_sae(make_sae(), tmp_path / "out" / "s.safetensors", shard_bytes=500)
    monkeypatch.chdir(tmp_path)  # so that the name looks like one on the Hub
    assert layers_in("out/s.safetensors") == []
    (one,) = convert("out/s.safetensors", "whole.safetensors")
    assert torch.equal(load_sae("whole.safetensors").W_enc, one.sae.W_enc)
    with pytest.raises(CheckpointError, match="is the source itself"):
        convert("out/s.safetensors", "out/s.safetensors", settings=ConvertSettings(precision="float16"))


def test_paths_that_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_sae().save(tmp_path / "in.safetensors")
    torch.save(audiosae_state(), tmp_path / "ae.pt")
    (tmp_path / "latin.txt").write_bytes("Geräusch\n".encode("latin-1"))
    (tmp_path / "self.txt").write_text("self.txt\n")
    monkeypatch.chdir(tmp_path)
    # names of 250 characters are allowed, and an index's beside them would be longer
    assert run("convert", "in.safetensors", "y" * 238 + ".safetensors").exit_code == 0
    assert run("inspect", "y" * 238 + ".safetensors").exit_code == 0
    for words, why in (
        (("inspect", "x" * 300), "too long"),
        (("info", "x" * 300), "too long"),
        (("publish", "x" * 300, "--to", "me/x"), "too long"),
        (("convert", "x" * 300, "out"), "too long"),
        (("convert", "in.safetensors", "x" * 300), "too long"),
        (("inspect", "~nosuchuser/x"), "home"),
        (("info", "~nosuchuser/x"), "home"),
        (("convert", "in.safetensors", "~nosuchuser/x"), "home"),
        (("convert", "ae.pt", "x", "--layer", 3, "--audio", "missing.txt"), "cannot read the list missing.txt"),
        (("convert", "ae.pt", "x", "--layer", 3, "--audio", "latin.txt"), "latin.txt is not text in UTF-8"),
        (("convert", "ae.pt", "x", "--layer", 3, "--audio", "self.txt"), "names itself"),
    ):
        assert why in failed(run(*words)), words
    with without_permission() as folder:
        for words in (
            ("inspect", folder / "closed.pt"),
            ("inspect", folder / "locked" / "ae.pt"),
            ("info", folder / "locked" / "ae.pt"),
            ("convert", folder / "closed.pt", folder / "x"),
            ("convert", folder / "locked" / "ae.pt", folder / "x"),
            ("convert", folder / "open.safetensors", folder / "locked" / "x.safetensors"),
            ("convert", folder / "open.safetensors", folder / "locked"),
            ("publish", folder / "locked", "--to", "me/x"),
            ("publish", folder / "locked" / "recipe.json", "--to", "me/x"),
        ):
            assert "ermission denied" in failed(run(*words)), words
    assert isinstance(run("convert", "ae.pt", "x", "--audio", ".", "--most", 0).exception, SystemExit)
    with pytest.raises(SteeringError, match="most is 0"):
        collect_sample(None, ["."], [], tmp_path / "cache", most=0)


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


def test_the_files_that_were_read_are_counted_and_not_the_limit(tiny_en, tmp_path: Path) -> None:
    clips = checkpoints_dir() / "clips"
    shipped = checkpoints_dir() / "whisper-tiny.en" / "encoder-4.safetensors"
    words = ("--audio", clips / "rain.flac", "--audio", clips / "fan.flac")
    result = run("convert", shipped, tmp_path / "x.safetensors", "--layer", 4, *words)
    assert result.exit_code == 0, result.output
    measured = load_sae(tmp_path / "x.safetensors").info["measured"]
    assert measured["on"] == "tiny.en, 2 files of rain.flac, fan.flac"


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


@pytest.mark.filterwarnings("ignore:unclosed file .*english.json:ResourceWarning")
def test_an_sae_is_measured_where_it_is_for(tmp_path: Path) -> None:
    """A plain file's layer is the one that is given; a native one's layer and side are those that it says."""
    g = torch.Generator().manual_seed(0)
    W = torch.randn(512, 384, generator=g) / 20
    plain = {
        "encoder.weight": W, "encoder.bias": torch.zeros(512), "decoder.weight": W.T.contiguous(),
        "b_dec": torch.zeros(384), "k": torch.tensor(8), "threshold": torch.tensor(0.5),
    }  # fmt: skip
    torch.save(plain, tmp_path / "ae.pt")
    sae = SAE(W, torch.zeros(512), W, torch.zeros(384), gate=Gate("batchtopk", 8), threshold=torch.tensor(0.5))
    sae.altered(info={"layer": 3, "side": "decoder"}).save(tmp_path / "dec.safetensors")
    clips = ("--audio", checkpoints_dir() / "clips", "--most", 1)

    def calibrate(name: str, *words: object) -> Result:
        return run("calibrate-threshold", tmp_path / name, "--out", tmp_path / "out.safetensors", *clips, *words)

    result = calibrate("ae.pt", "--layer", 4, "--cache", tmp_path / "plain")
    assert result.exit_code == 0, result.output
    made = load_sae(tmp_path / "out.safetensors", 4).info
    assert (made["layer"], made["side"]) == (4, "encoder")
    load_sae(SHIPPED).altered(info={"layer": 4, "side": "encoder"}).save(tmp_path / "enc.safetensors")
    cache = ("--cache", tmp_path / "plain")  # of the same layer
    result = run("convert", tmp_path / "enc.safetensors", tmp_path / "again.safetensors", *clips, *cache)
    assert result.exit_code == 0, result.output
    assert "FVU" in result.stdout
    for result in (
        run("convert", tmp_path / "dec.safetensors", tmp_path / "x.safetensors", *clips), calibrate("dec.safetensors")
    ):  # fmt: skip
        assert result.exit_code == 2
        assert "nothing passed by decoder layer 3" in result.stderr  # and not by layer 3 of the encoder
    assert "of side decoder, not encoder" in failed(calibrate("dec.safetensors", "--side", "encoder"))
    assert "of layer 3, not 2" in failed(calibrate("dec.safetensors", "--layer", 2))
    (tmp_path / "file").write_bytes(b"")
    assert "cannot make the folder" in failed(calibrate("enc.safetensors", "--cache", tmp_path / "file"))
    assert "other settings (layers)" in failed(calibrate("ae.pt", "--layer", 2, "--cache", tmp_path / "plain"))
    (tmp_path / "plain" / "manifest.json").write_text("{}")
    assert "is not what a collection" in failed(calibrate("enc.safetensors", "--cache", tmp_path / "plain"))
