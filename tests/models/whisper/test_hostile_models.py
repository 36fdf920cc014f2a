"""Untrusted model files: no code is run, and no more memory taken than they are long."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pickles
import pytest
import torch
from ctranslate2_files import variables_of, written
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from make import make_hf, make_openai
from mutate import mutate

from audiosae_steer import ModelError, load_whisper
from audiosae_steer.models.whisper import read_ctranslate2, read_openai


@pytest.fixture(scope="module")
def small() -> Any:
    return make_openai(d=64, layers=1, vocabulary=60)


def test_a_checkpoint_of_openai_whisper_is_read_as_it_was(small: Any, tmp_path: Path) -> None:
    torch.save({"dims": vars(small.dims), "model_state_dict": small.state_dict()}, tmp_path / "x.pt")
    weights = read_openai.read(tmp_path / "x.pt")
    assert weights.dims == vars(small.dims)
    assert all(torch.equal(weights.state[name], tensor) for name, tensor in small.state_dict().items())


@pytest.mark.parametrize("new", [True, False])
def test_no_pickle_runs_code_or_fills_memory(tmp_path: Path, new: bool) -> None:
    canary = tmp_path / "canary"
    for name, pickle in pickles.bombs(f"touch {canary}").items():
        (tmp_path / "x.pt").write_bytes(pickles.in_zip(pickle) if new else pickles.in_row(pickle))
        with pytest.raises(ModelError):
            load_whisper(tmp_path / "x.pt")
        assert not canary.exists(), name


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32), kind=st.sampled_from(("pt", "bin")))
def test_a_changed_file_is_read_or_refused(
    small: Any, seed: int, kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("changed")
    path = folder / ("x.pt" if kind == "pt" else "model.bin")
    if kind == "pt":
        torch.save({"dims": vars(small.dims), "model_state_dict": small.state_dict()}, path)
    else:
        path.write_bytes(written(variables_of(small)))
    path.write_bytes(mutate(Random(seed), path.read_bytes()))
    try:
        read_openai.read(path) if kind == "pt" else read_ctranslate2.read(path)
    except ModelError as error:
        assert len(str(error)) < 5000  # noqa: PT017 - it need not raise
    finally:
        path.unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"encoder_layers": 1 << 30}, "describes .* weights, but its files have"),
        ({"d_model": 1 << 20}, "describes"),
        ({"vocab_size": 1 << 30}, "describes"),
        ({"max_source_positions": 1 << 30}, "describes"),
        ({"decoder_ffn_dim": 1 << 30}, "describes"),
        ({"num_mel_bins": 1 << 30}, "describes"),
        ({"encoder_layers": -1}, "expected a whole number"),
        ({"encoder_layers": "many"}, "expected a whole number"),
        ({"attn_implementation": "someone/kernels"}, "names code on the Hub"),
        ({"_attn_implementation_internal": "someone/kernels"}, "names code on the Hub"),
        ({"x": "y" * 5_000_000}, "larger than 4 MB"),
        ({"model_type": "\x1b[2J"}, 'expected "whisper"'),
    ],
)
def test_a_folder_of_transformers_that_lies_of_its_size(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    make_hf(layers=1).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    for library in ("openai", "transformers"):
        with pytest.raises(ModelError, match=says):
            load_whisper(tmp_path, library=library)


def test_pickled_weights_of_transformers_are_looked_through_first(tmp_path: Path) -> None:
    model = make_hf(layers=1)
    model.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    canary = tmp_path / "canary"
    (tmp_path / "training_args.bin").write_bytes(b"\x80\x02cos\nsystem\n.")
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    found = load_whisper(tmp_path, library="transformers")
    assert torch.equal(found.model.encoder.conv1.weight, model.model.encoder.conv1.weight)
    padding = {"data/0": bytes(8_000_000)}
    for pickle in (pickles.whole(pickles.call("os.system", pickles.text(f"touch {canary}"))), pickles.whole(b"N")[:-1]):
        (tmp_path / "pytorch_model.bin").write_bytes(pickles.in_zip(pickle, padding))
        with pytest.raises(ModelError, match="would run code"):
            load_whisper(tmp_path, library="transformers")
    assert not canary.exists()
