"""Forms with fields at random, sound and not."""

from __future__ import annotations

import random

from starlette.datastructures import FormData, UploadFile

NAMES = ("file", "model", "language", "prompt", "response_format", "temperature", "timestamp_granularities[]", "stream",
         "steering", "timestamp_granularities", "include[]", "", "\x00", "Model", "steering ")  # fmt: skip
VALUES = ("", "tiny.en", "whisper-1", "gpt-4o", "en", "json", "verbose_json", "srt", "0", "0.5", "1", "-1", "nan",
          "inf", "1e309", "1_0", "٣", "true", "false", "True", "word", "segment", "off", "OFF", "null", "[]", "{}", '"',
          "{", '{"recipe": "a"}', '{"recipe": "a", "strength": 1}', '{"strength": 0.5}', '{"strength": -0.0}',
          '{"strength": NaN}', '{"strength": 1e999}', '{"strength": true}', '{"recipe": null}', '{"recipe": ["a"]}',
          '{"recipe": "a", "recipe": "b"}', '{"recipe": "b", "strength": 99999999999999999999999}', "[" * 5000,
          '{"strength": ' + "9" * 5000 + "}", "\ud800", "\x00", "\u202e", "é" * 300)  # fmt: skip


def made(seed: int) -> FormData:
    """A form; one of many is sound."""
    dice = random.Random(seed)
    items: list[tuple[str, str | UploadFile]] = []
    if dice.random() < 0.8:
        items.append((dice.choice(("file", "file", "file", "model")), UploadFile(None, filename=value(dice))))
    items += [
        (dice.choice(NAMES[1:9] if dice.random() < 0.9 else NAMES), value(dice)) for _ in range(dice.randrange(6))
    ]
    dice.shuffle(items)
    return FormData(items)


def value(dice: random.Random) -> str:
    """A value, of a list or at random."""
    if dice.random() < 0.85:
        return dice.choice(VALUES)
    return "".join(
        chr(dice.choice((dice.randrange(32, 127), dice.randrange(0x500)))) for _ in range(dice.randrange(40))
    )
