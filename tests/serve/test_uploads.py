"""Fields of a form, sound and not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from form_fields import made
from starlette.datastructures import FormData, UploadFile

from audiosae_steer.serve.service_errors import ApiError
from audiosae_steer.serve.uploads import FORMATS, Order, check_order

MODELS, RECIPES = ("tiny.en", "base"), {"a": 1.0, "b": 2.0}
FILE = UploadFile(None, filename="a.wav")  # type: ignore[arg-type]


def order(*fields: tuple[str, Any], unknown: bool = False, recipes: dict[str, float] = RECIPES) -> Order:
    return check_order(FormData([("file", FILE), *fields]), MODELS, recipes, unknown=unknown)


def refusal(*fields: tuple[str, Any]) -> ApiError:
    with pytest.raises(ApiError) as found:
        order(*fields)
    return found.value


def test_defaults() -> None:
    assert order() == Order(FILE, "tiny.en", None, None, "json", 0.0, False, True, False, "a", None)
    assert order(recipes={})[-2:] == (None, None)


@pytest.mark.parametrize(
    ("steering", "expected"),
    [
        ("off", (None, None)),
        ('{"recipe": "b"}', ("b", None)),
        ('{"strength": 0.25}', ("a", 0.25)),
        ('{"recipe": "b", "strength": 2}', ("b", 2.0)),
        ('{"recipe": "a", "strength": 0}', ("a", 0.0)),
        ("{}", ("a", None)),
    ],
)
def test_steering(steering, expected) -> None:
    assert order(("steering", steering))[-2:] == expected


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("steering", "on", "is not JSON; it takes off, or JSON such as"),
        ("steering", '{"recipe": "c"}', "there is no recipe 'c' here; there are: a, b"),
        ("steering", '{"recipe": "a", "strength": 1.5}', "strength is '1.5'; expected a number from 0 to 1"),
        ("steering", '{"recipe": "a", "strength": "1"}', "strength is not a number"),
        ("steering", '{"recipe": "a", "gate": 1}', "has other parts than recipe and strength"),
        ("steering", '{"strength": NaN}', "strength is not a finite number; it takes off"),
        ("steering", '{"strength": 1e999}', "strength is not a finite number"),
        ("steering", '{"strength": 0, "strength": 1}', "`steering` cannot be read: a name occurs twice in it"),
        ("steering", '{"recipe": null}', "recipe is not a name; there are: a, b. To steer by none send steering=off"),
        ("steering", json.dumps({"recipe": "c" * 99}), f"there is no recipe '{'c' * 40}…' here"),
        ("temperature", "2", "temperature is '2'; expected a number from 0 to 1"),
        ("temperature", "nan", "expected a number"),
        ("response_format", "diarized_json", "expected one of json, text, srt, verbose_json, vtt"),
        ("timestamp_granularities[]", "word", "times need response_format=verbose_json"),
        ("timestamp_granularities", "letter", "expected one of word, segment"),
        ("stream", "yes", "expected one of true, false"),
        ("file", "text", "`file` is text; send a file with its name"),
        (
            "chunking_strategy",
            "auto",
            "there is no field 'chunking_strategy' here; leave it out. There are file, model",
        ),
        ("audio", FILE, "there is no file field 'audio'; the recording's is `file`"),
        ("prompt\x1b[2J", "a", r"there is no field 'prompt\x1b[2J'"),
    ],
)
def test_what_is_wrong_is_said(field, value, said) -> None:
    error = refusal((field, value))
    assert error.status == 400
    assert said in str(error)
    assert "\x1b" not in json.dumps(error.content)
    assert error.content["error"]["param"]


@pytest.mark.parametrize("steering", ['{"strength": 0.5}', '{"recipe": null}', '{"recipe": "a"}', "{}"])
def test_without_recipes_nothing_is_steered(steering) -> None:
    with pytest.raises(ApiError, match="this server has no recipes, so that nothing can be steered"):
        order(("steering", steering), recipes={})
    assert order(("steering", "off"), recipes={})[-2:] == (None, None)


@pytest.mark.parametrize("name", ["model", "a" * 99])
def test_what_is_given_back_is_cut(name) -> None:
    assert f"{'a' * 40}…" in str(refusal((name, "a" * 99)))
    assert "a" * 41 not in str(refusal((name, "a" * 99)))


def test_more_refusals() -> None:
    assert refusal(("model", "gpt-4o")).status == 404
    assert "twice" in str(refusal(("prompt", "a"), ("prompt", "b")))
    assert "a stream is of JSON events, not srt" in str(refusal(("stream", "true"), ("response_format", "srt")))
    with pytest.raises(ApiError, match="there is no `file`; send the recording"):
        check_order(FormData([("model", "tiny.en")]), MODELS, RECIPES, unknown=False)
    assert order(("chunking_strategy", "auto"), unknown=True).model == "tiny.en"
    assert order(("model", "whisper-1")).model == "tiny.en"
    assert order(("model", "base")).model == "base"


def test_forms_at_random_are_taken_or_refused() -> None:
    """`benchmarks/serving.py` does a hundred thousand."""
    taken = refused = 0
    for seed in range(3000):
        try:
            found = check_order(made(seed), MODELS, RECIPES, unknown=seed % 2 == 0)
        except ApiError as error:
            refused += 1
            json.dumps(error.content).encode()
        else:
            taken += 1
            assert found.form in FORMATS
            assert found.recipe in (None, *RECIPES)
            assert found.strength is None or 0 <= found.strength <= RECIPES[found.recipe or ""]
            assert 0 <= found.temperature <= 1
    assert taken > 30
    assert refused > 300
