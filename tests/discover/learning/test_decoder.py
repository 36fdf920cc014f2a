"""The folded decoder against openai-whisper's own."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from make import make_openai

from audiosae_steer import Push, Site, SiteEdits, steer
from audiosae_steer.discover.learning.decoder import hidden, logits


@pytest.fixture(scope="module")
def small():
    return make_openai(seed=3)


@settings(max_examples=15)
@given(clips=st.integers(1, 3), count=st.integers(1, 7), frames=st.integers(1, 40), seed=st.integers(0, 99))
def test_it_is_the_same_function(small, clips, count, frames, seed):
    g = torch.Generator().manual_seed(seed)
    tokens = torch.randint(0, 51_000, (clips, count), generator=g)
    x = 3 * torch.randn(clips, frames, 64, generator=g)
    ours = logits(small.decoder, hidden(small.decoder, tokens, x))
    torch.testing.assert_close(ours, small.decoder(tokens, x), rtol=1e-4, atol=1e-4)


def test_gradients_are_the_same(small):
    tokens = torch.tensor([[50257, 50362, 11], [50257, 50363, 50256]])
    found = []
    folded = lambda x: logits(small.decoder, hidden(small.decoder, tokens, x))  # noqa: E731
    for forward in (folded, lambda x: small.decoder(tokens, x)):
        x = torch.randn(2, 25, 64, generator=torch.Generator().manual_seed(1)).requires_grad_()
        forward(x).log_softmax(-1)[:, -1, 50256].sum().backward()
        found.append(x.grad)
    assert found[0].abs().max() > 0
    torch.testing.assert_close(found[0], found[1], rtol=1e-3, atol=1e-6)


def test_what_is_added_is_what_steering_adds(small):
    g = torch.Generator().manual_seed(2)
    added = torch.randn(len(small.decoder.blocks), 64, generator=g)
    tokens, x = torch.tensor([[50257, 50363, 11]]), torch.randn(1, 25, 64, generator=g)
    parts = [SiteEdits(Site(n, "decoder"), None, [Push(vector)]) for n, vector in enumerate(added, 1)]
    with steer(small, parts), torch.no_grad():
        wanted = small.decoder(tokens, x)
    ours = logits(small.decoder, hidden(small.decoder, tokens, x, added))
    torch.testing.assert_close(ours, wanted, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(ours, small.decoder(tokens, x), atol=1e-2)


@pytest.mark.parametrize("before", [50362, 50363, 50370])
def test_what_is_added_at_a_texts_start_is_what_steering_adds_there(small, before):
    g = torch.Generator().manual_seed(2)
    added = torch.randn(len(small.decoder.blocks), 64, generator=g)
    tokens, x = torch.tensor([[50257, before, 11, 12]]), torch.randn(1, 25, 64, generator=g)
    parts = [SiteEdits(Site(n, "decoder"), None, [Push(v)], steps="first") for n, v in enumerate(added, 1)]
    with steer(small, parts), torch.no_grad():
        wanted = small.decoder(tokens, x)
        unsteered = small.decoder(torch.tensor([[50257, 11, 12]]), x)  # no start in it
    ours = logits(small.decoder, hidden(small.decoder, tokens, x, added, 1))
    torch.testing.assert_close(ours, wanted, rtol=1e-4, atol=1e-4)
    plain = small.decoder(tokens, x)
    torch.testing.assert_close(plain[:, :1], wanted[:, :1], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(plain[:, 1], wanted[:, 1], atol=1e-2)
    assert torch.equal(unsteered, small.decoder(torch.tensor([[50257, 11, 12]]), x))


def test_the_released_weights_in_bfloat16_are_close(tiny_en):
    x = torch.randn(1, 1500, 384, generator=torch.Generator().manual_seed(0))
    tokens = torch.tensor([[50257, 50363]])
    with torch.no_grad():
        wanted = tiny_en.decoder(tokens, x).log_softmax(-1)
        got = logits(tiny_en.decoder, hidden(tiny_en.decoder, tokens, x.bfloat16())).log_softmax(-1)
    # nats: half the square of an error of two of bfloat16's roundings, 2^-8, of log-probabilities that spread by 1.5
    assert float((wanted.exp() * (wanted - got)).sum(-1).max()) < (2 * 2**-8 * 1.5) ** 2 / 2
