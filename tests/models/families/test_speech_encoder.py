"""HuBERT and its kin: frames that only fill up a batch, and the text that a CTC head writes."""

from __future__ import annotations

import pytest
import torch
from families import STABLE, speech_encoder
from make import make_sae

from audiosae_steer import Add, ClipGate, Push, Scale, Site, steer
from audiosae_steer.models.registry import fingerprint


@pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask:UserWarning")  # WavLM's own
@pytest.mark.parametrize("kind", ["HubertModel", "Wav2Vec2Model", "WavLMModel"])
def test_frames_of_padding_stay_as_they_are_and_change_nothing(kind: str) -> None:
    model = speech_encoder(kind, **STABLE)()
    wav = 0.1 * torch.randn(1, 32000, generator=torch.Generator().manual_seed(0))
    both = torch.cat([wav, torch.nn.functional.pad(wav[:, :16000], (0, 16000))])
    mask = torch.ones(2, 32000, dtype=torch.long)
    mask[1, 16000:] = 0
    seen: list[torch.Tensor] = []
    sae = make_sae("relu", 24, 40)
    with torch.no_grad():
        first = model.encoder.layers[1].register_forward_hook(
            lambda m, a, out: seen.append((out[0] if isinstance(out, tuple) else out).clone())
        )
        with steer(model, sae=sae, layer=2, edits=[Scale([1, 2], 3.0), Add(3, 1.0), Push(torch.ones(24))]):
            last = model.encoder.layers[2].register_forward_pre_hook(lambda m, args: seen.append(args[0].clone()))
            batched = model(both, attention_mask=mask).last_hidden_state
            first.remove()
            last.remove()
            alone = model(wav[:, :16000]).last_hidden_state
    before, after = seen
    heard = int(model._get_feat_extract_output_lengths(torch.tensor(16000)))
    assert torch.equal(after[1, heard:], before[1, heard:])
    assert (after[1, :heard] != before[1, :heard]).any(-1).all()
    assert (after[0] != before[0]).any(-1).all()
    torch.testing.assert_close(batched[1, : heard - 3], alone[0, : heard - 3], rtol=1e-3, atol=1e-3)


def test_steering_changes_the_text_of_a_ctc_head() -> None:
    model = speech_encoder("HubertForCTC")()
    wav = 0.1 * torch.randn(1, 32000, generator=torch.Generator().manual_seed(0))

    def text() -> list[int]:
        with torch.no_grad():
            ids = model(wav).logits.argmax(-1)[0].unique_consecutive()
        return [int(i) for i in ids if i != 0]

    plain = text()
    # towards a letter that is not there: what the head's row for it reads, before the last normalisation
    letter = next(i for i in range(1, 12) if i not in plain)
    with steer(model, layer=3, edits=[Push(model.lm_head.weight[letter], 20.0)]):
        steered = text()
    assert letter in steered
    assert text() == plain


@pytest.mark.parametrize("kind", ["max", "mean", "nonzero_mean"])
def test_a_gate_does_not_hear_what_fills_up_a_batch(kind: str) -> None:
    model = speech_encoder("HubertModel", **STABLE)()
    wav = 0.1 * torch.randn(1, 32000, generator=torch.Generator().manual_seed(0))
    both = torch.cat([wav, torch.nn.functional.pad(wav[:, :16000], (0, 16000))])
    mask = torch.ones(2, 32000, dtype=torch.long)
    mask[1, 16000:] = 0
    sae = make_sae("relu", 24, 40)
    gate = ClipGate(features=[1, 2, 3], weights=[1.0, 1.0, 1.0], bias=0.0, threshold=0.0, pool=kind)
    with torch.no_grad(), steer(model, sae=sae, layer=2, edits=[Push(torch.ones(24))], gate=gate) as steering:
        (hook,) = steering.hooks.values()
        scores: list[torch.Tensor] = []
        hook.probe.register_forward_hook(lambda m, args, out: scores.append(out))
        model(both, attention_mask=mask)
        heard = int(model._get_feat_extract_output_lengths(torch.tensor(16000)))
        model(wav[:, :16000], attention_mask=torch.ones(1, 16000, dtype=torch.long))
    torch.testing.assert_close(scores[0][1], scores[1][0], rtol=0.02, atol=0.02)
    assert heard < 100


def test_a_site_before_the_encoder_knows_its_own_pass() -> None:
    model = speech_encoder("HubertModel")()
    wav = 0.1 * torch.randn(2, 16000, generator=torch.Generator().manual_seed(0))
    site = Site(path="feature_projection.projection", frame_rate=50.0)
    with torch.no_grad():
        plain = model(wav[:1]).last_hidden_state
        with steer(model, site=site, edits=[Push(torch.ones(24), window=(5.0, 6.0))]):
            assert torch.equal(model(wav[:1]).last_hidden_state, plain)
            model(wav)  # another number of rows


def test_a_fingerprint_is_that_of_the_model_without_its_head() -> None:
    with_head = speech_encoder("HubertForCTC")()
    assert fingerprint(with_head) == fingerprint(with_head.hubert)
