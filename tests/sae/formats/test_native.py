"""The native format: round trips, hostile and damaged files, and writes that a crash cannot tear."""

from __future__ import annotations

import json
import math
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from comparisons import assert_same
from hypothesis import given, settings
from hypothesis import strategies as st
from make import KINDS, NORMS, make_sae
from safetensors.torch import load_file, save_file

from audiosae_steer import SAE, CheckpointError, Gate, Normalisation, load_sae, save_sae


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("native")


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, max_examples=80)
@given(
    kind=st.sampled_from(KINDS),
    norm=st.sampled_from(("none", "scalar", "unit_norm")),
    scale=st.floats(1e-30, 1e30),
    dtype=st.sampled_from((torch.float32, torch.float16, torch.bfloat16, torch.float64)),
    d=st.integers(1, 17),
    F=st.integers(5, 41),
    typical=st.booleans(),
    info=st.dictionaries(st.text(), json_values, max_size=3),
)
def test_round_trip(folder: Path, kind, norm, scale, dtype, d, F, typical, info) -> None:
    sae = make_sae(kind, d, F, norm=Normalisation(norm, scale)).to(dtype)
    sae.info = info
    if not typical:
        sae.typical = None
    save_sae(sae, folder / "sae")
    assert_same(load_sae(folder / "sae"), sae)


def test_the_name_does_not_matter_and_a_folder_of_one_is_read(tmp_path: Path) -> None:
    sae = make_sae()
    sae.save(tmp_path / "deep" / "down" / "an.sae")
    assert_same(load_sae(tmp_path / "deep" / "down" / "an.sae"), sae)
    assert_same(load_sae(tmp_path / "deep" / "down"), sae)


def test_views_and_shared_memory_are_written_whole(tmp_path: Path) -> None:
    W = torch.randn(6, 20)
    sae = SAE(W.T[:, :4], W[0], W.T[:, :4], torch.zeros(4), gate=Gate("relu"))
    sae.save(tmp_path / "x")
    assert_same(load_sae(tmp_path / "x"), sae)


def test_loaded_tensors_do_not_hang_on_the_file(tmp_path: Path) -> None:
    sae = make_sae()
    sae.save(tmp_path / "x")
    loaded = load_sae(tmp_path / "x")
    (tmp_path / "x").write_bytes(b"")
    assert_same(loaded, sae)


def test_what_cannot_be_saved(tmp_path: Path) -> None:
    sae = make_sae()
    sae.info["x"] = object()
    with pytest.raises(CheckpointError, match="not plain JSON"):
        sae.save(tmp_path / "x")
    sae.info = {"x": math.inf}
    with pytest.raises(CheckpointError, match="not plain JSON"):
        sae.save(tmp_path / "x")
    sae.info = {"x": "y" * 9_000_000}
    with pytest.raises(CheckpointError, match="MB of JSON"):
        sae.save(tmp_path / "x")
    sae.info = {}
    with pytest.raises(CheckpointError, match="cannot write"):
        sae.save(tmp_path)
    sae.W_enc[0, 0] = torch.nan
    with pytest.raises(CheckpointError, match="W_enc holds NaN"):
        sae.save(tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def forged(path: Path, tensors: dict | None = None, **metadata: str | None) -> Path:
    """A native file with other tensors or metadata; None takes one away."""
    make_sae("topk", norm=NORMS[1]).save(path)
    with path.open("rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    changed = {**header["__metadata__"], **metadata}
    weights = {**load_file(path), **(tensors or {})}
    save_file(
        {name: value for name, value in weights.items() if value is not None},
        path,
        {name: value for name, value in changed.items() if value is not None},
    )
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gate": "softmax"}, "gate 'softmax' is unknown"),
        ({"normalisation": "layer"}, "normalisation 'layer' is unknown"),
        ({"scale": "-1.0"}, "positive number"),
        ({"scale": "nan"}, "positive number"),
        ({"scale": "x"}, "no number"),
        ({"k": "0"}, "k >= 1"),
        ({"k": ""}, "k >= 1"),
        ({"k": "-3"}, "expected a whole number"),
        ({"k": "99"}, "more than the 31 features"),
        ({"k": "9" * 5000}, "expected a whole number"),
        ({"schema": "2"}, "schema 2.*update"),
        ({"schema": None}, "schema None"),
        ({"gate": None}, "metadata missing: gate"),
        ({"more": "1"}, "unknown: more"),
        ({"info": "["}, "info is not JSON"),
        ({"info": "[]"}, "info is not a JSON object"),
        ({"info": '{"a": NaN}'}, "info is not JSON"),
        ({"info": '{"a":' * 100_000}, "info is not JSON"),
        ({"tensors": {"b_dec": None}}, "tensors missing: b_dec"),
        ({"tensors": {"more": torch.ones(1)}}, "unknown: more"),
        ({"tensors": {"b_enc": torch.ones(30)}}, r"b_enc has shape \(30,\).*n_features = 31"),
        ({"tensors": {"W_dec": torch.ones(12, 31)}}, r"W_dec has shape \(12, 31\)"),
        ({"tensors": {"W_enc": torch.ones(31)}}, r"W_enc has shape \(31,\)"),
        ({"tensors": {"W_enc": torch.ones(0, 12)}}, r"W_enc has shape \(0, 12\)"),
        ({"tensors": {"threshold": torch.ones(2)}}, "threshold has shape"),
        ({"tensors": {"typical": torch.ones(31, dtype=torch.int32)}}, "typical is torch.int32"),
        ({"tensors": {"b_enc": torch.full((31,), torch.nan)}}, "b_enc holds NaN"),
        ({"tensors": {"b_enc": torch.full((31,), torch.inf)}}, "b_enc holds NaN or infinite"),
    ],
)
def test_forged_files_say_what_is_wrong(tmp_path: Path, change: dict, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        load_sae(forged(tmp_path / "x", **change))


def header_file(path: Path, header: bytes, body: bytes = b"", length: int | None = None) -> Path:
    path.write_bytes(struct.pack("<Q", len(header) if length is None else length) + header + body)
    return path


def entry(shape: object, offsets: object, dtype: object = "F32") -> bytes:
    content = {
        "__metadata__": {"format": "audiosae-steer"},
        "W_enc": {"dtype": dtype, "shape": shape, "data_offsets": offsets},
    }
    return json.dumps(content).encode()


@pytest.mark.parametrize(
    "header",
    [
        entry([1 << 40, 1 << 40], [0, 8]),
        entry([2], [0, 16]),
        entry([2], [8, 0]),
        entry([-2], [0, 8]),
        entry([True, 2], [0, 8]),
        entry([2.0], [0, 8]),
        entry(2, [0, 8]),
        entry([2], [0, 8, 9]),
        entry([2], "08"),
        entry([2], [0, 8], dtype="F8"),
        entry([2], [0, 8], dtype=["F32"]),
        entry([1], [4, 8]),
        entry([1], [0, 4]),
        b'{"__metadata__": {"format": 1}}',
        b'{"__metadata__": []}',
        b'{"W_enc": 3}',
        b'{"W_enc": {}, "W_enc": {}}',
        b'{"a": ' * 50_000,
        b"{" + b"[" * 200_000,
        b'{"W_enc": "\xff"}',
    ],
)
def test_forged_headers_are_refused_before_anything_is_allocated(tmp_path: Path, header: bytes) -> None:
    with pytest.raises(CheckpointError):
        load_sae(header_file(tmp_path / "x", header, bytes(8)))


@pytest.mark.parametrize("length", [0, 1, 1 << 20, 1 << 39, (1 << 63) - 1, (1 << 64) - 1])
def test_a_header_longer_than_its_file(tmp_path: Path, length: int) -> None:
    with pytest.raises(CheckpointError, match="truncated" if length < 1 << 40 else "of no SAE format"):
        load_sae(header_file(tmp_path / "x", b'{"W_enc": 3}', length=length))


@pytest.fixture(scope="module")
def sound(folder: Path) -> bytes:
    make_sae("batchtopk-threshold", d=5, F=9).save(folder / "sound")
    return (folder / "sound").read_bytes()


def assert_read_or_refused(path: Path) -> None:
    try:
        sae = load_sae(path)
    except CheckpointError:
        return
    assert torch.isfinite(sae(torch.ones(2, sae.d_model))).all()


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_truncated_anywhere_is_refused(folder: Path, sound: bytes, data: st.DataObject) -> None:
    end = data.draw(st.integers(0, len(sound) - 1))
    path = folder / "cut"
    path.write_bytes(sound[:end])
    with pytest.raises(CheckpointError):
        load_sae(path)


@settings(deadline=None, max_examples=400)
@given(data=st.data())
def test_flipped_bytes_are_read_or_refused(folder: Path, sound: bytes, data: st.DataObject) -> None:
    header = 8 + struct.unpack("<Q", sound[:8])[0]
    flips = data.draw(st.lists(st.tuples(st.integers(0, header - 1), st.integers(1, 255)), min_size=1, max_size=3))
    damaged = bytearray(sound)
    for place, bits in flips:
        damaged[place] ^= bits
    path = folder / "flipped"
    path.write_bytes(damaged)
    assert_read_or_refused(path)


@settings(deadline=None, max_examples=100)
@given(
    content=st.binary(max_size=200), prefix=st.sampled_from((b"", b"\x80\x02", b"PK\x03\x04", b"\x02\0\0\0\0\0\0\0{"))
)
def test_noise_is_refused(folder: Path, content: bytes, prefix: bytes) -> None:
    path = folder / "noise"
    path.write_bytes(prefix + content)
    with pytest.raises(CheckpointError):
        load_sae(path)


WRITER = """
import sys
sys.path.insert(0, sys.argv[2])
from make import make_sae
saes = [make_sae(d=64, F=2000, seed=seed) for seed in (0, 1)]
print("ready", flush=True)
while True:
    for sae in saes:
        sae.save(sys.argv[1])
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_a_killed_write_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    paths = [tmp_path / f"{attempt}.safetensors" for attempt in range(3)]
    expected = [make_sae(d=64, F=2000, seed=seed) for seed in (0, 1)]
    writers = []
    for path in paths:
        expected[0].save(path)
        command = [sys.executable, "-c", WRITER, str(path), str(Path(__file__).parents[2] / "helpers")]
        writers.append(subprocess.Popen(command, stdout=subprocess.PIPE))
    for attempt, (path, writer) in enumerate(zip(paths, writers, strict=True)):
        with writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"ready\n"
            time.sleep(0.011 + 0.017 * attempt)
            writer.kill()
        loaded = load_sae(path)
        assert any(torch.equal(loaded.W_enc, sae.W_enc) and torch.equal(loaded.b_dec, sae.b_dec) for sae in expected)


@pytest.mark.skipif(os.name != "posix", reason="permissions as on Unix")
def test_a_saved_file_has_the_permissions_of_any_other(tmp_path: Path) -> None:
    make_sae().save(tmp_path / "sae")
    (tmp_path / "other").touch()
    assert (tmp_path / "sae").stat().st_mode == (tmp_path / "other").stat().st_mode
