"""Windows in seconds of a recording, in every loop that cuts it into what a model hears at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from families import speech_encoder
from make import make_openai
from torch import Tensor, nn

from audiosae_steer import Push, load_processor, steer
from audiosae_steer.models.families.input_offset import filling

START, END = 33.0, 41.5
pytestmark = pytest.mark.filterwarnings("ignore")  # the pipeline's own, of chunks and of settings


@contextmanager
def edited(model: Any, encoder: nn.Module, layers: Any, d: int) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """For every pass: what the encoder was given, and which frames of each row were edited in layer 1."""
    found: list[Any] = []
    heard: list[Tensor] = []
    handles = [
        encoder.register_forward_pre_hook(
            lambda m, args, kwargs: heard.append(args[0] if args else kwargs.get("input_features", kwargs)),
            with_kwargs=True,
        ),
        layers[0].register_forward_hook(
            lambda m, a, out: found.append((out[0] if isinstance(out, tuple) else out).clone())
        ),
    ]
    passes: list[tuple[Tensor, Tensor]] = []
    with steer(model, layer=1, edits=[Push(torch.full((d,), 0.01), window=(START, END))]):
        handles.append(
            layers[1].register_forward_pre_hook(
                lambda m, args: passes.append((heard[-1].clone(), (args[0] != found[-1]).any(-1)))
            )
        )
        yield passes
    for handle in handles:
        handle.remove()


def wanted(start: float, frames: int = 1500, rate: float = 50.0) -> Tensor:
    """Which frames of a window that begins there are between START and END."""
    times = start + (torch.arange(frames) + 0.5) / rate
    return (times >= START) & (times < END)


def begins(given: Tensor, whole: Tensor) -> float:
    """Seconds before a window, by finding its spectrogram in that of the recording."""
    columns = whole.T
    at = [i for i in range(len(columns) - 3) if torch.equal(columns[i : i + 3], given.T[:3])]
    return at[0] / 100


def sound(seconds: float, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(int(16000 * seconds))).astype(np.float32)


def test_openai_whispers_transcribe() -> None:
    from whisper.audio import N_SAMPLES, log_mel_spectrogram

    model, audio = make_openai(d=24), sound(75)
    whole = log_mel_spectrogram(torch.from_numpy(audio), padding=N_SAMPLES)
    with edited(model, model.encoder, model.encoder.blocks, 24) as passes:
        model.transcribe(audio, temperature=0.0, no_speech_threshold=None, fp16=False, sample_len=4)
    starts = [begins(given[0], whole) for given, _ in passes]
    assert len(set(starts)) >= 3
    for start, (_, changed) in zip(starts, passes, strict=True):
        assert torch.equal(changed[0], wanted(start)), start
    assert any(changed.any() for _, changed in passes)


def test_transformers_generate_on_long_recordings_of_a_batch(tiny_en_hf: Any) -> None:
    processor = load_processor("tiny.en")
    given = processor.feature_extractor(
        [sound(75), sound(50, 1)], sampling_rate=16000, return_tensors="pt", truncation=False, padding="longest",
        return_attention_mask=True,
    )  # fmt: skip
    encoder = tiny_en_hf.model.encoder
    with edited(tiny_en_hf, encoder, encoder.layers, 384) as passes:
        tiny_en_hf.generate(
            **given, return_timestamps=True, max_new_tokens=6, temperature=(0.0, 0.4), logprob_threshold=0.0
        )
    rows = 0
    for features, changed in passes:
        for row, spectrogram in enumerate(features):
            starts = [_place(spectrogram, whole) for whole in given.input_features]
            start = next(start for start in starts if start is not None)
            assert torch.equal(changed[row], wanted(start)), start
            rows += 1
    assert rows > 4
    assert any(changed.any() for _, changed in passes)
    assert len({len(features) for features, _ in passes}) > 1  # the shorter one was done before


def _place(given: Tensor, whole: Tensor) -> float | None:
    try:
        return begins(given, whole)
    except IndexError:
        return None


@pytest.mark.parametrize(("batch", "strides"), [(1, (6, 4)), (2, (6, 4)), (1, (0, 10)), (2, (0, 0))])
def test_chunks_of_a_pipeline(tiny_en_hf: Any, batch: int, strides: tuple[int, int]) -> None:
    from transformers import pipeline

    processor = load_processor("tiny.en")
    asr = pipeline(
        "automatic-speech-recognition", model=tiny_en_hf, tokenizer=processor.tokenizer,
        feature_extractor=processor.feature_extractor, chunk_length_s=30, stride_length_s=strides, batch_size=batch,
    )  # fmt: skip
    encoder = tiny_en_hf.model.encoder
    with edited(asr, encoder, encoder.layers, 384) as passes:
        for seed in range(2):  # the second recording begins anew
            asr(sound(75, seed), generate_kwargs={"max_new_tokens": 3})
    rows = torch.cat([changed for _, changed in passes])
    step = 30 - sum(strides)
    chunks = len(range(0, 75 - (step < 30) * 10, step))
    assert len(rows) == 2 * chunks
    for chunk, changed in enumerate(rows):
        assert torch.equal(changed, wanted(float(step * (chunk % chunks)))), chunk


def test_rows_of_a_pipelines_batch_that_are_decoded_once_more(tiny_en_hf: Any) -> None:
    from transformers import pipeline

    processor = load_processor("tiny.en")
    asr = pipeline(
        "automatic-speech-recognition", model=tiny_en_hf, tokenizer=processor.tokenizer,
        feature_extractor=processor.feature_extractor, chunk_length_s=30, stride_length_s=(6, 4), batch_size=2,
    )  # fmt: skip
    encoder, audio = tiny_en_hf.model.encoder, sound(75)
    again = {"max_new_tokens": 6, "temperature": (0.0, 0.4), "logprob_threshold": -1.5, "return_timestamps": True}
    with edited(asr, encoder, encoder.layers, 384) as passes:
        asr(audio, generate_kwargs=again)
    places = {}
    for start in (0.0, 20.0, 40.0, 60.0):
        piece = audio[int(16000 * start) : int(16000 * (start + 30))]
        heard = processor.feature_extractor(piece, sampling_rate=16000, return_tensors="pt").input_features[0]
        places[start] = heard
    seen = 0
    for features, changed in passes:
        for row, spectrogram in enumerate(features):
            found = [(start, _place(spectrogram, whole)) for start, whole in places.items()]
            start, within = next((start, within) for start, within in found if within is not None)
            assert torch.equal(changed[row], wanted(start + within)), start
            seen += 1
    assert seen > 4
    assert {len(features) for features, _ in passes} == {1, 2}  # one of two was decoded again, or heard further


def test_chunks_of_a_ctc_pipeline(tmp_path: Any) -> None:
    from transformers import Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor, pipeline

    model = speech_encoder("HubertForCTC")()
    letters = tmp_path / "vocab.json"
    letters.write_text(str({c: i for i, c in enumerate("_|abcdefgh")}).replace("'", '"').replace("_", "<pad>"))
    tokenizer = Wav2Vec2CTCTokenizer(str(letters), pad_token="<pad>", unk_token="<pad>", bos_token=None, eos_token=None)
    asr = pipeline(
        "automatic-speech-recognition", model=model, tokenizer=tokenizer,
        feature_extractor=Wav2Vec2FeatureExtractor(return_attention_mask=False), chunk_length_s=20,
        stride_length_s=(4, 2), decoder=None,
    )  # fmt: skip
    with edited(asr, model.hubert.encoder, model.hubert.encoder.layers, 24) as passes:
        asr(sound(50))
    assert len(passes) >= 3
    for chunk, (_, changed) in enumerate(passes):
        assert torch.equal(changed[0], wanted(14.0 * chunk, changed.shape[1])), chunk


def test_a_single_pass_begins_at_nought() -> None:
    model = make_openai(d=24)
    mel = 0.1 * torch.randn(2, 80, 3000)
    with edited(model, model.encoder, model.encoder.blocks, 24) as passes, torch.no_grad():
        model.encoder(mel)
    assert not passes[0][1].any()
    with steer(model, layer=1, edits=[Push(torch.ones(24), window=(START, END))]) as steering, torch.no_grad():
        steering.offset = 30.0
        assert not torch.equal(model.encoder(mel), model.encoder(mel) * 0)


@pytest.mark.parametrize("seconds", [0.0, 2.0, 29.0])
def test_what_fills_a_window_up_is_found_in_both_libraries(seconds: float) -> None:
    import whisper

    sound = np.random.default_rng(0).standard_normal(round(seconds * 16_000)).astype(np.float32) * 0.01
    of_openai = whisper.log_mel_spectrogram(np.pad(sound, (0, 480_000 - len(sound))))[None]
    later = whisper.pad_or_trim(whisper.log_mel_spectrogram(sound, padding=1600), 3000)[None]
    of_transformers = load_processor("tiny.en")(sound, sampling_rate=16_000, return_tensors="pt").input_features
    for spectrogram in (of_openai, later, of_transformers):
        found = filling(spectrogram.expand(2, -1, -1))
        begins = (~found[0]).sum().item()
        assert found[0, begins:].all()
        assert found[1].equal(found[0])
        assert seconds * 100 <= begins <= seconds * 100 + 12
    assert not filling(torch.randn(1, 80, 3000)).sum() > 1
