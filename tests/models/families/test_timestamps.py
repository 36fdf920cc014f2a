"""Timestamps under the mask: in no frame without speech, in both libraries, in batches, beams and long recordings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from windows import late_utterance

from audiosae_steer import load_processor
from audiosae_steer.models.families.timestamps import TimestampMask, limit, limits, timestamps_within
from audiosae_steer.models.registry import family_of
from audiosae_steer.models.sites import TIMESTAMPS

FIRST = 51864 - TIMESTAMPS
END = 50256
RATE = 16_000
PROMPT = torch.tensor([[50257]])


def written(*tokens: int, rows: int = 1) -> Tensor:
    """Tokens (rows, steps) after the prompt."""
    return torch.tensor([[50257, *tokens]]).expand(rows, -1)


class Model:
    """An object that rules can be added to."""


def spoken(*spans: tuple[float, float], frames: int = 1500) -> Tensor:
    """(frames,) bool: without speech, but for spans in seconds."""
    found = torch.ones(frames, dtype=torch.bool)
    for start, end in spans:
        found[round(start * 50) : round(end * 50)] = False
    return found


def allowed_by_hand(unspoken: list[bool]) -> list[bool]:
    """A timestamp t of 1,500 frames lies between frames t − 1 and t."""
    n = len(unspoken)
    return [not (unspoken[max(t - 1, 0)] and unspoken[min(t, n - 1)]) for t in range(n + 1)]


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 1499), st.integers(1, 400)), max_size=4))
def test_a_timestamp_lies_between_two_frames(runs: list[tuple[int, int]]) -> None:
    unspoken = torch.ones(1, 1500, dtype=torch.bool)
    for start, length in runs:
        unspoken[0, start : start + length] = False
    assert (~timestamps_within(unspoken)[0]).tolist() == allowed_by_hand(unspoken[0].tolist())


def test_other_numbers_of_frames_are_spread_over_the_thirty_seconds() -> None:
    unspoken = torch.ones(1, 10, dtype=torch.bool)
    unspoken[0, 2] = False  # 6 to 9 s
    allowed = (~timestamps_within(unspoken)[0]).nonzero()[:, 0]
    assert (int(allowed[0]), int(allowed[-1])) == (300, 450)


@pytest.mark.parametrize(("latest", "expected"), [(50, range(500, 551)), (None, range(500, 601)), (7, range(500, 508))])
def test_a_text_begins_within_a_second_of_where_somebody_speaks(latest: int | None, expected: range) -> None:
    model = Model()
    limit(model, lambda rows: spoken((10, 12)).expand(rows, -1))
    scores = torch.zeros(2, 51864)
    TimestampMask(model, FIRST, END, latest).fill(scores, PROMPT.expand(len(scores), -1), 1)
    assert [t for t in range(TIMESTAMPS) if scores[1, FIRST + t] == 0] == list(expected)
    assert (scores[:, :FIRST] == 0).all()
    scores = torch.zeros(2, 51864)
    TimestampMask(model, FIRST, END, latest).fill(scores, written(0, 7, rows=len(scores)), 1)
    assert int((scores[0, FIRST:] == 0).sum()) == 101


def test_nothing_is_forbidden_where_nobody_or_everybody_speaks() -> None:
    model = Model()
    undo = limit(model, lambda rows: torch.stack([spoken(), ~spoken()]))
    scores = torch.zeros(2, 51864)
    TimestampMask(model, FIRST, END, None).fill(scores, PROMPT.expand(len(scores), -1), 1)
    assert not scores.any()
    TimestampMask(model, FIRST, END, 50).fill(scores, PROMPT.expand(len(scores), -1), 1)  # as Whisper itself does
    assert (scores[:, FIRST + 51 :] == -torch.inf).all()
    assert not scores[:, : FIRST + 51].any()
    assert limits(model)
    undo()
    assert not limits(model)
    assert not vars(model)


def test_several_steerings_forbid_what_any_of_them_does() -> None:
    model = Model()
    undo = limit(model, lambda rows: spoken((0, 20)).expand(rows, -1))
    limit(model, lambda rows: spoken((10, 30)).expand(rows, -1))
    limit(model, lambda rows: None)
    scores = torch.zeros(1, 51864)
    TimestampMask(model, FIRST, END, None).fill(scores, written(0, 7, rows=len(scores)), 1)
    assert (scores[0, FIRST:] == 0).nonzero()[:, 0].tolist() == list(range(500, 1001))
    undo()
    scores = torch.zeros(1, 51864)
    TimestampMask(model, FIRST, END, None).fill(scores, written(0, 7, rows=len(scores)), 1)
    assert int((scores[0, FIRST:] == 0).sum()) == 1001


@pytest.mark.parametrize("latest", [50, None])
def test_no_speech_is_skipped_after_a_segment(latest: int | None) -> None:
    model = Model()
    limit(model, lambda rows: spoken((2, 5.3), (12, 15), (20, 20.5)).expand(rows, -1))
    mask = TimestampMask(model, FIRST, END, latest)

    def allowed(seconds: float) -> tuple[bool, list[int]]:
        scores = torch.zeros(1, 51864)
        mask.fill(scores, written(FIRST + 100, 7, FIRST + round(seconds * 50)), 1)
        steps = (scores[0, FIRST:] == 0).nonzero()[:, 0].tolist()
        return bool(scores[0, END] == 0), [t for t in steps if t >= seconds * 50]

    ends, steps = allowed(5.0)  # what is left of the first stretch is its own end
    assert not ends
    assert steps[0] == 250
    assert steps[-1] == (650 if latest else 1025)
    ends, steps = allowed(3.0)  # the stretch goes on
    assert not ends
    assert steps[-1] == (225 if latest else 1025)
    ends, steps = allowed(15.0)  # half a second is left
    assert ends
    assert steps[-1] == 1025
    for tokens in ((FIRST + 100,), (FIRST + 100, 7), (FIRST + 100, 7, FIRST + 250, FIRST + 600)):
        scores = torch.zeros(1, 51864)
        mask.fill(scores, written(*tokens), 1)
        assert scores[0, END] == 0


def allowed_ends(unspoken: list[bool], tokens: list[int]) -> list[int]:
    """Timestamps t at which a segment may end, of tokens whose last timestamp, if any, begins it: by hand."""
    open_ = [t for t, allowed in enumerate(allowed_by_hand(unspoken)) if allowed]
    stamps = [place for place, token in enumerate(tokens) if token >= FIRST]
    if not stamps or stamps[-1] == len(tokens) - 1 or not any(unspoken):
        return open_
    began, text = tokens[stamps[-1]] - FIRST, len(tokens) - 1 - stamps[-1]
    return [t for t in open_ if sum(began < each <= t for each in open_) <= 50 + 50 * text]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 1499), st.integers(1, 400)), min_size=1, max_size=4),
    st.lists(st.one_of(st.integers(0, 40_000), st.integers(FIRST, FIRST + 1500)), min_size=2, max_size=9),
)
def test_a_segment_ends_before_more_speech_than_its_tokens_can_take(runs: Any, tokens: list[int]) -> None:
    unspoken = torch.ones(2, 1500, dtype=torch.bool)
    for start, length in runs:
        unspoken[0, start : start + length] = False
    model = Model()
    limit(model, lambda rows: unspoken)
    mask = TimestampMask(model, FIRST, END, None)
    if all(token < FIRST for token in tokens[-2:]):  # else the beginning of the next segment is bounded, too
        scores = torch.zeros(2, 51864)
        mask.fill(scores, written(*tokens, rows=2), 1)
        found = (scores[0, FIRST:] == 0).nonzero()[:, 0].tolist()
        assert found == allowed_ends(unspoken[0].tolist(), tokens)
        assert not scores[1].any()  # nobody speaks there


def test_a_word_does_not_pass_over_the_speech_after_a_gap() -> None:
    model = Model()
    limit(model, lambda rows: spoken((0, 0.7), (14, 25)).expand(rows, -1))
    mask = TimestampMask(model, FIRST, END, 50)

    def latest(*tokens: int) -> float:
        scores = torch.zeros(1, 51864)
        mask.fill(scores, written(*tokens), 1)
        return int((scores[0, FIRST:] == 0).nonzero()[-1]) / 50

    assert 14 < latest(FIRST, 7, 8) < 17
    assert latest(FIRST, *range(12)) == 25


def test_everybody_speaking_leaves_all_as_it_is() -> None:
    model = Model()
    limit(model, lambda rows: ~spoken().expand(rows, -1))
    for tokens in ((FIRST, 7, FIRST + 100), (FIRST, 7, 8), (FIRST,)):
        scores = torch.zeros(1, 51864)
        TimestampMask(model, FIRST, END, None).fill(scores, written(*tokens), 1)
        assert not scores.any()


def test_a_decision_is_asked_for_once_a_window() -> None:
    model, asked = Model(), []

    def unspoken(rows: int) -> Tensor:
        asked.append(rows)
        return spoken((10, 12)).expand(rows, -1)

    limit(model, unspoken)
    mask = TimestampMask(model, FIRST, END, None)
    for window in (1, 2):
        for step in range(4):
            scores = torch.zeros(5, 51864)
            mask.fill(scores, written(*range(step), rows=5), 1)
            assert (scores[:, FIRST : FIRST + 500] == -torch.inf).all()
        assert asked == [5] * window
    mask.fill(torch.zeros(3, 51864), written(0, 7, rows=3), 1)  # clips of a batch that are done have left
    assert asked == [5, 5, 3]


@pytest.fixture(scope="module")
def window() -> np.ndarray:
    return late_utterance()


def times(tokens: Any) -> list[float]:
    """Seconds of the timestamps among token ids."""
    return [(int(token) - FIRST) / 50 for token in tokens if int(token) >= FIRST]


@pytest.mark.parametrize("options", [{}, {"beam_size": 3}, {"temperature": 0.6, "best_of": 2}], ids=str)
def test_openai_whisper_writes_timestamps_where_somebody_speaks(tiny_en: Any, window: np.ndarray, options: Any) -> None:
    import whisper

    mel = whisper.log_mel_spectrogram(whisper.pad_or_trim(window))
    masks = [spoken((8.5, 9.5), (20, 21)), spoken()]
    batch = not options  # openai-whisper has no beams in batches

    def unspoken(rows: int) -> Tensor:
        return torch.stack(masks) if batch else masks[0].expand(rows, -1)

    decoding = whisper.DecodingOptions(fp16=False, language="en", **options)

    def written() -> list[list[int]]:
        torch.manual_seed(0)
        return [found.tokens for found in tiny_en.decode(torch.stack([mel] * (1 + batch)), decoding)]

    plain = written()
    undo = family_of(tiny_en).limit_timestamps(tiny_en, unspoken)
    try:
        limited = written()
    finally:
        undo()
    found = times(limited[0])
    assert found
    assert all(8.5 <= t <= 9.5 or 20 <= t <= 21 for t in found)
    assert found[0] <= 9.5  # within a second of 8.5
    assert written() == plain
    assert limited[1:] == plain[1:]
    assert any(not (8.5 <= t <= 9.5 or 20 <= t <= 21) for t in times(plain[0]))


@pytest.mark.parametrize("beams", [1, 3])
def test_transformers_writes_timestamps_where_somebody_speaks(tiny_en_hf: Any, window: np.ndarray, beams: int) -> None:
    processor = load_processor("tiny.en")
    x = processor([window, window], sampling_rate=RATE, return_tensors="pt").input_features
    masks = torch.stack([spoken((8.5, 9.5), (20, 21)), spoken()])
    own = dict(vars(tiny_en_hf))

    def written() -> list[list[float]]:
        found = tiny_en_hf.generate(x, return_timestamps=True, num_beams=beams, max_new_tokens=40)
        return [times(row) for row in found]

    plain = written()
    undo = family_of(tiny_en_hf).limit_timestamps(tiny_en_hf, lambda rows: masks.repeat_interleave(rows // 2, 0))
    try:
        limited = written()
        tiny_en_hf.generate(x, max_new_tokens=5)  # without timestamps there is nothing to forbid
    finally:
        undo()
    assert limited[0]
    assert all(8.5 <= t <= 9.5 or 20 <= t <= 21 for t in limited[0])
    assert limited[1] == plain[1] == written()[1]
    assert limited[0] != plain[0]
    assert dict(vars(tiny_en_hf)) == own
