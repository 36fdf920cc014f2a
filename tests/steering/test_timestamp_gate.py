"""The timestamp gate in a steering: which frames, which rows, when it is off, and that it leaves nothing behind."""

from __future__ import annotations

import copy
import threading
from itertools import groupby
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from make import count_hooks
from windows import late_utterance

from audiosae_steer import (
    SAE,
    ClipGate,
    FrameGate,
    GateError,
    NeverCalledWarning,
    Site,
    SiteEdits,
    SiteGate,
    SteeringError,
    TimestampGate,
    load_audio,
    load_processor,
    load_sae,
    steer,
)
from audiosae_steer.models.families.timestamps import limits
from audiosae_steer.steering.gates import FrameProbe, TimestampProbe
from audiosae_steer.steering.recipes.load import checkpoints_dir

LAYER = 4
RATE = 16_000


@pytest.fixture(scope="module")
def sae() -> SAE:
    return load_sae(checkpoints_dir() / "whisper-tiny.en" / "encoder-4.safetensors").float()


@pytest.fixture(scope="module")
def window() -> np.ndarray:
    return late_utterance()


@pytest.fixture(scope="module")
def gate(tiny_en: Any, sae: SAE, window: np.ndarray) -> TimestampGate:
    """A gate on one real feature that fires for some of the frames of the window and not for others."""
    import whisper

    mel = whisper.log_mel_spectrogram(whisper.pad_or_trim(window))[None]
    seen = []
    handle = tiny_en.encoder.blocks[LAYER - 1].register_forward_hook(lambda m, args, output: seen.append(output))
    tiny_en.encoder(mel)
    handle.remove()
    f = sae.encode(seen[0])[0]
    shares = (f[400:520] > 0).float().mean(0) - (f[1000:] > 0).float().mean(0)
    feature = int(shares.argmax())
    assert float(shares[feature]) > 0.3
    return TimestampGate((feature,), (-1.0,), 0.0, -1e-6, 0.3)


def steered(model: Any, sae: SAE, gate: Any, **options: Any) -> Any:
    """A steering that has the gate alone."""
    return steer(model, [SiteEdits(Site(LAYER), None, [])], gate=SiteGate(Site(LAYER), sae, gate), **options)


def decoded(model: Any, *windows: np.ndarray) -> list[list[int]]:
    """Token ids that openai-whisper writes, with timestamps."""
    import whisper

    mel = torch.stack([whisper.log_mel_spectrogram(whisper.pad_or_trim(x)) for x in windows])
    return [found.tokens for found in model.decode(mel, whisper.DecodingOptions(fp16=False, language="en"))]


def times(tokens: list[int]) -> list[int]:
    """Frames of the timestamps among token ids."""
    return [token - 50363 for token in tokens if token >= 50363]


def lasting_by_hand(spoken: list[bool], shortest: int) -> list[bool]:
    """Runs of True of at least so many."""
    kept: list[bool] = []
    for value, run in groupby(spoken):
        n = len(list(run))
        kept += [value and n >= shortest] * n
    return kept


@settings(max_examples=60)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=12), st.booleans(), st.integers(0, 40), st.integers(0, 40))
def test_brief_stretches_do_not_count(sae: SAE, runs: list[int], first: bool, speech: int, gap: int) -> None:
    above = [value for n, run in enumerate(runs) for value in [first == (n % 2 == 0)] * run]
    probe = TimestampProbe(TimestampGate((0,), (1.0,), 0.0, 0.0, 0.0, {}, speech / 50, gap / 50), sae, 50.0)
    found = probe.opened(torch.tensor([above, [not value for value in above]]))
    for row, values in zip(found.tolist(), (above, [not value for value in above]), strict=True):
        spoken = lasting_by_hand([not value for value in values], min(speech, len(values)))
        assert row == lasting_by_hand([not value for value in spoken], min(gap, len(values)))


def test_the_margin_of_brief_stretches_has_the_other_sign(sae: SAE) -> None:
    x = torch.randn(2, 200, 384, generator=torch.Generator().manual_seed(0)) * 3
    numbers = ((3, 40, 700), (1.0, -2.0, 0.5))
    plain = FrameProbe(FrameGate(*numbers, 0.0, 0.0, 0.04), sae, 50.0)(x)
    for speech, gap in ((0.0, 0.0), (0.1, 0.0), (0.0, 0.1), (0.1, 0.2)):
        probe = TimestampProbe(TimestampGate(*numbers, 0.0, 0.0, 0.04, {}, speech, gap), sae, 50.0)
        margin, opened = probe(x), probe.opened(plain > 0)
        assert torch.equal(margin > 0, opened)
        same = opened == (plain > 0)
        assert torch.equal(margin[same], plain[same])
        assert same.all() == (speech == gap == 0)


def test_timestamps_lie_in_frames_for_which_it_stays_shut(tiny_en: Any, sae: SAE, gate: Any, window: Any) -> None:
    hooks, own = count_hooks(tiny_en), set(vars(tiny_en))
    plain = decoded(tiny_en, window)
    with steered(tiny_en, sae, gate) as s:
        tokens = decoded(tiny_en, window)[0]
        shut = ~s._shared.newest.unspoken[0]
        assert 0 < int(shut.sum()) < 1400
        assert times(tokens)
        assert all(shut[max(t - 1, 0)] or shut[min(t, 1499)] for t in times(tokens))
        residual = torch.randn(1, 1500, 384)
        assert s.hooks[Site(LAYER)](residual) is residual  # it edits nothing
    assert decoded(tiny_en, window) == plain
    assert not limits(tiny_en)
    assert count_hooks(tiny_en) == hooks
    assert set(vars(tiny_en)) == own


def test_it_is_off_where_the_steering_is(tiny_en: Any, sae: SAE, gate: Any, window: Any) -> None:
    plain = decoded(tiny_en, window)[0]
    with steered(tiny_en, sae, gate) as s:
        limited = decoded(tiny_en, window)[0]
        assert limited != plain
        for off in (0.0, -1.0):
            s.strength = off
            assert decoded(tiny_en, window)[0] == plain
        s.strength = 0.5
        assert decoded(tiny_en, window)[0] == limited
        s.enabled = False
        assert decoded(tiny_en, window)[0] == plain
        s.enabled = True
        with s.session(strength=[0.0, 1.0]):
            assert decoded(tiny_en, window, window) == [plain, limited]
        s.for_clips([None, "edits"])
        assert decoded(tiny_en, window, window) == [plain, limited]


def test_a_decision_goes_with_its_encoding(tiny_en_hf: Any, sae: SAE, gate: Any, window: Any) -> None:
    processor = load_processor("tiny.en")
    noise = np.random.default_rng(1).standard_normal(len(window)).astype(np.float32) * 1e-2
    x = [processor(each, sampling_rate=RATE, return_tensors="pt").input_features for each in (window, noise)]
    options = {"return_timestamps": True, "max_new_tokens": 3}  # one segment: encodings cannot be cut for the next
    with steered(tiny_en_hf, sae, gate):
        alone = [tiny_en_hf.generate(each, **options)[0].tolist() for each in x]
        encoded = [tiny_en_hf.get_encoder()(each) for each in x]
        later = [tiny_en_hf.generate(encoder_outputs=each, **options)[0].tolist() for each in encoded]
        assert later == alone
        found: dict[int, list[list[int]]] = {0: [], 1: []}

        def run(which: int) -> None:
            for _ in range(3):
                found[which].append(tiny_en_hf.generate(x[which], **options)[0].tolist())

        threads = [threading.Thread(target=run, args=(which,)) for which in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == {0: [alone[0]] * 3, 1: [alone[1]] * 3}


def test_copies_follow_the_original_and_forget_with_it(tiny_en: Any, sae: SAE, gate: Any, window: Any) -> None:
    plain = decoded(tiny_en, window)
    with steered(tiny_en, sae, gate):
        limited = decoded(tiny_en, window)
        twin = copy.deepcopy(tiny_en)
        assert decoded(twin, window) == limited
    assert decoded(twin, window) == plain


def test_gates_of_all_kinds_together(tiny_en: Any, sae: SAE, gate: Any, window: Any) -> None:
    shut = ClipGate(gate.features, (0.0,), 0.0, 1.0)
    frames = FrameGate(gate.features, (0.0,), 0.0, 1.0)
    gates = [SiteGate(Site(LAYER), sae, each) for each in (shut, frames, gate)]
    with steered(tiny_en, sae, gate):
        limited = decoded(tiny_en, window)
    with steer(tiny_en, [SiteEdits(Site(LAYER), None, [])], gate=gates):
        assert decoded(tiny_en, window) == limited
    plain, opened = decoded(tiny_en, window), ClipGate(gate.features, (0.0,), 0.0, -1.0)
    with steer(tiny_en, [SiteEdits(Site(LAYER), None, [])], gate=[SiteGate(Site(LAYER), sae, opened), gates[2]]):
        assert decoded(tiny_en, window) == plain  # a clip without speech is the clip gate's
    with pytest.raises(GateError, match="two gates of one kind"):
        steer(tiny_en, [SiteEdits(Site(LAYER), None, [])], gate=[gates[2], gates[2]])


def test_what_it_cannot_do_is_said(tiny_en: Any, sae: SAE, gate: Any) -> None:
    for odd in (-1.0, 31.0, float("nan")):
        with pytest.raises(GateError, match="least_gap is in seconds, from 0 to 30"):
            TimestampGate((0,), (1.0,), least_gap=odd)
    with pytest.raises(GateError, match="frames that have a time"):
        steer(tiny_en, [SiteEdits(Site(LAYER), None, [])], gate=SiteGate(Site(2, "decoder"), sae, gate))
    s = steered(tiny_en, sae, gate)
    with pytest.raises(SteeringError, match="timestamp gate"):
        s.bake()
    with pytest.warns(NeverCalledWarning):
        s.remove()
    assert not limits(tiny_en)


@pytest.mark.parametrize(("quiet", "limited"), [(0.5, False), (1.5, True)])
def test_silence_that_fills_up_a_window_is_no_gap(sae: SAE, quiet: float, limited: bool) -> None:
    gate = TimestampGate((3,), (-1.0,), 0.0, -1.0, 0.0, {}, 0.0, 1.0)
    probe = TimestampProbe(gate, sae, 50.0)
    spoken = torch.arange(1500) < 300
    margin = torch.where(spoken, -0.5, 0.5)[None].expand(2, -1)
    filled = torch.arange(3000)[None] >= torch.tensor([[600 + round(100 * quiet)], [3000]])
    found = probe.beside(margin, filled)
    assert torch.equal(found[1], margin[1])
    assert torch.equal(found[0], margin[0] if limited else -margin[0].abs())
    for other in (None, filled[:1], filled[:, :2999]):
        assert probe.beside(margin, other) is margin


def test_utterances_in_silence_are_written_bit_for_bit(tiny_en: Any, tiny_en_hf: Any) -> None:
    clips = [load_audio(path) for path in sorted((checkpoints_dir() / "clips").glob("speech-*.flac"))[:2]]
    processor = load_processor("tiny.en")
    features = processor(clips, sampling_rate=RATE, return_tensors="pt").input_features
    generate = {"return_timestamps": True, "max_new_tokens": 40}
    plain, texts = tiny_en_hf.generate(features, **generate), decoded(tiny_en, *clips)
    noisy = np.pad(clips[0], (0, 10 * RATE)) + late_utterance()[: len(clips[0]) + 10 * RATE] * 30
    with steer(tiny_en, "no-false-speech") as steering:
        assert decoded(tiny_en, *clips) == texts
        assert not any(event.opened for event in steering.events)
        decoded(tiny_en, noisy.astype(np.float32))
        assert [event.kind for event in steering.events if event.opened][-1:] == ["timestamp"]
    with steer(tiny_en_hf, "no-false-speech"):
        assert torch.equal(tiny_en_hf.generate(features, **generate), plain)


def test_compiled_code_knows_what_fills_a_window_up(tiny_en: Any) -> None:
    import whisper

    clip = load_audio(sorted((checkpoints_dir() / "clips").glob("speech-*.flac"))[0])
    padded, noise = (whisper.log_mel_spectrogram(whisper.pad_or_trim(x))[None] for x in (clip, late_utterance()))
    with steer(tiny_en, "no-false-speech") as steering, torch.no_grad():
        compiled = torch.compile(tiny_en.encoder, backend="eager")
        for spectrogram in (padded, noise, padded):
            found = []
            for encoder in (tiny_en.encoder, compiled):
                encoder(spectrogram)
                found.append(steering._shared.newest.unspoken)
            assert torch.equal(*found)
            assert bool(found[0].any()) == (spectrogram is noise)
