"""`audiosae-steer analyse`, as a user types it, on the released tiny.en and the SAE that ships for it."""

from __future__ import annotations

import shutil
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

from audiosae_steer import SAE, Site, load_model, load_sae
from audiosae_steer.analyse import Coverage, Domains, Emergence, LabelSearch, Trf, excerpts_of, read_residuals
from audiosae_steer.cli.app import app
from audiosae_steer.steering.recipes.load import checkpoints_dir

CLIPS = checkpoints_dir() / "clips"
SHIPPED = checkpoints_dir() / "whisper-tiny.en" / "encoder-4.safetensors"


def run(*words: Any) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], env={"FORCE_COLOR": None, "NO_COLOR": "1"})


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "clips").mkdir()
    for name in ("speech-01", "speech-02", "rain", "siren"):
        shutil.copy(CLIPS / f"{name}.flac", tmp_path / "clips")
    return tmp_path


def test_stability_from_clips_to_a_page(folder):
    sae = load_sae(SHIPPED)
    order = np.random.default_rng(0).permutation(sae.n_features)
    other = sae.altered(W_enc=sae.W_enc[order], b_enc=sae.b_enc[order], W_dec=sae.W_dec[order], typical=None)
    other.save(folder / "other.safetensors")
    words = (
        *("analyse", "stability", "--sae", SHIPPED, "--layer", 4, "--other", folder / "other.safetensors"),
        *("--audio", folder / "clips", "--cache", folder / "cache", "--min-frames", 20, "--min-clips", 2),
        *("--shifts", 2, "--draws", 20, "--controls", "random"),
    )
    result = run(*words, "--out", folder / "a.json", "--html", folder / "a.html", "--png", folder / "a.png")
    assert result.exit_code == 0, result.output
    assert "| A by random B |" in result.output
    found = Coverage.from_json((folder / "a.json").read_text(encoding="utf-8"))
    assert found.share == 1.0
    assert found.decoder.share == 1.0
    assert found.decoder.same_partner > 0.9
    assert found.controls[0].side.excess < 0.2
    feature = found.chi.index(1.0)
    assert order[found.partners[feature]] == feature
    page = (folder / "a.html").read_text(encoding="utf-8")
    assert page.count('class="thumb"') >= 2
    assert str(folder) not in page
    assert (folder / "a.png").read_bytes().startswith(b"\x89PNG")
    again = run(*words, "--out", folder / "b.json")
    assert again.exit_code == 0
    assert (folder / "a.json").read_bytes() == (folder / "b.json").read_bytes()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--layer", 4), "say which clips to analyse"),
        (("--audio", CLIPS / "rain.flac"), "say --layer N"),
        (("--audio", CLIPS / "rain.flac", "--layer", 4), "no feature of A fires on 50 frames and in 5 clips"),
        (("--audio", CLIPS / "rain.flac", "--layer", 4, "--other-layer", 3), "is a control of --sae"),
    ],
)
def test_data_that_cannot_bear_it_ends_with_2_and_a_sentence(words, says):
    result = run("analyse", "stability", "--sae", SHIPPED, *words)
    assert result.exit_code == 2
    assert says in result.output
    assert "Traceback" not in result.output


@pytest.fixture
def two_domains(tmp_path):
    for domain, names in (
        ("speech", ("speech-01", "speech-02", "speech-03")),
        ("street", ("siren", "engine")),
        ("home", ("dripping-tap", "fan")),
    ):
        (tmp_path / domain).mkdir()
        for name in names:
            shutil.copy(CLIPS / f"{name}.flac", tmp_path / domain)
    return tmp_path


def test_domains_from_folders_to_a_page(two_domains):
    words = (
        *("analyse", "domains", "--sae", SHIPPED, "--layer", 4, "--domain", f"speech={two_domains / 'speech'}"),
        *("--domain", f"sounds={two_domains / 'street'}", "--domain", f"sounds={two_domains / 'home'}"),
        *("--min-frames", 20, "--min-clips", 2, "--permutations", 5, "--draws", 10, "--controls", "random"),
        *("--clip-taus", 0.5, "--frame-taus", 0.1, "--cache", two_domains / "cache"),
    )
    out, page = two_domains / "a.json", two_domains / "a.html"
    result = run(*words, "--out", out, "--html", page, "--png", two_domains / "a.png")
    assert result.exit_code == 0, result.output
    assert "| frames, τ 0.1 |" in result.output
    found = Domains.from_json(out.read_text(encoding="utf-8"))
    assert found.names == ("sounds", "speech")
    assert [domain.sources for domain in found.domains] == [("home", "street"), ("speech",)]
    assert {each.domain for each in found.survivals} == {"sounds"}
    assert [each.rule.bound for each in found.compared] == [0.1, 4.0, 0.5, 4.0]
    assert found.compared[0].total > found.compared[0].null_total
    feature = found.leading("speech")[0]
    assert found.frame_frequency[feature][1] > found.frame_frequency[feature][0]
    assert page.read_text(encoding="utf-8").count('class="thumb"') == 4
    assert str(two_domains) not in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "say which clips are of which domain"),
        (("--domain", "speech"), "is not NAME=PATH"),
        (("--domain", f"rain={CLIPS / 'rain.flac'}"), "there are 1 domains"),
        (("--domain", f"a={CLIPS}", "--domain", f"b={CLIPS}"), "is in the domains a and b"),
        (("--domain", f"a={CLIPS}", "--frame-taus", "2"), "frame_taus holds 2"),
    ],
)
def test_domains_that_cannot_be_told_apart_end_with_2(words, says):
    result = run("analyse", "domains", "--sae", SHIPPED, "--layer", 4, *words)
    assert result.exit_code == 2
    assert says in " ".join(result.output.split())
    assert "Traceback" not in result.output


def test_labels_from_a_csv_to_a_page(two_domains):
    lines = ["file,label"]
    for folder, label in (("speech", "speech"), ("street", "other"), ("home", "other")):
        for number, path in enumerate(sorted((two_domains / folder).iterdir())):
            name = path.rename(path.with_name(f"{folder}{chr(97 + number)}.flac")).name  # each a recording of its own
            lines.append(f"{folder}/{name},{label}")
    table = two_domains / "labels.csv"
    table.write_text("\n".join(lines), encoding="utf-8")
    words = (
        "analyse",
        "labels",
        "--sae",
        SHIPPED,
        "--layer",
        4,
        "--labels",
        table,
        "--min-frames",
        1,
        "--min-clips",
        1,
    )
    few = ("--permutations", 20, "--naive-permutations", 1, "--draws", 10, "--controls", "random")
    out, page = two_domains / "a.json", two_domains / "a.html"
    result = run(*words, *few, "--out", out, "--html", page, "--png", two_domains / "a.png")
    assert result.exit_code == 0, result.output
    assert "| speech |" in result.output
    assert "ask for at least 40" in result.output
    found = LabelSearch.from_json(out.read_text(encoding="utf-8"))
    assert [row.label for row in found.rows] == ["other", "speech"]
    assert found.of("speech").best.find_f1 == 1.0
    assert found.of("speech").naive >= found.of("speech").naive_null
    assert found.found == ()  # seven clips cannot show anything, and it says so
    assert found.of("speech").smallest_f1 == 1.0
    assert "Labels: features that tell them" in page.read_text(encoding="utf-8")
    assert run("analyse", "labels", "--sae", SHIPPED, "--layer", 4).exit_code == 2


def test_emergence_from_files_to_a_page(tmp_path):
    rng = np.random.default_rng(0)
    eye = torch.eye(6)
    SAE(eye, torch.zeros(6), eye, torch.zeros(6), gate="relu").save(tmp_path / "sae.safetensors")
    noise, final = rng.standard_normal((4, 10, 6)), np.eye(6)[rng.integers(3, size=(4, 10))]
    times = np.linspace(0, 1, 9)
    states = np.stack([(1 - t) * noise + t * final for t in times]).astype(np.float32)
    np.savez(tmp_path / "path.npz", trajectory=states, times=times)
    np.savez(tmp_path / "heads.npz", **{"pitch.weight": 9 * np.eye(3, 6), "pitch.bias": np.zeros(3)})
    words = ("analyse", "emergence", "--sae", tmp_path / "sae.safetensors", "--heads", tmp_path / "heads.npz")
    files = [tmp_path / f"a.{kind}" for kind in ("json", "html", "png")]
    result = run(*words, "--trajectory", tmp_path / "path.npz", "--draws", 20,
                 "--out", files[0], "--html", files[1], "--png", files[2])  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "| pitch: predicted | 0 |" in result.output
    found = Emergence.from_json(files[0].read_text(encoding="utf-8"))
    assert found.settled("pitch").step == 0
    assert found.settled("pitch", reading="line").step > 2
    assert all(path.stat().st_size > 1000 for path in files)
    refused = run(*words, "--trajectory", tmp_path / "heads.npz")
    assert refused.exit_code == 2
    assert "expected an array named trajectory" in " ".join(refused.output.split())


def test_trf_from_clips_and_responses_to_a_page(tmp_path):
    """Four clips; a made response that follows one feature of the model in time."""
    (tmp_path / "clips").mkdir()
    names = ["speech-01", "speech-02", "speech-03", "speech-04"]
    for name in names:
        shutil.copy(CLIPS / f"{name}.flac", tmp_path / "clips")
    sae = load_sae(SHIPPED).float()
    clips = excerpts_of([tmp_path / "clips"])
    residuals = read_residuals(load_model("tiny.en"), Site(4), clips, cache=tmp_path / "cache")
    f = [sae.encode(x).numpy() for x in residuals]
    feature = int(np.argmin(np.abs(np.concatenate(f).astype(bool).mean(0) - 0.3)))
    rng = np.random.default_rng(0)
    made = {name: np.repeat(x[:, feature], 2) for name, x in zip(names, f, strict=True)}  # 50 frames/s, at 100 Hz
    scale = np.concatenate(list(made.values())).std()
    made = {name: np.roll(x, 12)[:, None] + 0.5 * scale * rng.standard_normal((len(x), 2)) for name, x in made.items()}
    np.savez(tmp_path / "eeg.npz", **made, rate=100)
    words = (
        *("analyse", "trf", "--sae", SHIPPED, "--layer", 4, "--audio", tmp_path / "clips", "--shifts", 60),
        *("--cache", tmp_path / "cache", "--rate", 50, "--least-shift", 2, "--high-pass", 0, "--low-pass", 0),
        *(
            "--draws",
            20,
            "--controls",
            "random",
            "--most",
            1,
            "--feature",
            feature,
            "--penalty",
            0.01,
            "--penalty",
            100,
        ),
    )
    files = [tmp_path / f"a.{kind}" for kind in ("json", "html", "png")]
    result = run(*words, "--responses", tmp_path / "eeg.npz", "--out", files[0], "--html", files[1], "--png", files[2])
    assert result.exit_code == 0, result.output
    found = Trf.from_json(files[0].read_text(encoding="utf-8"))
    assert [each.name for each in found.dictionaries] == ["SAE", "random"]
    own = found.of(feature)
    assert own.highest.lag == pytest.approx(0.12, abs=0.021)
    assert own.prediction.p < 0.02
    assert own.gain.p < 0.02
    assert "there is one subject" in " ".join(result.output.split())
    assert str(tmp_path) not in files[1].read_text(encoding="utf-8")
    refused = run(*words, "--responses", tmp_path / "clips")
    assert refused.exit_code == 2
    assert "holds no responses" in " ".join(refused.output.split())
