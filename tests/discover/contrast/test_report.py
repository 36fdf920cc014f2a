"""The page: well-formed, whole in itself, and true to what was found."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import soundfile
from browsing import opened, until
from make import count_hooks, make_openai, make_sae

from audiosae_steer.data.windows import Window
from audiosae_steer.discover.contrast.feature_clips import _top_rows
from audiosae_steer.discover.contrast.recipe import build_recipe
from audiosae_steer.discover.contrast.report import write_report
from audiosae_steer.discover.contrast.results import ContrastResult, Feature, LabelledRows
from audiosae_steer.discover.contrast.settings import DiscoverSettings, LabelledSources
from audiosae_steer.discover.recipe_output import RecipeOutput
from audiosae_steer.evaluate.metrics.feature_ranking import Separation
from audiosae_steer.steering.recipes.sae_source import SAESpec

NAME = 'a <b> & "c"'


@pytest.fixture(scope="module")
def model():
    return make_openai(d=32, layers=2)


def made_up(folder: Path, features: int = 2) -> ContrastResult:
    """Six clips of half a second; the names are such as could break a page or a formula."""
    rng = np.random.default_rng(0)
    clips = []
    for n in range(6):
        path = folder / f"<clip> $x_{n}&.wav"
        soundfile.write(path, (0.1 * rng.standard_normal(8_000)).astype(np.float32), 16_000)
        clips.append(Window(path, 0, False))
    labels = np.array([True, False] * 3)
    top = tuple(Feature(3 * n, 0.5 - n, 0.9, 1.25, 0.5, 2 / 3, 1 / 3, 0.85 - 0.6 * (n % 2)) for n in range(features))
    return ContrastResult(
        settings=DiscoverSettings(top=features),
        rows=LabelledRows(
            clips=tuple(clips),
            groups=("a", "b", "a", "c", "d", "e"),
            pads=("zeros",) * 6,
            labels=labels,
            held=np.array([False, False, False, False, True, True]),
        ),
        peaks=rng.random((6, features)) + 0.1,
        features=top,
        scores=np.array([1.5, -0.5]),
        probe=Separation(0.875, 0.8, 0.95),
        random_auc=0.625,
    )


def page_of(found: ContrastResult, model, path: Path) -> tuple[str, ElementTree.Element]:
    sae = make_sae(d=32, F=40)
    output = RecipeOutput(path=path.with_suffix(".json"), name=NAME, model_name="small", command="a --b")
    clips = LabelledSources(present=["x<y"])
    recipe = build_recipe(found, model, sae, 2, SAESpec(file="a.safetensors"), output, clips)
    assert write_report(found, model, sae, 2, path, recipe) == path
    text = path.read_text(encoding="utf-8")
    markup = re.sub(r'<script type="module">.*?</script>', "", text, flags=re.DOTALL)
    return text, ElementTree.fromstring(markup)  # strict: every tag closed, every "&" escaped


@pytest.fixture(scope="module")
def page(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    found = made_up(folder)
    return found, *page_of(found, model, folder / "page.html")


def test_two_runs_give_the_same_bytes(page, model, tmp_path):
    found, text, _ = page
    assert page_of(found, model, tmp_path / "again.html")[0] == text


def text_of(element: ElementTree.Element | None) -> str:
    assert element is not None
    return " ".join("".join(element.itertext()).split())


def test_it_is_whole_in_itself(page):
    _, text, root = page
    assert not re.search(r"https?://|src=\"(?!data:)|<link|@import|url\(", text)
    assert len(root.findall(".//script")) == 1  # the clips for the player, beside the player itself
    assert len(root.findall(".//img")) == 2 + 1 + 2 * 3  # figures, the stage, three clips of each of two features
    images = root.findall(".//figure/img")
    assert len(images) == 2
    for image in images:
        kind, data = image.attrib["src"].split(",", 1)
        assert kind == "data:image/png;base64"
        assert base64.b64decode(data, validate=True).startswith(b"\x89PNG")
        assert len(image.attrib["alt"]) > 40
    alts = [image.attrib["alt"] for image in images]
    assert len(set(alts)) == len(alts)
    assert root.attrib["lang"] == "en"


def test_names_are_shown_and_not_run(page):
    _, _, root = page
    assert text_of(root.find(".//h1")) == NAME
    assert text_of(root.find(".//title")) == f"{NAME}: discovered features"
    assert "x<y" in text_of(root.find(".//dl"))
    assert text_of(root.find(".//dd")) == "a --b"


def test_the_headline_is_what_was_found(page):
    _, _, root = page
    cards = [text_of(item) for item in root.findall(".//ul[@class='cards']/li")]
    assert cards[0].startswith("0.875AUC of the 2 features together")
    assert "0.800 to 0.950" in cards[0]
    assert cards[1].startswith("0.900AUC of feature 0 alone")
    assert cards[2].startswith("0.625AUC of 2 random features")
    assert cards[3].startswith("1 of 2features return in at least 80%")
    assert cards[4].startswith("5recordings, 2 of them held out: 2 + 2 clips to fit, 1 + 1 clips to test")


def test_the_table_has_a_row_for_every_feature(page):
    found, _, root = page
    table = root.find(".//table")
    heads = [text_of(cell) for cell in table.findall("./thead/tr/th")]
    rows = [[text_of(cell) for cell in row] for row in table.findall("./tbody/tr")]
    assert len(rows) == len(found.features)
    assert all(len(row) == len(heads) for row in rows)
    assert rows[0] == ["0", "the concept", "+0.500", "0.900", "1.25", "0.50", "67%", "33%", "85%"]
    assert rows[1][:3] == ["3", "its absence", "-0.500"]
    assert all(cell.attrib["scope"] == "col" for cell in table.findall("./thead/tr/th"))


def test_only_the_first_features_are_drawn(model, tmp_path):
    _, root = page_of(made_up(tmp_path, features=14), model, tmp_path / "page.html")
    assert len(root.findall(".//article")) == 12
    assert len(root.findall(".//table/tbody/tr")) == 14
    assert "The first 12 of 14 features." in text_of(root.find(".//main"))
    assert not list(tmp_path.glob("*.part"))
    assert count_hooks(model) == 0


def test_a_feature_is_shown_on_the_recordings_where_it_is_highest(tmp_path):
    found = made_up(tmp_path)
    found.peaks[:, 0] = [9, 1, 8, 7, 0, 6]  # rows 0 and 2 are of one recording, row 4 never fires
    assert _top_rows(found, 0) == [0, 3, 5]
    found.peaks[:, 0] = [9, 0, 8, 0, 0, 0]
    assert _top_rows(found, 0) == [0, 2]  # of one recording, where there is no other
    found.peaks[:, 0] = 0
    assert _top_rows(found, 0) == []


def test_a_feature_that_fires_nowhere_and_equal_scores_are_drawn(model, tmp_path):
    found = made_up(tmp_path)
    found.peaks[:, 1] = 0
    silent = replace(found, scores=np.array([0.5, 0.5]))
    _, root = page_of(silent, model, tmp_path / "page.html")
    assert len(root.findall(".//article")) == 2


def test_its_clips_are_heard_beside_their_features(page, tmp_path):
    found, text, _ = page
    file = tmp_path / "page.html"
    file.write_text(text, encoding="utf-8")
    with opened(file) as shown:
        groups = shown.locator(".stage-group")
        assert groups.count() == len(found.features)
        groups.nth(1).locator(".thumb").nth(2).click()
        assert groups.nth(1).locator("#stage").count() == 1
        until(shown, "document.getElementById('stage-sound').currentTime > 0.1")
        assert "feature 3; a clip with" in shown.text_content("#stage-words")
