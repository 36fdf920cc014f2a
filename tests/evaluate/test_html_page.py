"""Pages: what they print is escaped, and a misspelt name is an error."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import UndefinedError

from audiosae_steer.evaluate.html_page import render

TEMPLATE = '{% extends "page.html" %}{% block body %}<p id="{{ text }}">{{ text }}</p>{% endblock %}'


@given(st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn"])))
def test_what_is_printed_is_text(tmp_path_factory, text):
    template = tmp_path_factory.getbasetemp() / "template.html"
    template.write_text(TEMPLATE, encoding="utf-8")
    page = render(template, title=text, text=text)
    root = ElementTree.fromstring(page.removeprefix("<!DOCTYPE html>\n"))
    (paragraph,) = root.iter("p")
    assert (paragraph.text or "", paragraph.get("id")) == (text, text)
    assert root.findtext("head/title") == text
    assert render(template, title="", text="<script>").count("<script") == 0


def test_a_misspelt_name_is_an_error(tmp_path):
    template = tmp_path / "template.html"
    template.write_text(TEMPLATE, encoding="utf-8")
    with pytest.raises(UndefinedError, match="text"):
        render(template, title="")
