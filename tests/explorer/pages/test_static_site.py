"""Pages as files: the same content and no broken link; sounds only of clips that may be passed on."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import pytest
from made_index import made_index

from audiosae_steer.errors import ModelError, SteeringError
from audiosae_steer.explorer.index.index_reader import Index
from audiosae_steer.explorer.pages.explorer_app import explorer_site
from audiosae_steer.explorer.pages.notes_file import Note
from audiosae_steer.explorer.pages.static_site import write_single, write_static


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """An index of 12 clips, of which two may not be passed on."""
    path = made_index(tmp_path_factory.mktemp("small") / "small.sqlite", layers=(3, 4), features=8, clips=12)
    return explorer_site(Index(path))


@pytest.fixture(scope="module")
def written(small, tmp_path_factory):
    folder = tmp_path_factory.mktemp("static") / "site"
    small.notes.put(4, 1, Note("secret label", "secret note"))
    return folder, write_static(small, folder, [4])


def test_every_link_of_every_page_is_a_file(written):
    folder, done = written
    pages = sorted(folder.rglob("*.html"))
    assert len(pages) == done.pages
    for page in pages:
        for link in re.findall(r'(?:href|src)="([^"]+)"', page.read_text("utf-8")):
            link = unescape(link)
            if link.startswith(("data:", "#", "?")):
                continue
            assert (page.parent / unquote(link.split("?")[0].split("#")[0])).resolve().is_file(), f"{page.name}: {link}"


def test_only_the_chosen_layer_has_pages_and_notes_stay_home(written):
    folder, _ = written
    assert not list((folder / "feature").glob("3*"))
    assert len(list((folder / "feature" / "4").glob("*.html"))) == 8
    texts = [path.read_text("utf-8") for path in (*folder.rglob("*.html"), *folder.rglob("*.js*"))]
    assert not any("secret" in text for text in texts)
    assert all("<form" not in text or 'id="static-search"' in text for text in texts)
    assert any("A static copy" in text for text in texts)


def test_sounds_that_may_not_be_passed_on_stay_home(small, written):
    folder, done = written
    free = {clip.id for clip in small.index.clips() if clip.redistributable}
    assert {int(path.stem) for path in (folder / "sound").iterdir()} == free
    assert (done.sounds, done.kept_back) == (len(free), 12 - len(free))
    assert done.kept_back == 2
    for page in folder.rglob("*.html"):
        assert {int(each) for each in re.findall(r"sound/(\d+)\.(?:flac|wav)", page.read_text("utf-8"))} <= free


def test_lists_for_the_search_of_the_page(small, written):
    page = (written[0] / "features-4.html").read_text("utf-8")
    rows = json.loads(re.search(r'id="list">(.*?)</script>', page, re.DOTALL).group(1))
    assert [row[1] for row in rows] == small.index.table(4).feature[small.index.table(4).fired > 0].tolist()
    assert {row[0] for row in rows} == {4}
    assert not (written[0] / "features-all.html").exists()  # it would lead to pages that are not there


def test_all_layers_have_one_list_where_all_have_pages(small, tmp_path):
    write_static(small, tmp_path / "site")
    page = (tmp_path / "site" / "features-all.html").read_text("utf-8")
    rows = json.loads(re.search(r'id="list">(.*?)</script>', page, re.DOTALL).group(1))
    assert {row[0] for row in rows} == {3, 4}
    assert all((tmp_path / "site" / "feature" / str(row[0]) / f"{row[1]}.html").is_file() for row in rows)


def test_scripts_are_classic_ones(written):
    scripts = {path.name: path.read_text("utf-8") for path in (written[0] / "static").rglob("*.js")}
    assert set(scripts) == {"feature.js", "features.js", "clip.js", "map.js"}
    for name, text in scripts.items():
        assert not re.search(r"^\s*(import|export)\b", text, re.MULTILINE), name
    assert (written[0] / "static" / "vendor" / "wavesurfer" / "LICENSE").is_file()
    assert all('type="module"' not in page.read_text("utf-8") for page in written[0].rglob("*.html"))


def test_it_replaces_its_own_folder_and_no_other(small, tmp_path):
    write_static(small, tmp_path / "a", [4])
    write_static(small, tmp_path / "a", [4])
    other = tmp_path / "b"
    other.mkdir()
    (other / "thesis.txt").touch()
    with pytest.raises(ModelError, match="other files in it"):
        write_static(small, other, [4])
    with pytest.raises(SteeringError, match=r"layers 3, 4, and not 9"):
        write_static(small, tmp_path / "c", [9])
    assert (other / "thesis.txt").exists()
    assert not (tmp_path / "c").exists()


def test_one_feature_as_one_file(small, tmp_path):
    small.notes.put(4, 1, Note("secret label", "secret note"))
    done = write_single(small, 4, 1, tmp_path / "one.html")
    page = (tmp_path / "one.html").read_text("utf-8")
    assert done.sounds > 0
    assert re.findall(r'(?:src|href)="(?!data:|#)', page) == []
    assert "secret label" in page  # the user's own export says the user's own label
    shown = {
        each["key"] for each in json.loads(re.search(r'id="state">(.*?)</script>', page, re.DOTALL).group(1))["data"]
    }
    free = {str(clip.id) for clip in small.index.clips() if clip.redistributable}
    assert shown <= free
    everything = {str(each.clip.id) for each in small.index.examples(4, 1, most=4)}
    assert done.kept_back == len(everything - free)
    assert ("not marked as redistributable" in page) == bool(done.kept_back)


def test_a_feature_of_clips_that_may_not_be_passed_on_is_refused(index, tmp_path):
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(index.path)) as connection:
        connection.execute("UPDATE clips SET redistributable = 0")
        connection.commit()
    site = explorer_site(index)
    with pytest.raises(SteeringError, match="none of the clips of feature 8 is marked as redistributable"):
        write_single(site, 4, 8, tmp_path / "one.html")
    assert not (tmp_path / "one.html").exists()
    with pytest.raises(SteeringError, match="has no feature 64"):
        write_single(site, 4, 64, Path(tmp_path / "one.html"))
