"""Every family answers the same questions: the table in docs/models.md is these tests, a column each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from families import FAMILIES, Case, width
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from make import make_sae
from torch import Tensor, nn

from audiosae_steer import Add, Clamp, Push, Scale, Set, Site, SiteError, SteeringError, steer
from audiosae_steer.models import registry as known
from audiosae_steer.models.registry import family_of, frame_rate_at, tap_at
from audiosae_steer.ops import reference

_MADE: dict[str, Any] = {}


@pytest.fixture(params=FAMILIES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


@pytest.fixture
def model(case: Case) -> Any:
    """Made once a family: tests leave it as it was."""
    if case.name not in _MADE:
        _MADE[case.name] = case.make()
    return _MADE[case.name]


@contextmanager
def seen(model: nn.Module, site: Site) -> Iterator[list[Tensor]]:
    """The residual at a site at each pass, frames before channels, as the hooks before this one leave it."""
    tap = tap_at(model, family_of(model), site)
    found: list[Tensor] = []

    def note(x: Tensor) -> None:
        found.append((x.transpose(1, 2) if tap.layout == "bdf" else x).detach().clone())

    if tap.place == "output":
        handle = tap.module.register_forward_hook(lambda m, a, out: note(out[0] if isinstance(out, tuple) else out))
    else:
        handle = tap.module.register_forward_pre_hook(
            lambda m, args, kwargs: note(args[0] if args else next(iter(kwargs.values()))), with_kwargs=True
        )
    try:
        yield found
    finally:
        handle.remove()


def both(case: Case, model: Any, site: Site, **arguments: Any) -> tuple[list[Tensor], list[Tensor]]:
    """The residual at a site before and after the steering's hook, pass by pass."""
    with (
        torch.no_grad(),
        seen(model, site) as before,
        steer(model, site=site, **arguments),
        seen(model, site) as after,
    ):
        case.run(model, case.seconds)
    return before, after


def test_it_is_recognised(case: Case, model: Any) -> None:
    assert family_of(model).name == case.family
    assert next(family for family in known.FAMILIES if family.matches(model)) is family_of(model)
    taps = [tap_at(model, family_of(model), site) for site in case.sites(model)]
    assert len({(id(tap.module), tap.place) for tap in taps}) == len(taps)
    with pytest.raises(SiteError, match="no encoder layer 99"):
        steer(model, layer=99, edits=[Push(torch.ones(24))])


def test_every_layer_is_steered_and_left_as_it_was(case: Case, model: Any) -> None:
    with torch.no_grad():
        plain = case.run(model, case.seconds)
        for site in case.sites(model):
            d = width(model, site)
            with steer(model, site=site, edits=[Push(torch.linspace(-3, 3, d))]):
                assert not torch.equal(case.run(model, case.seconds), plain), site
        assert torch.equal(case.run(model, case.seconds), plain)


def test_zero_strength_is_the_model_itself(case: Case, model: Any) -> None:
    with torch.no_grad():
        plain = case.run(model, case.seconds)
        for site in case.sites(model):
            sae = make_sae("jumprelu", width(model, site), 40)
            with steer(model, site=site, sae=sae, edits=[Scale([1, 2], 3.0), Add(3, 1.0)], strength=0.0):
                assert torch.equal(case.run(model, case.seconds), plain), site


@pytest.mark.parametrize("kind", ["relu", "topk"])
def test_the_residual_is_the_references(case: Case, model: Any, kind: str) -> None:
    for site in case.sites(model):
        sae = make_sae(kind, width(model, site), 40)
        edits = [Scale(list(range(0, 40, 2)), 0.5), Set(3, 0.7), Clamp(5, high=0.1)]

        def edit(f: Tensor) -> Tensor:
            f = f.clone()
            f[..., ::2] *= 0.5
            f[..., 3] = 0.7
            f[..., 5] = f[..., 5].clamp(max=0.1)
            return f

        before, after = both(case, model, site, sae=sae, edits=edits)
        assert before
        for x, got in zip(before, after, strict=True):
            wanted = reference.steer(x.double(), sae.weights(torch.float64), edit)
            close = torch.isclose(got.double(), wanted, rtol=1e-3, atol=1e-3 * float(x.abs().max()))
            assert close.all(-1).float().mean() > 0.97, site  # a frame may sit on the edge of a topk


def times_of(model: Any, site: Site, passes: list[Tensor]) -> list[Tensor]:
    """The time of each frame of each pass, told apart from the code under test."""
    family = family_of(model)
    rate = frame_rate_at(model, family, site)
    found = []
    for number, x in enumerate(passes):
        times = (torch.arange(x.shape[1]) + 0.5) / rate
        if family.name == "encodec" and hasattr(model, "config") and model.config.chunk_length_s is not None:
            times = times + number * (1 - model.config.overlap) * model.config.chunk_length_s
        if family.name == "ast":  # two tokens, then a row of patches for each band: one every 0.1 s, 0.16 s long
            patches = torch.arange(x.shape[1] - 2) % 30
            times = torch.cat([torch.full((2,), -torch.inf), 0.1 * patches + 0.08])
        found.append(times)
    return found


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(start=st.floats(0.0, 3.0), length=st.floats(0.02, 2.0), which=st.integers(0, 99))
def test_a_window_holds_its_seconds_and_nothing_else(case: Case, start: float, length: float, which: int) -> None:
    if case.name not in _MADE:
        _MADE[case.name] = case.make()
    model = _MADE[case.name]
    sites = [site for site in case.sites(model) if frame_rate_at(model, family_of(model), site)]
    site = sites[which % len(sites)]
    edits = [Push(torch.ones(width(model, site)), window=(start, start + length))]
    before, after = both(case, model, site, edits=edits)
    for x, got, times in zip(before, after, times_of(model, site, before), strict=True):
        changed = (x != got).any(-1)
        wanted = (times >= start) & (times < start + length)
        assert torch.equal(changed, wanted.expand_as(changed))


@pytest.mark.filterwarnings("ignore:ComplexHalf support:UserWarning")  # of a head that makes a spectrum
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision(case: Case, dtype: torch.dtype) -> None:
    small = case.make().to(dtype)
    with torch.no_grad():
        try:
            plain = case.run(small, case.seconds)
        except (RuntimeError, ValueError) as error:
            pytest.skip(f"the unsteered model does not run in {dtype} on this processor: {error}")
        site = case.sites(small)[0]
        sae = make_sae("relu", width(small, site), 40)
        with steer(small, site=site, sae=sae, edits=[Scale([1, 2, 3], 4.0)]) as steering:
            steered = case.run(small, case.seconds)
            steering.strength = 0.0
            assert torch.equal(case.run(small, case.seconds), plain)
    assert steered.dtype == plain.dtype
    assert steered.isfinite().all()
    assert not torch.equal(steered, plain)


@pytest.mark.filterwarnings("ignore:Dynamo detected a call:UserWarning")  # transformers' own, of its caches
def test_compiled_it_gives_the_same(case: Case, model: Any) -> None:
    site = case.sites(model)[0]
    sae = make_sae("relu", width(model, site), 40)
    torch._dynamo.reset()
    with torch.no_grad(), steer(model, site=site, sae=sae, edits=[Scale([1, 2, 3], 4.0)]):
        wanted = case.run(model, case.seconds)
        inner: Callable[..., Any] = model.forward
        model.forward = torch.compile(inner, backend="eager")
        try:
            got = case.run(model, case.seconds)
        finally:
            del model.forward
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)


def test_hidden_states_are_those_that_the_next_layer_reads(case: Case) -> None:
    if not case.hidden_states:
        pytest.skip("it gives none")
    model = case.make()
    wav = 0.1 * torch.randn(1, 16000, generator=torch.Generator().manual_seed(0))
    states = [model(wav, output_hidden_states=True).hidden_states]  # transformers 5 puts its hooks in, for good
    with steer(model, layer=2, edits=[Push(torch.ones(24))]), steer(model, layer=2, edits=[Push(2 * torch.ones(24))]):
        states.append(model(wav, output_hidden_states=True).hidden_states)
    assert torch.equal(states[0][1], states[1][1])
    torch.testing.assert_close(states[1][2], states[0][2] + 3)


@pytest.mark.filterwarnings("ignore:Module .* has a submodule named:UserWarning")  # "output", which nnsight serves too
def test_an_nnsight_trace_gives_the_same_bit_for_bit(case: Case, model: Any) -> None:
    nnsight = pytest.importorskip("nnsight", reason="the extra [nnsight] is not installed")
    from audiosae_steer.steering.nnsight import apply

    part = case.traced(model)
    if family_of(part).in_chunks(part):
        with pytest.raises(SteeringError, match="in pieces"):
            apply(nnsight.NNsight(part), layer=1, edits=[Push(torch.ones(16))])
        return
    args, kwargs = case.inputs(model, case.seconds)
    for site in case.sites(model):
        given = {"site": site, "sae": make_sae("relu", width(model, site), 40), "edits": [Scale(range(20), 4.0)]}
        with torch.no_grad():
            plain = case.answer(part(*args, **kwargs))
            with steer(part, **given):
                wanted = case.answer(part(*args, **kwargs))
            traced = nnsight.NNsight(part)
            with traced.trace(*args, **kwargs):
                apply(traced, **given)
                output = traced.output.save()
            assert torch.equal(case.answer(output), wanted), site
            assert torch.equal(case.answer(part(*args, **kwargs)), plain)


def test_the_documentation_has_a_row_for_every_family() -> None:
    text = (Path(__file__).parents[3] / "docs" / "models.md").read_text(encoding="utf-8")
    table = text.split("| family | recognised |")[1].split("\n\n")[0].splitlines()[2:]
    assert {row.split("|")[1].strip() for row in table} == {case.name for case in FAMILIES}
