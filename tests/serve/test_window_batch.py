"""Windows decoded together: each as alone, whatever the others do."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from make import make_openai
from whisper.decoding import DecodingOptions

from audiosae_steer import Push, Site, steer
from audiosae_steer.serve import window_batch
from audiosae_steer.serve.window_batch import WindowBatch

OPTIONS = DecodingOptions(language="en", fp16=False, sample_len=12)
FIELDS = ("tokens", "text", "temperature")


@pytest.fixture(scope="module")
def model() -> Any:
    return make_openai(d=64)


@pytest.fixture(scope="module")
def encodings() -> torch.Tensor:
    """Made up: the small model's own are much alike."""
    made = torch.Generator().manual_seed(1)
    return torch.randn(4, 1500, 64, generator=made) + 40 * torch.randn(4, 1, 64, generator=made)


def together(model: Any, encoding: torch.Tensor, settings=lambda rows: nullcontext(), left=lambda row: False):
    found: dict[int, Any] = {}
    again = WindowBatch(model, OPTIONS).texts(encoding, settings, found.__setitem__, left)
    return found, again


@torch.no_grad()
def test_rows_are_as_openai_whisper_decodes_them_alone(model, encodings) -> None:
    alone = [model.decode(each, OPTIONS) for each in encodings]
    found, again = together(model, encodings)
    assert sorted([*found, *again]) == [0, 1, 2, 3]
    for row, each in found.items():
        assert [getattr(each, name) for name in FIELDS] == [getattr(alone[row], name) for name in FIELDS]
        assert each.avg_logprob == pytest.approx(alone[row].avg_logprob, abs=1e-4)
        assert each.no_speech_prob == pytest.approx(alone[row].no_speech_prob, abs=1e-4)
    single, none = together(model, encodings[:1])
    assert none == []
    assert single[0].avg_logprob == alone[0].avg_logprob  # to the bit
    assert len({tuple(each.tokens) for each in alone}) > 1


@torch.no_grad()
def test_a_window_that_nobody_waits_for_leaves_and_the_others_go_on(model, encodings) -> None:
    whole, _ = together(model, encodings)
    steps = iter(range(1000))
    seen: list[tuple[int, ...]] = []

    def settings(rows):
        seen.append(tuple(rows))
        return nullcontext()

    found, again = together(model, encodings, settings, lambda row: row == 1 and next(steps) > 5)
    assert 1 not in found
    assert 1 not in again
    assert seen[:2] == [(0, 1, 2, 3), (0, 2, 3)]
    for row, each in found.items():
        assert each.tokens == whole[row].tokens


@torch.no_grad()
def test_near_ties_are_to_be_decoded_alone(model, encodings, monkeypatch) -> None:
    monkeypatch.setattr(window_batch, "NEAR", 1e3)
    found, again = together(model, encodings)
    assert (found, sorted(again)) == ({}, [0, 1, 2, 3])
    monkeypatch.setattr(window_batch, "NEAR", 0.0)
    assert together(model, encodings)[1] == []


@torch.no_grad()
def test_a_choice_between_timestamp_and_text_that_is_nearly_a_tie_is_seen(model) -> None:
    """Not by the two likeliest tokens, which are far apart."""
    task = WindowBatch(model, OPTIONS)
    first = task.tokenizer.timestamp_begin
    tokens = torch.tensor([[*task.initial_tokens, first + 10, 500, 501]])
    logits = torch.full((1, model.dims.n_vocab), -50.0)
    logits[0, 600] = 0.0
    logits[0, first + 20 : first + 120] = -torch.log(torch.tensor(100.0))  # all together as likely as the word
    assert task._choose(logits.clone(), tokens).tolist() == [True]
    logits[0, 600] = 0.1
    assert task._choose(logits.clone(), tokens).tolist() == [False]


@torch.no_grad()
def test_each_row_has_its_own_strength_when_others_have_left(model, encodings) -> None:
    direction = torch.randn(64, generator=torch.Generator().manual_seed(2))
    strengths = [0.0, 1.0, 0.5, 1.0]
    with steer(model, site=Site(layer=2, side="decoder"), edits=[Push(direction, 30.0)]) as steering:
        alone = []
        for each, strength in zip(encodings, strengths, strict=True):
            with steering.session(strength=strength):
                alone.append(model.decode(each, OPTIONS).tokens)
        found, again = together(
            model,
            encodings,
            lambda rows: steering.session(strength=[strengths[row] for row in rows]),
            lambda row: row == 0,
        )
        assert {row: each.tokens for row, each in found.items()} == {
            row: alone[row] for row in (1, 2, 3) if row not in again
        }
        found, _ = together(model, encodings, lambda rows: steering.session(strength=1.0))
        assert found[0].tokens != alone[0]  # of one strength for all
