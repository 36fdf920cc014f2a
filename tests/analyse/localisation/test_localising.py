"""Localisation in a planted model of which one layer writes the property, and patches in models of random weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from families import speech_encoder

from audiosae_steer.analyse import Localisation, LocaliseSettings
from audiosae_steer.analyse.localisation.localising import LabelledClips, localise_runs
from audiosae_steer.analyse.localisation.patching import ModelRunner, States
from audiosae_steer.errors import SiteError, SteeringError

QUICK = LocaliseSettings(pairs=12, draws=200)
FRAMES, RATE = 30, 1000


class Planted:
    """Four layers on frames of 8 numbers. The label is the sign of the product of numbers 0 and 1, which no linear
    probe reads; layer 2 writes it into number 5; the others write into numbers 6 and 7 what clips differ in anyway."""

    def run(self, samples, layers, patch=None):
        x = torch.from_numpy(np.asarray(samples, np.float64).reshape(-1, 8))
        states = {0: x}
        for layer in range(1, 5):
            update = torch.zeros_like(x)
            if layer == 2:
                update[:, 5] = 2 * torch.sign(x[:, 0] * x[:, 1])
            else:
                update[:, 6], update[:, 7] = layer * x[:, 2], x[:, 3] * layer
            x = x + update
            if patch is not None and patch[0] == layer:
                x = patch[1]
            states[layer] = x
        return States({layer: states[layer] for layer in layers}, len(x))


def planted_clips(seed, clips=96, speakers=24):
    rng = np.random.default_rng(seed)
    samples, labels = [], []
    for _ in range(clips):
        signs = rng.choice([-1, 1], 2)
        frames = 0.2 * rng.standard_normal((FRAMES, 8))
        frames[:, :2] += signs
        frames[:, 2:4] += rng.standard_normal(2)
        frames[:, 5] = 0.1 * rng.standard_normal(FRAMES)
        samples.append(frames.astype(np.float32).reshape(-1))
        labels.append("loud" if signs.prod() > 0 else "quiet")
    return LabelledClips(tuple(samples), tuple(labels), tuple(f"speaker {i % speakers}" for i in range(clips)), RATE)


@pytest.mark.parametrize("seed", range(3))
def test_the_layer_that_writes_the_property_is_found(seed):
    clips = planted_clips(seed)
    found = localise_runs(Planted(), clips, "quiet", "loud", (1, 2, 3, 4), read=4, settings=QUICK)
    assert found.probe > 0.95
    assert found.best == 2
    row = found.at(2)
    assert row.move > 0.8
    assert row.excess_interval.low > 0.6
    assert abs(row.null) < 0.15
    assert row.flipped > 0.9
    for layer in (1, 3, 4):
        assert abs(found.at(layer).excess) < 0.2
        assert found.at(layer).flipped < 0.1
    assert found.figures()[0].value == "2"
    assert Localisation.from_json(found.to_json()).to_json() == found.to_json()
    # the toys: a whole state moves everything at each layer, and outputs move whatever the patch is of
    state = localise_runs(
        Planted(), clips, "quiet", "loud", (1, 2, 3, 4), read=4, settings=replace(QUICK, patch="state")
    )
    assert all(each.move > 0.9 for each in state.layers)
    assert max(found.layers, key=lambda each: each.output).layer != 2


def test_stretches_and_data_that_cannot_bear_it():
    clips = planted_clips(0)
    whole = localise_runs(Planted(), clips, "quiet", "loud", (2,), read=4, settings=QUICK)
    half = localise_runs(Planted(), clips, "quiet", "loud", (2,), read=4, settings=replace(QUICK, end=0.12))
    assert half.at(2).move == pytest.approx(whole.at(2).move / 2, abs=0.1)  # half of 0.24 s
    with pytest.raises(SteeringError, match="no frame of sound lies between 9"):
        localise_runs(Planted(), clips, "quiet", "loud", (2,), read=4, settings=replace(QUICK, start=9))
    with pytest.raises(SiteError, match="give some from 1 to 4"):
        localise_runs(Planted(), clips, "quiet", "loud", (5,), read=4)
    with pytest.raises(SteeringError, match="give two different ones"):
        localise_runs(Planted(), clips, "quiet", "none", (2,), read=4)
    rng = np.random.default_rng(1)
    shuffled = clips._replace(labels=tuple(rng.permutation(clips.labels)))
    found = localise_runs(Planted(), shuffled, "quiet", "loud", (1, 2, 3), read=4, settings=QUICK)
    assert any("cannot tell the labels" in warning for warning in found.provenance.warnings)


@pytest.mark.parametrize(
    ("kind", "more"),
    [("HubertModel", {}), ("WavLMModel", {"do_stable_layer_norm": True, "feat_extract_norm": "layer"})],
)
def test_patches_of_a_model(kind, more):
    pytest.importorskip("transformers")
    runner = ModelRunner(speech_encoder(kind, **more)())
    rng = np.random.default_rng(0)
    one, other = (0.1 * rng.standard_normal(8000).astype(np.float32) for _ in range(2))
    layers = [0, 1, 2, 3]
    base, source = runner.run(one, layers), runner.run(other, layers)
    same = runner.run(one, layers, (2, base.at[2]))
    assert all(torch.equal(same.at[layer], base.at[layer]) for layer in (1, 2, 3))
    moved = runner.run(one, layers, (2, source.at[2]))
    assert torch.equal(moved.at[1], base.at[1])
    assert torch.equal(moved.at[2], source.at[2])
    assert not torch.allclose(moved.at[3], base.at[3], atol=1e-4)
    assert not runner.model.training
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in runner.model.modules())
