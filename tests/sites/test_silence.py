"""`allow_empty`: an empty text can be written, in both libraries and every mode, on this instance only."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from audiosae_steer import load_processor, load_recipe, steer
from audiosae_steer.recipes import checkpoints_dir

SILENCE = torch.zeros(16_000 * 2)


# the shipped edits without their gate, and a little stronger than shipped, write nothing on silence in any mode
RECIPE = load_recipe(checkpoints_dir() / "whisper-tiny.en" / "no-false-speech.json").model_copy(update={"gate": None})
STRENGTH = 1.25


def openai_texts(model: Any, **options: Any) -> str:
    import whisper

    mel = whisper.log_mel_spectrogram(whisper.pad_or_trim(SILENCE))
    result = model.decode(mel, whisper.DecodingOptions(fp16=False, language="en", **options))
    return str(result.text)


@pytest.mark.parametrize(
    "options",
    [
        {"without_timestamps": True},
        {"without_timestamps": True, "beam_size": 3},
        {"without_timestamps": True, "best_of": 3, "temperature": 0.2},
        {"without_timestamps": True, "length_penalty": 0.5},
        {"without_timestamps": False},
    ],
    ids=["greedy", "beam", "best_of", "length_penalty", "timestamps"],
)
def test_openai_whisper(tiny_en: Any, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    with steer(tiny_en, RECIPE, strength=STRENGTH):
        assert openai_texts(tiny_en, **options) == ""
        assert "decode" in vars(tiny_en)
    assert "decode" not in vars(tiny_en)
    if options.get("without_timestamps"):
        with steer(tiny_en, RECIPE, strength=STRENGTH, allow_empty=False):
            assert openai_texts(tiny_en, **options) != ""  # the door is shut without allow_empty


def test_openai_decode_keeps_its_signature(tiny_en: Any) -> None:
    import whisper

    mel = whisper.log_mel_spectrogram(whisper.pad_or_trim(SILENCE))
    with steer(tiny_en, RECIPE, strength=STRENGTH):
        batch = whisper.decode(tiny_en, mel[None].repeat(2, 1, 1), fp16=False, language="en")
        assert isinstance(batch, list)
        several = tiny_en.decode(mel[None].repeat(2, 1, 1), fp16=False, language="en", without_timestamps=True)
        assert [result.text for result in several] == ["", ""]
        options = whisper.DecodingOptions(fp16=False, language="en")
        assert tiny_en.decode(mel, options, without_timestamps=True).text == ""


@pytest.mark.parametrize(
    "options",
    [{}, {"num_beams": 3}, {"use_cache": False}, {"return_timestamps": True}],
    ids=["greedy", "beam", "no cache", "timestamps"],
)
def test_transformers(tiny_en_hf: Any, options: dict[str, Any]) -> None:
    processor = load_processor("tiny.en")
    features = processor(SILENCE.numpy(), sampling_rate=16_000, return_tensors="pt").input_features
    with steer(tiny_en_hf, RECIPE, strength=STRENGTH):
        ids = tiny_en_hf.generate(features, **options)
        assert processor.batch_decode(ids, skip_special_tokens=True) == [""]
    assert "generate" not in vars(tiny_en_hf)
    assert tiny_en_hf.generation_config.begin_suppress_tokens == [220, 50256]
    if "return_timestamps" not in options:
        with steer(tiny_en_hf, RECIPE, strength=STRENGTH, allow_empty=False):
            ids = tiny_en_hf.generate(features, **options)
            assert processor.batch_decode(ids, skip_special_tokens=True) != [""]


def test_a_pipeline_and_its_own_copy_of_the_config(tiny_en_hf: Any) -> None:
    from transformers import pipeline

    processor = load_processor("tiny.en")
    pipe = pipeline(
        "automatic-speech-recognition",
        model=tiny_en_hf,
        tokenizer=processor.tokenizer,
        feature_extractor=processor.feature_extractor,
        chunk_length_s=30,
    )
    long = {"raw": torch.zeros(16_000 * 40).numpy(), "sampling_rate": 16_000}
    with steer(pipe, RECIPE, strength=STRENGTH):
        assert pipe({"raw": SILENCE.numpy(), "sampling_rate": 16_000})["text"] == ""
        assert pipe(dict(long), return_timestamps=True)["text"] == ""
