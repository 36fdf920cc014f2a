"""`analyse compare`, `quality`, `completeness` and `reconstruction`, as a user types them, on the released tiny.en."""

from __future__ import annotations

import shutil

import pytest
from commands import run

from audiosae_steer import load_sae
from audiosae_steer.analyse import Comparison, Completeness, Reconstructions
from audiosae_steer.analyse.frame import residual_clips
from audiosae_steer.steering.recipes.load import checkpoints_dir

CLIPS = checkpoints_dir() / "clips"
SHIPPED = checkpoints_dir() / "whisper-tiny.en" / "encoder-4.safetensors"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "clips").mkdir()
    for name in ("speech-01", "speech-02", "rain"):
        shutil.copy(CLIPS / f"{name}.flac", tmp_path / "clips")
    return tmp_path


def test_quality_is_compared_over_saes_and_kept(folder):
    load_sae(SHIPPED).altered(threshold=1.5).save(folder / "high.safetensors")
    words = (
        "analyse",
        "compare",
        "quality",
        "--of",
        f"shipped={SHIPPED}",
        "--of",
        f"high={folder / 'high.safetensors'}",
    )
    data = ("--layer", 4, "--audio", folder / "clips", "--cache", folder / "cache", "--controls", "", "--draws", 20)
    out = folder / "a.json"
    result = run(
        *words, *data, "--keep", folder / "kept", "--out", out, "--html", folder / "a.html", "--png", folder / "a.png"
    )
    assert result.exit_code == 0, result.output
    assert "| shipped | encoder layer 4 |" in result.output
    assert "### Reconstruction" not in result.output  # the entries' own tables are not printed
    found = Comparison.from_json(out.read_text(encoding="utf-8"))
    assert found.of("high").headline.value > found.of("shipped").headline.value
    assert found.of("high").l0 < found.of("shipped").l0
    kept = sorted((folder / "kept").iterdir())
    assert [path.name for path in kept] == ["made-by.json", "quality-high.json", "quality-shipped.json"]
    saved = ("analyse", "compare", "saved", "--of", f"shipped={kept[2]}", "--of", f"high={kept[1]}")
    assert run(*saved, "--out", folder / "b.json").exit_code == 0
    assert (folder / "b.json").read_bytes() == out.read_bytes()


def test_layers_are_encoded_in_one_pass_and_kept_results_are_those_of_the_same_words(folder, monkeypatch):
    for name in ("speech-02", "rain"):
        (folder / "clips" / f"{name}.flac").unlink()
    passes, whole = [], residual_clips.clip_residuals_at

    def counted(model, sites, clips):
        passes.append([site.layer for site in sites])
        return whole(model, sites, clips)

    monkeypatch.setattr(residual_clips, "clip_residuals_at", counted)
    entries = [word for layer in (3, 4) for word in ("--of", f"layer {layer}=tiny.en,layer={layer}")]
    words = ("analyse", "compare", "quality", *entries, "--audio", folder / "clips", "--controls", "", "--draws", 20)
    kept = ("--keep", folder / "kept", "--out", folder / "a.json")
    result = run(*words, *kept)
    assert result.exit_code == 0, result.output
    assert passes == [[3, 4]]
    first = (folder / "a.json").read_bytes()
    result = run(*words, *kept)
    assert (result.exit_code, passes) == (0, [[3, 4]])  # nothing is made again
    assert (folder / "a.json").read_bytes() == first
    assert sorted(path.name for path in (folder / "kept").iterdir())[0] == "made-by.json"
    result = run(*words, "--orders", 5, *kept)
    assert (result.exit_code, passes) == (0, [[3, 4]] * 2)  # by other words they are
    assert (folder / "a.json").read_bytes() != first


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("quality", "--of", f"a={SHIPPED}"), "1 entries with 1 names"),
        (("quality", "--of", f"a={SHIPPED}", "--of", f"a={SHIPPED}"), "2 entries with 1 names"),
        (("quality", "--of", "a", "--of", f"b={SHIPPED}"), "is not NAME=SAE"),
        (("quality", "--of", f"a={SHIPPED},layer", "--of", f"b={SHIPPED}"), "is not NAME=SAE"),
        (("nothing", "--of", f"a={SHIPPED}", "--of", f"b={SHIPPED}"), "cannot be compared; expected one of"),
        (("saved", "--of", f"a={SHIPPED.with_name('none')}", "--of", f"b={SHIPPED}"), "cannot be read"),
        (("quality", "--of", f"a={SHIPPED}", "--of", f"b={SHIPPED}", "--layer", 4), "say which clips to analyse"),
    ],
)
def test_lists_that_cannot_be_compared_end_with_2(words, says):
    result = run("analyse", "compare", *words)
    assert result.exit_code == 2
    assert says in " ".join(result.output.split())
    assert "Traceback" not in result.output


def test_completeness_of_too_few_clips_says_so(folder):
    lines = ["file,label,group", *(f"{path.name},sound,{path.stem}" for path in (folder / "clips").iterdir())]
    (folder / "labels.csv").write_text("\n".join(lines), encoding="utf-8")
    data = ("--labels", folder / "labels.csv", "--audio", folder / "clips")
    words = ("analyse", "completeness", "--sae", SHIPPED, "--layer", 4, *data, "--min-frames", 1)
    out = folder / "a.json"
    result = run(*words, "--min-clips", 1, "--controls", "", "--cache", folder / "cache", "--share", 0.7, "--out", out)
    assert result.exit_code == 0, result.output
    found = Completeness.from_json(out.read_text(encoding="utf-8"))
    assert [row.name for row in found.codes] == ["SAE", "dense"]
    assert found.common == ()
    assert any("no attribute is explained by all codes" in warning for warning in found.provenance.warnings)
    result = run("analyse", "completeness", "--sae", SHIPPED, "--layer", 4, "--audio", folder / "clips")
    assert result.exit_code == 2
    assert "so no penalty can be chosen" in " ".join(result.output.split())
    result = run(*words, "--share", 0.7, "--attributes", folder / "none.csv")
    assert result.exit_code == 2
    assert "expected free, egemaps or a CSV" in " ".join(result.output.split())


def test_words_from_the_reconstruction_and_from_the_bias_alone(folder):
    pytest.importorskip("jiwer")
    (folder / "clips" / "rain.flac").unlink()
    from audiosae_steer import load_audio, load_whisper

    text = load_whisper("tiny.en").transcribe(load_audio(CLIPS / "speech-01.flac"))["text"]
    table = f"file\ttext\nspeech-01.flac\t{text}\n"
    (folder / "clips" / "text.tsv").write_text(table, encoding="utf-8")
    words = ("analyse", "reconstruction", "--sae", SHIPPED, "--layer", 4, "--audio", folder / "clips")
    result = run(*words, "--out", folder / "a.json", "--png", folder / "a.png")
    assert result.exit_code == 0, result.output
    found = Reconstructions.from_json((folder / "a.json").read_text(encoding="utf-8"))
    assert found.clips == 1
    assert found.of("the model itself").wer < 0.2
    assert found.of("reconstruction").wer < found.of("bias alone").wer
    assert found.of("bias alone").capped > 0.8
    (folder / "clips" / "text.tsv").unlink()
    assert "has a transcript" in run(*words).output
