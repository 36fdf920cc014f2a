"""The note of whether edits changed anything: right on processors, and on a GPU without waiting for it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from make import make_openai, make_sae
from torch import Tensor

from audiosae_steer import Ablate, ClipGate, EditWarning, FrameGate, Scale, steer
from audiosae_steer.steering import effect
from audiosae_steer.steering.effect import GATED_LOOKS, Effect

D = 24
YES, NO = torch.tensor([True]), torch.tensor([False])
X = torch.arange(6.0).reshape(1, 2, 3)


def test_on_a_processor() -> None:
    seen = Effect(gated=False)
    assert seen.changed is None
    seen.look(X, X, lambda: YES)  # not at work: nothing is said of it
    assert seen.changed is None
    seen.look(X, X.clone(), lambda: NO)  # by a kernel, behind a gate that stayed shut
    assert seen.changed is None
    seen.look(X, X.clone(), lambda: YES)
    assert seen.changed is False
    seen.look(X, X + 1, lambda: YES)
    assert seen.changed is True


def test_what_is_known_is_looked_at_no_more() -> None:
    seen = Effect(gated=False)
    seen.look(X, X + 1, lambda: YES)

    def asked() -> Tensor:
        raise AssertionError("it was known already")

    for _ in range(2):
        seen.look(X, X.clone(), asked)
        seen._look_there(X, X.clone(), asked)
    assert seen.changed is True


class Arriving:
    """A copy to the host that has come once `come` is set; a GPU's event, of which there is none here."""

    come = False

    def query(self) -> bool:
        return self.come


@pytest.fixture
def arriving(monkeypatch: pytest.MonkeyPatch) -> Arriving:
    event = Arriving()
    monkeypatch.setattr(effect, "_copied", lambda flags: (flags.clone(), event))
    return event


def test_flags_on_a_device_are_read_when_they_have_come(arriving: Arriving) -> None:
    seen = Effect(gated=False)
    with torch.inference_mode():
        seen._look_there(X, X.clone(), lambda: YES)
    assert seen.changed is False
    seen._look_there(X, X + 1, lambda: YES)
    assert not seen._found  # the copy under way was made before
    arriving.come = True
    seen._look_there(X, X.clone(), lambda: YES)  # takes that, and sends another
    assert not seen._found
    seen._look_there(X, X.clone(), lambda: YES)
    assert seen._found
    assert seen.changed is True


def test_flags_are_waited_for_on_leaving(arriving: Arriving) -> None:
    seen = Effect(gated=False)
    seen._look_there(X, X.clone(), lambda: NO)
    assert seen.changed is None
    seen._look_there(X, X + 1, lambda: YES)
    assert seen.changed is True


def test_behind_a_gate_on_a_device_looking_comes_to_an_end_and_nothing_is_said(arriving: Arriving) -> None:
    seen, looks = Effect(gated=True), []

    def works() -> Tensor:
        looks.append(None)
        return YES

    for _ in range(GATED_LOOKS + 9):
        seen._look_there(X, X.clone(), works)
    assert len(looks) == GATED_LOOKS
    assert seen.changed is None


EDITS: list[tuple[dict[str, Any], bool]] = [
    ({"edits": [Ablate(5)]}, True),
    ({"edits": [Scale([5], 3.0, window=(0.0, 9.0))]}, True),
    ({"edits": [Scale([5], 3.0, window=(90.0, 99.0))]}, False),
    ({"edits": [Ablate(5)], "gate": ClipGate((3,), (1.0,), threshold=-1e9)}, True),
    ({"edits": [Ablate(5)], "gate": FrameGate((3,), (1.0,), threshold=1e9, reach=0.1)}, False),
    ({"edits": [Ablate(5)], "strength": 0.0}, False),
    ({"edits": [Ablate(range(20))]}, False),
    ({"edits": [Ablate(5)], "error": "drop"}, False),
]


def silenced(kind: Any = "relu") -> Any:
    """An SAE whose feature 5 never fires."""
    sae = make_sae(kind, D, 40)
    sae.b_enc[5] = -1e6
    return sae


@pytest.mark.parametrize(("given", "says"), EDITS)
@pytest.mark.parametrize("kind", ["relu", "topk"])
def test_a_steering_whose_features_never_fired(given: dict[str, Any], says: bool, kind: Any) -> None:
    if "gate" in given and kind == "topk":
        pytest.skip("a gate takes features of their own gates")
    model, sae = make_openai(d=D), silenced(kind)
    mel = torch.randn(2, 80, 3000, generator=torch.Generator().manual_seed(0))
    steering = steer(model, sae=sae, layer=2, **given)
    model.encoder(mel)
    if says:
        with pytest.warns(EditWarning, match=r"its features \(5\) never fired"):
            steering.remove()
    else:
        steering.remove()  # warnings are errors in these tests


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize(("given", "says"), EDITS)
def test_on_a_gpu_it_is_found_without_a_wait(given: dict[str, Any], says: bool) -> None:
    model, sae = make_openai(d=D).cuda(), silenced()
    mel = torch.randn(2, 80, 3000, device="cuda")
    steering = steer(model, sae=sae, layer=2, **given)
    with torch.no_grad():
        model.encoder(mel)  # kernels are compiled
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        try:
            for _ in range(5):
                model.encoder(mel)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    if says:
        with pytest.warns(EditWarning, match=r"its features \(5\) never fired"):
            steering.remove()
    else:
        steering.remove()
