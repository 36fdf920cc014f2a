"""`analyse all`, as a user types it, on the released tiny.en."""

from __future__ import annotations

import json
import shutil

import pytest
from commands import CLIPS, failed, run


def test_clips_of_ones_own_to_a_page_and_a_table(tmp_path):
    pytest.importorskip("jiwer")
    (tmp_path / "clips").mkdir()
    for name in ("speech-01", "rain"):
        shutil.copy(CLIPS / f"{name}.flac", tmp_path / "clips")
    text = "The train to the coast leaves at seven from platform four."
    (tmp_path / "clips" / "text.tsv").write_text(f"file\ttext\nspeech-01.flac\t{text}\n", encoding="utf-8")
    words = ("analyse", "all", "--audio", tmp_path / "clips", "--quick", "--cache", tmp_path / "cache")
    some = [word for name in ("quality", "reconstruction", "labels", "emergence") for word in ("--only", name)]
    result = run(*words, *some, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "2 of 4 analyses of whisper at encoder layer 4, on 2 clips" in result.stdout
    assert "not run: the clips have no labels" in result.stdout
    assert "not run: no states of a flow were given: --trajectory" in result.stdout
    assert "word error rate of the reconstruction" in result.stdout
    assert "quality, 1 of 4" in result.stderr
    listed = json.loads((tmp_path / "out" / "gallery.json").read_text(encoding="utf-8"))
    assert [row["status"] for row in listed["rows"]] == ["done", "not run", "done", "not run"]
    again = run(*words, *some, "--out", tmp_path / "out")
    assert "labels, 1 of 2" in again.stderr
    assert "quality" not in again.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--only", "everything"), "there is no analysis 'everything' here"),
        (("--layer", 4, "--path", "encoder"), "one of the two"),
        (("--other-layer", 3), "give the SAE to compare with as well"),
        (("--report-part", CLIPS), "goes with clips of one's own"),
        (("--trajectory", CLIPS / "clips.json"), "clips.json"),
    ],
)
def test_what_cannot_be_asked_for_ends_with_2(words, says, tmp_path):
    assert says in " ".join(failed(run("analyse", "all", "--out", tmp_path, *words)).split())
