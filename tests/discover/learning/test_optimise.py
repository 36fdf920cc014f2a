"""Learning amounts through the frozen model: on the released tiny.en, a few clips and a few steps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from make import make_hf, make_sae

from audiosae_steer import Add, AudioError, SiteError, SteeringError, load_audio, load_sae, steer
from audiosae_steer.discover.learning.optimise import learn_amounts
from audiosae_steer.discover.learning.settings import LearnSettings
from audiosae_steer.discover.learning.targets import LearningClips
from audiosae_steer.steering.recipes.load import checkpoints_dir

FEW = LearnSettings(features=8, steps=6, refine=3, batch=(2, 1), lr=0.2, l1=0.01, check=3)

NOISE, SPEECH = ("rain", "fan", "clicks"), ("speech-04", "speech-08")


def clips(*names: str) -> list[np.ndarray]:
    return [load_audio(checkpoints_dir() / "clips" / f"{name}.flac") for name in names]


GIVEN = LearningClips(clips(*NOISE), clips(*SPEECH), clips("siren"), clips("speech-02"))


@pytest.fixture(scope="module")
def sae():
    return load_sae(checkpoints_dir() / "whisper-tiny.en" / "encoder-4.safetensors").float()


@pytest.fixture(scope="module")
def learned(tiny_en, sae, tmp_path_factory):
    before = {name: tensor.clone() for name, tensor in tiny_en.state_dict().items()}
    cache = tmp_path_factory.mktemp("learn")
    found = learn_amounts(tiny_en, sae, 4, GIVEN, FEW, cache=cache, progress=False)
    assert all(torch.equal(tensor, before[name]) for name, tensor in tiny_en.state_dict().items())
    return found, cache


def test_it_learns_and_stays_sparse(learned):
    found, _ = learned
    assert 0 < len(found.features) == len(found.amounts) <= 8
    assert len(set(found.features)) == len(found.features)
    assert np.isfinite([found.history[-1][key] for key in ("silent", "kept")]).all()


def test_end_of_text_becomes_likelier_on_noise(tiny_en, learned):
    from audiosae_steer.data.activations.capture import residuals

    found, _ = learned
    tokenizer_end, first_timestamp, start = 50256, 50363, 50257
    x = residuals(tiny_en, clips("rain", "fan", "clicks"), [4])[4]
    tokens = torch.tensor([[start, first_timestamp]] * 3)
    with torch.no_grad():
        before, after = (
            tiny_en.decoder(tokens, tiny_en.encoder.ln_post(r)).log_softmax(-1)[:, -1, tokenizer_end].mean()
            for r in (x, x + found.vector)
        )
    assert after > before


def test_the_vector_is_what_the_edits_add(tiny_en, sae, learned):
    found, _ = learned
    x = torch.randn(1, 5, 384, generator=torch.Generator().manual_seed(0))
    with steer(tiny_en, sae=sae, layer=4, edits=[Add(found.features, found.amounts)]) as steering:
        (hook,) = steering.hooks.values()
        torch.testing.assert_close(hook(x.clone()) - x, found.vector.expand_as(x), rtol=1e-3, atol=1e-4)
        steering.strength = steering.strength  # the steering has been used by hand: no pass of the model is needed


def test_the_same_seed_gives_the_same_amounts_and_the_cache_is_used(tiny_en, sae, learned):
    _, cache = learned
    files = {path: path.stat().st_mtime_ns for path in cache.iterdir()}
    assert len([path for path in files if path.suffix == ".pt"]) == sum(map(len, GIVEN))
    brief = replace(FEW, steps=2, refine=1)
    found, again = (learn_amounts(tiny_en, sae, 4, GIVEN, brief, cache=cache, progress=False) for _ in range(2))
    assert {path: path.stat().st_mtime_ns for path in cache.iterdir()} == files
    assert again.features == found.features
    np.testing.assert_allclose(again.amounts, found.amounts, rtol=1e-4, atol=1e-6)


def test_a_dense_vector_needs_no_sae(tiny_en, learned):
    settings = replace(FEW, steps=2, refine=0)
    found = learn_amounts(tiny_en, None, 4, GIVEN, settings, cache=learned[1])
    assert found.features == ()
    assert found.vector.shape == (384,)
    assert found.vector.norm() > 0


def test_constants_in_the_decoder_are_learned_too(tiny_en, sae, learned):
    both = replace(FEW, steps=3, refine=1, decoder="all")
    found = learn_amounts(tiny_en, sae, 4, GIVEN, both, cache=learned[1], progress=False)
    assert found.decoder.shape == (4, 384)
    assert (found.decoder.norm(dim=-1) > 0).all()
    assert learned[0].decoder is None
    loss = [sum(row[key] for key in ("silent", "kept")) for row in found.history]
    assert np.isfinite(loss).all()


def test_constants_for_the_first_token_alone_leave_the_encoder_as_it_is(tiny_en, sae, learned):
    first = replace(FEW, features=0, steps=3, decoder="first")
    found = learn_amounts(tiny_en, sae, 4, GIVEN, first, cache=learned[1], progress=False)
    assert found.features == found.amounts == ()
    assert found.vector.norm() == 0
    assert (found.decoder.norm(dim=-1) > 0).all()
    assert found.history[-1]["features"] == 0


def test_it_stops_where_held_out_clips_did_best(tiny_en, learned):
    """A rate that overshoots within a few steps: what is kept is the best look, not the last."""
    wild = replace(FEW, steps=6, refine=0, lr=3.0, check=2)
    found = learn_amounts(tiny_en, None, 4, GIVEN, wild, cache=learned[1], progress=False)
    assert found.checks[-1].badness == min(check.badness for check in found.checks)
    assert all(0 <= share <= 1 for check in found.checks for share in (check.text, check.blanked))


def test_what_cannot_be_learned_says_why(tiny_en, sae):
    with pytest.raises(AudioError, match="no held present clips"):
        learn_amounts(tiny_en, sae, 4, GIVEN._replace(held_present=[]), FEW, progress=False)
    with pytest.raises(SiteError, match="no encoder layer 5"):
        learn_amounts(tiny_en, sae, 5, GIVEN, FEW, progress=False)
    with pytest.raises(SiteError, match="12 wide"):
        learn_amounts(tiny_en, make_sae(), 4, GIVEN, FEW, progress=False)
    for odd in ({"features": 0}, {"features": -1}):
        with pytest.raises(SteeringError, match="nothing to learn"):
            learn_amounts(tiny_en, sae, 4, GIVEN, replace(FEW, **odd), progress=False)
    with pytest.raises(SteeringError, match="expected one of none, all, first"):
        learn_amounts(tiny_en, sae, 4, GIVEN, replace(FEW, decoder=True), progress=False)
    with pytest.raises(SteeringError, match="openai-whisper"):
        learn_amounts(make_hf(), sae, 4, GIVEN, FEW, progress=False)
    silence = [np.zeros(16_000, "f4")]
    with steer(tiny_en, "no-false-speech"), pytest.raises(AudioError, match="wrote no text"):
        learn_amounts(tiny_en, sae, 4, GIVEN._replace(present=silence), FEW, progress=False)
