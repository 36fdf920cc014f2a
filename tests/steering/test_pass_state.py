"""State of a pass: threads, tasks and later decodings get the decision of their own clip."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from make import make_sae

from audiosae_steer import (
    Add,
    ClipGate,
    GateError,
    Site,
    SiteEdits,
    SiteGate,
    load_audio,
    load_processor,
    load_recipe,
    steer,
)
from audiosae_steer.steering.memory import Decision, Memory
from audiosae_steer.steering.recipes.load import checkpoints_dir
from audiosae_steer.steering.recipes.schema import site_of

NAMES = ("footsteps", "speech-01", "rain", "speech-02")


def clip(name: str) -> np.ndarray:
    return load_audio(checkpoints_dir() / "clips" / f"{name}.flac")


@pytest.fixture(scope="module")
def inputs() -> dict[str, torch.Tensor]:
    processor = load_processor("tiny.en")
    return {name: processor(clip(name), sampling_rate=16_000, return_tensors="pt").input_features for name in NAMES}


def text(model: Any, features: torch.Tensor, **options: Any) -> str:
    with torch.no_grad():
        tokens = model.generate(features, max_new_tokens=10, **options)
    return str(load_processor("tiny.en").batch_decode(tokens, skip_special_tokens=True)[0])


@pytest.mark.parametrize("recipe", ["no-false-speech", "no-false-speech-ungated"])
def test_two_requests_at_once_in_the_order_that_does_harm(
    tiny_en_hf: Any, inputs: dict[str, torch.Tensor], recipe: str
) -> None:
    """The noise is encoded, then the speech, then the noise is decoded: each by its own thread."""
    noise_encoded, speech_encoded = threading.Event(), threading.Event()
    got: dict[str, Any] = {}

    def after_encoder(module: Any, args: Any, output: Any) -> None:
        if threading.current_thread().name == "footsteps":
            noise_encoded.set()
            speech_encoded.wait(60)
        elif threading.current_thread().name == "speech-01":
            speech_encoded.set()

    def request(name: str) -> None:
        if name == "speech-01":
            noise_encoded.wait(60)
        got[name] = text(tiny_en_hf, inputs[name])

    with steer(tiny_en_hf, recipe):
        alone = {name: text(tiny_en_hf, inputs[name]) for name in ("footsteps", "speech-01")}
        handle = tiny_en_hf.get_encoder().register_forward_hook(after_encoder)
        threads = [threading.Thread(target=request, args=(name,), name=name) for name in alone]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        handle.remove()
    assert got == alone
    assert not alone["footsteps"]
    assert alone["speech-01"]


def test_many_threads_and_tasks_write_what_one_writes(tiny_en_hf: Any, inputs: dict[str, torch.Tensor]) -> None:
    beams = 2
    asked = [*NAMES, *reversed(NAMES)]
    with steer(tiny_en_hf, "no-false-speech"):
        alone = {name: text(tiny_en_hf, inputs[name], num_beams=beams) for name in NAMES}
        with ThreadPoolExecutor(4) as pool:
            threaded = list(pool.map(lambda name: text(tiny_en_hf, inputs[name], num_beams=beams), asked))

        async def serve() -> list[str]:
            calls = (asyncio.to_thread(text, tiny_en_hf, inputs[name], num_beams=beams) for name in NAMES)
            return list(await asyncio.gather(*calls))

        tasks = asyncio.run(serve())
    assert threaded == [alone[name] for name in asked]
    assert tasks == [alone[name] for name in NAMES]


def test_decoding_what_was_encoded_before(tiny_en_hf: Any, inputs: dict[str, torch.Tensor]) -> None:
    from transformers.modeling_outputs import BaseModelOutput

    def scaled(factor: float) -> Any:
        return BaseModelOutput(encoded["rain"].last_hidden_state * factor)

    with steer(tiny_en_hf, "no-false-speech") as steering:
        alone = {name: text(tiny_en_hf, inputs[name]) for name in NAMES}
        with torch.no_grad():
            encoded = {name: tiny_en_hf.get_encoder()(inputs[name]) for name in NAMES}
        for name in reversed(NAMES):
            assert text(tiny_en_hf, None, encoder_outputs=encoded[name]) == alone[name]
        beams = text(tiny_en_hf, inputs["speech-01"], num_beams=3)
        assert text(tiny_en_hf, None, encoder_outputs=encoded["speech-01"], num_beams=3) == beams
        with pytest.raises(GateError, match="run the encoder first"):
            text(tiny_en_hf, None, encoder_outputs=scaled(1.01))
        steering.opened = torch.tensor([True])  # of an encoding made elsewhere, by hand
        assert text(tiny_en_hf, None, encoder_outputs=scaled(1.0001)) == ""
    assert text(tiny_en_hf, None, encoder_outputs=encoded["rain"]) != ""


def test_generators_that_take_turns_in_one_thread(tiny_en: Any) -> None:
    import whisper

    mels = {name: whisper.log_mel_spectrogram(whisper.pad_or_trim(torch.from_numpy(clip(name)))) for name in NAMES[:2]}
    start = torch.tensor([[50257, 50362]])

    def steps(name: str) -> Any:
        encoded = tiny_en.embed_audio(mels[name][None])
        tokens = start
        for _ in range(4):
            yield name
            tokens = torch.cat([tokens, tiny_en.decoder(tokens, encoded)[:, -1:].argmax(-1)], 1)
        written[name] = tokens

    def run(*names: str) -> dict[str, torch.Tensor]:
        written.clear()
        going = [steps(name) for name in names]
        while going:
            going = [each for each in going if next(each, None) is not None]
        return dict(written)

    written: dict[str, torch.Tensor] = {}
    sae = make_sae("relu", d=384, F=8)
    sites = [SiteEdits(Site(2, "decoder"), sae, [Add(3, 40.0)])]
    recipe = load_recipe("no-false-speech", tiny_en)
    read = recipe.gate
    assert read is not None
    gate = SiteGate(site_of(read), recipe.load_saes()[read.sae], read.build())
    with torch.no_grad(), steer(tiny_en, sites, gate=gate):
        alone = run("footsteps") | run("speech-01")
        together = run("footsteps", "speech-01")
    with torch.no_grad():
        plain = run("footsteps") | run("speech-01")
    assert all(torch.equal(alone[name], together[name]) for name in alone)
    assert not torch.equal(alone["footsteps"], plain["footsteps"])
    assert torch.equal(alone["speech-01"], plain["speech-01"])


def test_codes_keep_their_own_clips_decision() -> None:
    from transformers import EncodecConfig, EncodecModel

    torch.manual_seed(0)
    model = EncodecModel(EncodecConfig(num_filters=4, hidden_size=32, codebook_size=64, target_bandwidths=[6.0])).eval()
    for layer in model.quantizer.layers:
        torch.nn.init.normal_(layer.codebook.embed, std=0.3)
    sae = make_sae("relu", d=model.config.hidden_size, F=16)
    torch.manual_seed(1)
    sounds = [torch.randn(1, 1, 4800), 0.01 * torch.randn(1, 1, 4800)]
    with torch.no_grad():
        pooled = [sae.encode(model.encoder(sound).transpose(1, 2)).amax(1)[0] for sound in sounds]
    feature = int((pooled[0] - pooled[1]).argmax())
    gate = SiteGate(Site(1), sae, ClipGate((feature,), (1.0,), threshold=float((pooled[0] + pooled[1])[feature] / 2)))
    with torch.no_grad(), steer(model, [SiteEdits(Site(1, "decoder"), sae, [Add(2, 3.0)])], gate=gate) as steering:
        made = [model.encode(sound) for sound in sounds]
        assert steering.opened is not None
        assert steering.opened.tolist() == [False]
        later = [model.decode(each.audio_codes, each.audio_scales)[0] for each in made]
        whole = [model(sound).audio_values for sound in sounds]
    with torch.no_grad():
        plain = [model(sound).audio_values for sound in sounds]
    assert not torch.equal(later[0], plain[0])
    assert torch.equal(later[1], plain[1])
    assert all(torch.equal(a, b) for a, b in zip(later, whole, strict=True))


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    d=st.sampled_from([1, 7, 384]),
    frames=st.sampled_from([1, 2, 30]),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    data=st.data(),
)
def test_memory_recalls_rows_in_any_order(sizes: list[int], d: int, frames: int, dtype: Any, data: Any) -> None:
    torch.manual_seed(0)
    memory = Memory()
    batches = [torch.arange(n * frames * d).reshape(n, frames, d).to(dtype) / 7 + 1000 * i for i, n in enumerate(sizes)]
    opened = [torch.rand(n) > 0.5 for n in sizes]
    for batch, decision in zip(batches, opened, strict=True):
        memory.remember(batch, Decision(decision))
    every, decided = torch.cat(batches), torch.cat(opened)
    marks = every.reshape(len(every), -1)
    if len(marks.unique(dim=0)) < len(marks):
        return  # in bfloat16 two of these clips may be the same
    rows = torch.tensor(data.draw(st.lists(st.integers(0, len(every) - 1), min_size=1, max_size=9)))
    found = memory.recall(every[rows])
    assert found is not None
    assert found.clips is not None
    assert torch.equal(found.clips, decided[rows])
    assert memory.recall(every[rows] + 5000) is None


def test_memory_keeps_the_newest_of_several_that_begin_alike() -> None:
    memory = Memory(limit=3)
    x = torch.zeros(5, 3, 8)
    x[:, 2] = torch.arange(5.0)[:, None]  # the first frames are the same in all
    for number in range(5):
        memory.remember(x[number : number + 1], Decision(torch.tensor([number % 2 == 0])))
    found = memory.recall(x[[4, 2, 3]])
    assert found is not None
    assert found.clips is not None
    assert found.clips.tolist() == [True, True, False]
    assert memory.recall(x[[1, 2]]) is None
    memory.remember(x[2:4], Decision(torch.tensor([False, True])))  # decided anew
    assert memory.recall(x[[3, 2, 2]]).clips.tolist() == [True, False, False]
    memory.remember(torch.arange(5.0)[:, None, None].expand(5, 3, 8), Decision(torch.ones(5, dtype=torch.bool)))
    assert memory.recall(torch.full((1, 3, 8), 4.0)).clips.tolist() == [True]  # more at once than it holds


def test_memory_finds_what_is_long_ago() -> None:
    memory = Memory(limit=150)
    x = torch.arange(200.0)[:, None, None].expand(200, 3, 8)
    for number in range(200):
        memory.remember(x[number : number + 1], Decision(torch.tensor([number % 3 == 0])))
    assert memory.recall(x[[60, 199, 51]]).clips.tolist() == [True, False, True]
    assert memory.recall(x[[49, 199]]) is None


def test_memory_of_inference_mode_is_written_outside_of_it_and_joins_kinds() -> None:
    memory = Memory(limit=4)
    with torch.inference_mode():
        memory.remember(torch.ones(2, 3, 4), Decision(torch.tensor([True, True])))
    memory.remember(torch.zeros(1, 3, 4), Decision(torch.tensor([False])))
    memory.remember(torch.full((1, 3, 4), 0.5, dtype=torch.float64), Decision(torch.tensor([True])))
    found = memory.recall(torch.tensor([1.0, 0.0, 0.5])[:, None, None].expand(3, 3, 4))
    assert found.clips.tolist() == [True, False, True]
    frames = torch.tensor([[True, False]])
    memory.remember(torch.full((1, 3, 4), 9.0), Decision(torch.tensor([True]), frames))
    found = memory.recall(torch.full((2, 3, 4), 9.0))
    assert found.frames.tolist() == [[True, False]] * 2


def test_memory_sees_changes_in_place_and_forgets_the_oldest() -> None:
    memory = Memory(limit=2)
    one, two = torch.ones(1, 3, 4), torch.zeros(1, 3, 4)
    memory.remember(one, Decision(torch.tensor([True])))
    memory.remember(two, Decision(torch.tensor([False])))
    buffer = one.clone()
    assert memory.recall(buffer).clips.tolist() == [True]
    buffer.copy_(two)
    assert memory.recall(buffer).clips.tolist() == [False]
    memory.remember(torch.full((1, 3, 4), 2.0), Decision(torch.tensor([True])))
    assert memory.recall(one) is None


def test_an_encoding_without_numbers_is_named(tiny_en_hf: Any, inputs: dict[str, torch.Tensor]) -> None:
    both = torch.cat([inputs["speech-01"], inputs["rain"] * torch.nan])
    with steer(tiny_en_hf, "no-false-speech"):
        with pytest.raises(GateError, match=r"row 1 of 2 \(counted from 0\) holds NaN"):
            text(tiny_en_hf, both)
        assert text(tiny_en_hf, inputs["speech-01"])
        assert text(tiny_en_hf, inputs["rain"]) == ""
