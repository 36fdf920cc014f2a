"""Steering Whisper while it writes: caches, beams, samples, batches, long files, half precision, both libraries."""

from __future__ import annotations

import copy
import threading
from typing import Any

import numpy as np
import pytest
import torch
from make import count_hooks, make_hf, make_sae

from audiosae_steer import (
    SAE,
    Ablate,
    Add,
    ClipGate,
    EditError,
    Gate,
    Push,
    Site,
    SiteEdits,
    SiteError,
    SiteGate,
    SteeringError,
    load_audio,
    load_processor,
    load_sae,
    steer,
)
from audiosae_steer.models.sites import first_text_tokens
from audiosae_steer.steering.recipes.load import checkpoints_dir

LAYER = 4
TOKENS = 9
EDITS = [Ablate(list(range(0, 256, 3)))]
MANY = list(range(0, 3072, 2))


@pytest.fixture(scope="module")
def sae() -> SAE:
    return load_sae(checkpoints_dir() / "whisper-tiny.en" / "encoder-4.safetensors").float()


@pytest.fixture(scope="module")
def decoder_sae() -> SAE:
    """A random SAE of the decoder's residual; strong enough to change words, and not so strong that the text ends."""
    g = torch.Generator().manual_seed(0)
    W = torch.randn(256, 384, generator=g) / 384**0.5
    return SAE(W, torch.zeros(256), 1.5 * W, torch.zeros(384), gate=Gate("relu"), info={"made": "at random"})


@pytest.fixture(scope="module")
def processor() -> Any:
    return load_processor("tiny.en")


@pytest.fixture(scope="module")
def clips() -> list[np.ndarray]:
    paths = sorted((checkpoints_dir() / "clips").glob("speech-*.flac"))[:2]
    return [load_audio(path) for path in paths]


@pytest.fixture(scope="module")
def features(processor: Any, clips: list[np.ndarray]) -> torch.Tensor:
    """Log-mel features of both clips, the same for both libraries."""
    return processor(clips, sampling_rate=16_000, return_tensors="pt").input_features


def write(model: Any, x: torch.Tensor, **options: Any) -> torch.Tensor:
    """The token ids that transformers writes."""
    return model.generate(x, **{"max_new_tokens": TOKENS, **options})


def decode(model: Any, x: torch.Tensor, **options: Any) -> Any:
    """What openai-whisper writes."""
    import whisper

    fixed = {"fp16": False, "language": "en", "without_timestamps": True, "sample_len": TOKENS}
    return model.decode(x, whisper.DecodingOptions(**{**fixed, **options}))


def always(sae: SAE, opened: bool) -> SiteGate:
    """A gate that opens for every clip, or for none."""
    return SiteGate(Site(LAYER), sae, ClipGate((0,), (1.0,), threshold=-1e6 if opened else 1e6))


def first_only(model: Any, sae: SAE, x: torch.Tensor) -> SiteGate:
    """A gate that opens for the first of two clips, from what their features are."""
    seen = []
    encoder = model.encoder if hasattr(model, "dims") else model.model.encoder
    block = (encoder.blocks if hasattr(encoder, "blocks") else encoder.layers)[LAYER - 1]
    handle = block.register_forward_hook(lambda module, args, out: seen.append(out[0] if type(out) is tuple else out))
    with torch.no_grad():
        encoder(x)
    handle.remove()
    pooled = sae.encode(seen[0]).amax(1)
    feature = int((pooled[0] - pooled[1]).argmax())
    return SiteGate(Site(LAYER), sae, ClipGate((feature,), (1.0,), threshold=float(pooled[:, feature].mean())))


@pytest.mark.parametrize("options", [{}, {"num_beams": 3}], ids=["greedy", "beam"])
def test_a_decoder_site_writes_the_same_with_and_without_a_cache(
    tiny_en_hf: Any, decoder_sae: SAE, features: torch.Tensor, options: dict[str, Any]
) -> None:
    plain = write(tiny_en_hf, features[:1], **options)
    with steer(tiny_en_hf, sae=decoder_sae, layer=2, side="decoder", edits=EDITS):
        cached = write(tiny_en_hf, features[:1], **options)
        whole = write(tiny_en_hf, features[:1], **options, use_cache=False)
    assert torch.equal(cached, whole)
    assert not torch.equal(cached, plain)
    assert count_hooks(tiny_en_hf) == 0


def test_what_openai_writes_with_its_cache_is_what_a_pass_over_the_whole_text_says(
    tiny_en: Any, decoder_sae: SAE, features: torch.Tensor
) -> None:
    start = torch.tensor([[50257, 50362]])
    with steer(tiny_en, sae=decoder_sae, layer=2, side="decoder", edits=EDITS):
        written = decode(tiny_en, features[:1], suppress_tokens="", suppress_blank=False)[0].tokens
        said = tiny_en(features[:1], torch.cat([start, torch.tensor([written])], 1)).argmax(-1)[0, 1:]
    unsteered = tiny_en(features[:1], torch.cat([start, torch.tensor([written])], 1)).argmax(-1)[0, 1:]
    assert len(written) > 3
    assert said[: len(written)].tolist() == written
    assert unsteered[: len(written)].tolist() != written


def test_both_libraries_write_the_same_steered_text_and_cache_hooks_come_and_go(
    tiny_en: Any, tiny_en_hf: Any, decoder_sae: SAE, processor: Any, features: torch.Tensor
) -> None:
    where = {"sae": decoder_sae, "layer": 2, "side": "decoder", "edits": EDITS}
    before, during = count_hooks(tiny_en), []
    with steer(tiny_en, **where):
        counter = tiny_en.decoder.ln.register_forward_hook(lambda *_: during.append(count_hooks(tiny_en)))
        ours = [result.text.strip() for result in decode(tiny_en, features)]
        counter.remove()
        assert count_hooks(tiny_en) == before + 1
    assert max(during) >= before + 2 + 2 * len(tiny_en.decoder.blocks)  # openai-whisper's own were there meanwhile
    assert count_hooks(tiny_en) == before
    with steer(tiny_en_hf, **where):
        ids = write(tiny_en_hf, features)
    shortest = min(map(len, ours)) // 2  # the two libraries count the length of a text differently
    theirs = [text.strip() for text in processor.batch_decode(ids, skip_special_tokens=True)]
    assert [text[:shortest] for text in ours] == [text[:shortest] for text in theirs]
    assert shortest > 10


def test_a_steering_removed_or_started_between_two_steps_leaves_openais_cache_alone(
    tiny_en: Any, decoder_sae: SAE, features: torch.Tensor
) -> None:
    plain = decode(tiny_en, features[:1])[0].tokens
    before, steps, live = count_hooks(tiny_en), [], []

    def change(*_: Any) -> None:
        steps.append(1)
        if len(steps) == 3:
            live.append(steer(tiny_en, sae=decoder_sae, layer=2, side="decoder", edits=EDITS, strength=2.0))
        if len(steps) == 5:
            live.pop().remove()

    foreign = tiny_en.decoder.register_forward_hook(change)
    changed = decode(tiny_en, features[:1])[0].tokens
    foreign.remove()
    assert len(steps) > 5
    assert changed[:3] == plain[:3]
    assert changed != plain
    assert count_hooks(tiny_en) == before
    assert decode(tiny_en, features[:1])[0].tokens == plain


@pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")  # openai-whisper sorts tensors with numpy
@pytest.mark.parametrize(
    "options",
    [
        {"beam_size": 3, "temperature": 0.0},
        {"best_of": 3, "temperature": 0.3},
        {"temperature": (0.0, 0.4), "logprob_threshold": -0.01},
    ],
    ids=["beam", "best_of", "fallback"],
)
def test_openai_transcribe_with_a_gate_on_the_encoder_and_edits_on_both_sides(
    tiny_en: Any, sae: SAE, decoder_sae: SAE, clips: list[np.ndarray], options: dict[str, Any]
) -> None:
    def run() -> tuple[str, list[float]]:
        torch.manual_seed(0)  # so that sampling is the same twice
        result = tiny_en.transcribe(clips[0], fp16=False, language="en", sample_len=TOKENS, **options)
        return result["text"], [segment["temperature"] for segment in result["segments"]]

    parts = [SiteEdits(Site(LAYER), sae, [Add(3, 0.5)]), SiteEdits(Site(2, "decoder"), decoder_sae, EDITS)]
    plain = run()
    with steer(tiny_en, parts, gate=always(sae, True), strength=2.0) as steering:
        assert run()[0] != plain[0]
        steering.strength = 0.0
        assert run() == plain
    with steer(tiny_en, parts, gate=always(sae, False)):
        assert run() == plain
    assert count_hooks(tiny_en) == 0
    if isinstance(options["temperature"], tuple):
        assert 0.4 in plain[1]


def test_a_gate_decides_for_each_clip_of_a_batch_and_its_beams(
    tiny_en_hf: Any, sae: SAE, decoder_sae: SAE, features: torch.Tensor
) -> None:
    def run() -> list[list[int]]:
        rows = write(tiny_en_hf, features, num_beams=2)
        return [[token for token in row if token != 50256] for row in rows.tolist()]

    plain = run()
    gate = first_only(tiny_en_hf, sae, features)
    with steer(tiny_en_hf, [SiteEdits(Site(2, "decoder"), decoder_sae, EDITS)], gate=gate) as steering:
        steered = run()
        assert steering.opened is not None
        assert steering.opened.tolist() == [True, False]
    assert steered[0] != plain[0]
    assert steered[1] == plain[1]


def test_one_batch_may_hold_steered_and_unsteered_clips(
    tiny_en_hf: Any, decoder_sae: SAE, processor: Any, features: torch.Tensor
) -> None:
    plain = processor.batch_decode(write(tiny_en_hf, features, num_beams=2), skip_special_tokens=True)
    parts = [SiteEdits(Site(2, "decoder"), decoder_sae, {"strange": EDITS})]
    with steer(tiny_en_hf, parts) as steering:
        steering.for_clips([None, "strange"])
        mixed = processor.batch_decode(write(tiny_en_hf, features, num_beams=2), skip_special_tokens=True)
    assert mixed[0] == plain[0]
    assert mixed[1] != plain[1]


def test_a_choice_for_another_number_of_clips_is_refused_and_the_model_still_runs(
    tiny_en_hf: Any, sae: SAE, features: torch.Tensor
) -> None:
    plain = write(tiny_en_hf, features)
    with steer(tiny_en_hf, [SiteEdits(Site(LAYER), sae, {"strange": [Ablate(MANY)]})]) as steering:
        steering.for_clips([None, "strange"])
        with pytest.raises(SteeringError, match="2 clips, but 4 rows reached encoder layer 4; pass for_clips"):
            write(tiny_en_hf, features, do_sample=True, temperature=0.5, num_return_sequences=2)
        steering.for_clips([None, None])
        assert torch.equal(write(tiny_en_hf, features), plain)


def test_a_pipeline_over_the_chunks_of_a_long_file(
    tiny_en_hf: Any, sae: SAE, processor: Any, clips: list[np.ndarray]
) -> None:
    from transformers import pipeline

    pipe = pipeline(
        "automatic-speech-recognition",
        model=tiny_en_hf,
        tokenizer=processor.tokenizer,
        feature_extractor=processor.feature_extractor,
        chunk_length_s=10,
        batch_size=2,
    )
    long = np.concatenate([clips[0], np.zeros(10 * 16_000, np.float32), clips[1]])
    batches = []

    def run() -> str:
        raw = {"raw": long.copy(), "sampling_rate": 16_000}
        return str(pipe(raw, return_timestamps=True, generate_kwargs={"max_new_tokens": TOKENS})["text"])

    plain = run()
    parts = [SiteEdits(Site(LAYER), sae, [Ablate(MANY)])]
    with steer(pipe, parts, gate=always(sae, True)) as steering:
        counter = tiny_en_hf.model.encoder.register_forward_hook(lambda *_: batches.append(len(steering.opened)))
        steered = run()
        counter.remove()
        steering.strength = 0.0
        assert run() == plain
    assert batches[0] == 2
    assert sum(batches) > 2
    assert steered != plain
    with steer(pipe, parts, gate=always(sae, False)):
        assert run() == plain
    assert count_hooks(tiny_en_hf) == 0


def test_a_long_file_in_one_call_of_generate_while_the_batch_shrinks(
    tiny_en_hf: Any, sae: SAE, decoder_sae: SAE, processor: Any, clips: list[np.ndarray]
) -> None:
    long = np.concatenate([clips[0], np.zeros(30 * 16_000, np.float32), clips[1]])
    inputs = processor(
        [long, clips[1]],
        sampling_rate=16_000,
        return_tensors="pt",
        truncation=False,
        padding="longest",
        return_attention_mask=True,
    )

    def run() -> torch.Tensor:
        return tiny_en_hf.generate(**inputs, return_timestamps=True, max_new_tokens=TOKENS)

    plain, rows = run(), []
    parts = [SiteEdits(Site(LAYER), sae, [Add(3, 0.5)]), SiteEdits(Site(2, "decoder"), decoder_sae, EDITS)]
    with steer(tiny_en_hf, parts, gate=always(sae, False)) as steering:
        counter = tiny_en_hf.model.encoder.register_forward_hook(lambda *_: rows.append(len(steering.opened)))
        assert torch.equal(run(), plain)
        counter.remove()
    assert {1, 2} <= set(rows)
    with steer(tiny_en_hf, parts, gate=always(sae, True)):
        steered = run()
    assert steered.shape != plain.shape or not torch.equal(steered, plain)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_steered_as_full_precision_is(
    tiny_en_hf: Any, sae: SAE, features: torch.Tensor, dtype: torch.dtype
) -> None:
    """Steering adds no more error than the dtype itself has: to the encoder's output, a number; a text may flip.

    Unsteered, each of the four blocks rounds some ten times. Steering rounds once more, and moves the few activations
    that lie within rounding of a threshold: twice the unsteered error leaves room for both.
    """
    features = features[:1]  # half precision is slow on a processor
    half = copy.deepcopy(tiny_en_hf).to(dtype)

    def encoded(model: Any) -> torch.Tensor:
        with torch.no_grad():
            return model.model.encoder(features.to(model.dtype)).last_hidden_state

    def error(found: torch.Tensor) -> float:
        wanted = encoded(tiny_en_hf)
        return float((found.float() - wanted).norm() / wanted.norm())

    gentle = {"sae": sae, "layer": LAYER, "edits": [Ablate(list(range(0, 3072, 16)))]}
    rough = {"sae": sae, "layer": LAYER, "edits": [Ablate(MANY)]}
    plain = encoded(half)
    unsteered = error(plain)
    with steer(half, **gentle) as steering:
        with steer(tiny_en_hf, **gentle):
            assert error(encoded(half)) < 2 * unsteered
        steering.strength = 0.0
        assert torch.equal(encoded(half), plain)
    with steer(half, **rough):  # else the zero strength above would show nothing
        assert error(encoded(half)) > 2 * unsteered


@pytest.mark.parametrize("library", ["openai", "transformers"])
def test_an_exception_in_the_middle_of_a_text_leaks_nothing(
    tiny_en: Any, tiny_en_hf: Any, sae: SAE, decoder_sae: SAE, features: torch.Tensor, library: str
) -> None:
    model = tiny_en if library == "openai" else tiny_en_hf

    def run() -> Any:
        return decode(model, features[:1])[0].tokens if library == "openai" else write(model, features[:1]).tolist()

    before, attributes, plain = count_hooks(model), set(vars(model)), run()
    parts = [SiteEdits(Site(LAYER), sae, [Add(3, 0.5)]), SiteEdits(Site(2, "decoder"), decoder_sae, EDITS)]
    calls: list[int] = []

    def break_down(*_: Any) -> None:
        calls.append(1)
        if len(calls) == 4:
            raise ConnectionError("out of power")

    def interrupted() -> Any:
        foreign = decoder.register_forward_hook(break_down)
        try:
            return run()
        finally:
            foreign.remove()

    decoder = model.decoder if library == "openai" else model.model.decoder
    with steer(model, parts, gate=always(sae, True)):
        wanted = run()
        with pytest.raises(ConnectionError):
            interrupted()
        assert run() == wanted  # what was interrupted may be done again, still steered
        assert wanted != plain
    calls.clear()
    with pytest.raises(ConnectionError), steer(model, parts, gate=always(sae, True)):
        interrupted()
    assert count_hooks(model) == before
    assert set(vars(model)) == attributes
    assert run() == plain


def test_two_models_write_in_two_threads_each_with_its_own_gate(
    tiny_en: Any, tiny_en_hf: Any, sae: SAE, decoder_sae: SAE, features: torch.Tensor
) -> None:
    parts = [SiteEdits(Site(2, "decoder"), decoder_sae, EDITS)]
    runs = {
        "openai": lambda: [result.tokens for result in decode(tiny_en, features)],
        "transformers": lambda: write(tiny_en_hf, features).tolist(),
    }
    gates = {"openai": first_only(tiny_en, sae, features), "transformers": always(sae, False)}
    models = {"openai": tiny_en, "transformers": tiny_en_hf}
    plain = {name: run() for name, run in runs.items()}
    alone, together = {}, {}
    for name, run in runs.items():
        with steer(models[name], parts, gate=gates[name]):
            alone[name] = run()
    assert alone["openai"][0] != plain["openai"][0]
    assert alone["openai"][1] == plain["openai"][1]
    assert alone["transformers"] == plain["transformers"]

    def work(name: str) -> None:
        with torch.no_grad(), steer(models[name], parts, gate=gates[name]):
            together[name] = runs[name]()

    threads = [threading.Thread(target=work, args=(name,)) for name in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone
    assert count_hooks(tiny_en) == count_hooks(tiny_en_hf) == 0


def test_generate_with_a_compiled_forward() -> None:
    torch._dynamo.reset()
    model, sae = make_hf(layers=2), make_sae("relu", 64, 200)
    x = torch.randn(2, 80, 3000, generator=torch.Generator().manual_seed(0))
    parts = [SiteEdits(Site(1), sae, [Ablate([1, 2])]), SiteEdits(Site(1, "decoder"), sae, [Add(7, 20.0)])]

    def run() -> list[list[int]]:
        return model.generate(x, max_new_tokens=4).tolist()

    plain = run()
    with steer(model, parts):
        wanted = run()
    model.forward = torch.compile(model.forward, backend="eager")
    assert run() == plain
    with steer(model, parts) as steering:
        assert run() == wanted
        steering.strength = 0.0
        assert run() == plain
    assert run() == plain
    assert wanted != plain


FIRST = [
    SiteEdits(
        Site(n, "decoder"),
        None,
        [Push(torch.randn(384, generator=torch.Generator().manual_seed(n)), 0.4)],
        steps="first",
    )
    for n in (2, 4)
]


def texts_of(model: Any, mel: torch.Tensor, **options: Any) -> list[list[int]]:
    import whisper

    found = model.decode(mel, whisper.DecodingOptions(language="en", fp16=False, sample_len=TOKENS, **options))
    return [result.tokens for result in found]


def mel_of(clips: list[np.ndarray]) -> torch.Tensor:
    import whisper

    return torch.stack([whisper.log_mel_spectrogram(whisper.pad_or_trim(torch.from_numpy(clip))) for clip in clips])


@pytest.mark.parametrize("timed", [True, False])
@pytest.mark.parametrize("prompt", [None, "Some words before,"])
def test_edits_of_the_first_step_change_it_and_nothing_else(tiny_en, clips, timed, prompt):
    """Each logit is held against a decoder whose residual is changed by hand, at that one step."""
    from whisper.decoding import Inference, PyTorchInference

    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    own = PyTorchInference.logits

    def logits(self: Inference, tokens: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
        found = own(self, tokens, frames)
        seen.append((tokens.clone(), found[:, -1].clone()))
        return found

    PyTorchInference.logits = logits
    try:
        with steer(tiny_en, FIRST):
            frames = tiny_en.embed_audio(mel_of(clips))
            texts_of(tiny_en, frames, without_timestamps=not timed, prompt=prompt)
    finally:
        PyTorchInference.logits = own
    by_hand = {part.site.layer: part.edits[0].vector.float() for part in FIRST}
    starts = 0
    for tokens, found in seen:
        start = (tokens >= 50362) & (tokens <= 50363 + 50)
        starts += int(start[:, -1].sum())

        def add(number: int, start: torch.Tensor = start) -> Any:
            return lambda module, args, out: out + 0.4 * start[..., None] * by_hand[number]

        handles = [tiny_en.decoder.blocks[n - 1].register_forward_hook(add(n)) for n in by_hand]
        with torch.no_grad():
            wanted = tiny_en.decoder(tokens, frames)[:, -1]
        for handle in handles:
            handle.remove()
        torch.testing.assert_close(found, wanted.float(), rtol=1e-3, atol=1e-3)
    assert starts >= len(clips)


def test_edits_of_the_first_step_are_the_same_in_transformers(tiny_en, tiny_en_hf, processor, clips):
    features = processor(clips, sampling_rate=16_000, return_tensors="pt").input_features
    with steer(tiny_en_hf, FIRST):
        cached, beams = (tiny_en_hf.generate(features, max_new_tokens=TOKENS, num_beams=n) for n in (1, 2))
        whole = tiny_en_hf.generate(features, max_new_tokens=TOKENS, use_cache=False)
    with steer(tiny_en, FIRST):
        theirs = texts_of(tiny_en, features, without_timestamps=True)
    assert cached.tolist() == whole.tolist()
    assert len(beams) == len(clips)
    for ours, row in zip(cached.tolist(), theirs, strict=True):
        assert [token for token in ours if token < 50256][: len(row)] == row


def test_behind_a_shut_gate_the_first_step_is_left_alone(tiny_en, clips, sae):
    gates = [SiteGate(Site(LAYER), sae, ClipGate((0,), (1.0,), threshold=t)) for t in (1e6, -1e6)]
    mel = mel_of(clips)
    plain = texts_of(tiny_en, mel)
    with steer(tiny_en, FIRST):
        bare = texts_of(tiny_en, mel)
    with steer(tiny_en, FIRST, gate=gates[0]):
        assert texts_of(tiny_en, mel) == plain
    with steer(tiny_en, FIRST, gate=gates[1]):
        assert texts_of(tiny_en, mel) == bare != plain


def test_edits_of_the_first_step_say_what_they_need(tiny_en):
    with pytest.raises(SiteError, match="for a decoder"):
        steer(tiny_en, [SiteEdits(Site(2), None, [Push(torch.ones(384))], steps="first")])
    with pytest.raises(EditError, match='expected "all", "first"'):
        steer(tiny_en, [SiteEdits(Site(2, "decoder"), None, [Push(torch.ones(384))], steps="last")])
    with steer(tiny_en, FIRST) as steering:
        assert "first token" in steering.explain()
        with pytest.raises(SteeringError, match="tokens that reached"):
            tiny_en.decoder.blocks[1](torch.zeros(1, 3, 384), torch.zeros(1, 5, 384))
        tiny_en.decoder(torch.tensor([[50257]]), torch.zeros(1, 5, 384))
    assert not count_hooks(tiny_en)


def test_a_vocabulary_without_timestamps_has_no_first_step():
    with pytest.raises(SiteError, match="no timestamps"):
        first_text_tokens(1000)
    assert [token in first_text_tokens(51866) for token in (50363, 50364, 50365, 50415, 50416)] == [
        False, True, True, True, False
    ]  # fmt: skip
