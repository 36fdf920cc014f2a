"""Settings by clip, and by thread or task."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
import torch
from make import BRIEF, make_hf, make_openai, make_sae

from audiosae_steer import Ablate, Add, Push, Scale, Site, SiteEdits, SteeringError, steer

D = 64
MEL = torch.randn(3, 80, 2 * BRIEF, generator=torch.Generator().manual_seed(0))
TOKENS = torch.tensor([[50257, 50362, 7]] * 3)
EDITS = {"loud": [Add(3, 4.0)], "quiet": [Ablate([1, 2, 3]), Scale(9, 3.0), Add(4, 0.5)]}


@pytest.fixture(params=["openai", "transformers"])
def model(request: pytest.FixtureRequest) -> Any:
    return make_openai(d=D, frames=BRIEF) if request.param == "openai" else make_hf(d=D, frames=BRIEF)


@pytest.fixture(params=["relu", "topk", "batchtopk-threshold"])
def sae(request: pytest.FixtureRequest) -> Any:
    return make_sae(request.param, D, 200)


def logits(model: Any, rows: slice = slice(None), repeat: int = 1) -> torch.Tensor:
    tokens = TOKENS[rows].repeat_interleave(repeat, 0)
    with torch.no_grad():
        if hasattr(model, "dims"):
            return model.decoder(tokens, model.encoder(MEL[rows]).repeat_interleave(repeat, 0))
        encoded = model.get_encoder()(MEL[rows]).last_hidden_state.repeat_interleave(repeat, 0)
        return model(encoder_outputs=(encoded,), decoder_input_ids=tokens).logits


@pytest.mark.parametrize("side", ["encoder", "decoder"])
@pytest.mark.parametrize("error", ["keep", "drop"])
def test_a_strength_and_a_choice_for_each_clip_of_a_batch(model: Any, sae: Any, side: Any, error: Any) -> None:
    if side == "decoder" and error == "drop" and not sae.has_own_gates:
        sae = make_sae("relu", D, 200)
    plain = logits(model)
    alone = {}
    for name, strength in (("loud", 0.5), ("quiet", 1.0)):
        with steer(model, [SiteEdits(Site(2, side), sae, EDITS[name], error)], strength=strength):
            alone[name] = logits(model)
    with steer(model, [SiteEdits(Site(2, side), sae, EDITS, error)]) as steering:
        steering.for_clips(["loud", "quiet", "loud"], strength=[0.5, 1.0, 0.0])
        mixed, beams = logits(model), logits(model, repeat=2)
        with pytest.raises(SteeringError, match="3 clips, but 2 rows"):
            logits(model, slice(0, 2))
        steering.enabled = False
        assert torch.equal(logits(model), plain)
        steering.enabled = True
        steering.for_clips(None)
        with pytest.raises(SteeringError, match="for_clips"):
            logits(model)
    torch.testing.assert_close(mixed[0], alone["loud"][0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(mixed[1], alone["quiet"][1], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(mixed[2], plain[2], rtol=1e-4, atol=1e-4)
    assert (mixed[0] - plain[0]).abs().max() > 1e-2
    torch.testing.assert_close(beams, mixed.repeat_interleave(2, 0), rtol=1e-4, atol=1e-4)


def test_an_offset_for_each_clip_moves_its_windows(model: Any) -> None:
    edit = Push(torch.ones(D), 3.0, window=(30.0, 60.0))
    plain = logits(model)
    with steer(model, [SiteEdits(Site(2), None, [edit])]) as steering:
        steering.for_clips(None, offset=[0.0, 30.0, 90.0])
        moved = logits(model)
    assert [bool((moved[i] != plain[i]).any()) for i in range(3)] == [False, True, False]


def test_a_session_is_seen_by_its_own_thread_alone(model: Any) -> None:
    sae = make_sae("relu", D, 200)
    plain = logits(model)
    with steer(model, sae=sae, layer=2, edits=[Add(3, 4.0)]) as steering:
        whole = logits(model)
        steering.strength = 0.5
        half = logits(model)
        steering.strength = 1.0
        inside, done = threading.Event(), threading.Event()
        got: dict[str, torch.Tensor] = {}

        def other() -> None:
            inside.wait(60)
            got["other"] = logits(model)
            done.set()

        thread = threading.Thread(target=other)
        thread.start()
        with steering.session(strength=0.5):
            inside.set()
            done.wait(60)
            got["session"] = logits(model)
            with steering.session(strength=[1.0, 0.5, 0.0]):
                got["rows"] = logits(model)
            with steering.session(strength=0.0):
                got["none"] = logits(model)
            steering.enabled = False
            got["off"] = logits(model)
            steering.enabled = True
        thread.join()
        assert torch.equal(logits(model), whole)
    assert torch.equal(got["other"], whole)
    assert torch.equal(got["session"], half)
    assert torch.equal(got["none"], plain)
    assert torch.equal(got["off"], plain)
    for row, wanted in enumerate((whole, half, plain)):
        torch.testing.assert_close(got["rows"][row], wanted[row], rtol=1e-4, atol=1e-4)


def test_tasks_have_sessions_of_their_own(model: Any) -> None:
    sae = make_sae("relu", D, 200)
    with steer(model, [SiteEdits(Site(2), sae, EDITS)]) as steering:
        names: list[list[str | None]] = [["loud"] * 3, ["quiet"] * 3, [None] * 3]

        def alone(clips: list[str | None]) -> torch.Tensor:
            with steering.session(clips=clips):
                return logits(model)

        wanted = [alone(clips) for clips in names]

        async def request(clips: list[str | None]) -> torch.Tensor:
            with steering.session(clips=clips):
                await asyncio.sleep(0)
                return await asyncio.to_thread(logits, model)

        async def serve() -> list[torch.Tensor]:
            return list(await asyncio.gather(*map(request, names)))

        got = asyncio.run(serve())
    assert all(torch.equal(a, b) for a, b in zip(got, wanted, strict=True))
    assert not torch.equal(wanted[0], wanted[1])


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"strength": float("nan")}, "finite"),
        ({"strength": "loud"}, "finite number"),
        ({"clips": ["nobody"]}, "not among the edits"),
        ({"clips": "loud"}, "not among the edits"),
        ({"strength": [1.0, 2.0], "clips": ["loud"]}, "one entry for each clip"),
        ({"strength": []}, "one entry for each clip"),
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, Any], says: str) -> None:
    model = make_openai(d=D, frames=BRIEF)
    with steer(model, [SiteEdits(Site(2), make_sae("relu", D, 200), EDITS)]) as steering:
        with pytest.raises(SteeringError, match=says):
            steering.session(**given)
        steering.for_clips(["loud"] * 3)
        logits(model)


def test_compiled_code_has_no_sessions() -> None:
    torch._dynamo.reset()
    model = make_openai(d=D, frames=BRIEF)
    with steer(model, sae=make_sae("relu", D, 200), layer=2, edits=[Add(3, 4.0)]) as steering:
        plain = model.encoder(MEL)
        torch.testing.assert_close(torch.compile(model.encoder, backend="eager")(MEL), plain)
        with pytest.raises(SteeringError, match="compiled"):
            steering.session(strength=0.5)
