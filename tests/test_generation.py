"""Steering the released tiny.en while it writes: caches, beams, samples, batches, long files, both libraries."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from audiosae_steer import (
    SAE,
    Ablate,
    Add,
    ClipGate,
    Gate,
    Site,
    SiteEdits,
    SiteGate,
    load_audio,
    load_processor,
    load_sae,
    steer,
)
from audiosae_steer.recipes import checkpoints_dir

LAYER = 4


@pytest.fixture(scope="module")
def sae() -> SAE:
    return load_sae(checkpoints_dir() / "whisper-tiny.en" / "encoder-4.safetensors").float()


@pytest.fixture(scope="module")
def decoder_sae() -> SAE:
    """A random SAE of the decoder's residual; strong enough to change words."""
    g = torch.Generator().manual_seed(0)
    W = torch.randn(256, 384, generator=g) / 384**0.5
    return SAE(W, torch.zeros(256), 3 * W, torch.zeros(384), gate=Gate("relu"), info={"made": "at random"})


@pytest.fixture(scope="module")
def processor() -> Any:
    return load_processor("tiny.en")


@pytest.fixture(scope="module")
def clips() -> list[np.ndarray]:
    paths = sorted((checkpoints_dir() / "clips").glob("speech-*.flac"))[:2]
    return [load_audio(path) for path in paths]


def features(processor: Any, clips: list[np.ndarray]) -> torch.Tensor:
    """Log-mel features of a batch."""
    return processor(clips, sampling_rate=16_000, return_tensors="pt").input_features


def hooks(model: Any) -> int:
    """Forward hooks anywhere in the model."""
    return sum(len(module._forward_hooks) for module in model.modules())


EDITS = [Ablate(list(range(0, 256, 3)))]


@pytest.mark.parametrize("options", [{}, {"num_beams": 3}], ids=["greedy", "beam"])
def test_a_decoder_site_writes_the_same_with_and_without_a_cache(
    tiny_en_hf: Any, decoder_sae: SAE, processor: Any, clips: list[np.ndarray], options: dict[str, Any]
) -> None:
    x = features(processor, clips)
    plain = tiny_en_hf.generate(x, **options)
    with steer(tiny_en_hf, sae=decoder_sae, layer=2, side="decoder", edits=EDITS):
        cached = tiny_en_hf.generate(x, **options)
        whole = tiny_en_hf.generate(x, **options, use_cache=False)
    assert torch.equal(cached, whole)
    assert not torch.equal(cached, plain)
    assert torch.equal(tiny_en_hf.generate(x, **options), plain)


def test_both_libraries_write_the_same_steered_text(
    tiny_en: Any, tiny_en_hf: Any, decoder_sae: SAE, processor: Any, clips: list[np.ndarray]
) -> None:
    import whisper

    where = {"sae": decoder_sae, "layer": 2, "side": "decoder", "edits": EDITS}
    before = hooks(tiny_en)
    mel = torch.stack([whisper.log_mel_spectrogram(whisper.pad_or_trim(torch.from_numpy(clip))) for clip in clips])
    options = whisper.DecodingOptions(fp16=False, language="en", without_timestamps=True)
    with steer(tiny_en, **where):
        ours = [result.text.strip() for result in tiny_en.decode(mel, options)]
        assert hooks(tiny_en) == before + 1  # the key-value cache's own hooks came and went
    with steer(tiny_en_hf, **where):
        ids = tiny_en_hf.generate(features(processor, clips))
    theirs = [text.strip() for text in processor.batch_decode(ids, skip_special_tokens=True)]
    assert ours == theirs


@pytest.mark.parametrize(
    "options",
    [{"beam_size": 3}, {"best_of": 3, "temperature": 0.3}, {"temperature": (0.0, 0.4)}],
    ids=["beam", "best_of", "fallback"],
)
def test_openai_transcribe_with_a_gate_on_the_encoder_and_edits_on_both_sides(
    tiny_en: Any, sae: SAE, decoder_sae: SAE, clips: list[np.ndarray], options: dict[str, Any]
) -> None:
    torch.manual_seed(0)
    parts = [SiteEdits(Site(LAYER), sae, [Add(3, 0.5)]), SiteEdits(Site(2, "decoder"), decoder_sae, EDITS)]
    base = {"fp16": False, "language": "en", **options}
    shut = SiteGate(Site(LAYER), sae, ClipGate((0,), (1.0,), threshold=1e6))
    opened = SiteGate(Site(LAYER), sae, ClipGate((0,), (1.0,), threshold=-1e6))
    plain = tiny_en.transcribe(clips[0], **{**base, "temperature": 0.0} if "best_of" not in options else base)["text"]
    with steer(tiny_en, parts, gate=opened):
        assert tiny_en.transcribe(clips[0], **base)["text"] != plain
    if "best_of" not in options:  # sampling differs from run to run
        with steer(tiny_en, parts, gate=shut):
            assert tiny_en.transcribe(clips[0], **base)["text"] == plain


def test_one_batch_may_hold_steered_and_unsteered_clips(
    tiny_en_hf: Any, decoder_sae: SAE, processor: Any, clips: list[np.ndarray]
) -> None:
    x = features(processor, clips)
    plain = processor.batch_decode(tiny_en_hf.generate(x, num_beams=2), skip_special_tokens=True)
    parts = [SiteEdits(Site(2, "decoder"), decoder_sae, {"strange": EDITS})]
    with steer(tiny_en_hf, parts) as steering:
        steering.for_clips([None, "strange"])
        mixed = processor.batch_decode(tiny_en_hf.generate(x, num_beams=2), skip_special_tokens=True)
    assert mixed[0] == plain[0]
    assert mixed[1] != plain[1]


def test_a_pipeline_over_a_long_file(tiny_en_hf: Any, processor: Any, clips: list[np.ndarray]) -> None:
    from transformers import pipeline

    pipe = pipeline(
        "automatic-speech-recognition",
        model=tiny_en_hf,
        tokenizer=processor.tokenizer,
        feature_extractor=processor.feature_extractor,
        chunk_length_s=15,
        batch_size=2,
    )
    long = np.concatenate([clips[0], np.zeros(20 * 16_000, np.float32), clips[1]])

    def run() -> str:
        return str(pipe({"raw": long.copy(), "sampling_rate": 16_000}, return_timestamps=True)["text"])

    plain = run()
    with steer(pipe, "no-false-speech", strength=0.0):
        assert run() == plain
    with steer(pipe, "no-false-speech") as steering:
        steered = run()
        assert steering.opened is not None
    for word in ("report", "week"):
        assert (word in steered) == (word in plain)
    assert run() == plain


def test_half_precision_writes_the_same_words(tiny_en_hf: Any, processor: Any, clips: list[np.ndarray]) -> None:
    import copy

    half = copy.deepcopy(tiny_en_hf).bfloat16()
    x = features(processor, clips)
    with steer(tiny_en_hf, "no-false-speech-ungated"):
        wide = processor.batch_decode(tiny_en_hf.generate(x), skip_special_tokens=True)
    with steer(half, "no-false-speech-ungated"):
        narrow = processor.batch_decode(half.generate(x.bfloat16()), skip_special_tokens=True)
    assert narrow == wide
