"""Edits by concept on a planted decoder: a sum of sinusoids, one for each pitch feature, with a gain of its own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from planted_sound import FRAMES_A_SECOND, QUICK, RATE, SAMPLES, TARGET, World

from audiosae_steer import EditError, SteeringError, steer_latents
from audiosae_steer.analyse import ControlReport, ControlSettings, Decoder, control_report
from audiosae_steer.analyse.control_by_concept.sound_effects import processed

SEEDS = range(3)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_target_is_reached_where_theory_says_that_the_margin_flips(seed):
    world = World(seed)
    at = world.flips()
    sweep = ControlSettings(**{**QUICK.__dict__, "alphas": (0.0, 0.95 * at, 1.05 * at)})
    found = control_report(
        world.map, world.sae, world.residuals, "pitch", TARGET, decoder=world.decoder, settings=sweep
    )
    own = float((world.notes == 5).mean())
    none, below, above = found.arm("edit")
    assert none.reached == pytest.approx(own, abs=0.02)
    assert none.unchanged == 1.0
    assert below.reached == pytest.approx(own, abs=0.05)
    assert above.reached >= 0.95
    assert all(each.reached <= own + 0.05 for each in found.arm("random")[:2])
    assert found.arm("random")[2].size == pytest.approx(above.size, rel=1e-3)
    assert found.arm("dsp")[2].reached > 0.6
    assert not found.by_probe
    assert ControlReport.from_json(found.to_json()) == found
    assert "| the edit | 0 |" in found.table()


@pytest.mark.parametrize("seed", SEEDS)
def test_with_its_rms_kept_the_sound_keeps_its_level(seed):
    """Adding alone makes other tones of the old one; after it the level is another."""
    world = World(seed)
    sweep = {**QUICK.__dict__, "alphas": (4.0,)}
    kept, plain = (
        control_report(
            world.map, world.sae, world.residuals, "pitch", TARGET, decoder=world.decoder,
            settings=ControlSettings(**{**sweep, "keep": keep}),
        ).arm("edit")[0]
        for keep in ("rms", None)
    )  # fmt: skip
    assert kept.reached >= 0.95
    assert abs(kept.shifts[1].change) < 0.5
    assert abs(plain.shifts[1].change) > 3


@pytest.mark.parametrize("seed", SEEDS)
def test_toward_goes_as_far_as_it_takes_and_no_further(seed):
    world = World(seed)
    edits = world.map.edit("pitch", TARGET, 100.0, mode="toward", margin=0.2)
    for x, note in zip(world.residuals, world.notes, strict=True):
        moved = steer_latents(x[None], world.sae, edits, layout="bfd")[0]
        logits = world.map.logits("pitch", (moved @ world.basis.T).numpy())
        lead = logits[:, 5] - np.delete(logits, 5, 1).max(1)
        if note == 5:
            assert torch.equal(moved, x)
        else:
            assert lead == pytest.approx(0.2, abs=1e-4)  # a constant of this size overshoots by far
    capped = world.map.edit("pitch", TARGET, 0.1, mode="toward", margin=0.2)
    moved = steer_latents(world.residuals.read(0)[None], world.sae, capped, layout="bfd")[0]
    assert (moved - world.residuals.read(0)).norm(dim=-1).numpy() == pytest.approx(0.1, abs=1e-4)


def test_constants_come_off_again_and_windows_hold():
    world = World(0)
    x = world.residuals.read(0)[None]
    there = steer_latents(x, world.sae, world.map.edit("pitch", TARGET, 2.0), layout="bfd")
    back = steer_latents(there, world.sae, world.map.edit("pitch", TARGET, -2.0), layout="bfd")
    assert torch.allclose(back, x, atol=1e-6)
    assert torch.equal(steer_latents(x, world.sae, world.map.edit("pitch", TARGET, 0.0), layout="bfd"), x)
    for keep in (None, "rms"):
        edits = world.map.edit("pitch", TARGET, 2.0, keep=keep, window=(0.2, 0.4))
        moved = steer_latents(x, world.sae, edits, layout="bfd", frame_rate=FRAMES_A_SECOND)
        changed = (moved != x).any(-1)[0].nonzero()[:, 0]
        assert changed.tolist() == list(range(10, 20))


def test_the_probe_believes_in_an_edit_that_nobody_can_hear():
    """The naive variant asks the map that made the edit; this decoder plays one tone whatever the latents are."""
    world = World(1)
    deaf = Decoder(lambda x: 0.5 * np.sin(2 * np.pi * 261.6 * np.arange(len(x) * SAMPLES) / RATE), RATE)
    sweep = ControlSettings(**{**QUICK.__dict__, "alphas": (2.0,)})
    heard = control_report(world.map, world.sae, world.residuals, "pitch", TARGET, decoder=deaf, settings=sweep)
    believed = control_report(world.map, world.sae, world.residuals, "pitch", TARGET, settings=sweep)
    assert heard.arm("edit")[0].reached == 0
    assert believed.arm("edit")[0].reached >= 0.95
    assert believed.by_probe
    assert "by probe" in believed.table()
    assert not believed.arm("dsp")


def test_what_cannot_be_is_refused():
    world = World(0)
    other = world.sae.altered(b_enc=world.sae.b_enc + 1)
    with pytest.raises(SteeringError, match="this map is of the SAE"):
        control_report(world.map, other, world.residuals, "pitch", TARGET, settings=QUICK)
    with pytest.raises(SteeringError, match="outside of the classes"):
        world.map.edit("pitch", 120)
    with pytest.raises(SteeringError, match="no map of 'timbre'"):
        world.map.edit("timbre", 1)
    with pytest.raises(EditError, match="linear in alpha"):
        world.map.edit("pitch", TARGET, mode="toward", keep="rms")


def test_amounts_move_the_value_as_far_as_they_say():
    world = World(0)
    x = world.residuals.read(0)[None]
    moved = steer_latents(x, world.sae, world.map.edit_by("pitch", 3.0, along="slopes"), layout="bfd")
    f = (torch.cat([x, moved]) @ world.basis.T).numpy()
    before, after = world.map.value("pitch", f)
    assert after - before == pytest.approx(3.0, abs=1e-4)


@pytest.mark.parametrize(("name", "by"), [("loudness", 6.0), ("pitch", 4.0), ("pitch", -5.0), ("centroid", 0.5)])
def test_signal_processing_does_what_it_says(name, by):
    rng = np.random.default_rng(0)
    t = np.arange(RATE) / RATE
    tone = 0.3 * np.sin(2 * np.pi * 300 * t) + 0.01 * rng.standard_normal(RATE)
    made = processed(name, tone, RATE, by)
    assert made.shape == tone.shape
    middle = slice(3000, 10_000)
    spectra = [np.abs(np.fft.rfft(each[middle] * np.hanning(7000))) for each in (tone, made)]
    if name == "pitch":
        peaks = [each.argmax() for each in spectra]
        assert 12 * np.log2(peaks[1] / peaks[0]) == pytest.approx(by, abs=0.25)
    if name == "loudness":
        assert 20 * np.log10(made.std() / tone.std()) == pytest.approx(by)
    if name == "centroid":
        powers = [np.abs(np.fft.rfft(each)) ** 2 for each in (tone, made)]
        centroids = [power @ np.arange(len(power)) / power.sum() for power in powers]
        assert np.log2(centroids[1] / centroids[0]) == pytest.approx(by, abs=0.02)
        assert made.std() == pytest.approx(tone.std(), rel=0.01)
