"""Untrusted recipes: refused by an error of this package, or harmless; the model is left as it was."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from hub_server import served
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from make import count_hooks, make_openai, make_sae
from mutate import mutate
from recipe_content import content

from audiosae_steer import AudioSAESteerError, HubError, RecipeError, load_recipe, steer
from audiosae_steer.steering.describe import of_recipe
from audiosae_steer.steering.recipes.fields import MAX_EDITS, MAX_SAES, MAX_SITES

Change = dict[str, Any]


@pytest.fixture(scope="module")
def model() -> Any:
    return make_openai()


@pytest.fixture(scope="module")
def state(model: Any) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.fixture(scope="module")
def folder(model: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("recipes") / "theirs"
    place.mkdir()
    (place / "recipe.json").write_text(json.dumps(content(model, place)))
    make_sae("batchtopk-threshold", 64, 200).save(place.parent / "outside.safetensors")
    return place


def edits(*specs: Change) -> Change:
    return {"sites": [{"layer": 2, "sae": "a", "edits": list(specs)}]}


def sae(**spec: Any) -> Change:
    return {"saes": {"a": spec}}


def gate(**change: Any) -> Change:
    return {"gate": {"layer": 1, "sae": "a", "features": [1, 2], "weights": [1.0, 1.0], "threshold": -1.0, **change}}


ADD = {"kind": "add", "features": [3], "amount": 1.0}
FILE = {"file": "sae.safetensors"}
HOSTILE: dict[str, Change] = {
    # out of its folder
    "a file above": sae(file="../outside.safetensors"),
    "a file above, in a roundabout way": sae(file="x/../../outside.safetensors"),
    "a file at the root": sae(file="/etc/passwd"),
    "a file by its drive": sae(file="C:outside.safetensors"),
    "a file on another machine": sae(file="\\\\server\\share"),
    "a file by backslashes": sae(file="..\\outside.safetensors"),
    "a device": sae(file="/dev/zero"),
    "a stream of a file": sae(file="sae.safetensors:x"),
    "a file of no name": sae(file=""),
    "the folder": sae(file="."),
    "a file of a long name": sae(file="é" * 200),
    "a file with a zero in its name": sae(file="sae.safetensors\0.json"),
    "a repository that is a path": sae(repo="../outside", revision="main"),
    "a repository of a path's length": sae(repo="a/" * 60 + "b"),
    "a repository with a question": sae(repo="a/b?x=1"),
    "a revision that is a path": sae(repo="a/b", revision="../../../refs/x"),
    "a revision at the root": sae(repo="a/b", revision="/tmp/x"),
    "a revision with a line": sae(repo="a/b", revision="main\nHost: x"),
    # on its way to a terminal
    "a name with commands": {"name": "\x1b]0;owned\x07\x1b[2J"},
    "a name of two lines": {"name": "fine\nerror: not fine"},
    "a name that turns": {"name": "\u202egnp.exe"},
    "a name of half a character": {"name": "\ud800"},
    "a name of a book's length": {"name": "x" * 100_000},
    "a description with commands": {"description": "\x1b[8m"},
    "an SAE's name with commands": {"saes": {"\x1b[8m": FILE}},
    # too much
    "too many SAEs": {"saes": {**{str(n): FILE for n in range(MAX_SAES)}, "a": FILE}},
    "too many sites": {"sites": [{"layer": 2, "sae": "a", "edits": [ADD]}] * (MAX_SITES + 1)},
    "too many edits": edits(*[ADD] * (MAX_EDITS + 1)),
    "edits too large together": edits(*[{"kind": "scale", "features": list(range(20_000)), "factor": 0.5}] * 250),
    "a feature out of range": edits({**ADD, "features": [200]}),
    "a feature out of 64 bits": edits({**ADD, "features": [10**30]}),
    "a million features": edits({**ADD, "features": list(range(1_000_000))}),
    "a feature below 0": edits({**ADD, "features": [-1]}),
    "no features": edits({**ADD, "features": []}),
    "features of text": edits({**ADD, "features": ["3"]}),
    "a layer out of range": {"sites": [{"layer": 99, "sae": "a", "edits": [ADD]}]},
    "a layer of many digits": {"sites": [{"layer": 10**300, "sae": "a", "edits": [ADD]}]},
    "a site twice": {"sites": [{"layer": 2, "sae": "a", "edits": [ADD]}] * 2},
    "a vector of another width": edits({"kind": "push", "vector": [0.1] * 63}),
    "a vector of vectors": edits({"kind": "push", "vector": [[0.1]] * 64}),
    "a vector of lists in lists": edits({"kind": "push", "vector": json.loads("[" * 90 + "]" * 90)}),
    # numbers
    "NaN": edits({**ADD, "amount": float("nan")}),
    "infinity": edits({**ADD, "amount": float("inf")}),
    "more than float32": edits({**ADD, "amount": 1e300}),
    "more than float32 together": edits(*[{**ADD, "amount": 3e38}] * 100),
    "NaN among the measurements": {"measured": {"x": float("nan")}},
    "a strength of NaN": {"strength": float("nan")},
    "a strength beyond float32": {"strength": 1e300},
    "a gate beyond float32": gate(weights=[1e300, 1.0]),
    "a gate whose sum is beyond float32": gate(bias=3e38, threshold=-3e38),
    "a gate of another length": gate(features=[1]),
    "a gate out of range": gate(features=[1, 10**9]),
    "a gate at no layer": gate(layer=10**9),
    "a window that ends before it begins": edits({**ADD, "window": [2.0, 1.0]}),
    "a window of NaN": edits({**ADD, "window": [float("nan"), 1.0]}),
    "a window of text": edits({**ADD, "window": "ab"}),
    # what is no edit
    "a kind that is a list": edits({**ADD, "kind": []}),
    "a kind that is a dict": edits({**ADD, "kind": {}}),
    "a kind that is a method": edits({**ADD, "kind": "__class__"}),
    "an argument called self": edits({**ADD, "self": 1}),
    "an argument with a space": edits({**ADD, "a b": 1}),
    "an amount that is a dict": edits({**ADD, "amount": {"a": 1}}),
    "an amount that is a list in lists": edits({**ADD, "amount": json.loads("[" * 90 + "]" * 90)}),
    "edits that are none": {"sites": [{"layer": 2, "sae": "a", "edits": [None]}]},
    "sites that are none": {"sites": {"layer": 2}},
    "a hash that is none": sae(file="sae.safetensors", sha256="0" * 63),
    "another hash": sae(file="sae.safetensors", sha256="0" * 64),
}  # fmt: skip
TEXTS = {
    "nothing": b"",
    "endless lists": b"[" * 1_000_000,
    "endless dicts": b'{"a":' * 200_000,
    "deep lists": b'{"provenance": {"a": ' + b"[" * 500 + b"]" * 500 + b"}}",
    "a million digits": b'{"schema": ' + b"9" * 1_000_000 + b"}",
    "a name twice": b'{"schema": 1, "schema": 2}',
    "not UTF-8": b'{"schema": "\xff"}',
    "a mark of byte order": b"\xef\xbb\xbf{}",
    "9 MB": b'{"schema": "' + b"x" * 9_000_000 + b'"}',
    "many small lists": b'{"schema": [' + b"[]," * 300_000 + b"[]]}",
    "zeros": bytes(1000),
}


def unchanged(model: Any, state: dict[str, torch.Tensor]) -> None:
    assert count_hooks(model) == 0
    now = model.state_dict()
    assert now.keys() == state.keys()
    assert all(torch.equal(now[name], tensor) for name, tensor in state.items())


@pytest.mark.parametrize("name", HOSTILE)
def test_it_is_refused_and_the_model_untouched(name: str, model: Any, state: Any, folder: Path) -> None:
    path = folder / "hostile.json"
    sound = json.loads((folder / "recipe.json").read_text())
    path.write_text(json.dumps({**sound, **HOSTILE[name]}))
    with pytest.raises(AudioSAESteerError) as caught:
        steer(model, path)
    said = str(caught.value)
    assert len(said) < 5000
    assert not any(character in said for character in "\x1b\x07\u202e\ud800")
    unchanged(model, state)


@pytest.mark.parametrize("name", TEXTS)
def test_what_is_no_recipe_is_refused(name: str, model: Any, state: Any, folder: Path) -> None:
    (folder / "hostile.json").write_bytes(TEXTS[name])
    with pytest.raises(RecipeError):
        steer(model, folder / "hostile.json")
    unchanged(model, state)


@pytest.mark.skipif(os.name != "posix", reason="links and pipes as on Unix")
def test_a_link_out_of_the_folder_is_not_followed(model: Any, state: Any, folder: Path) -> None:
    sound = json.loads((folder / "recipe.json").read_text())
    path = folder / "hostile.json"
    path.write_text(json.dumps({**sound, **sae(file="linked.safetensors")}))
    for target, says in (
        ("../outside.safetensors", "a link that leaves"),
        (str(folder.parent / "outside.safetensors"), "a link that leaves"),
        ("/dev/zero", "not there"),
        ("linked.safetensors", "not there"),
    ):
        link = folder / "linked.safetensors"
        link.symlink_to(target)
        with pytest.raises(RecipeError, match=says):
            steer(model, path)
        link.unlink()
        unchanged(model, state)
    os.mkfifo(folder / "linked.safetensors")
    with pytest.raises(RecipeError, match="not there"):
        steer(model, path)
    (folder / "linked.safetensors").unlink()
    (folder / "linked.safetensors").symlink_to("sae.safetensors")
    steer(model, path)._leave(quiet=True)
    (folder / "linked.safetensors").unlink()
    unchanged(model, state)


@pytest.mark.skipif(os.name != "posix", reason="links as on Unix")
def test_the_links_of_the_hub_s_cache_are(model: Any, folder: Path, tmp_path: Path) -> None:
    snapshot, blobs = tmp_path / "models--a--b" / "snapshots" / ("0" * 40), tmp_path / "models--a--b" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for number, name in enumerate(("recipe.json", "sae.safetensors")):
        (blobs / str(number)).write_bytes((folder / name).read_bytes())
        (snapshot / name).symlink_to(f"../../blobs/{number}")
    steer(model, snapshot)._leave(quiet=True)
    (snapshot / "sae.safetensors").unlink()
    (snapshot / "sae.safetensors").symlink_to(folder / "sae.safetensors")
    with pytest.raises(RecipeError, match="a link that leaves"):
        steer(model, snapshot)


def test_a_repository_is_never_a_folder_that_happens_to_be_here(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "theirs" / "sae").mkdir(parents=True)
    make_sae("batchtopk-threshold", 64, 200).save(tmp_path / "theirs" / "sae" / "x.safetensors")
    monkeypatch.chdir(tmp_path)
    sound = json.loads((folder / "recipe.json").read_text())
    (tmp_path / "recipe.json").write_text(json.dumps({**sound, **sae(repo="theirs/sae")}))
    with served(monkeypatch, tmp_path / "hub"), pytest.raises(HubError, match="no repository theirs/sae"):
        load_recipe(tmp_path / "recipe.json").load_saes()


def test_one_file_is_read_once_however_often_it_is_named(folder: Path) -> None:
    sound = json.loads((folder / "recipe.json").read_text())
    names = {**{str(n): FILE for n in range(MAX_SAES - 1)}, "a": FILE}
    (folder / "hostile.json").write_text(json.dumps({**sound, "saes": names}))
    loaded = load_recipe(folder / "hostile.json").load_saes()
    assert len(loaded) == MAX_SAES
    assert len({id(each) for each in loaded.values()}) == 1


@pytest.mark.filterwarnings("ignore::audiosae_steer.errors.FingerprintWarning")  # a fingerprint may be what changes
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32), times=st.integers(1, 3))
def test_a_changed_recipe_steers_or_is_refused(model: Any, state: Any, folder: Path, seed: int, times: int) -> None:
    random, changed = Random(seed), (folder / "recipe.json").read_bytes()
    for _ in range(times):
        changed = mutate(random, changed)
    path = folder / "changed.json"
    path.write_bytes(changed)
    try:
        steering = steer(model, path)
    except AudioSAESteerError as error:
        assert len(str(error)) < 5000  # noqa: PT017 - it need not raise
    else:
        of_recipe(copy.copy(steering.recipe))
        steering._leave(quiet=True)
    unchanged(model, state)


def test_what_was_measured_is_written_without_nan(folder: Path, tmp_path: Path) -> None:
    recipe = load_recipe(folder / "recipe.json").model_copy(
        update={"measured": {"a": float("nan"), "b": [1.0, float("inf")], "c": "two  [1,  2] blanks"}}
    )
    recipe.save(tmp_path / "x.json")
    assert load_recipe(tmp_path / "x.json").measured == {"a": None, "b": [1.0, None], "c": "two  [1,  2] blanks"}
