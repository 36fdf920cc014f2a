"""Quiz: rounds hold what they say, a link restores them, and nothing gives the answer away before it is asked for."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing

import pytest
from made_index import made_index

from audiosae_steer.explorer.index.index_reader import Index
from audiosae_steer.explorer.pages.explorer_app import explorer_site
from audiosae_steer.explorer.pages.views.quiz_view import ASKED, FIRING, SEEDS, STUDIED, drawn_quiz, quiz_of

ROUNDS = range(40)


@pytest.fixture(scope="module")
def index_path(tmp_path_factory):
    """An index whose examples are as a build makes them: near misses are silent, the others fire, and peaks say so."""
    path = made_index(tmp_path_factory.mktemp("quiz") / "made.sqlite", layers=(4,), features=32, clips=60)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DELETE FROM examples WHERE kind = 'near' AND clip % 3 != 0")
        connection.execute("DELETE FROM examples WHERE kind != 'near' AND clip % 3 = 0")
        connection.execute("DELETE FROM peaks WHERE clip % 3 = 0")
        connection.execute("UPDATE features SET clips = 40 WHERE clips > 40")
        connection.commit()
    return path


@pytest.fixture
def index(index_path):
    opened = Index(index_path)
    yield opened
    opened.close()


@pytest.fixture
def rounds(site):
    found = [drawn_quiz(site, 4, seed) for seed in ROUNDS]
    assert None not in found
    return found


def test_clips_are_what_the_round_says_they_are(rounds, index):
    for each in rounds:
        clips = [shown.clip.id for shown in each.studied] + [asked.shown.clip.id for asked in each.asked]
        assert len(set(clips)) == STUDIED + ASKED  # none twice: the studied ones would give an asked one away
        examples = index.examples(4, each.feature)
        fires = {example.clip.id for example in examples if example.kind != "near"}
        assert {shown.clip.id for shown in each.studied} <= fires
        assert sum(asked.fires for asked in each.asked) in FIRING
        for asked in each.asked:
            clip = asked.shown.clip.id
            assert asked.fires == (clip in fires)
            assert asked.said.startswith("fires" if asked.fires else "silent")
            if not asked.fires:
                assert each.feature not in index.peaks(4, clip)[0]


def test_neither_number_nor_place_tells_the_answer(rounds):
    assert {sum(asked.fires for asked in each.asked) for each in rounds} == set(FIRING)
    for place in range(ASKED):
        assert 0.2 < sum(each.asked[place].fires for each in rounds) / len(rounds) < 0.8
    near = {asked.said for each in rounds for asked in each.asked if "near miss" in asked.said}
    assert near
    assert len({each.feature for each in rounds}) > 5


def test_a_seed_is_a_round(site, rounds):
    assert drawn_quiz(site, 4, 7) == rounds[7]
    again = quiz_of(site, 4, rounds[7].feature, 7)
    assert again == rounds[7]
    assert quiz_of(site, 4, rounds[7].feature, 8).asked != rounds[7].asked


def test_a_random_seed_is_put_into_the_address(client):
    answer = client.get("/quiz.html?layer=4&feature=8", follow_redirects=False)
    assert answer.status_code == 303
    found = re.fullmatch(r"\?layer=4&feature=8&seed=(\d+)", answer.headers["location"])
    assert int(found[1]) < SEEDS
    assert client.get("/quiz").url.path == "/quiz"


def test_nothing_is_given_away_before(client, rounds):
    each = rounds[3]
    page = client.get(f"/quiz.html?layer=4&seed=3&picked={each.asked[0].number}").text
    names = [asked.shown.name for asked in each.asked]
    assert not any(name in page for name in names)
    assert page.count('class="curve"') == STUDIED
    assert f"feature {each.feature}" not in page
    assert page.count('type="checkbox"') == ASKED
    assert page.count(" checked") == 1
    told = client.get(f"/quiz.html?layer=4&seed=3&picked={each.asked[0].number}&shown=1").text
    assert all(name in told for name in names)
    assert told.count('class="curve"') == STUDIED + ASKED
    assert f"feature {each.feature}</a>" in told


@pytest.mark.parametrize("seed", [0, 5, 11])
def test_what_is_right_is_counted(client, rounds, seed):
    firing = [asked.number for asked in rounds[seed].asked if asked.fires]
    silent = [asked.number for asked in rounds[seed].asked if not asked.fires]

    def right(numbers) -> int:
        picked = "".join(f"&picked={each}" for each in numbers)
        page = client.get(f"/quiz.html?layer=4&seed={seed}{picked}&shown=1").text
        told = int(re.search(r'data-right="(\d)"', page)[1])
        assert page.count("<b>Right</b>") == told
        assert page.count("<b>Wrong</b>") == ASKED - told
        return told

    assert right(firing) == ASKED
    assert right(silent) == 0
    assert right([]) == len(silent)
    assert right(firing[:1]) == len(silent) + 1


def test_too_few_clips_are_said(client):
    assert "too few of the clips" in client.get("/quiz.html?layer=4&feature=15&seed=1").text
    assert client.get("/quiz.html?layer=4&feature=999&seed=1").status_code == 404


def test_an_index_without_rounds_has_none(tmp_path):
    site = explorer_site(Index(made_index(tmp_path / "small.sqlite", layers=(4,), features=16, clips=4)))
    assert drawn_quiz(site, 4, 1) is None


@pytest.mark.parametrize("query", ["seed=x", "seed=-1", "seed=1&picked=9&picked=x&picked=" + "1" * 50, "layer=9&seed=1",
                                   "seed=99999999999999", "seed=1&feature=x&shown=2"])  # fmt: skip
def test_odd_addresses_are_answered(client, query):
    assert client.get(f"/quiz.html?{query}").status_code == 200
