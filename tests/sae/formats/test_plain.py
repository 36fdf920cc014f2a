"""Plain dictionaries: which side is which, which gate, and arrays that lie."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from audiosae_steer import CheckpointError, load_sae
from audiosae_steer.errors import ThresholdWarning
from audiosae_steer.io.tensors import npz

D, F, K = 5, 12, 3


def arrays(seed: int = 0, **more) -> dict[str, np.ndarray]:
    """Weights as NumPy has them; None takes one away."""
    random = np.random.default_rng(seed)
    content = {
        "W_enc": random.standard_normal((F, D), dtype=np.float32),
        "W_dec": random.standard_normal((F, D), dtype=np.float32),
        "b_enc": random.standard_normal(F, dtype=np.float32),
        "b_dec": random.standard_normal(D, dtype=np.float32),
        **more,
    }
    return {name: value for name, value in content.items() if value is not None}


def save(folder: Path, content: dict[str, np.ndarray], npz: bool = True) -> Path:
    if npz:
        np.savez(folder / "sae.npz", **content)
        return folder / "sae.npz"
    save_file({name: torch.from_numpy(np.array(value)) for name, value in content.items()}, folder / "sae.safetensors")
    return folder / "sae.safetensors"


@settings(deadline=None, max_examples=40)
@given(
    npz=st.booleans(),
    encoder_on_its_side=st.booleans(),
    decoder_on_its_side=st.booleans(),
    biases=st.sampled_from([(), ("b_enc",), ("b_dec",), ("b_enc", "b_dec")]),
    columns_first=st.booleans(),
    dtype=st.sampled_from(["<f4", "<f8", "<f2", ">f4"]),
)
def test_any_way_round(
    tmp_path_factory: pytest.TempPathFactory,
    npz: bool,
    encoder_on_its_side: bool,
    decoder_on_its_side: bool,
    biases: tuple[str, ...],
    columns_first: bool,
    dtype: str,
) -> None:
    content = arrays()
    stored = {name: content[name].astype(dtype) for name in ("W_enc", "W_dec", *biases)}
    if encoder_on_its_side:
        stored["W_enc"] = stored["W_enc"].T
    if decoder_on_its_side:
        stored["W_dec"] = stored["W_dec"].T
    order = "F" if columns_first and npz else "C"
    stored = {
        name: np.array(value if npz else value.astype(dtype.replace(">", "<")), order=order)
        for name, value in stored.items()
    }
    sae = load_sae(save(tmp_path_factory.mktemp("plain"), stored, npz))
    x = torch.randn(4, D)
    b_enc, b_dec = (torch.from_numpy(content[name] * (name in biases)) for name in ("b_enc", "b_dec"))
    f = ((x - b_dec) @ torch.from_numpy(content["W_enc"]).T + b_enc).clamp(min=0)
    loose = {"rtol": 0.02, "atol": 0.02} if "f2" in dtype else {"rtol": 1e-5, "atol": 1e-5}
    torch.testing.assert_close(sae.encode(x).float(), f, **loose)
    torch.testing.assert_close(sae(x), f @ torch.from_numpy(content["W_dec"]) + b_dec, **loose)
    assert "taken for granted: x − b_dec" in sae.info["because"]


@pytest.mark.parametrize("npz", [True, False])
@pytest.mark.parametrize(
    ("more", "kind"),
    [
        ({}, "relu"),
        ({"threshold": np.linspace(0, 1, F, dtype=np.float32)}, "jumprelu"),
        ({"threshold": np.array(0.5, np.float32)}, "jumprelu"),
        ({"k": np.array(K)}, "topk"),
        ({"k": np.array([K])}, "topk"),
        ({"k": np.array(float(K), np.float32)}, "topk"),
        ({"k": np.array(K), "threshold": np.array(0.5, np.float32)}, "batchtopk"),
    ],
)
def test_the_gate_is_what_there_is(tmp_path: Path, more: dict, kind: str, npz: bool) -> None:
    sae = load_sae(save(tmp_path, arrays(**more), npz))
    assert sae.gate.kind == kind
    assert sae.gate.k == (K if "k" in more else None)
    assert (sae.threshold is None) == ("threshold" not in more)
    assert sae.info["read_as"] == kind


def test_a_k_in_the_metadata(tmp_path: Path) -> None:
    tensors = {name: torch.from_numpy(value) for name, value in arrays().items()}
    save_file(tensors, tmp_path / "sae.safetensors", {"k": "3"})
    assert load_sae(tmp_path).gate.k == 3
    save_file(tensors, tmp_path / "sae.safetensors", {"k": "many"})
    with pytest.raises(CheckpointError, match="k is 'many'"):
        load_sae(tmp_path)


def test_an_unset_threshold(tmp_path: Path) -> None:
    unset = np.array(-1.0, np.float32)
    with pytest.raises(CheckpointError, match="never set; add the k"):
        load_sae(save(tmp_path, arrays(threshold=unset)))
    with pytest.warns(ThresholdWarning, match="never set"):
        sae = load_sae(save(tmp_path, arrays(threshold=unset, k=np.array(K))))
    assert sae.threshold is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (arrays(W_enc=np.ones((D, D), np.float32)), "does not say which side is features"),
        (arrays(W_dec=np.ones((F, D + 1), np.float32)), r"W_dec has shape \(12, 6\)"),
        (arrays(b_enc=np.ones(F + 1, np.float32)), "which fits neither side"),
        (arrays(b_enc=None, b_dec=np.ones(D + 1, np.float32)), "which fits neither side"),
        (arrays(b_dec=np.ones(F, np.float32)), r"b_dec has shape \(12,\)"),
        (arrays(W_enc=np.ones(F, np.float32)), r"W_enc has shape \(12,\)"),
        (arrays(scale=np.ones(F, np.float32)), "holds scale beside W_enc and W_dec; what that means is not known"),
        (arrays(threshold=np.ones((F, 1), np.float32)), r"threshold has shape \(12, 1\)"),
        (arrays(k=np.array([1, 2])), r"k is \[1, 2\]"),
        (arrays(k=np.array(0)), "k is 0"),
        (arrays(k=np.array(F + 1)), "more than the 12 features"),
        (arrays(W_enc=np.ones((F, D), np.int32)), "W_enc is torch.int64"),
        (arrays(b_enc=np.full(F, np.nan, np.float32)), "b_enc holds NaN"),
        (arrays(W_dec=None), "of no SAE format"),
    ],
)
def test_what_is_not_read_says_why(tmp_path: Path, content: dict, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        load_sae(save(tmp_path, content))


def npy(
    shape: object = (F, D), descr: object = "<f4", body: int = 4 * F * D, version: tuple[int, int] = (1, 0)
) -> bytes:
    header = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}, }}".encode()
    header += b" " * (63 - (10 + len(header)) % 64) + b"\n"
    return b"\x93NUMPY" + bytes(version) + len(header).to_bytes(2, "little") + header + bytes(body)


def forged(path: Path, entry: bytes, how: int = zipfile.ZIP_STORED, name: str = "W_enc.npy", times: int = 1) -> Path:
    whole = io.BytesIO()
    np.save(whole, arrays()["W_dec"])
    with zipfile.ZipFile(path, "w", how) as archive:
        for _ in range(times):
            archive.writestr(name, entry)
        archive.writestr("W_dec.npy", whole.getvalue())
    return path


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("entry", "options", "message"),
    [
        (npy(shape=(1 << 40, 1 << 40)), {}, "its bytes are not; it is forged"),
        (npy(body=4 * F * D - 1), {}, "its bytes are not; it is forged"),
        (npy(shape=(-1, D)), {}, "forged|damaged"),
        (npy(descr="|O"), {}, "is of type object"),
        (npy(descr=[("a", "<f4")]), {}, "which no SAE is stored in"),
        (npy(descr="<U400"), {}, "which no SAE is stored in"),
        (npy(version=(3, 0)), {}, "version"),
        (npy(shape="import os"), {}, "damaged"),
        (b"nothing", {}, "damaged"),
        (b"", {}, "damaged"),
        (npy(), {"times": 2}, "twice"),
        (
            npy(shape=(1 << 14, 1 << 10), body=1 << 26),
            {"how": zipfile.ZIP_DEFLATED},
            "times its size, as weights never do",
        ),
    ],
)
def test_arrays_that_lie(tmp_path: Path, entry: bytes, options: dict, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        load_sae(forged(tmp_path / "sae.npz", entry, **options))


def test_whole_numbers_in_the_place_of_weights_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []

    def tensor(file: object, header: npz._Array) -> torch.Tensor:
        read.append(header.shape)
        return real(file, header)

    real = npz._tensor
    monkeypatch.setattr(npz, "_tensor", tensor)
    weights = {"W_enc": np.ones((400, D), np.int8), "W_dec": np.ones((400, D), np.int8)}
    for content in (weights, arrays(k=np.ones(2_000_000, np.uint8))):
        np.savez(tmp_path / "sae.npz", **content)
        with pytest.raises(CheckpointError, match=r"(W_enc is 2,000|k is 2,000,000) numbers of type u?int8; expected"):
            load_sae(tmp_path / "sae.npz")
    assert not {(400, D), (2_000_000,)} & set(read)


def test_a_truncated_npz(tmp_path: Path) -> None:
    whole = save(tmp_path, arrays()).read_bytes()
    for size in (5, 100, len(whole) // 2, len(whole) - 30):
        (tmp_path / "sae.npz").write_bytes(whole[:size])
        with pytest.raises(CheckpointError):
            load_sae(tmp_path / "sae.npz")


def test_a_flipped_byte_is_seen(tmp_path: Path) -> None:
    file = save(tmp_path, arrays())
    content = bytearray(file.read_bytes())
    content[200] ^= 1
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        load_sae(file)
