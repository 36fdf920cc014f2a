"""Which passes, steps and times of a guided diffusion are edited, and that the site is what the next block reads."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from families import CFM, DiT, diffrhythm
from make import make_openai

from audiosae_steer import EditError, Push, Site, SiteEdits, SiteError, steer
from audiosae_steer.models.registry import family_of
from audiosae_steer.models.sites import Moment

PUSH = [Push(torch.ones(24))]


@pytest.fixture
def model() -> CFM:
    return diffrhythm()


def runs(model: Any, **more: Any) -> list[tuple[Moment, bool]]:
    """What each run of the transformer said of itself, and whether layer 1 was edited in it."""
    cond, text = 0.1 * torch.randn(2, 20, 8), torch.arange(40).reshape(2, 20) % 9 + 1
    told: list[Moment] = []
    edited: list[bool] = []
    guided = more.pop("cfg_strength", 2.0)
    before: list[torch.Tensor] = []
    block = model.transformer.transformer_blocks[1]
    first = block.register_forward_pre_hook(lambda m, args: before.append(args[0].clone()))
    closers = family_of(model).watch(model, told.append, windows=False)
    with steer(model, [SiteEdits(Site(1), None, PUSH, **more)]):
        last = block.register_forward_pre_hook(lambda m, args: edited.append(not torch.equal(args[0], before[-1])))
        for _ in range(2):  # the second song begins with step 0 again
            model.sample(cond, text, steps=5, cfg_strength=guided)
    for close in (first.remove, last.remove, *closers):
        close()
    half = len(told) // 2
    assert [(m.conditional, m.step) for m in told[:half]] == [(m.conditional, m.step) for m in told[half:]]
    assert edited[:half] == edited[half:]
    return list(zip(told[:half], edited[:half], strict=True))


def test_each_run_is_known_by_its_pass_step_and_time(model: CFM) -> None:
    found = runs(model)
    assert [(moment.conditional, moment.step) for moment, _ in found] == [
        (conditional, step) for step in range(4) for conditional in (True, False)
    ]
    assert [round(float(moment.flow), 2) for moment, _ in found[::2]] == [0.0, 0.25, 0.5, 0.75]
    assert all(edited for _, edited in found)
    assert [moment.step for moment, _ in runs(model, cfg_strength=0.0)] == [0, 1, 2, 3]


@pytest.mark.parametrize("passes", ["conditional", "unconditional"])
def test_one_of_the_two_passes(model: CFM, passes: str) -> None:
    for moment, edited in runs(model, passes=passes):
        assert edited == (moment.conditional == (passes == "conditional"))


def test_ranges_of_steps_and_of_time(model: CFM) -> None:
    assert [edited for _, edited in runs(model, steps=(1, 3))] == [False] * 2 + [True] * 4 + [False] * 2
    assert [edited for _, edited in runs(model, flow=(0.25, 0.7))] == [False] * 2 + [True] * 4 + [False] * 2
    both = runs(model, steps=(2, 9), flow=(0.0, 0.6), passes="conditional")
    assert [edited for _, edited in both] == [False] * 4 + [True] + [False] * 3


def test_a_layer_is_what_the_next_block_reads_after_the_text(model: CFM) -> None:
    transformer = model.transformer
    family = family_of(model)
    for layer in range(1, 5):
        tap = family.tap(model, Site(layer))
        assert tap.place == ("input" if layer <= 2 else "output")
        assert tap.module is transformer.transformer_blocks[layer if layer <= 2 else layer - 1]


def test_the_transformer_alone_is_known_too() -> None:
    alone = DiT()
    assert family_of(alone).name == "diffrhythm"
    with steer(alone, layer=2, edits=PUSH) as steering:
        x = torch.randn(1, 6, 8)
        given = {"cond": x, "text": torch.ones(1, 6, dtype=torch.long), "time": torch.tensor(0.1)}
        alone(x=x, **given, drop_audio_cond=False, drop_text=False)
    assert steering.sites == (Site(2),)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"passes": "null"}, "conditional"),
        ({"steps": (3, 3)}, "are not a range"),
        ({"steps": (0, float("inf"))}, "finite"),
        ({"flow": "all"}, "two numbers"),
        ({"steps": "some"}, "first"),
    ],
)
def test_what_is_no_range_is_refused(model: CFM, more: Any, says: str) -> None:
    with pytest.raises(EditError, match=says):
        steer(model, [SiteEdits(Site(1), None, PUSH, **more)])
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_steps_of_a_transformer_alone_are_refused() -> None:
    with pytest.raises(SiteError, match="which step"):
        steer(DiT(), [SiteEdits(Site(1), None, PUSH, steps=(0, 2))])


def test_a_deep_copy_counts_its_own_steps_and_nothing_is_left_behind(model: CFM) -> None:
    before = {name: set(vars(module)) for name, module in model.named_modules()}
    cond, text = 0.1 * torch.randn(1, 20, 8), torch.ones(1, 20, dtype=torch.long)
    with steer(model, [SiteEdits(Site(1), None, PUSH, steps=(0, 1))]):
        wanted = model.sample(cond, text)
        twin = copy.deepcopy(model)
    assert {name: set(vars(module)) for name, module in model.named_modules()} == before
    del twin
    with steer(model, [SiteEdits(Site(1), None, PUSH, steps=(0, 1))]):
        for _ in range(3):
            assert torch.equal(model.sample(cond, text), wanted)


def test_other_models_have_no_steps_of_that_kind() -> None:
    with pytest.raises(SiteError, match="diffusion"):
        steer(make_openai(d=24), [SiteEdits(Site(1), None, PUSH, steps=(1, 2))])


def test_what_it_does_is_said(model: CFM) -> None:
    parts = [SiteEdits(Site(1), None, PUSH, steps=(1, 3), flow=(0.2, 0.5), passes="conditional")]
    with steer(model, parts) as steering:
        said = steering.explain()
        model.sample(torch.zeros(1, 4, 8), torch.ones(1, 4, dtype=torch.long))
    assert "only at steps 1 to 2; only while 0.2 ≤ t < 0.5; only in the conditional pass" in said
