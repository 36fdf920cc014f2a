"""`audiosae-steer analyse phones`, `mel` and `feature`, on the released tiny.en and the SAE that ships for it."""

from __future__ import annotations

from typing import Any

import pytest
from typer.testing import CliRunner, Result

from audiosae_steer.analyse import FeatureCard, MelPatterns, Phones
from audiosae_steer.cli.app import app
from audiosae_steer.steering.recipes.load import checkpoints_dir

CLIPS = checkpoints_dir() / "clips"
SHIPPED = checkpoints_dir() / "whisper-tiny.en" / "encoder-4.safetensors"
NAMES = ("speech-01", "speech-02", "speech-03")
SITE = ("--sae", SHIPPED, "--layer", 4)


def run(*words: Any) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], env={"FORCE_COLOR": None, "NO_COLOR": "1"})


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Three clips of speech, and alignments that are made up: the phones of each change every 100 ms."""
    folder = tmp_path_factory.mktemp("phones")
    rows = [f"{name}.flac,speech,{name}" for name in NAMES]
    (folder / "labels.csv").write_text("\n".join(["file,label,group", *rows]) + "\n", encoding="utf-8")
    spans = [f"{name}.flac,{i / 10},{(i + 1) / 10},{'ABC'[i % 3]}1" for name in NAMES for i in range(30)]
    (folder / "phones.csv").write_text("\n".join(["file,start,end,phone", *spans]) + "\n", encoding="utf-8")
    return folder


def given(data):
    return ("--labels", data / "labels.csv", "--audio", CLIPS, "--cache", data / "cache")


def test_phones_from_alignments_to_a_page(data):
    words = ("analyse", "phones", *SITE, *given(data), "--alignments", data / "phones.csv", "--phone-set", "arpabet",
             "--min-frames", 10, "--min-clips", 1, "--permutations", 10, "--shifts", 2, "--draws", 10,
             "--controls", "random", "--probe-frames", 100)  # fmt: skip
    result = run(*words, "--out", data / "a.json", "--html", data / "a.html", "--png", data / "a.png")
    assert result.exit_code == 0, result.output
    assert "| random |" in result.output
    found = Phones.from_json((data / "a.json").read_text(encoding="utf-8"))
    assert [row.phone for row in found.rows] == ["A", "B", "C"]
    assert found.probe.accuracy < 0.6  # there is nothing to find
    assert str(data) not in (data / "a.html").read_text(encoding="utf-8")
    assert run(*words, "--out", data / "b.json").exit_code == 0
    assert (data / "a.json").read_bytes() == (data / "b.json").read_bytes()


def test_a_card_and_a_mel_pattern(data):
    few = ("--shuffles", 10, "--random-features", 5, "--effect-clips", 1, "--effect-features", 1, "--padded-clips", 1)
    result = run("analyse", "feature", 2231, *SITE, *given(data), *few, "--out", data / "c.json", "--html",
                 data / "c.html")  # fmt: skip
    assert result.exit_code == 0, result.output
    card = FeatureCard.from_json((data / "c.json").read_text(encoding="utf-8"))
    assert card.feature == 2231
    assert {each.place for each in card.places} >= {"padding"}
    assert {(each.edit, each.clips) for each in card.effects} == {
        ("ablated", "top"), ("ablated", "other"), ("set", "top"), ("set", "other")
    }  # fmt: skip
    assert all(each.words for each in card.effects)
    assert (data / "c.html").read_text(encoding="utf-8").count('class="thumb"') == len(card.clips)
    result = run("analyse", "mel", *SITE, *given(data), "--feature", 2231, "--shuffles", 10, "--controls", "",
                 "--least", 2, "--out", data / "d.json")  # fmt: skip
    assert result.exit_code == 0, result.output
    found = MelPatterns.from_json((data / "d.json").read_text(encoding="utf-8"))
    assert found.of(2231).windows == card.mel.windows


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("phones",), "say when which phone is spoken"),
        (("phones", "--alignments", "nowhere.csv"), "there are no alignments at nowhere.csv"),
        (("phones", "--alignments", "x.csv", "--merge", "A"), "is no merge"),
        (("feature", 99999), "99999 is no feature of this SAE"),
    ],
)
def test_data_that_cannot_bear_it_ends_with_2_and_a_sentence(data, words, says):
    result = run("analyse", *words, *SITE, *given(data))
    assert result.exit_code == 2
    assert says in " ".join(result.output.split())
    assert "Traceback" not in result.output
