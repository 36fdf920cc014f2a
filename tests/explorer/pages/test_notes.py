"""Notes: kept beside the index, whole or as they were, and given on as JSON."""

from __future__ import annotations

import json
import stat

import pytest

from audiosae_steer.errors import SteeringError
from audiosae_steer.explorer.index.index_reader import Index
from audiosae_steer.explorer.pages.notes_file import LONGEST_LABEL, Note, Notes, clip_key


def test_notes_stay_and_the_index_does_not_change(index):
    before = index.path.read_bytes()
    notes = Notes(index)
    assert not notes.path.exists()
    notes.put(4, 8, Note("dogs", "barking\nmostly"))
    notes.rate(4, 8, index.clip(3), 5)
    notes.rate(4, 8, index.clip(4), 2)
    notes.rate(4, 8, index.clip(4), None)
    again = Notes(index)
    assert again.of(4, 8) == Note("dogs", "barking\nmostly", {clip_key(index.clip(3)): 5})
    assert again.labels(4) == {8: "dogs"}
    assert again.labels(3) == {}
    assert index.path.read_bytes() == before
    notes.put(4, 8, Note())
    assert Notes(index).all() == {}


def test_an_export_is_an_import(index, tmp_path):
    notes = Notes(index)
    notes.put(4, 8, Note("dogs", "“ä”"))
    notes.put(3, 1, Note("", "hum", {"x@0": 1}))
    other = Notes(index, tmp_path / "other.json")
    other.put(4, 8, Note("cats"))
    assert other.take(notes.exported()) == (2, 0)
    assert other.all() == notes.all()


def test_notes_on_other_saes_are_left_out_of_imports_and_kept_in_files(index, tmp_path):
    text = Notes(index).exported()
    content = json.loads(text)
    content["notes"] = [
        {"layer": 4, "sae_sha256": "ff" * 32, "feature": 1, "label": "foreign", "note": "", "ratings": {}}
    ]
    path = tmp_path / "both.json"
    path.write_text(json.dumps(content))
    assert Notes(index).take(path.read_bytes()) == (0, 1)
    notes = Notes(index, path)
    assert notes.all() == {}
    notes.put(4, 2, Note("ours"))
    assert [each["label"] for each in json.loads(path.read_text())["notes"]] == ["ours", "foreign"]
    assert "foreign" not in notes.exported()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"kind": "other", "format": 1}',
        "null",
        "[" * 5000,
        '{"kind": "audiosae-steer explorer notes", "format": 1}',
        *(
            json.dumps({"kind": "audiosae-steer explorer notes", "format": 1, "notes": each})
            for each in (
                3,
                [3],
                [{}],
                [{"feature": "1", "sae_sha256": "a"}],
                [{"feature": 1, "sae_sha256": "a", "ratings": {"c": 6}}],
                [{"feature": 1, "sae_sha256": "a", "ratings": {"c": True}}],
                [{"feature": 1, "sae_sha256": "a", "label": "x" * 9999}],
                [{"feature": 1, "sae_sha256": "a", "ratings": 7}],
            )
        ),
    ],
)
def test_what_is_no_file_of_notes_is_refused_and_changes_nothing(index, tmp_path, text):
    notes = Notes(index)
    notes.put(4, 8, Note("dogs"))
    with pytest.raises(SteeringError, match="no file of the explorer's notes"):
        notes.take(text)
    assert Notes(index).of(4, 8).label == "dogs"
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(SteeringError, match="no file of the explorer's notes"):
        Notes(index, path)


def rows(*rows):
    return json.dumps({"kind": "audiosae-steer explorer notes", "format": 1, "notes": rows})


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"feature": 64}, "note 2 is on feature 64, but layer 4 has 0 to 63"),
        ({"feature": -1}, "note 2 is on feature -1, but layer 4 has 0 to 63"),
        ({"feature": True}, 'note 2 names no feature: "feature" takes a whole number'),
        ({"feature": None}, 'note 2 names no feature: "feature" takes a whole number'),
        ({"sae_sha256": 3}, 'note 2 names no SAE: "sae_sha256" takes text'),
        ({"label": None}, 'the "label" of note 2 is not text'),
        ({"note": ["x"]}, 'the "note" of note 2 is not text'),
        ({"ratings": None}, 'the "ratings" of note 2 are no object with a rating for each clip'),
        ({"label": ""}, "note 2, on feature 3, has no label, no text and no rating"),
    ],
)
def test_a_row_that_is_no_note_is_refused_in_words(index, row, said):
    good = {"sae_sha256": index.layers[4].sae_sha256, "feature": 3, "label": "dogs"}
    notes = Notes(index)
    with pytest.raises(SteeringError) as refused:
        notes.take(rows(good, good | row))
    assert str(refused.value) == f"what was given is no file of the explorer's notes: {said}"
    assert notes.all() == {}
    assert notes.take(rows(good)) == (1, 0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (rows(None), "note 1 is no object with a feature, a label and more"),
        (rows("x"), "note 1 is no object with a feature, a label and more"),
        (b"\xff\xfe", "it is not text in UTF-8"),
    ],
)
def test_what_holds_no_rows_is_refused_in_words(index, text, said):
    with pytest.raises(SteeringError) as refused:
        Notes(index).take(text)
    assert str(refused.value) == f"what was given is no file of the explorer's notes: {said}"


def test_rows_of_the_own_file_that_do_not_fit_are_kept_and_do_not_stop_the_start(index, tmp_path):
    path, sha = tmp_path / "old.json", index.layers[4].sae_sha256
    path.write_text(rows({"sae_sha256": sha, "feature": 99, "label": "far"}, {"sae_sha256": sha, "feature": 1}))
    notes = Notes(index, path)
    assert notes.all() == {}
    notes.put(4, 2, Note("ours"))
    assert [each["label"] for each in json.loads(path.read_text())["notes"]] == ["ours", "far"]


@pytest.mark.parametrize("letter", ["ä", "["])  # two bytes each; and what counts as a list, were it not text
def test_no_file_is_written_that_is_not_read_again(index, monkeypatch, letter):
    from audiosae_steer.explorer.pages import notes_file
    from audiosae_steer.io import strict_json

    monkeypatch.setattr(notes_file, "MOST_BYTES", 12_000)
    monkeypatch.setattr(strict_json, "MAX_PARTS", 6_000)
    notes = Notes(index)
    notes.put(4, 1, Note("", letter * 3000))
    with pytest.raises(SteeringError, match=r"would hold more than 12000 bytes|could not be read back"):
        notes.put(4, 2, Note("", letter * 3000))
    assert Notes(index).all() == notes.all() == {(4, 1): Note("", letter * 3000)}


def test_a_folder_that_cannot_be_written_is_said_and_nothing_is_noted(index, tmp_path):
    file = tmp_path / "file"
    file.touch()
    notes = Notes(index, file / "notes.json")
    with pytest.raises(SteeringError, match="cannot write"):
        notes.put(4, 8, Note("dogs"))
    assert notes.of(4, 8) == Note()
    assert stat.S_ISREG(file.stat().st_mode)


def test_a_form_is_kept_and_shown_everywhere(client, site):
    answer = client.post("/notes/4/8", data={"label": "  big   dogs ", "note": "a\r\nb"}, follow_redirects=True)
    assert answer.url.path == "/feature/4/8.html"
    assert 'value="big dogs"' in answer.text
    assert site.notes.of(4, 8).text == "a\nb"
    assert "big dogs" in client.get("/notes.html").text
    assert '<span class="tag">yours</span>' in client.get("/?layer=4&words=big").text
    assert "big dogs" in client.get("/map/4.json").text
    assert json.loads(client.get("/notes.json").text)["notes"][0]["label"] == "big dogs"
    asked = client.post("/notes/4/8", data={"label": "", "note": ""}, headers={"accept": "application/json"})
    assert asked.json() == {"label": "", "note": ""}
    assert "Nothing is noted yet" in client.get("/notes.html").text


def test_what_a_form_may_not_say(client, site):
    assert client.post("/notes/4/8", data={"label": "x" * (LONGEST_LABEL + 1)}).status_code == 400
    assert client.post("/notes/4/8", content=b"label=\xff\xfe").status_code in (303, 400, 200)
    assert client.post("/notes/4/64", data={"label": "x"}).status_code == 404
    assert client.post("/notes/9/1", data={"label": "x"}).status_code == 404
    assert client.get("/notes/4/8").status_code == 405
    assert client.post("/notes/4/8", content="&".join(f"a{i}=1" for i in range(99))).status_code == 400


def test_ratings(client, site):
    assert client.post("/notes/4/8/rating", json={"clip": 3, "rating": 4}).json() == {
        "clip": 3,
        "rating": 4,
        "rated": 1,
    }
    key = clip_key(site.index.clip(3))
    assert site.notes.of(4, 8).ratings == {key: 4}
    assert client.post("/notes/4/8/rating", json={"clip": 3, "rating": None}).json()["rated"] == 0
    for bad in (
        {"clip": 3, "rating": 6},
        {"clip": 3, "rating": 2.5},
        {"clip": 3, "rating": True},
        {"clip": 3},
        [],
        3,
        {"clip": [], "rating": 1},
    ):
        assert client.post("/notes/4/8/rating", json=bad).status_code in (400, 404), bad
    assert client.post("/notes/4/8/rating", json={"clip": 999, "rating": 1}).status_code == 404
    assert client.post("/notes/4/8/rating", json={"clip": 10**30, "rating": 1}).status_code == 404
    assert client.post("/notes/4/8/rating", content="[" * 3000).status_code == 400
    assert site.notes.all() == {}


def test_an_import_by_request(client, index):
    notes = Notes(index, index.path.with_name("x.json"))
    notes.put(4, 8, Note("dogs"))
    assert client.post("/notes/import", content=notes.exported()).json() == {"taken": 1, "foreign": 0}
    refused = client.post("/notes/import", content="{}")
    assert refused.status_code == 400
    assert "no file of the explorer's notes" in refused.json()["error"]


def test_a_damaged_file_of_notes_stops_the_start_and_is_left(index_file, tmp_path):
    index = Index(index_file)
    path = tmp_path / "notes.json"
    path.write_text("{broken")
    with pytest.raises(SteeringError):
        Notes(index, path)
    assert path.read_text() == "{broken"
