"""What the gates decided, as it is told: by window, clip, thread and session, and to nobody who does not ask."""

from __future__ import annotations

import gc
import logging
import threading
from typing import Any

import numpy as np
import pytest
import torch
from make import BRIEF, make_openai, make_sae
from torch.utils._python_dispatch import TorchDispatchMode

from audiosae_steer import (
    Ablate,
    Add,
    CallbackWarning,
    ClipGate,
    Events,
    FrameGate,
    GateError,
    GateEvent,
    Recipe,
    Site,
    SiteEdits,
    load_audio,
    load_processor,
    load_recipe,
    load_sae,
    steer,
)
from audiosae_steer.steering import recorder as recorder_module
from audiosae_steer.steering.events import Decided, collecting
from audiosae_steer.steering.gates import gate_features
from audiosae_steer.steering.recipes.load import checkpoints_dir

D = 64
MEL = torch.randn(3, 80, 2 * BRIEF, generator=torch.Generator().manual_seed(0))
GATE = ClipGate((1, 2), (1.0, -0.5), bias=0.1)
FRAMES = FrameGate((3, 4), (1.0, -1.0), threshold=0.2, reach=0.1)
pytestmark = pytest.mark.filterwarnings("ignore:FP16", "ignore:Chunking", "ignore:.*chunk_length_s")


def clip(name: str) -> np.ndarray:
    return load_audio(checkpoints_dir() / "clips" / f"{name}.flac")


def padded(sound: np.ndarray, seconds: float = 30) -> np.ndarray:
    return np.pad(sound, (0, int(seconds * 16_000) - len(sound)))


def long() -> np.ndarray:
    return np.concatenate([padded(clip("rain")), padded(clip("speech-01")), clip("footsteps")])


def clip_gated(model: Any) -> Recipe:
    """`no-false-speech` with its clip gate alone."""
    return load_recipe("no-false-speech", model).model_copy(update={"timestamp_gate": None})


def small(**options: Any) -> tuple[Any, Any]:
    model = make_openai(d=D, frames=BRIEF)
    return model, steer(model, sae=make_sae("relu", D, 200), layer=2, edits=[Add(3, 1.0)], **{"gate": GATE} | options)


@pytest.fixture(scope="module")
def features() -> dict[str, torch.Tensor]:
    names, processor = ("footsteps", "speech-01", "rain", "speech-02"), load_processor("tiny.en")
    return {name: processor(clip(name), sampling_rate=16_000, return_tensors="pt").input_features for name in names}


def test_a_score_is_that_of_the_gates_features(tiny_en: Any) -> None:
    recipe = clip_gated(tiny_en)
    gate = recipe.gate.build()
    sae = load_sae(checkpoints_dir() / "whisper-tiny.en" / "encoder-4.safetensors")
    with steer(tiny_en, recipe) as steering:
        for name in ("rain", "speech-01"):
            _residual(tiny_en, clip(name))
        events = list(steering.events)
        assert [event.opened for event in events] == [True, False]
        assert steering.opened.tolist() == [False]
    for name, event in zip(("rain", "speech-01"), events, strict=True):
        x = _residual(tiny_en, clip(name))
        score = (gate_features(sae, x, gate.features, gate.pool) @ torch.tensor(gate.weights)).item() + gate.bias
        assert event.score == pytest.approx(score, abs=1e-3)
        assert event.threshold == gate.threshold
        assert event.opened == (event.score > event.threshold)
        assert (event.kind, event.site, event.features) == ("clip", Site(4), gate.features)
        assert (event.start, event.end, event.clip) == (0.0, 30.0, 0)
        assert event.spans == (((0.0, 30.0),) if event.opened else ())
    with pytest.raises(AttributeError):
        events[0].opened = True  # type: ignore[misc]


def _residual(model: Any, sound: np.ndarray) -> torch.Tensor:
    import whisper

    found = []
    handle = model.encoder.blocks[3].register_forward_hook(lambda module, args, output: found.append(output))
    mel = whisper.log_mel_spectrogram(whisper.pad_or_trim(sound), model.dims.n_mels)
    with torch.no_grad():
        model.encoder(mel[None])
    handle.remove()
    return found[0]


def test_windows_of_whisper_transcribe_begin_where_they_do(tiny_en: Any) -> None:
    with steer(tiny_en, clip_gated(tiny_en)) as steering:
        tiny_en.transcribe(long(), temperature=0.0, condition_on_previous_text=False)
        events = list(steering.events)
        steering.offset = 100.0
        tiny_en.transcribe(clip("rain"), temperature=0.0)
        assert steering.events[-1].start == 100.0
    assert events[0].start == 0.0
    starts = [event.start for event in events]
    assert starts == sorted(starts)
    assert starts[1] == 30.0  # which is noise, and so leaves no text to begin anew after
    assert [event.end - event.start for event in events] == [30.0] * len(events)
    assert [event.window for event in events] == list(range(len(events)))
    assert [event.opened for event in events[:2]] == [True, False]
    assert events[-1].opened


def test_windows_of_generate_and_of_a_pipeline(tiny_en_hf: Any) -> None:
    from transformers import pipeline

    processor = load_processor("tiny.en")
    inputs = processor(
        long(), sampling_rate=16_000, return_tensors="pt", truncation=False, padding="longest",
        return_attention_mask=True,
    )  # fmt: skip
    asr = pipeline(
        "automatic-speech-recognition", model=tiny_en_hf, tokenizer=processor.tokenizer,
        feature_extractor=processor.feature_extractor, chunk_length_s=30, stride_length_s=(0, 10),
    )  # fmt: skip
    with steer(tiny_en_hf, clip_gated(tiny_en_hf)) as steering:
        tiny_en_hf.generate(**inputs, return_timestamps=True, condition_on_prev_tokens=False, num_beams=1)
        generated = [event.start for event in steering.events]
        steering.events.clear()
        assert len(steering.events) == 0
        asr(long(), generate_kwargs={"max_new_tokens": 3, "num_beams": 1})
        chunks = [event.start for event in steering.events]
    assert generated[:2] == [0.0, 30.0]
    assert generated == sorted(generated)
    assert chunks == [0.0, 20.0, 40.0, 60.0][: len(chunks)]
    assert len(chunks) >= 3


def test_a_batch_gives_an_event_for_each_clip(tiny_en_hf: Any, features: dict[str, torch.Tensor]) -> None:
    with steer(tiny_en_hf, clip_gated(tiny_en_hf)) as steering, torch.no_grad():
        tiny_en_hf.generate(torch.cat(list(features.values())), max_new_tokens=4)
        together = list(steering.events)
        assert [event.opened for event in together] == steering.opened.tolist() == [True, False, True, False]
        for each in features.values():
            tiny_en_hf.generate(each, max_new_tokens=4, num_beams=2)
        alone = steering.events[4:]
    assert [event.clip for event in together] == [0, 1, 2, 3]
    assert {event.window for event in together} == {0}
    assert [event.window for event in alone] == [1, 2, 3, 4]
    assert [event.score for event in together] == pytest.approx([event.score for event in alone], abs=1e-3)


def test_threads_and_their_sessions(tiny_en_hf: Any, features: dict[str, torch.Tensor]) -> None:
    heard: dict[str, list[str]] = {}

    def listen(event: GateEvent) -> None:
        heard.setdefault(threading.current_thread().name, []).append(event.thread)

    found: dict[str, list[GateEvent]] = {}
    with steer(tiny_en_hf, clip_gated(tiny_en_hf), on_gate=listen) as steering:

        def run(name: str) -> None:
            with steering.session(strength=0.5) as session, torch.no_grad():
                for _ in range(2):
                    tiny_en_hf.generate(features[name], max_new_tokens=4)
            found[name] = list(session.events)

        threads = [threading.Thread(target=run, args=(name,), name=name) for name in features]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        everything = list(steering.events)
    assert heard == {name: [name] * 2 for name in features}
    assert len(everything) == 8
    assert len({event.window for event in everything}) == 8
    for name, events in found.items():
        assert {event.thread for event in events} == {name}
        assert [event.opened for event in events] == [not name.startswith("speech")] * 2
        assert {event.strength for event in events} == {0.5}
        assert events == [event for event in everything if event.thread == name]


def test_strengths_and_choices_of_clips_are_told() -> None:
    model, sae = make_openai(d=D, frames=BRIEF), make_sae("relu", D, 200)
    edits = {"loud": [Add(3, 4.0)], "quiet": [Ablate(1)]}
    with steer(model, [SiteEdits(Site(2), sae, edits)], gate=[_at(sae)], strength=0.8) as steering, torch.no_grad():
        steering.for_clips(["loud", None, "quiet"])
        model.encoder(MEL)
        steering.for_clips(["loud", None, "quiet"], strength=[1.0, 0.5, 0.0], offset=[0.0, 30.0, 60.0])
        model.encoder(MEL)
        with steering.session(strength=0.3):
            model.encoder(MEL)
        steering.enabled = False
        model.encoder(MEL)
        told = [event.strength for event in steering.events]
        starts = [event.start for event in steering.events]
    assert told == [0.8, 0.0, 0.8, 1.0, 0.0, 0.0, 0.3, 0.0, 0.3, 0.0, 0.0, 0.0]
    assert starts[3:6] == [0.0, 30.0, 60.0]


def _at(sae: Any) -> Any:
    from audiosae_steer import SiteGate

    return SiteGate(Site(1), sae, GATE)


def test_spans_of_a_frame_gate_are_its_open_frames() -> None:
    model, steering = small(gate=[GATE, FRAMES])
    with steering, torch.no_grad():
        model.encoder(MEL)
        clips, frames = ([event for event in steering.events if event.kind == kind] for kind in ("clip", "frame"))
        opened = steering.opened_frames
    assert [event.opened for event in clips] == steering.opened.tolist()
    assert {event.window for event in (*clips, *frames)} == {0}
    assert 0 < opened.sum() < opened.numel()
    for row, event in enumerate(frames):
        times = (torch.arange(BRIEF) + 0.5) * 30 / BRIEF
        within = torch.zeros(BRIEF, dtype=torch.bool)
        for start, end in event.spans:
            assert 0 <= start < end <= 30
            within |= (times > start) & (times < end)
        assert torch.equal(within, opened[row])
        assert event.opened == bool(opened[row].any()) == (event.score > event.threshold)


def test_padding_is_left_out_where_the_model_knows_of_it() -> None:
    from transformers import HubertConfig, HubertModel

    torch.manual_seed(0)
    model = HubertModel(
        HubertConfig(
            hidden_size=D, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, feat_extract_norm="layer",
            num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4,
        )
    ).eval()  # fmt: skip
    always = FrameGate((1,), (0.0,), bias=1.0, reach=0.0)
    sound, mask = torch.randn(2, 32_000), torch.ones(2, 32_000, dtype=torch.long)
    mask[1, 16_000:] = 0
    with steer(model, sae=make_sae("relu", D, 200), layer=1, edits=[Add(3, 1.0)], gate=always) as steering:
        with torch.no_grad():
            model(sound, attention_mask=mask)
        whole, half = steering.events
    assert whole.spans == ((0.0, whole.end),)
    assert half.spans == ((0.0, half.end),)
    assert whole.end == pytest.approx(2.0, abs=0.05)
    assert half.end == pytest.approx(1.0, abs=0.05)


def test_a_listener_that_raises_is_told_of_and_changes_nothing(tiny_en: Any, caplog: pytest.LogCaptureFixture) -> None:
    with steer(tiny_en, clip_gated(tiny_en)):
        plain = tiny_en.transcribe(clip("rain"), temperature=0.0)["text"]
    heard: list[GateEvent] = []

    def listen(event: GateEvent) -> None:
        heard.append(event)
        raise LookupError("no such dashboard")

    with steer(tiny_en, clip_gated(tiny_en), on_gate=listen) as steering:
        with pytest.warns(CallbackWarning, match="LookupError: no such dashboard.*the model goes on"):
            assert tiny_en.transcribe(clip("rain"), temperature=0.0)["text"] == plain
        assert heard == list(steering.events)
    (logged,) = (record for record in caplog.records if record.levelno == logging.WARNING)
    assert logged.name == "audiosae_steer.gates"
    assert logged.exc_info is not None


def test_a_listener_needs_a_gate_and_is_a_function(tiny_en: Any) -> None:
    hooks = len(list(tiny_en.modules()))
    with pytest.raises(GateError, match="this steering has none"):
        steer(tiny_en, "no-false-speech-ungated", on_gate=print)
    with pytest.raises(GateError, match="on_gate is a str; expected a function"):
        steer(tiny_en, "no-false-speech", on_gate="print")  # type: ignore[arg-type]
    assert len(list(tiny_en.modules())) == hooks
    assert not any(module._forward_hooks for module in tiny_en.modules())
    with steer(tiny_en, "no-false-speech-ungated") as steering:
        tiny_en.transcribe(clip("rain"), temperature=0.0)
        assert list(steering.events) == []
        assert repr(steering.events) == "<no gate events>"


class Operations(TorchDispatchMode):
    """Names of the operations that run."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


def test_nothing_is_read_from_another_device_unless_somebody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_module, "_is_at_hand", lambda margin: False)

    def operations(model: Any) -> list[str]:
        with torch.no_grad(), Operations() as seen:
            model.encoder(MEL)
        return seen.names

    model, steering = small()
    operations(model)
    noted = operations(model)
    kept = [decided.margin for decided in steering.events._kept]
    assert len(kept) == 2
    assert all(isinstance(margin, torch.Tensor) for margin in kept)
    recorder, steering._shared.recorder = steering._shared.recorder, None
    assert [name for name in noted if "detach" not in name] == [n for n in operations(model) if "detach" not in n]
    steering._shared.recorder = recorder
    recorder.on_gate = lambda event: None
    operations(model)
    assert all(decided.margin is None for decided in list(steering.events._kept)[2:])
    steering.remove()


def test_passes_leave_no_tensors_behind() -> None:
    """Small ones that stay keep the allocator from using the large ones' memory again: it grew with each request."""
    model, steering = small()

    def tensors() -> int:
        gc.collect()
        return sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects())

    counts = []
    for _ in range(3):
        for _ in range(8):
            with torch.no_grad():
                model.encoder(MEL)
        counts.append(tensors())
    assert counts[0] == counts[1] == counts[2]
    assert len(steering.events) == 3 * 8 * len(MEL)
    steering.remove()


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:`torch.jit.trace")
def test_nothing_is_noted_in_compiled_or_traced_code_or_of_a_recomputed_pass() -> None:
    model, steering = small()
    compiled = torch.compile(model.encoder, backend="eager")
    with torch.no_grad():
        compiled(MEL)
        torch.jit.trace(model.encoder, MEL, check_trace=False)
    assert len(steering.events) == 0
    from torch.utils.checkpoint import checkpoint

    mel = MEL.clone().requires_grad_()
    checkpoint(model.encoder, mel, use_reentrant=False).sum().backward()
    assert len(steering.events) == 3
    assert mel.grad is not None
    steering.remove()


def test_a_log_is_bounded_by_events_and_keeps_whole_passes() -> None:
    model, steering = small()
    with torch.no_grad():
        for _ in range(4):
            model.encoder(MEL)
    kept: list[Decided] = list(steering.events._kept)
    events = Events(limit=7)
    for decided in kept:
        events.add(decided)
    assert [event.window for event in events] == [2, 2, 2, 3, 3, 3]
    assert len(events) == 6
    assert events[-1] == steering.events[-1]
    assert repr(events).count("\n") == 5
    assert Events()._limit == 4096
    steering.remove()


def test_a_thread_collects_the_events_of_any_steering() -> None:
    (one, first), (other, second) = small(), small()
    with torch.no_grad(), collecting(Events()) as found:
        one.encoder(MEL)
        other.encoder(MEL[:1])
        thread = threading.Thread(target=lambda: one.encoder(MEL[:1]))
        thread.start()
        thread.join()
    assert len(found) == 4
    assert len(first.events) == 4
    assert len(second.events) == 1
    first.remove()
    second.remove()


def test_what_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    assert any(isinstance(each, logging.NullHandler) for each in logging.getLogger("audiosae_steer").handlers)
    with caplog.at_level(logging.DEBUG, logger="audiosae_steer"):
        model, steering = small()
        with torch.no_grad():
            model.encoder(MEL[:1])
        steering.remove()
    said = [(record.name, record.levelname, record.getMessage()) for record in caplog.records]
    assert [(name, level) for name, level, _ in said] == [
        ("audiosae_steer.hooks", "DEBUG"),
        ("audiosae_steer.recipes", "INFO"),
        ("audiosae_steer.gates", "INFO"),
        ("audiosae_steer.hooks", "DEBUG"),
        ("audiosae_steer.recipes", "INFO"),
    ]
    assert "hook attached at encoder layer 2" in said[0][2]
    assert "0.00 to 30.00 s: the clip gate at encoder layer 2" in said[2][2]
    assert "hooks removed at encoder layer 2" in said[3][2]
