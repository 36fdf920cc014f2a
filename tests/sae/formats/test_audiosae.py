"""AudioSAE's files, against the formulas of dictionary_learning's BatchTopKSAE; and what no torch file may do."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from audiosae_files import D, F, K, pre, save, state
from torch import Tensor, nn

from audiosae_steer import CheckpointError, load_sae
from audiosae_steer.errors import ThresholdWarning


@pytest.fixture
def x() -> Tensor:
    return torch.randn(7, D, generator=torch.Generator().manual_seed(5))


def test_batchtopk_with_its_threshold(tmp_path: Path, x: Tensor) -> None:
    content = state()
    sae = load_sae(save(tmp_path, content, {"activation_dim": D, "dict_size": F, "k": K}))
    post = pre(content, x)
    f = post * (post > 0.4)
    torch.testing.assert_close(sae.encode(x), f)
    torch.testing.assert_close(sae(x), nn.functional.linear(f, content["decoder.weight"]) + content["b_dec"])
    assert (sae.gate.kind, sae.gate.k) == ("batchtopk", K)
    assert (sae.info["format"], sae.info["read_as"]) == ("audiosae", "BatchTopKSAE")
    assert sae.info["because"] == "the names of its tensors, and AudioSAE's are all of this class"
    assert sae.info["threshold"] == "stored"


@pytest.mark.parametrize("threshold", [None, torch.tensor(-1.0)])
def test_an_unset_threshold_is_never_a_dense_relu(tmp_path: Path, x: Tensor, threshold: Tensor | None) -> None:
    content = state(threshold=threshold)
    with pytest.warns(ThresholdWarning, match="k·n largest") as caught:
        sae = load_sae(save(tmp_path, content))
    assert caught[0].filename == __file__
    assert sae.threshold is None
    f = sae.encode(x)
    assert int((f > 0).sum()) == K * len(x)
    post = pre(content, x).flatten()
    kept = torch.zeros_like(post).scatter(0, post.topk(K * len(x)).indices, post.topk(K * len(x)).values)
    torch.testing.assert_close(f, kept.reshape(f.shape))
    calibrated = sae.calibrate_threshold([x])
    assert torch.equal(calibrated.encode(x) > 0, f > 0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_dtype_is_kept_and_old_files_are_read(tmp_path: Path, dtype: torch.dtype) -> None:
    content = {name: value.to(dtype) if value.is_floating_point() else value for name, value in state().items()}
    sae = load_sae(save(tmp_path, content, _use_new_zipfile_serialization=False))
    assert sae.W_enc.dtype == sae.W_dec.dtype == dtype
    assert torch.equal(sae.W_dec, content["decoder.weight"].T)


def test_parameters_and_any_file_name_are_read(tmp_path: Path) -> None:
    content = {name: nn.Parameter(value) if value.is_floating_point() else value for name, value in state().items()}
    torch.save(content, tmp_path / "anything.bin")
    assert load_sae(tmp_path / "anything.bin").n_features == F
    assert load_sae(tmp_path).n_features == F


@pytest.mark.parametrize(
    ("content", "config", "message"),
    [
        (state(k=None), None, "names no k"),
        (state(k=None), {"k": 0}, "k is 0; expected a whole number"),
        (state(k=torch.tensor(True)), None, "k is True"),
        (state(), {"k": 5}, "say k = 5, its tensors 4"),
        (state(k=torch.tensor(F + 1)), None, "more than the 48 features"),
        (state(), {"activation_dim": 11}, "activation_dim = 11, its tensors 10"),
        (state(**{"decoder.weight": torch.ones(F, D)}), None, r"decoder\.weight has shape \(48, 10\)"),
        (state(b_dec=torch.ones(D + 1)), None, r"b_dec has shape \(11,\)"),
        (state(threshold=torch.tensor(torch.nan)), None, "threshold is"),
        (state(b_dec=torch.full((D,), torch.inf)), None, "b_dec holds NaN or infinite"),
        (state(**{"encoder.weight": torch.ones(1).expand(F, D)}), None, "of no SAE format|claims shape"),
        (state(**{"encoder.weight": torch.ones(F, D).to_sparse()}), None, "no plain tensor"),
        (state(), "[1]", "not a JSON object"),
        (state(), "{", "not valid JSON"),
    ],
)
def test_what_is_not_read_says_why(tmp_path: Path, content: object, config: object, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        load_sae(save(tmp_path, content, config))


@pytest.mark.parametrize("layers", [12, 24, 32])
def test_the_layouts_of_all_five_backbones(tmp_path: Path, layers: int) -> None:
    for layer in (1, 2, layers):
        (tmp_path / f"layer_{layer}").mkdir()
        save(tmp_path / f"layer_{layer}", state(seed=layer), {"activation_dim": D, "dict_size": F, "k": K})
    sae = load_sae(tmp_path, layer=layers)
    assert torch.equal(sae.W_enc, state(seed=layers)["encoder.weight"])
    assert (sae.info["layer"], sae.info["format"]) == (layers, "audiosae")


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_code_in_a_file_is_never_run(tmp_path: Path) -> None:
    trace = tmp_path / "run"
    (tmp_path / "a").mkdir()
    for write in (
        lambda path: torch.save({**state(), "k": Bomb(trace)}, path),
        lambda path: torch.save({**state(), "k": Bomb(trace)}, path, _use_new_zipfile_serialization=False),
        lambda path: path.write_bytes(pickle.dumps(Bomb(trace))),
    ):
        write(tmp_path / "a" / "ae.pt")
        with pytest.raises(CheckpointError, match="would run code"):
            load_sae(tmp_path / "a")
    assert not trace.exists()


def test_zip_bombs_and_damage(tmp_path: Path) -> None:
    save(tmp_path, state())
    whole = (tmp_path / "ae.pt").read_bytes()
    bomb = tmp_path / "bomb"
    with zipfile.ZipFile(tmp_path / "ae.pt") as source, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as target:
        for item in source.namelist():
            target.writestr(item, source.read(item))
    with pytest.raises(CheckpointError, match="unpacks to more than its size"):
        load_sae(bomb)
    for size in (5, 40, len(whole) // 2, len(whole) - 30):
        (tmp_path / "ae.pt").write_bytes(whole[:size])
        with pytest.raises(CheckpointError, match="damaged"):
            load_sae(tmp_path / "ae.pt")
