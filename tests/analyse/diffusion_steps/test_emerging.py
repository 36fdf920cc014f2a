"""Emergence on planted trajectories, and what the paper's measure alone makes of them."""

from __future__ import annotations

import warnings
from itertools import pairwise

import numpy as np
import pytest
import torch
from families import diffrhythm

from audiosae_steer import SAE, Site
from audiosae_steer.analyse import (
    Emergence,
    EmergenceSettings,
    LinearReader,
    Trajectory,
    emergence,
    read_block_steps,
)
from audiosae_steer.errors import SiteError, SteeringError

STEPS, CLIPS, FRAMES, CLASSES = 31, 12, 20, 5
TIMES = np.linspace(0, 1, STEPS + 1)
QUICK = EmergenceSettings(draws=200, permutations=5)
SEEDS = range(4)


class Coordinates:
    """A map whose properties are softmax over coordinates of the latents."""

    def __init__(self, sharp: float = 6.0, **parts: slice) -> None:
        self.sharp, self.parts = sharp, parts

    def probabilities(self, latents):
        return {name: (self.sharp * latents[..., part]).softmax(-1) for name, part in self.parts.items()}


PITCH, TIMBRE = slice(0, CLASSES), slice(CLASSES, 2 * CLASSES)
MAP = Coordinates(pitch=PITCH, timbre=TIMBRE)


def one_hot(rng):
    return torch.from_numpy(np.eye(CLASSES, dtype=np.float32)[rng.integers(CLASSES, size=(CLIPS, FRAMES))])


def ends_of(rng):
    noise = torch.from_numpy(rng.standard_normal((CLIPS, FRAMES, 2 * CLASSES))).float()
    return noise, torch.cat([one_hot(rng), one_hot(rng)], -1)


def euler(noise, heads_for):
    """States of Euler steps whose velocity at time t heads for `heads_for(t)`."""
    x = [noise.double()]
    for t, later in pairwise(TIMES):
        x.append(x[-1] + (later - t) * (heads_for(t).double() - x[-1]) / (1 - t))
    return torch.stack(x)


def decided(rng, **from_time):
    """Latents headed for: other classes before a property's time, and its final ones from then on."""
    _, final = ends_of(rng)
    wrong = torch.cat([one_hot(rng), one_hot(rng)], -1)
    spans = {"pitch": PITCH, "timbre": TIMBRE}

    def at(t):
        x = wrong.clone()
        for name, since in from_time.items():
            if t >= since - 1e-9:
                x[..., spans[name]] = final[..., spans[name]]
        return x

    return at


def papers(found, name):
    """The paper's reading: quotients on the states, settled where they pass .9 of the way."""
    curve = [point.paper for point in found.of(name).curve("state").points]
    return next(step for step, value in enumerate(curve) if value >= 0.9)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_line_has_no_lead_and_is_predicted_from_the_start(seed):
    noise, final = ends_of(np.random.default_rng(seed))
    states = torch.stack([(1 - t) * noise.double() + t * final.double() for t in TIMES])
    found = emergence(Trajectory.of(states, TIMES), None, MAP, settings=QUICK)
    for each in found.properties:
        assert max(abs(point.tv) for point in each.lead) <= 1e-6
        assert max(abs(point.agree) for point in each.lead) <= 1e-6
        assert min(point.agree for point in each.curve("predicted").points) == 1.0
        assert found.settled(each.name).step == 0
        # the paper's curve alone rises over the steps, as if the model had made up its mind meanwhile
        paper = [point.paper for point in each.curve("state").points]
        assert paper[0] == 0
        assert papers(found, each.name) > 5


@pytest.mark.parametrize("seed", SEEDS)
def test_planted_times_are_found_by_the_predictions_and_in_order(seed):
    rng = np.random.default_rng(seed)
    noise, _ = ends_of(rng)
    states = euler(noise, decided(rng, pitch=0.3, timbre=0.7))
    found = emergence(Trajectory.of(states, TIMES), None, MAP, settings=QUICK)
    pitch, timbre = found.settled("pitch"), found.settled("timbre")
    assert abs(pitch.step - 10) <= 1
    assert abs(timbre.step - 22) <= 1
    assert (pitch.never, timbre.never) == (0, 0)
    assert pitch.interval[0] <= pitch.step <= pitch.interval[1]
    order = found.order("pitch", "timbre")
    assert (order.before, order.after, order.difference) == (1.0, 0.0, timbre.step - pitch.step)
    assert found.order("timbre", "pitch").after == 1.0
    # the naive reading of the states dates neither, within the same bounds
    assert not (abs(papers(found, "pitch") - 10) <= 1 and abs(papers(found, "timbre") - 22) <= 1)
    last = found.of("pitch").curve("predicted").points[-1]
    assert last.chance == pytest.approx(1 / CLASSES, abs=0.08)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_decided_at_the_very_end_never_settles(seed):
    rng = np.random.default_rng(seed)
    noise, _ = ends_of(rng)
    states = euler(noise, decided(rng, pitch=0.3, timbre=TIMES[-2]))
    found = emergence(Trajectory.of(states, TIMES), None, MAP, settings=QUICK)
    assert found.settled("timbre").step is None
    assert found.settled("timbre").never == 1.0
    assert found.order("pitch", "timbre").before == 1.0
    assert found.order("pitch", "timbre").difference is None
    # the naive rule takes the end itself for evidence
    agree = [point.agree for point in found.of("timbre").curve("predicted").points]
    assert next(step for step, share in enumerate(agree) if share >= 0.9) == STEPS - 1


class Constant:
    """A property that is the same everywhere, and one that changes but for a class."""

    def probabilities(self, latents):
        p = MAP.probabilities(latents)["pitch"]
        fixed = torch.full((*p.shape[:2], 1), 0.2)
        return {"fixed": torch.full((*p.shape[:2], 4), 0.25), "partly": torch.cat([0.8 * p, fixed], -1)}


def naive_paper(p):
    """The paper's quotient as it is written."""
    return np.mean(np.abs(p - p[0]) / np.abs(p[-1] - p[0]))


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_divided_by_zero(seed):
    rng = np.random.default_rng(seed)
    noise, _ = ends_of(rng)
    trajectory = Trajectory.of(euler(noise, decided(rng, pitch=0.3)), TIMES)
    with warnings.catch_warnings(), np.errstate(all="raise"):
        warnings.simplefilter("error")
        found = emergence(trajectory, None, Constant(), settings=QUICK)
        assert found.settled("fixed") == (None, None, (None, None), None, 1.0)
        assert found.order("fixed", "partly").after == 1.0
    fixed, partly = found.of("fixed"), found.of("partly")
    assert not fixed.changes
    assert all(point.tv is None and point.paper is None for c in fixed.curves for point in c.points)
    assert any("fixed never changes" in warning for warning in found.provenance.warnings)
    assert "NaN" not in found.to_json()
    assert 0 < partly.terms < 1
    assert all(np.isfinite(point.paper) for c in partly.curves for point in c.points)
    # as it is written, the paper's quotient is not finite for either
    for name in ("fixed", "partly"):
        p = Constant().probabilities(trajectory.clip(0, "state"))[name].numpy()
        with np.errstate(all="ignore"):
            assert not np.isfinite(naive_paper(p))


def test_the_predictions_are_those_of_the_transformer():
    """Of a random-weight CFM, guided: X_t + (1 − t)·v, v by a hook on the transformer."""
    model = diffrhythm()
    steps, guidance = 8, 2.0
    inputs, flows = [], []
    hooks = [
        model.transformer.register_forward_pre_hook(
            lambda m, args, kwargs: None if kwargs["drop_text"] else inputs.append(kwargs["x"].clone()),
            with_kwargs=True,
        ),
        model.transformer.register_forward_hook(lambda m, args, out: flows.append(out.clone())),
    ]
    cond, text = 0.1 * torch.randn(2, 20, 8), torch.arange(40).reshape(2, 20) % 9 + 1
    final = model.sample(cond, text, steps=steps, cfg_strength=guidance)
    for hook in hooks:
        hook.remove()
    trajectory = Trajectory.of(torch.stack([*inputs, final]))
    assert trajectory.steps == steps - 1
    for clip in range(2):
        predicted = trajectory.clip(clip, "predicted")
        for i in range(steps - 1):
            with_text, without = flows[2 * i], flows[2 * i + 1]
            v = with_text + guidance * (with_text - without)
            wanted = inputs[i] + (1 - i / (steps - 1)) * v
            assert torch.allclose(predicted[i], wanted[clip], atol=1e-4)
        # the conditional pass alone, which a single hook gives, is another prediction
        assert not torch.allclose(predicted[0], (inputs[0] + flows[0])[clip], atol=1e-2)
        assert torch.equal(predicted[-1], final[clip])


def test_residuals_of_a_block_at_each_step():
    model = diffrhythm()
    cond, text = 0.1 * torch.randn(2, 20, 8), torch.arange(40).reshape(2, 20) % 9 + 1
    seen = []
    hook = model.transformer.transformer_blocks[1].register_forward_pre_hook(
        lambda m, args: seen.append(args[0].clone())
    )
    trajectory = read_block_steps(model, Site(1), lambda: model.sample(cond, text, steps=6))
    hook.remove()
    assert trajectory.states.shape == (5, 2, 20, 24)
    assert trajectory.readings == ("state", "line")
    assert torch.equal(trajectory.states, torch.stack(seen[::2]))
    assert trajectory.times == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])
    late = read_block_steps(model, Site(4), lambda: model.sample(cond, text, steps=6), flow=(0.3, 0.7))
    assert late.times == pytest.approx([0.4, 0.6])
    found = emergence(trajectory, None, Coordinates(part=slice(0, 4)), settings=QUICK)
    assert [curve.reading for curve in found.of("part").curves] == ["state", "line"]
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    with pytest.raises(SteeringError, match="predict nothing"):
        trajectory.clip(0, "predicted")
    with pytest.raises(SiteError, match="0 steps passed by"):
        read_block_steps(model, Site(1), lambda: None)


def written(folder, seed=0):
    """A trajectory, an SAE and heads in files, and the SAE."""
    rng = np.random.default_rng(seed)
    noise, _ = ends_of(rng)
    eye = torch.eye(2 * CLASSES)
    sae = SAE(eye, torch.zeros(2 * CLASSES), eye, torch.zeros(2 * CLASSES), gate="relu")
    heads = {
        f"{name}.{part}": 6 * eye[span].numpy() if part == "weight" else np.zeros(CLASSES, np.float32)
        for name, span in (("pitch", PITCH), ("timbre", TIMBRE)) for part in ("weight", "bias")
    }  # fmt: skip
    states = euler(noise, decided(rng, pitch=0.3, timbre=0.7)).float().numpy()
    sae.save(folder / "sae.safetensors")
    np.savez(folder / "heads.npz", **heads)
    np.savez(folder / "path.npz", trajectory=states, times=TIMES, groups=[f"song {i // 2}" for i in range(CLIPS)])
    return sae


def test_files_the_fit_and_json(tmp_path):
    sae = written(tmp_path)
    trajectory = Trajectory.read(tmp_path / "path.npz")
    reader = LinearReader.load(sae, tmp_path / "heads.npz")
    one, two = (emergence(trajectory, sae, reader, settings=QUICK) for _ in range(2))
    assert one.to_json() == two.to_json()
    assert Emergence.from_json(one.to_json()).to_json() == one.to_json()
    assert Emergence.from_json(one.to_json()).table() == one.table()
    assert len(one.frames) == CLIPS // 2
    assert abs(one.settled("pitch").step - 10) <= 1
    # rectified noise is lost to this SAE, the final latents are not
    assert one.fits[0].state > 0.3
    assert one.fits[-1].state == pytest.approx(0, abs=1e-6)
    assert one.provenance.saes[0].sha256 == sae.digest()
    assert (tmp_path / "a.png") == one.png(tmp_path / "a.png")
    one.report(tmp_path / "a.html")
    single = Trajectory.of(trajectory.states[:, :1], TIMES)
    alone = emergence(single, None, reader, settings=QUICK)
    assert alone.settled("pitch").step is None
    assert alone.settled("pitch").seen is not None
    assert any("one prompt or song only" in warning for warning in alone.provenance.warnings)


def test_frames_that_do_not_count_change_nothing():
    rng = np.random.default_rng(0)
    noise, _ = ends_of(rng)
    states = euler(noise, decided(rng, pitch=0.3, timbre=0.7)).float()
    padded = torch.cat([states, torch.zeros(len(states), CLIPS, 30, 2 * CLASSES)], 2)
    plain = emergence(Trajectory.of(states, TIMES), None, MAP, settings=QUICK)
    masked = emergence(Trajectory.of(padded, TIMES, frames=[FRAMES] * CLIPS), None, MAP, settings=QUICK)
    assert masked.properties == plain.properties
    naive = emergence(Trajectory.of(padded, TIMES), None, MAP, settings=QUICK)
    assert naive.of("timbre").curve("predicted").points[0].agree > 0.6


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"states": np.zeros((3, 2, 4))}, "expected \\(steps \\+ 1, batch, frames, d\\)"),
        ({"states": np.full((3, 2, 4, 2), np.nan)}, "NaN"),
        ({"times": [0, 0.5, 0.9]}, "from 0 to 0.9"),
        ({"times": [0, 0.6, 0.5]}, "rising"),
        ({"times": [0, 1]}, "2 times are given for 3 states"),
        ({"groups": ["a"]}, "1 groups"),
        ({"frames": [5, 5]}, "numbers of frames"),
        ({"velocity": np.zeros((3, 2, 4, 2))}, "velocity is of shape"),
    ],
)
def test_what_is_no_trajectory_is_refused(given, says):
    with pytest.raises(SteeringError, match=says):
        Trajectory.of(**{"states": np.zeros((3, 2, 4, 2)), **given})


def test_a_map_that_gives_no_probabilities_is_refused(tmp_path):
    sae = written(tmp_path)
    trajectory = Trajectory.of(torch.zeros(3, 2, 4, 2 * CLASSES))

    class Logits:
        def probabilities(self, latents):
            return {"pitch": latents}

    class Frames:
        def probabilities(self, latents):
            return {"pitch": latents.softmax(-1)[:, 0]}

    with pytest.raises(SteeringError, match="do not add up to 1"):
        emergence(trajectory, None, Logits())
    with pytest.raises(SteeringError, match="expected \\(n, frames, classes\\)"):
        emergence(trajectory, None, Frames())
    with pytest.raises(SteeringError, match="expected \\(classes, 10\\)"):
        LinearReader(sae, {"pitch": (np.zeros((3, 7)), np.zeros(3))})
    with pytest.raises(SteeringError, match="holds no property"):
        LinearReader.load(sae, tmp_path / "path.npz")
    with pytest.raises(SteeringError, match="expected an array named trajectory"):
        Trajectory.read(tmp_path / "heads.npz")
    with pytest.raises(SiteError, match="width 10"):
        emergence(Trajectory.of(torch.zeros(3, 2, 4, 3)), sae, MAP)
