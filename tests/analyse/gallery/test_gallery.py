"""The list of analyses, and runs of all that some clips bear, on the released tiny.en and the clips that ship."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from html.parser import HTMLParser

import pytest
import typer

from audiosae_steer import Site, load_sae
from audiosae_steer.analyse import (
    Excerpts,
    GalleryData,
    GallerySettings,
    Quality,
    Retrieval,
    analyse_all,
    bundled_clips,
)
from audiosae_steer.analyse.gallery.gallery_entries import ENTRIES, Entry
from audiosae_steer.cli.app import app
from audiosae_steer.errors import SteeringError

NAMES = {"speech-01", "speech-02", "speech-04", "rain", "siren", "engine"}
BORNE = ("quality", "retrieval", "phones", "trf")


class Page(HTMLParser):
    """Rows, links and sources of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: dict[str, str] = {}
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.open: list[str] = []
        self.row = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag == "tr" and "id" in given:
            self.row = given["id"]
        if tag == "a":
            self.links.append(given["href"])
        self.loaded += [given[name] for name in ("src", "srcset") if name in given]
        if tag == "link":
            self.loaded.append(given.get("href", ""))
        self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.loaded += [value for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag == "tr":
            self.row = ""

    def handle_data(self, text):
        if self.row:
            self.rows[self.row] = " ".join((self.rows.get(self.row, "") + " " + text).split())


@pytest.fixture(scope="module")
def data(tiny_en):
    clips, texts = bundled_clips()
    few = tuple(item for item in clips.items if item.path.stem in NAMES)
    sae = load_sae("tiny.en", 4).float()
    return GalleryData(
        model=tiny_en, site=Site(4), sae=sae, excerpts=Excerpts(few, clips.grouped), texts=texts, concept="speech"
    )


@pytest.fixture(scope="module")
def made(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("gallery")
    shown = []

    def show(what, number, of):
        shown.append((what, number, of))
        from contextlib import nullcontext

        return nullcontext(lambda *words: None)

    settings = GallerySettings(only=BORNE, quick=True, min_frames=20, min_clips=1)
    return analyse_all(data, out, settings=settings, shown=show), out, settings, shown


def test_the_list_has_every_command_that_takes_an_sae():
    commands = typer.main.get_command(app).commands["analyse"].commands  # type: ignore[attr-defined]
    takes = {name for name, each in commands.items() if "--sae" in {o for p in each.params for o in p.opts}}
    takes -= {"all", "control"}  # which takes a map that another analysis has made
    names = [entry.name for entry in ENTRIES]
    assert len(names) == len(set(names))
    assert set(names) <= set(commands)
    assert takes <= set(names)
    assert {"probe", "stability", "trf", "emergence"} <= takes


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_quick_reduces_what_it_says(entry: Entry):
    own, told = entry.settled({"seed": 3, "nothing": 1}, quick=True)
    whole, untold = entry.settled({"seed": 3}, quick=False)
    assert untold == ()
    assert whole.seed == own.seed == 3
    changed = {each.name for each in fields(own) if getattr(own, each.name) != getattr(entry.settings, each.name)}
    assert changed - {"seed"} == {name for name, _, _ in told}
    assert told
    for name in entry.uses:
        assert name in {each.name for each in fields(GalleryData)}


def test_results_of_all_that_can_be_run_and_reasons_of_the_rest(made):
    found, out, _, shown = made
    assert [row.name for row in found.rows] == list(BORNE)
    assert [row.name for row in found.done] == ["quality", "retrieval"]
    assert "--alignments" in found.of("phones").why
    assert "--responses" in found.of("trf").why
    assert not (out / "phones.json").exists()
    for row, kind in zip(found.done, (Quality, Retrieval), strict=True):
        result = kind.from_json((out / f"{row.name}.json").read_text(encoding="utf-8"))
        assert result.provenance.settings["draws"] == 200  # as --quick has it
        assert row.warnings == result.provenance.warnings
        assert (out / f"{row.name}.html").stat().st_size > 5000
        assert (out / f"{row.name}.png").read_bytes().startswith(b"\x89PNG")
    assert found.of("quality").headline.value == Quality.from_json((out / "quality.json").read_bytes()).fvu
    assert dict(found.of("quality").headline.controls)["random"] > found.of("quality").headline.value
    assert found.of("retrieval").headline.null is not None
    assert shown == [("activations", 0, 0), *((name, i, 4) for i, name in enumerate(BORNE, 1))]


def test_the_page_has_a_row_for_each_and_loads_nothing(made):
    found, out, _, _ = made
    text = (out / "index.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    assert page.loaded == []
    assert list(page.rows) == list(BORNE)
    assert f"not run: {found.of('trf').why}" in page.rows["trf"]
    assert f"random {dict(found.of('quality').headline.controls)['random']:.3f}" in page.rows["quality"]
    assert {link for link in page.links if not (out / link).is_file()} == set()
    assert {"quality.html", "retrieval.json", "quality.png"} <= set(page.links)
    assert "<td>quality</td><td>orders</td><td>20</td><td>5</td>" in text
    assert str(out) not in text


def test_what_is_there_is_not_made_again(made, data, monkeypatch):
    found, out, settings, _ = made
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("*.*") if path.stem == "quality"}
    (out / "retrieval.json").write_text("{}", encoding="utf-8")  # not as it was written
    ran = []
    spied = tuple(
        replace(e, run=lambda *given, e=e: ran.append(e.name) or e.run(*given)) for e in ENTRIES if e.name in BORNE
    )
    again = analyse_all(data, out, settings=settings, entries=spied)
    assert ran == ["retrieval", "phones", "trf"]
    assert {path.name: path.stat().st_mtime_ns for path in out.glob("*.*") if path.name in before} == before
    assert again.of("quality") == found.of("quality")
    assert again.of("retrieval").sha256 == found.of("retrieval").sha256  # same seed, same bytes
    ran.clear()
    other = analyse_all(data, out, settings=replace(settings, only=("quality",), seed=1), entries=spied)
    assert ran == ["quality"]  # other settings, another result; the rest is of seed 0, and left out
    assert [row.name for row in other.rows] == ["quality"]
    assert other.of("quality").key != found.of("quality").key


def test_a_result_hangs_on_the_data_that_its_analysis_uses(data):
    other = replace(data, concept="not speech", _kept={})
    assert data.digest(()) == other.digest(())
    assert data.digest(("concept",)) != other.digest(("concept",))
    relabelled = tuple(item._replace(label="sound") for item in data.excerpts.items)
    assert data.digest(()) != replace(data, excerpts=Excerpts(relabelled, True), _kept={}).digest(())
    assert data.digest(("other",)) != replace(data, other=data.sae, _kept={}).digest(("other",))


def test_mistakes_are_not_taken_for_data_that_cannot_bear_it(data, tmp_path):
    def broken(*given):
        raise ZeroDivisionError

    entry = replace(ENTRIES[-1], run=broken)
    with pytest.raises(ZeroDivisionError):
        analyse_all(data, tmp_path, entries=[entry])


def test_nothing_to_run_ends_with_a_sentence(data, tmp_path):
    with pytest.raises(SteeringError, match="none of 1 analyses can be run on these clips, .* --responses"):
        analyse_all(data, tmp_path, settings=GallerySettings(only=("trf",)), entries=[ENTRIES[-2]])
    with pytest.raises(SteeringError, match="no analysis 'probes' here; expected some of quality"):
        analyse_all(data, tmp_path, settings=GallerySettings(only=("probes",)))
    assert "not run" in (tmp_path / "index.html").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "gallery.json").read_text(encoding="utf-8"))["rows"][0]["status"] == "not run"


def test_fewer_clips_keep_labels_and_groups_in_turn(data):
    clips, _ = bundled_clips()
    assert clips.labels.count("speech") == 10
    assert len(set(clips.groups)) == 23  # 7 voices, 16 kinds of sound
    whole = replace(data, excerpts=clips, _kept={})
    assert whole.fewer(26) is whole
    few = whole.fewer(14, seed=1).excerpts
    assert few.labels.count("speech") == few.labels.count("not speech") == 7
    assert len({item.group for item in few.items if item.label == "speech"}) == 7
    assert few == whole.fewer(14, seed=1).excerpts
    assert few != whole.fewer(14, seed=2).excerpts
    flagged = replace(clips, report=tuple(item.label == "speech" for item in clips.items))
    kept = replace(whole, excerpts=flagged).fewer(14).excerpts
    assert kept.report == tuple(label == "speech" for label in kept.labels)


def test_features_and_labels_to_look_at(data):
    assert replace(data, features=(5, 6)).looked_at(1) == (5,)
    found = data.looked_at(3)
    assert len(found) == 3
    assert data.background() == "not speech"
    assert replace(data, concept=None).named_concept() == "not speech"  # three groups each, the first by name
    bare = Excerpts(tuple(item._replace(label=None) for item in data.excerpts.items))
    with pytest.raises(SteeringError, match="have no labels"):
        replace(data, excerpts=bare).named_concept()
