"""openai-whisper's own `load_model` reads what is written for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from baking import constants, mute
from make import make_hf, make_openai

from audiosae_steer import ModelError, load_audio, load_whisper, steer
from audiosae_steer.evaluate.transcription.transcribe import transcribe
from audiosae_steer.models.whisper import read_transformers, write_openai
from audiosae_steer.models.whisper.weights import Weights
from audiosae_steer.publishing.export import export
from audiosae_steer.steering.recipes.load import checkpoints_dir

MEL = torch.randn(1, 80, 3000, generator=torch.Generator().manual_seed(0))


def weights_of(model: Any) -> Weights:
    if hasattr(model, "dims"):
        return Weights.from_state(model.state_dict(), (model.dims.n_audio_head, model.dims.n_text_head), "here")
    return read_transformers.from_model(model, "here")


@pytest.mark.parametrize("make", [make_openai, make_hf])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_whisper_loads_it(tmp_path, make, dtype):
    import whisper

    model = make()
    weights = weights_of(model)
    write_openai.write(weights, tmp_path / "own.pt", dtype)
    stored = torch.load(tmp_path / "own.pt", weights_only=True)
    assert set(stored) == {"dims", "model_state_dict"}
    assert {tensor.dtype for tensor in stored["model_state_dict"].values()} == {write_openai.DTYPES[dtype]}
    size = sum(tensor.numel() * tensor.element_size() for tensor in stored["model_state_dict"].values())
    assert (tmp_path / "own.pt").stat().st_size < 1.1 * size + 1e5
    for loaded in (whisper.load_model(str(tmp_path / "own.pt"), device="cpu"), load_whisper(tmp_path / "own.pt")):
        assert vars(loaded.dims) == weights.dims
        for name, tensor in loaded.state_dict().items():
            wanted = weights.state[name].to(write_openai.DTYPES[dtype]).float()
            assert torch.equal(tensor, wanted), name


def test_numbers_that_do_not_fit_and_dtypes_that_are_none(tmp_path):
    model = make_openai(d=24)
    weights = weights_of(model)
    with pytest.raises(ModelError, match="dtype is 'int8'; openai-whisper's files hold float16 or float32"):
        write_openai.write(weights, tmp_path / "own.pt", "int8")
    weights.state["decoder.ln.bias"] = torch.full((24,), 1e6)
    with pytest.raises(ModelError, match=r"decoder\.ln\.bias is too large for torch\.float16"):
        write_openai.write(weights, tmp_path / "own.pt")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here, which is a disk without room")
def test_a_full_disk_is_an_os_error():
    with pytest.raises(OSError, match="No space left"):
        write_openai.write(weights_of(make_openai()), Path("/dev/full"))


def test_tiny_en_is_the_steered_one(tmp_path, tiny_en):
    """Residuals to the rounding of one bias in float16, texts the same; and silence is written with timestamps."""
    import copy

    import whisper

    clips = [load_audio(checkpoints_dir() / "clips" / f"{name}.flac") for name in ("speech-04", "fan")]
    model = copy.deepcopy(tiny_en)
    with torch.no_grad():
        plain = model.encoder(MEL)
        steering = steer(model, constants(384, (4, 4), size=0.1))
        steered, texts = model.encoder(MEL), [transcribe(model, clip).text for clip in clips]
        baked = steering.bake()
        found = export(model, tmp_path / "baked", "openai", baked=baked, source="tiny.en")
        again = whisper.load_model(str(tmp_path / "baked" / "tiny.en.pt"), device="cpu")
        assert (again.encoder(MEL) - steered).norm() < 0.02 * (steered - plain).norm()
    assert [transcribe(again, clip).text for clip in clips] == texts
    assert found.notes == ()
    ours = load_whisper(tmp_path / "baked" / "tiny.en.pt")  # which knows the released alignment heads by the name
    assert torch.equal(ours.alignment_heads.to_dense(), tiny_en.alignment_heads.to_dense())
    baked = steer(model, mute(model), allow_empty=True).bake()
    found = export(model, tmp_path / "baked", "openai", baked=baked, source="tiny.en")
    assert "SuppressBlank stays" in found.notes[0]
    assert "SuppressBlank stays" in (tmp_path / "baked" / "README.md").read_text()
    again = whisper.load_model(str(tmp_path / "baked" / "tiny.en.pt"), device="cpu")
    assert transcribe(again, clips[0]).text == ""
