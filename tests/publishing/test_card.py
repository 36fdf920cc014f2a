"""Parts that the cards share."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import ModelCard

import audiosae_steer.publishing.card as card_module
from audiosae_steer import HubError
from audiosae_steer.publishing.card import TAG, base_model, render


@pytest.fixture
def template(tmp_path, monkeypatch):
    """A template of two lines."""
    (tmp_path / "small.md").write_text("---\n{{ header }}\n---\n\n# {{ title }}\n")
    monkeypatch.setattr(card_module, "__file__", str(tmp_path / "card.py"))
    return "small"


def test_values_are_printed_and_never_run(template):
    title = "{{ 7 * 7 }} {% include 'x' %} <b>"
    text = render(template, {"library_name": TAG, "license": None, "tags": [TAG]}, title=title)
    assert text == f"---\nlibrary_name: {TAG}\ntags:\n- {TAG}\n---\n\n# {title}\n"


@pytest.mark.parametrize("name", ["yes: {no}", "a\n---\nb: c", "- x", "# y", "'", '"', "null", "\u2028", "---"])
def test_front_matter_survives_any_name(template, name):
    data = ModelCard(render(template, {"base_model": name, "tags": [TAG, name]}, title=name)).data
    assert (data.base_model, data.tags) == (name, [TAG, name])


def test_front_matter_without_tags_is_refused(template):
    with pytest.raises(HubError, match="came out empty"):
        render(template, {"library_name": TAG}, title="x")


def test_every_template_is_shipped():
    assert {path.stem for path in Path(card_module.__file__).parent.glob("*.md")} == {
        "calibration_card", "recipe_card", "sae_card",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "known"),
    [
        ("tiny.en", "openai/whisper-tiny.en"),
        ("turbo", "openai/whisper-large-v3-turbo"),
        ("openai/whisper-small", "openai/whisper-small"),
        ("models/mine.pt", None),
        ("mine", None),
        (None, None),
    ],
)
def test_the_base_model_is_named_where_the_hub_has_it(given, known):
    assert base_model(given) == known
