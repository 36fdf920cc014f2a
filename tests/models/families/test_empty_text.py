"""`allow_empty`: an empty text can be written, in both libraries and every mode, on this instance only."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

from audiosae_steer import Add, ClipGate, GateError, load_audio, load_processor, load_recipe, load_sae, steer
from audiosae_steer.data.activations.capture import residuals
from audiosae_steer.models.families import whisper_decoding_task
from audiosae_steer.models.families.empty_text import EmptyTextRule, allow, always
from audiosae_steer.models.sites import timed_starts
from audiosae_steer.steering.gates import gate_features
from audiosae_steer.steering.recipes.load import checkpoints_dir

SILENCE = torch.zeros(16_000 * 2)
SAE4 = load_sae(checkpoints_dir() / "whisper-tiny.en" / "encoder-4.safetensors")


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
    from whisper.decoding import DecodingTask

    torch.manual_seed(0)
    before = whisper_decoding_task.holders()
    with steer(tiny_en, RECIPE, strength=STRENGTH):
        assert openai_texts(tiny_en, **options) == ""
        assert whisper_decoding_task.holders() == before + 2  # for empty texts, and for timestamps
        assert hasattr(DecodingTask.__init__, "_audiosae_steer_replaced")
    assert whisper_decoding_task.holders() == before
    assert hasattr(DecodingTask.__init__, "_audiosae_steer_replaced") == (before > 0)
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


def test_the_shipped_recipe_by_the_method_and_by_the_function(tiny_en: Any) -> None:
    import whisper

    mel = whisper.log_mel_spectrogram(whisper.pad_or_trim(load_audio(checkpoints_dir() / "clips" / "footsteps.flac")))
    options = whisper.DecodingOptions(language="en", without_timestamps=True, fp16=False, sample_len=20)
    plain = [tiny_en.decode(mel, options).text, whisper.decode(tiny_en, mel, options).text]
    with steer(tiny_en, "no-false-speech"):
        assert [tiny_en.decode(mel, options).text, whisper.decode(tiny_en, mel, options).text] == ["", ""]
    assert plain[0]
    assert [tiny_en.decode(mel, options).text, whisper.decode(tiny_en, mel, options).text] == plain


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


@contextmanager
def ending(norm: torch.nn.Module, end: Tensor) -> Iterator[None]:
    """A model that would rather end the text than write anything."""
    handle = norm.register_forward_hook(lambda module, args, output: output + 1e3 * end / end.norm())
    try:
        yield
    finally:
        handle.remove()


@pytest.fixture(scope="module")
def split_gate(tiny_en: Any) -> ClipGate:
    """A gate on one feature that opens for the louder of the two sounds."""
    rows = residuals(tiny_en, sounds(), [4], "zeros")[4]
    pooled = gate_features(SAE4, rows.float(), range(SAE4.n_features), "max")
    feature = int((pooled[0] - pooled[1]).argmax())
    assert pooled[0, feature] > pooled[1, feature]
    return ClipGate((feature,), (1.0,), bias=-float(pooled[:, feature].mean()))


def sounds() -> list[Any]:
    noise = torch.randn(16_000 * 5, generator=torch.Generator().manual_seed(0)).numpy() * 0.1
    return [noise, SILENCE.numpy()]


WAYS: list[dict[str, Any]] = [{}, {"strength": 0.0}, {"off": True}, {"choices": [None, "on"]}]


@pytest.mark.parametrize("way", WAYS, ids=["gate", "strength 0", "disabled", "choice"])
@pytest.mark.parametrize("beams", [None, 3])
def test_only_clips_that_are_edited_may_have_an_empty_text(
    tiny_en: Any, split_gate: ClipGate, way: dict[str, Any], beams: Any
) -> None:
    import whisper

    clips = sounds()
    choices = way.get("choices")
    mel = torch.stack([whisper.log_mel_spectrogram(whisper.pad_or_trim(torch.from_numpy(clip))) for clip in clips])
    options = whisper.DecodingOptions(fp16=False, language="en", without_timestamps=True, beam_size=beams)
    end = tiny_en.decoder.token_embedding.weight[50256]
    edits: Any = {"on": [Add(7, 0.1)]} if choices else [Add(7, 0.1)]
    with (
        ending(tiny_en.decoder.ln, end),
        steer(
            tiny_en, sae=SAE4, layer=4, edits=edits, gate=None if choices else split_gate, allow_empty=True
        ) as steering,
    ):
        steering.strength = way.get("strength", 1.0)
        steering.enabled = not way.get("off", False)
        if beams is None:
            steering.for_clips(choices)
            empty = [not result.tokens for result in tiny_en.decode(mel, options)]
        else:  # openai-whisper searches beams for one clip at a time
            empty = []
            for i, clip in enumerate(mel):
                steering.for_clips(choices and choices[i : i + 1])
                empty.append(not tiny_en.decode(clip, options).tokens)
    assert empty == ([False, True] if choices else [not way, False])


@pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning")  # Whisper sorts tensors by numpy
@pytest.mark.parametrize("options", [{"patience": 2.0}, {"patience": 2.0, "length_penalty": 1.0}, {"patience": 0.5}])
def test_patience_finds_nothing_better_than_an_empty_text(tiny_en: Any, options: dict[str, Any]) -> None:
    import whisper

    asked = whisper.DecodingOptions(fp16=False, language="en", beam_size=5, **options)
    for name in ("fan", "rain"):
        mel = whisper.log_mel_spectrogram(whisper.pad_or_trim(load_audio(checkpoints_dir() / "clips" / f"{name}.flac")))
        with steer(tiny_en, "no-false-speech"):
            found = tiny_en.decode(mel, asked)
        assert found.text == ""
        assert -5 < found.avg_logprob <= 0  # NaN, of sums of infinities, ranks first


@pytest.mark.parametrize("way", WAYS, ids=["gate", "strength 0", "disabled", "choice"])
@pytest.mark.parametrize("beams", [1, 3])
def test_the_same_in_transformers(tiny_en_hf: Any, split_gate: ClipGate, way: dict[str, Any], beams: int) -> None:
    clips = sounds()
    choices = way.get("choices")
    processor = load_processor("tiny.en")
    features = processor(clips, sampling_rate=16_000, return_tensors="pt").input_features
    end = tiny_en_hf.proj_out.weight[50256]
    edits: Any = {"on": [Add(7, 0.1)]} if choices else [Add(7, 0.1)]
    with (
        ending(tiny_en_hf.model.decoder.layer_norm, end),
        steer(
            tiny_en_hf, sae=SAE4, layer=4, edits=edits, gate=None if choices else split_gate, allow_empty=True
        ) as steering,
    ):
        steering.strength = way.get("strength", 1.0)
        steering.enabled = not way.get("off", False)
        steering.for_clips(choices)
        ids = tiny_en_hf.generate(features, num_beams=beams, max_new_tokens=8)
    # transformers leaves the prompt and the end out of what it returns
    empty = [not [token for token in row.tolist() if token < 50256] for row in ids]
    assert empty == ([False, True] if choices else [not way, False])


def test_a_copy_made_while_steered_goes_back_to_whispers_rule(tiny_en: Any) -> None:
    import whisper

    mel = whisper.log_mel_spectrogram(whisper.pad_or_trim(SILENCE))
    options = whisper.DecodingOptions(fp16=False, language="en", without_timestamps=True)
    with steer(tiny_en, RECIPE, strength=STRENGTH):
        assert tiny_en.decode(mel, options).tokens == []
        twin = copy.deepcopy(tiny_en)
    assert twin.decode(mel, options).tokens == tiny_en.decode(mel, options).tokens != []


def test_encodings_keep_their_own_clips_decision(tiny_en: Any, split_gate: ClipGate) -> None:
    import whisper

    clips = sounds()
    mel = torch.stack([whisper.log_mel_spectrogram(whisper.pad_or_trim(torch.from_numpy(clip))) for clip in clips])
    options = whisper.DecodingOptions(fp16=False, language="en", without_timestamps=True)
    with steer(tiny_en, sae=SAE4, layer=4, edits=[Add(7, 0.1)], gate=split_gate, allow_empty=True):
        encoded = tiny_en.embed_audio(mel)
        together = [result.tokens for result in tiny_en.decode(encoded, options)]
        tiny_en.embed_audio(mel.flip(0))
        assert [tiny_en.decode(clip, options).tokens for clip in encoded] == together
        assert [result.tokens for result in tiny_en.decode(encoded.flip(0), options)] == together[::-1]
        with pytest.raises(GateError, match="run the encoder first"):
            tiny_en.decode(encoded[0] + 1e-3, options)


def test_a_text_is_empty_after_any_first_timestamp() -> None:
    """Where speech is heard late, the first timestamp is late as well."""

    class Model:
        pass

    model, end, vocabulary = Model(), 7, 1600
    allow(model, always)
    scores = torch.zeros(2, vocabulary)
    scores[:, end] = 1
    for first in (vocabulary - 1502, vocabulary - 1501, vocabulary - 1451, vocabulary - 1450, vocabulary - 1):
        rule = EmptyTextRule(model, end, timed_starts(vocabulary))
        mask = rule.mask(scores, torch.tensor([[0, first], [0, 5]]), 1, 1)
        assert mask is not None
        assert mask[:, 0].tolist() == [True, False]
