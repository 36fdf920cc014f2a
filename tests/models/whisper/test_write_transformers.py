"""transformers reads what is written for it, pipelines too."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from baking import constants, mute
from make import make_hf, make_openai

from audiosae_steer import ModelError, load_audio, load_processor, load_whisper, steer
from audiosae_steer.models.whisper import write_transformers
from audiosae_steer.models.whisper.tokenizer import processor_for
from audiosae_steer.models.whisper.write_transformers import opened
from audiosae_steer.publishing.export import export
from audiosae_steer.steering.recipes.load import checkpoints_dir

MEL = torch.randn(1, 80, 3000, generator=torch.Generator().manual_seed(0))
CLIPS = checkpoints_dir() / "clips"


def logits(model):
    with torch.no_grad():
        return model(MEL, decoder_input_ids=torch.tensor([[50257, 50362, 11, 12]])).logits


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_from_pretrained_loads_it(tmp_path, dtype):
    from transformers import WhisperForConditionalGeneration

    model = make_hf(d=24)
    write_transformers.write(model, tmp_path, dtype, processor=processor_for(51864, 80))
    assert (tmp_path / "model.safetensors").is_file()
    again = WhisperForConditionalGeneration.from_pretrained(tmp_path, dtype=torch.float32).eval()
    kept = write_transformers.DTYPES[dtype]
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor.to(kept).float()), name
        assert model.state_dict()[name].dtype == torch.float32
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == dtype
    assert again.generation_config.begin_suppress_tokens == [220, 50256]


def test_end_of_text_is_let_through_where_it_may(tmp_path):
    model = make_hf(d=24)
    write_transformers.write(model, tmp_path, processor=processor_for(51864, 80), allow_empty=True)
    for file in ("generation_config.json", "config.json"):
        settings = json.loads((tmp_path / file).read_text())
        assert settings.get("begin_suppress_tokens", [220]) == [220]
    assert json.loads((tmp_path / "generation_config.json").read_text())["begin_suppress_tokens"] == [220]
    assert model.generation_config.begin_suppress_tokens == [220, 50256]
    assert opened([220, 50257], [50257, 50258]) == [220]
    with pytest.raises(ModelError, match="dtype is 'int8'; a transformers folder holds float32, float16, bfloat16"):
        write_transformers.write(model, tmp_path, "int8", processor=processor_for(51864, 80))
    model.model.decoder.layer_norm.bias.fill_(1e6)
    with pytest.raises(ModelError, match="layer_norm.bias is too large for float16"):
        write_transformers.write(model, tmp_path, "float16", processor=processor_for(51864, 80))


def test_tiny_en_is_the_steered_one(tmp_path, tiny_en_hf):
    from transformers import WhisperForConditionalGeneration, WhisperProcessor, pipeline

    model, processor = copy.deepcopy(tiny_en_hf), load_processor("tiny.en")
    clip = load_audio(CLIPS / "speech-04.flac")

    def words(model, processor) -> list[int]:
        heard = processor(clip, sampling_rate=16_000, return_tensors="pt").input_features
        return model.generate(heard, max_new_tokens=8)[0].tolist()

    plain = logits(model)
    steering = steer(model, constants(384, (4, 4), size=0.1))
    steered, written = logits(model), words(model, processor)
    export(model_baked(steering, model), tmp_path / "baked", "transformers", source="tiny.en")
    again = WhisperForConditionalGeneration.from_pretrained(tmp_path / "baked").eval()
    assert (logits(again) - steered).abs().max() < 1e-4 * (steered - plain).abs().max()
    theirs = WhisperProcessor.from_pretrained(tmp_path / "baked")
    assert words(again, theirs) == written
    asr = pipeline("automatic-speech-recognition", str(tmp_path / "baked"))
    assert asr({"raw": clip, "sampling_rate": 16000}, generate_kwargs={"max_new_tokens": 5})["text"].strip()
    assert torch.equal(logits(load_whisper(tmp_path / "baked", "transformers")), logits(again))


def model_baked(steering, model):
    """The model, baked."""
    steering.bake()
    return model


def test_muted_it_writes_nothing_in_either_mode(tmp_path, tiny_en_hf):
    from transformers import WhisperForConditionalGeneration

    processor, clip = load_processor("tiny.en"), load_audio(CLIPS / "speech-04.flac")
    for allowed in (True, False):
        model = copy.deepcopy(tiny_en_hf)
        baked = steer(model, mute(model), allow_empty=allowed).bake()
        found = export(model, tmp_path / str(allowed), "transformers", baked=baked, source="tiny.en")
        again = WhisperForConditionalGeneration.from_pretrained(tmp_path / str(allowed)).eval()
        inputs = processor(clip, sampling_rate=16000, return_tensors="pt").input_features
        with torch.no_grad():
            ids = again.generate(inputs, return_timestamps=False, max_new_tokens=4)[0].tolist()
        said = [token for token in ids if token < 50256]
        assert bool(said) != allowed
        assert bool(found.notes) == allowed


def test_an_openai_model_is_written_too(tmp_path):
    model = make_openai(d=64)
    export(model, tmp_path / "own", "transformers", dtype="float32")
    again = load_whisper(tmp_path / "own", "openai")
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    assert load_processor(tmp_path / "own").tokenizer.decode([11]) == ","
