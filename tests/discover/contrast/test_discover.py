"""From clips to a recipe: on a small random Whisper, and on tiny.en with the bundled clips."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from make import count_hooks, make_openai, make_sae

from audiosae_steer import Normalisation, load_recipe, load_sae, save_sae, steer
from audiosae_steer.data.labels import from_folders, unlabelled
from audiosae_steer.discover.contrast.discover import discover, find
from audiosae_steer.discover.contrast.pooling import pool_clips
from audiosae_steer.discover.contrast.recipe import edit_of
from audiosae_steer.discover.contrast.settings import DiscoverSettings, LabelledSources, PoolSettings
from audiosae_steer.discover.recipe_output import RecipeOutput
from audiosae_steer.errors import AudioError, CheckpointError, SiteError, SteeringError
from audiosae_steer.io.hub.read import sha256_of
from audiosae_steer.sae.autoencoder import SAE
from audiosae_steer.steering.recipes.load import checkpoints_dir

CLIPS = checkpoints_dir() / "clips"
SHIPPED = checkpoints_dir() / "whisper-tiny.en" / "encoder-4.safetensors"
QUICK = DiscoverSettings(groups="file", pad="zeros", top=4, resamples=3)


@pytest.fixture(scope="module")
def model():
    return make_openai(d=32, layers=2)


@pytest.fixture(scope="module")
def sae(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("sae") / "small.safetensors"
    save_sae(make_sae(d=32, F=60), path)
    return path


@pytest.fixture(scope="module")
def sounds(tmp_path_factory) -> Path:
    """Low tones and high ones, in noise."""
    folder = tmp_path_factory.mktemp("sounds")
    times = np.arange(8_000) / 16_000
    for kind, pitch in (("low", 200), ("high", 3000)):
        (folder / kind).mkdir()
        for n in range(6):
            noise = 0.01 * np.random.default_rng([pitch, n]).standard_normal(8_000)
            samples = 0.3 * np.sin(2 * np.pi * (pitch + 10 * n) * times) + noise
            soundfile.write(folder / kind / f"{kind}{n}.wav", samples.astype(np.float32), 16_000)
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


def make(model, sae, sounds, out, cache, settings=QUICK, command=None, **other):
    clips = LabelledSources(present=[sounds / "low"], absent=[sounds / "high"])
    output = RecipeOutput(path=out, cache=cache, command=command)
    return discover(model, sae, 2, clips, out=output, settings=settings, **other)


def test_a_recipe_that_loads_and_steers(model, sae, sounds, tmp_path, cache):
    made = make(model, sae, sounds, tmp_path / "low.json", cache, report=False, command="as typed")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["low.csv", "low.json", "small.safetensors"]
    read = load_recipe(tmp_path / "low.json")
    assert read.model_dump(mode="json") == made.model_dump(mode="json")
    assert (read.name, read.model.name) == ("low", "whisper of width 32")
    assert read.misfit(model) is None
    assert read.saes["sae"].sha256 == sha256_of(tmp_path / "small.safetensors") == sha256_of(sae)
    with steer(model, read) as steering:
        assert [site.layer for site in steering.hooks] == [2]
        model.encoder(np_mel(model))
    assert count_hooks(model) == 0
    split = read.provenance["split"]
    assert split["recordings"] == {"fit": 8, "held_out": 4}
    assert split["clips"] == {"fit": {"with": 4, "without": 4}, "held_out": {"with": 2, "without": 2}}
    assert read.provenance["command"] == "as typed"
    assert read.provenance["discovered"] == json.loads(json.dumps(asdict(QUICK)))
    assert read.provenance["data"] == {"with": ["low"], "without": ["high"]}
    assert str(sounds) not in (tmp_path / "low.json").read_text()
    held = read.measured["held_out"]
    assert held["probe_auc"] == 1.0  # a low tone is no high one
    assert held["best_feature"] in read.sites[0].edits[0]["features"]


def np_mel(model):
    from audiosae_steer.models.families.whisper_mel import mel

    return mel(model, [np.zeros(16_000, np.float32)])


def test_the_table_tells_the_split(model, sae, sounds, tmp_path, cache):
    make(model, sae, sounds, tmp_path / "a.json", cache, report=False)
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12
    assert {row["side"] for row in rows} == {"fit", "held out"}
    assert {(row["file"].startswith("low"), row["label"]) for row in rows} == {(True, "1"), (False, "0")}
    recipe = load_recipe(tmp_path / "a.json")
    held = ", ".join(sorted(row["group"] for row in rows if row["side"] == "held out"))
    assert sorted(recipe.provenance["split"]["held_out"].split(", ")) == held.split(", ")


def test_the_same_seed_gives_the_same_bytes(model, sae, sounds, tmp_path, cache):
    for name in ("a", "b"):
        make(model, sae, sounds, tmp_path / name / "r.json", cache, report=False)
    for file in ("r.json", "r.csv"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    fresh = make(model, sae, sounds, tmp_path / "c" / "r.json", None, report=False)
    kept = load_recipe(tmp_path / "a" / "r.json")  # the cache changes nothing
    assert fresh.model_dump(mode="json") == kept.model_dump(mode="json")
    assert list((tmp_path / "c" / "r-cache").iterdir())
    other = make(model, sae, sounds, tmp_path / "d.json", cache, replace(QUICK, seed=1), report=False)
    assert other.provenance["split"] != fresh.provenance["split"]


@pytest.mark.filterwarnings("ignore::audiosae_steer.NeverCalledWarning")
def test_every_way_to_rank_pool_and_edit_makes_a_recipe(model, sae, sounds, tmp_path, cache):
    for rank, pool, edit, pad in (
        ("l1", "max", "ablate", "both"),
        ("l2", "mean", "scale", "zeros"),
        ("fisher", "nonzero_mean", "clamp", "both"),
        ("difference", "max", "add", "silence"),
    ):
        settings = replace(QUICK, rank=rank, pool=pool, edit=edit, pad=pad)
        recipe = make(model, sae, sounds, tmp_path / f"{rank}.json", cache, settings, report=False)
        (edits,) = recipe.sites[0].edits
        assert edits["kind"] == edit
        weights = recipe.measured["features"]["weight"]
        assert len(weights) == len(edits["features"]) <= 4
        assert edit == "add" or min(weights) > 0
        assert recipe.provenance["split"]["clips"]["fit"] == {"with": 4, "without": 4}
        with steer(model, recipe):
            pass


def test_edits_as_written(model, sounds, cache):
    small = make_sae(d=32, F=60)
    found = find(model, small, 2, from_folders([sounds / "low"], [sounds / "high"], "file"), QUICK, cache=cache)
    features = [feature.number for feature in found.features]
    signs = [-np.sign(feature.weight) for feature in found.features]

    def edit(kind, amount=None, typical=True):
        changed = replace(found, settings=replace(QUICK, edit=kind, amount=amount))
        return edit_of(changed, small if typical else without_typical(small))

    assert edit("add", 3.0) == {
        "kind": "add",
        "features": features,
        "amount": [3 * s for s in signs],
        "units": "typical",
    }
    assert edit("ablate") == {"kind": "ablate", "features": features}
    assert edit("scale") == {"kind": "scale", "features": features, "factor": 0.5}
    fitted = found.peaks[~found.rows.held]
    absent = found.peaks[~found.rows.held & ~found.rows.labels]
    np.testing.assert_allclose(edit("clamp", 2.0)["high"], 2 * absent.mean(0), atol=1e-5)
    raw = edit("add", 1.0, typical=False)
    assert "units" not in raw
    expected = [sign * peaks[peaks > 0].mean() for sign, peaks in zip(signs, fitted.T, strict=True)]
    np.testing.assert_allclose(raw["amount"], expected, atol=1e-5)


def without_typical(sae: SAE) -> SAE:
    return SAE(sae.W_enc, sae.b_enc, sae.W_dec, sae.b_dec, gate=sae.gate, threshold=sae.threshold)


def test_figures_of_a_feature_are_those_of_its_activations(model, sounds, cache):
    clips = from_folders([sounds / "low"], [sounds / "high"], "file")
    found = find(model, make_sae(d=32, F=60), 2, clips, QUICK, cache=cache)
    for column, feature in enumerate(found.features):
        peaks = found.peaks[:, column]  # the pool is max
        assert feature.mean_present == pytest.approx(peaks[found.rows.labels].mean())
        assert feature.mean_absent == pytest.approx(peaks[~found.rows.labels].mean())
        assert feature.fires_present == pytest.approx((peaks[found.rows.labels] > 0).mean())
        present, absent = (peaks[found.rows.held & (found.rows.labels == kind)] for kind in (True, False))
        wins = (present[:, None] > absent) + 0.5 * (present[:, None] == absent)
        assert feature.auc == pytest.approx(wins.mean())
    sizes = [abs(feature.weight) for feature in found.features]
    assert sizes == sorted(sizes, reverse=True)


def test_the_model_s_own_behaviour_as_target(model, sae, sounds, tmp_path, cache):
    small = load_sae(sae).float()
    clips = unlabelled([sounds], "file")
    settings = replace(QUICK, target="no_speech_prob", tau=0.0)
    with pytest.raises(
        SteeringError, match=r"below 0 for none of these 12 clips.* lie between \S+ and \S+: take a tau"
    ):
        find(model, small, 2, clips, settings, cache=cache)
    plain = [clip.window for clip in clips]
    probabilities = pool_clips(model, small, 2, plain, PoolSettings(write=1), cache=cache).no_speech
    settings = replace(settings, tau=float(np.median(probabilities)))
    output = RecipeOutput(path=tmp_path / "r.json", cache=cache)
    recipe = discover(model, sae, 2, LabelledSources(absent=[sounds]), out=output, settings=settings, report=False)
    assert recipe.allow_empty
    counts = recipe.provenance["split"]["clips"]
    below = int((probabilities < settings.tau).sum())
    assert counts["fit"]["with"] + counts["held_out"]["with"] == below == 6
    assert counts["fit"]["without"] + counts["held_out"]["without"] == 6
    assert min(counts["held_out"].values()) > 0
    with pytest.raises(SteeringError, match="the model writes text for (every one|none) of these 12 clips"):
        find(model, small, 2, clips, replace(QUICK, target="text"), cache=cache)


def test_an_sae_elsewhere_and_one_of_the_same_name(model, sae, sounds, tmp_path, cache):
    save_sae(make_sae(d=32, F=60, seed=3), tmp_path / "small.safetensors")
    before = sha256_of(tmp_path / "small.safetensors")
    recipe = make(model, sae, sounds, tmp_path / "a.json", cache, report=False)
    assert recipe.saes["sae"].file == f"small-{sha256_of(sae)[:8]}.safetensors"
    assert sha256_of(tmp_path / "small.safetensors") == before
    read = load_recipe(tmp_path / "a.json").load_saes()["sae"]
    assert read.n_features == 60
    in_memory = make(model, load_sae(sae), sounds, tmp_path / "b.json", cache, report=False)
    assert in_memory.saes["sae"].file == "encoder-2.safetensors"
    assert (tmp_path / "encoder-2.safetensors").is_file()
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"absent": []}, SteeringError, "no `absent`, clips without the concept; give both"),
        ({"layer": 3}, SiteError, "no encoder layer 3"),
        ({"sae": make_sae(d=12)}, SiteError, "width 12, but the model's are 32 wide"),
        ({"sae": "gone.safetensors"}, CheckpointError, "no SAE at gone.safetensors"),
        ({"out": "recipe"}, SteeringError, "recipe does not end in .json"),
        ({"labels": "a.csv"}, SteeringError, "either a list of labels or the folders"),
        ({"settings": {"target": "text"}}, SteeringError, "told by the model itself"),
        (
            {"settings": {"target": "mood"}},
            SteeringError,
            "target 'mood' is unknown; expected one of labels",
        ),
        ({"settings": {"top": 0}}, SteeringError, "top is 0; expected at least 1"),
        ({"settings": {"amount": -1.0}}, SteeringError, "amount is -1.0; expected 0 or more"),
        ({"settings": {"pad": "both ways"}}, SteeringError, "pad 'both ways' is unknown"),
        ({"settings": {"edit": "push"}}, SteeringError, "edit 'push' is unknown"),
    ],
)
def test_what_cannot_be_says_why(model, sae, sounds, tmp_path, change, error, message):
    given = {"sae": sae, "layer": 2, "out": tmp_path / "r.json", "settings": {}}
    sources = {"present": [sounds / "low"], "absent": [sounds / "high"]}
    for key, value in change.items():
        (given if key in given else sources)[key] = value

    def attempt():
        settings = replace(QUICK, **given.pop("settings"))
        discover(model, clips=LabelledSources(**sources), settings=settings, report=False, **given)

    with pytest.raises(error, match=message):
        attempt()
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_says_so(model, sae, sounds, tmp_path):
    (tmp_path / "empty").mkdir()
    clips = LabelledSources(present=[tmp_path / "empty"], absent=[sounds / "high"])
    with pytest.raises(AudioError, match="empty holds no audio"):
        discover(model, sae, 2, clips, out=tmp_path / "r.json", settings=QUICK)


def test_a_dictionary_in_which_nothing_fires(model, sounds, cache):
    silent = make_sae("relu", d=32, F=20, norm=Normalisation("none"))
    silent.b_enc.fill_(-1e6)
    clips = from_folders([sounds / "low"], [sounds / "high"], "file")
    with pytest.raises(SteeringError, match="no feature indicates the concept, so there is nothing to add"):
        find(model, silent, 2, clips, QUICK, cache=cache)


@pytest.fixture(scope="session")
def speech(tiny_en, tmp_path_factory):
    """Speech against sounds, on tiny.en and twelve of the bundled clips."""
    folder = tmp_path_factory.mktemp("bundled")
    for kind, names in (
        ("speech", [f"speech-0{n}" for n in range(1, 7)]),
        ("sounds", ["rain", "engine", "clicks", "siren", "telephone", "footsteps"]),
    ):
        (folder / kind).mkdir()
        for name in names:
            shutil.copy(CLIPS / f"{name}.flac", folder / kind)
    out = folder / "out" / "speech.json"
    settings = replace(QUICK, top=2, resamples=5)
    clips = LabelledSources(present=[folder / "speech"], absent=[folder / "sounds"])
    output = RecipeOutput(path=out, model_name="tiny.en")
    return discover(tiny_en, SHIPPED, 4, clips, out=output, settings=settings), out


def test_features_of_speech_tell_speech_on_tiny_en(speech, tiny_en):
    recipe, out = speech
    assert recipe.measured["held_out"]["probe_auc"] == 1.0
    assert recipe.measured["held_out"]["best_feature_auc"] in (0.0, 1.0)
    assert recipe.model.name == "tiny.en"
    assert recipe.misfit(tiny_en) is None
    assert sha256_of(out.parent / "encoder-4.safetensors") == sha256_of(SHIPPED)
    assert out.with_suffix(".html").is_file()
    assert len(list((out.parent / "speech-cache").iterdir())) == 1
