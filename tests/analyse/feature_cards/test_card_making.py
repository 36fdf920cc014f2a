"""Cards of planted features, on clips of tones that an SAE reads as they were planted."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
from planted import identity_sae

from audiosae_steer.analyse import (
    Alignments,
    CardSettings,
    Excerpts,
    FeatureCard,
    Patterns,
    PhoneSpan,
    Residuals,
    feature_card,
)
from audiosae_steer.analyse.feature_cards.card_neighbours import co_firing
from audiosae_steer.analyse.feature_cards.firing_places import places_of
from audiosae_steer.analyse.frame.excerpts import Excerpt
from audiosae_steer.errors import SteeringError

QUICK = CardSettings(shuffles=20, random_features=5, seconds=1.0)
CLIPS, FRAMES, FEATURES, RATE = 12, 100, 8, 50.0
"""Clips of 2 s; those of even number have the label tone, and feature 3 fires in them, where there is the phone a."""


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tones")
    rng = np.random.default_rng(0)
    clips, items, spans = [], [], {}
    for number in range(CLIPS):
        x = np.zeros((FRAMES, FEATURES))
        x[:, [0, 1, 2, 4, 5]] = rng.random((FRAMES, 5)) * (rng.random((FRAMES, 5)) < 0.1)
        spoken = np.zeros(FRAMES, bool)
        spoken[20:40] = True
        if number % 2 == 0:
            x[spoken, 3] = 1 + rng.random(20) + number
            x[spoken, 6] = 1.0  # beside it always
        else:
            x[50, 3] = -number / 10  # below 0: it nearly fires
            x[:50, 3] = x[51:, 3] = -2.0
        time = np.arange(FRAMES * 320) / 16000
        sound = 0.01 * rng.standard_normal(len(time)) + 0.3 * np.sin(6283 * time) * np.repeat(spoken, 320)
        path = folder / f"clip{number}.wav"
        soundfile.write(path, sound, 16000)
        clips.append(torch.from_numpy(x).float())
        items.append(Excerpt(path, 0.0, 2.0, "tone" if number % 2 == 0 else "none", f"speaker {number // 2 % 4}"))
        spans[f"clip{number}"] = (PhoneSpan(0, 0.4, "sil"), PhoneSpan(0.4, 0.8, "a"), PhoneSpan(0.8, 2, "sil"))
    given = Residuals.of(clips, groups=[i.group for i in items], labels=[i.label for i in items], rate=RATE)
    return replace(given, excerpts=Excerpts(tuple(items), True)), Alignments(spans)


@pytest.fixture(scope="module")
def card(tones):
    return feature_card(identity_sae(FEATURES), tones[0], 3, alignments=tones[1], settings=QUICK)


def test_a_planted_feature_is_known_by_its_card(card):
    assert card.density == pytest.approx(0.1)
    assert {part.part for part in card.parts} == {"find", "report"}
    assert card.labels[0].auc in (0.0, 1.0)
    assert card.labels[0].p < 0.1
    assert card.phones[0].phone == "a"
    assert card.phones[0].purity == 1.0
    assert card.neighbours[0].by == "co-firing"  # decoder rows of coordinates have nothing in common
    assert card.neighbours[0].feature == 6
    assert card.neighbours[0].chi == 1.0
    speech, other = card.places
    assert (speech.place, speech.density, other.density) == ("speech", 0.5, 0.0)
    assert card.speech_by == "alignments"
    assert sum(card.histogram.counts) == 120
    assert card.mel.peak_hz == pytest.approx(1000, rel=0.1)
    assert card.effects == ()  # no model was given


def test_clips_are_the_highest_and_the_nearest(card):
    top = [clip for clip in card.clips if not clip.near_miss]
    near = [clip for clip in card.clips if clip.near_miss]
    assert [clip.clip for clip in top] == [10, 8, 6, 4]  # one of a speaker, of four
    assert max(top[0].trace) == pytest.approx(card.peak, abs=1e-4)
    assert len(top[0].trace) == RATE
    assert top[0].start <= 0.8 <= top[0].start + 1.0
    assert [clip.clip for clip in near] == [1, 3, 5, 7]  # −.1, −.3, …
    assert max(near[0].trace) == pytest.approx(-0.1, abs=1e-5)


def test_random_features_of_like_density_stand_beside(card):
    measures = {each.measure: each for each in card.random}
    assert set(measures) == {
        "share in the tenth of clips with most", "AUC of the label it tells best", "share of its most frequent phone"
    }  # fmt: skip
    # coordinates that mix eight of which one is planted know of it: the card says how much
    assert measures["share of its most frequent phone"].value == 1.0
    assert measures["share of its most frequent phone"].median <= 1.0


def test_a_page_with_pictures_and_sound_and_the_same_bytes(card, tones, tmp_path):
    again = feature_card(identity_sae(FEATURES), tones[0], 3, alignments=tones[1], settings=QUICK)
    assert again.to_json() == card.to_json()
    assert FeatureCard.from_json(card.to_json()) == card
    page = card.report(tmp_path / "card.html", tones[0].excerpts).read_text(encoding="utf-8")
    assert page.count("<audio") == 1
    assert page.count('class="thumb"') == len(card.clips) == 8
    assert page.count("data:image/png") == len(card.clips) + 1 + 2  # the stage and two figures
    state = json.loads(re.search(r'id="state">(.*?)</script>', page, re.DOTALL).group(1))
    assert [each["kind"] for each in state["data"]] == ["top"] * 4 + ["near"] * 4
    for each, clip in zip(state["data"], card.clips, strict=True):
        curve = np.frombuffer(base64.b64decode(each["curve"]), np.uint8) * each["scale"] / 255
        assert curve == pytest.approx(np.maximum(clip.trace, 0), abs=card.peak / 255)
        assert state["sounds"][each["sound"]].startswith("data:audio/wav;base64,")
    assert "Does not fire; comes closest at" in state["data"][-1]["said"]
    assert f"at most {state['data'][0]['scale']:.1f}" in state["data"][0]["said"]
    assert str(tmp_path) not in page
    assert card.png(tmp_path / "card.png").read_bytes().startswith(b"\x89PNG")


def test_captions_make_a_name(card, tones):
    heard = []

    def captioner(samples, rate):
        heard.append((len(samples), rate))
        return "a tone"

    named = card.captioned(tones[0].excerpts, captioner, lambda words: " & ".join(sorted(set(words))))
    assert named.name == "a tone"
    assert named.title == "Feature 3: a tone"
    assert heard == [(16000, 16000)] * 4
    assert "a tone" in named.moments()[0].says


def test_the_title_says_what_a_feature_stands_for_as_far_as_it_is_shown(card, tones, tmp_path):
    assert card.title == "Feature 3: the phone a"
    page = card.report(tmp_path / "card.html").read_text(encoding="utf-8")
    assert "<title>Feature 3: the phone a</title>" in page
    without = replace(card, phones=())
    (told,) = (each for each in without.labels if each.label == "tone")
    assert (told.auc, told.p * 2) == (1.0, pytest.approx(2 / 21))  # 20 draws cannot show more
    assert without.title == "Feature 3"
    shown = replace(without, labels=(told._replace(p=0.02), told._replace(label="none", auc=0.0)))
    assert shown.title == "Feature 3: told best, tone"
    assert replace(shown, labels=shown.labels * 2).title == "Feature 3"  # 0.02 of four labels is no finding
    inverse = replace(without, labels=(told._replace(label="none", auc=0.0, p=0.0),))
    assert inverse.title == "Feature 3"
    weak = replace(card, labels=(), phones=(card.phones[0]._replace(lift=2.9),))
    assert weak.title == "Feature 3"


def naive_gap(fired, speech):
    """Share of frames in speech minus that in other sound, each frame a witness: |z| of a test of two shares."""
    a, b = fired[speech], fired[~speech]
    share = fired.mean()
    return abs(a.mean() - b.mean()) / np.sqrt(share * (1 - share) * (1 / len(a) + 1 / len(b)))


def test_bursts_without_regard_to_speech_are_not_said_to_prefer_it():
    clear = naive = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        starts = np.arange(0, 6001, 500)
        speech = np.repeat(rng.random(60) < 0.5, 100)
        fired = np.repeat(rng.random(120) < 0.2, 50)  # bursts of 1 s
        found = places_of(fired, speech, ~speech, starts, RATE, 60, seed)
        clear += found[0].p < 0.05
        naive += naive_gap(fired, speech) > 1.96
    assert clear <= 2
    assert naive >= 5


def test_co_firing_is_intersection_over_union():
    flags = np.array([[1, 1, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]], bool)
    assert co_firing(Patterns.of([flags]), 0).tolist() == [1.0, 0.5, 0.0]


def test_a_feature_that_never_fires_is_refused(tones):
    with pytest.raises(SteeringError, match="feature 7 fires on none of 1200 frames"):
        feature_card(identity_sae(FEATURES), tones[0], 7, settings=QUICK)
    with pytest.raises(SteeringError, match="8 is no feature"):
        feature_card(identity_sae(FEATURES), tones[0], 8, settings=QUICK)
