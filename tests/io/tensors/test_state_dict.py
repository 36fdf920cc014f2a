"""Torch files, read without `torch.load`: what torch.save writes comes back as torch.load would give it."""

from __future__ import annotations

import os
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pickles
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from audiosae_steer import CheckpointError
from audiosae_steer.io.tensors.state_dict import load_object, load_state

DTYPES = (
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
    torch.uint8, torch.bool,
)  # fmt: skip


def assert_same(a: Any, b: Any) -> None:
    if isinstance(b, torch.Tensor):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        assert torch.equal(a, b)
    elif isinstance(b, dict):
        assert list(a) == list(b)
        for key in b:
            assert_same(a[key], b[key])
    elif isinstance(b, (list, tuple)):
        assert type(a) is type(b)
        assert len(a) == len(b)
        for one, other in zip(a, b, strict=True):
            assert_same(one, other)
    else:
        assert a == b


@st.composite
def tensors(draw: st.DrawFn) -> torch.Tensor:
    shape = draw(st.lists(st.integers(0, 5), max_size=3))
    tensor = (torch.randn(shape, generator=torch.Generator().manual_seed(draw(st.integers(0, 9)))) * 9).to(
        draw(st.sampled_from(DTYPES))
    )
    kind = draw(st.sampled_from(("whole", "turned", "part", "parameter")))
    if kind == "turned" and len(shape) > 1:
        return tensor.transpose(0, 1)
    if kind == "part" and shape and shape[0] > 1:
        return tensor[1:]
    return nn.Parameter(tensor) if kind == "parameter" and tensor.is_floating_point() else tensor


plain = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.binary(min_size=1, max_size=5)
    | st.sampled_from((torch.float32, torch.int64, torch.Size([2, 3]), torch.device("cpu")))
)
values = st.recursive(
    plain | tensors(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=3) | st.integers(0, 300), inner, max_size=3)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3).map(OrderedDict)
    ),
    max_leaves=8,
)


@given(state=st.dictionaries(st.text(max_size=5), values, max_size=4), new=st.booleans())
def test_it_reads_what_torch_load_reads(
    state: dict[str, Any], new: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("state") / "x.pt"
    torch.save(state, path, _use_new_zipfile_serialization=new)
    found, theirs = load_state(path), torch.load(path, weights_only=True)
    for key in theirs:
        theirs[key] = _plain(theirs[key])
    assert_same(found, theirs)
    shapes = load_state(path, mapped=True)
    for key, value in found.items():
        if isinstance(value, torch.Tensor):
            assert shapes[key].is_meta
            assert (shapes[key].shape, shapes[key].dtype) == (value.shape, value.dtype)


def _plain(value: Any) -> Any:
    """As it is read here: sizes as tuples, devices as their names."""
    if isinstance(value, torch.Size):
        return tuple(value)
    if isinstance(value, torch.device):
        return str(value)
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(each) for each in value)
    return value


@pytest.mark.parametrize("new", [True, False])
def test_tensors_that_share_memory_still_do(tmp_path: Path, new: bool) -> None:
    base = torch.arange(12.0)
    torch.save(
        {"a": base, "b": base[3:], "c": base, "deep": {"d": [base]}}, tmp_path / "x", _use_new_zipfile_serialization=new
    )
    found = load_state(tmp_path / "x")
    found["a"][3] = -1.0
    assert found["b"][0] == found["c"][3] == found["deep"]["d"][0][3] == -1.0
    assert found["a"] is found["c"]


def test_a_state_dict_of_a_module_and_its_optimiser(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    optimiser = torch.optim.Adam(module.parameters())
    module(torch.randn(5, 3)).sum().backward()
    optimiser.step()
    torch.save({"ae": module.state_dict(), "optimizer": optimiser.state_dict(), "step": 3}, tmp_path / "x")
    found = load_state(tmp_path / "x")
    assert_same(found["ae"], dict(module.state_dict()))
    assert_same(found["optimizer"]["state"], optimiser.state_dict()["state"])


class Stand:
    """For `torch.nn.modules.linear.Linear`."""

    def __new__(cls, *_: object) -> Stand:
        return super().__new__(cls)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.fields = state


def test_a_saved_module_is_read_as_its_stand_in(tmp_path: Path) -> None:
    module = nn.Linear(3, 4)
    torch.save(module, tmp_path / "x")
    with pytest.raises(CheckpointError, match=r"torch\.nn\.modules\.linear\.Linear"):
        load_object(tmp_path / "x")
    stand = type("Linear", (Stand,), {"__module__": "torch.nn.modules.linear"})
    found = load_object(tmp_path / "x", (stand,))
    assert type(found) is stand
    assert torch.equal(found.fields["_parameters"]["weight"], module.weight)
    assert load_object(tmp_path / "x", (stand,), mapped=True).fields["_parameters"]["weight"].is_meta


@pytest.mark.parametrize("new", [True, False])
def test_no_memory_is_taken_for_what_is_not_in_the_file(tmp_path: Path, new: bool) -> None:
    huge = pickles.state(x=pickles.tensor(1 << 20, 1 << 19, of=pickles.storage(count=1 << 39), stride=(1 << 19, 1)))
    (tmp_path / "x").write_bytes(pickles.in_zip(huge) if new else pickles.in_row(huge))
    with pytest.raises(CheckpointError, match="forged|another size"):
        load_state(tmp_path / "x", mapped=True)


def test_storages_may_not_lie_over_one_another(tmp_path: Path) -> None:
    two = pickles.state(
        x=pickles.tensor(4, of=pickles.storage("0")),
        y=pickles.tensor(4, of=pickles.storage("1")),
        z=pickles.tensor(1000, of=pickles.storage("2", count=1000)),
        w=pickles.tensor(1000, of=pickles.storage("3", count=1000)),
    )
    whole = pickles.in_zip(two, {"data/1": bytes(16), "data/2": bytes(4000), "data/3": bytes(4000)})
    (tmp_path / "x").write_bytes(whole)
    assert load_state(tmp_path / "x")["z"].shape == (1000,)
    # the entry of the one, in the directory, points to the other's bytes as well; then much is cut away
    directory = whole.find(b"PK\x01\x02")
    entries = [at for at in range(directory, len(whole)) if whole[at : at + 4] == b"PK\x01\x02"]
    by_name = {whole[at + 46 : at + 46 + whole[at + 28]].decode(): at for at in entries}
    there = whole[by_name["ae/data/2"] + 42 : by_name["ae/data/2"] + 46]
    changed = bytearray(whole)
    changed[by_name["ae/data/3"] + 42 : by_name["ae/data/3"] + 46] = there
    (tmp_path / "x").write_bytes(changed)
    with pytest.raises(CheckpointError, match="lie over one another|not where its directory says"):
        load_state(tmp_path / "x")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes as on Unix")
def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x")
    with pytest.raises(CheckpointError, match="no file"):
        load_state(tmp_path / "x")
