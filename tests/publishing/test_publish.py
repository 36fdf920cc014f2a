"""Publishing: what is put together, what the card says, what is uploaded, and what is refused before anything is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hub_recipes import files_in, small_model, write_recipe
from hub_server import Fault, Hub, Repository, User, cut, served
from huggingface_hub import ModelCard
from make import make_sae
from typer.testing import CliRunner

from audiosae_steer import AudioSAESteerError, HubError, RecipeError, UnpinnedWarning, load_recipe, publish, steer
from audiosae_steer.cli.app import app
from audiosae_steer.data.audio import load_audio
from audiosae_steer.io.hub import write
from audiosae_steer.io.hub.read import sha256_of
from audiosae_steer.io.hub.write import account
from audiosae_steer.sae.formats.native import save_sae
from audiosae_steer.steering.recipes.load import checkpoints_dir

# the Hub's client passes files to its HTTP library in an older way
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<:DeprecationWarning")
MEL = torch.randn(1, 80, 3000, generator=torch.Generator().manual_seed(0))
REPO = "ann/mine"
TINY = checkpoints_dir() / "whisper-tiny.en"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with served(monkeypatch, tmp_path) as server:
        server.users |= {"hf_ann": User("ann", ("lab",)), "hf_read": User("ann", role="read"), "hf_bob": User("bob")}
        monkeypatch.setenv("HF_TOKEN", "hf_ann")
        yield server


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    return write_recipe(tmp_path / "r", small_model())


def fresh_cache(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))


def written(hub: Hub) -> list[str]:
    """What was asked for that changes something."""
    return [path for method, path in hub.requests if method in ("POST", "PUT") and path != "/api/validate-yaml"]


def test_a_shipped_recipe_published_steers_alike_from_the_hub_and_then_without_it(
    hub: Hub, tiny_en: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = [load_audio(checkpoints_dir() / "clips" / name) for name in ("footsteps.flac", "speech-01.flac")]

    def text(clip: Any) -> str:
        return tiny_en.transcribe(clip, temperature=0.0, no_speech_threshold=None)["text"]

    assert text(clips[0])
    with steer(tiny_en, TINY / "no-false-speech.json"):
        expected = [text(clip) for clip in clips]
    assert expected[0] == ""
    assert expected[1]
    done = publish(TINY / "no-false-speech.json", REPO)
    assert done.created
    assert sorted(done.files) == ["README.md", "encoder-4.safetensors", "recipe.json"]
    assert hub.repositories[REPO].branches["main"] == done.commit
    assert len(hub.repositories[REPO].commits) == 2  # that of its making, and one of all files
    fresh_cache(monkeypatch, tmp_path / "other machine")
    with steer(tiny_en, REPO):
        assert [text(clip) for clip in clips] == expected
    cut(hub, monkeypatch, "switched off")
    with steer(tiny_en, f"{REPO}@{done.commit}"):
        assert [text(clip) for clip in clips] == expected
    with steer(tiny_en, REPO) as steering:
        assert str(steering.recipe) == "recipe no-false-speech for tiny.en"
        steering._leave(quiet=True)
    assert sorted(hub.downloads()) == ["encoder-4.safetensors", "recipe.json"]


def test_a_dry_run_writes_the_folder_and_asks_for_nothing(hub: Hub, recipe: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HF_TOKEN")
    cut(hub, monkeypatch, "down")
    done = publish(recipe, REPO, dry_run=True)
    assert (done.url, done.commit, done.created) == (None, None, False)
    assert done.folder == Path("mine")
    assert done.files == {path.name: path.stat().st_size for path in (tmp_path / "mine").iterdir()}
    assert sorted(done.files) == ["README.md", "recipe.json", "sae.safetensors"]
    assert (tmp_path / "mine" / "README.md").read_text() == done.card
    again = load_recipe(tmp_path / "mine")
    assert again.saes["a"].sha256 == sha256_of(tmp_path / "mine" / "sae.safetensors")
    publish(recipe, REPO, dry_run=True)  # over itself
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(RecipeError, match=r"mine holds thesis\.tex, which is no published recipe's; name a new"):
        publish(recipe, REPO, dry_run=True)
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "x"
    assert hub.requests == []
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_the_hub_understands_the_card(hub: Hub, tmp_path: Path) -> None:
    done = publish(TINY / "no-false-speech.json", REPO, dry_run=True, folder=tmp_path / "x", licence="cc-by-4.0")
    data = ModelCard(done.card).data.to_dict()
    assert data["library_name"] == "audiosae-steer"
    assert data["tags"] == ["audiosae-steer", "whisper", "tiny.en", "recipe", "steering", "sparse-autoencoder"]
    assert data["base_model"] == "openai/whisper-tiny.en"
    assert data["pipeline_tag"] == "automatic-speech-recognition"
    assert data["license"] == "cc-by-4.0"
    lines = done.card.splitlines()
    assert 'model = audiosae_steer.load_whisper("tiny.en")' in lines
    assert 'audiosae_steer.steer(model, "ann/mine")  # model.transcribe() works as before' in lines
    assert "python benchmarks/make_no_false_speech.py --cache CACHE" in lines
    assert "is of an earlier version; its successor is `audiosae-steer make no-false-speech`" in done.card
    assert "pypi.org" not in done.card
    assert any(
        line.startswith("Constants on 64 features of a sparse autoencoder at encoder layer 4.") for line in lines
    )
    assert (
        "| text.nonspeech.filters-off | 411 of 411 [99.1%, 100.0%] | 3 of 411 [0.2%, 2.1%] | 0 | 0.9927 [" in done.card
    )
    assert "| unsteered, timestamps | 1 | 0.2216 | 22.98 | 0 | 43.95 | 0 |" in lines
    assert "Found on: ESC-10, freely licensed sound effects, LibriSpeech, speechocean762, wake words." in lines
    assert "- It holds for the weights of tiny.en alone. On a fine-tune of them it steers with a warning." in lines
    for title in ("Use it", "What it does", "How it was found", "Measured", "Limits", "Data and licences"):
        assert f"## {title}" in lines


@pytest.mark.parametrize(
    "path", sorted(checkpoints_dir().glob("*/no-false-speech*.json")), ids=lambda p: f"{p.parts[-2:]}"
)
def test_every_shipped_recipe_can_be_published(hub: Hub, path: Path) -> None:
    done = publish(path, REPO)
    assert ModelCard(done.card).data.base_model == f"openai/{path.parent.name}"
    assert load_recipe(REPO).sites == load_recipe(path).sites


def test_what_make_measured_is_shown_as_the_benchmark_shows_it(hub: Hub, tmp_path: Path) -> None:
    row = {"text": [3, 50], "text_filters_on": [1, 50], "blanked": [0, 40], "wer": 4.2, "wer_change": [0.2, -0.1, 0.5]}
    deal = {side: {"sources": ["hub:esc50@abc", "mine"], "clips": 5} for side in ("find", "calibrate", "test")}
    path = write_recipe(
        tmp_path / "r",
        small_model(),
        allow_empty=True,
        measured={
            "test": {"timed": {"unsteered": row | {"text": [50, 50]}, "learned-1": row}},
            "held_out": {"text": 0.1},
        },
        provenance={"learned": {"features": 2}, "dealt": {"without speech": {**deal, "apart": "recording"}}},
    )
    card = publish(path, REPO).card
    assert "| the edits without gates (`mine`) | 3 of 50 [2.1%, 16.2%] | 1 of 50 [0.4%, 10.5%] | 4.20% | " in card
    assert "| clips without speech | 5 | 5 | 5 | recording |" in card
    assert "As the recipe records it under `held_out`" in card
    assert ModelCard(card).data.datasets == ["ashraq/esc50"]
    assert "- `hub:esc50@abc`: ESC-50 (Piczak 2015)" in card
    assert "- `mine`: its licence is that of its own page or folder" in card


@pytest.mark.parametrize("measured", [{}, {"test": {"timed": 3}}, {"a|b": {"c\nd": {"x": [1] * 99}}}, {"x": 1.5}])
def test_a_card_of_a_recipe_by_hand(hub: Hub, tmp_path: Path, measured: dict[str, Any]) -> None:
    card = publish(write_recipe(tmp_path / "r", small_model(), measured=measured), REPO, base_model="me/whisper").card
    assert ("Nothing was measured." in card) == (not measured)
    assert "it was written by hand" in card
    assert "Edits: `scale` of 2 features at encoder layer 2." in card
    assert 'model = audiosae_steer.load_whisper("me/whisper")' in card
    assert ModelCard(card).data.base_model == "me/whisper"


def test_a_name_that_yaml_would_misread_stays_a_name(hub: Hub, tmp_path: Path) -> None:
    path = write_recipe(tmp_path / "r", small_model(), name="no: [x] # y")
    content = json.loads(path.read_text())
    content["model"]["name"] = "yes: {no}"
    path.write_text(json.dumps(content))
    card = publish(path, REPO).card
    assert "yes: {no}" in ModelCard(card).data.tags
    assert "model = ...  # yes: {no}, as you have it" in card
    assert ModelCard(card).data.get("base_model") is None


def test_an_sae_of_another_format_becomes_a_native_file(hub: Hub, tmp_path: Path) -> None:
    model = small_model()
    path = write_recipe(tmp_path / "r", model)
    sae = make_sae("jumprelu", 64, 200)
    state = {"encoder.weight": sae.W_enc, "encoder.bias": sae.b_enc, "decoder.weight": sae.W_dec.T, "b_dec": sae.b_dec}
    torch.save({**state, "k": torch.tensor(5), "threshold": torch.tensor(0.5)}, path.parent / "ae.pt")
    (path.parent / "config.json").write_text(json.dumps({"activation_dim": 64, "dict_size": 200, "k": 5}))
    content = json.loads(path.read_text()) | {"saes": {"a": {"file": "ae.pt"}}}
    path.write_text(json.dumps(content))
    done = publish(path, REPO)
    assert sorted(done.files) == ["README.md", "ae.safetensors", "recipe.json"]
    assert torch.equal(load_recipe(REPO).load_saes()["a"].W_enc, sae.W_enc)


def test_folders_of_this_machine_are_not_told(hub: Hub, tmp_path: Path) -> None:
    command = "audiosae-steer learn --absent /home/ann/private/noise --out ~/mine.json"
    path = write_recipe(tmp_path / "r", small_model(), provenance={"command": command, "data": {"clips": 3}})
    sae = make_sae("jumprelu", 64, 200).altered(info={"command": command, "layer": 2})
    sae.save(path.parent / "sae.safetensors")
    spec = {"file": "sae.safetensors", "sha256": sha256_of(path.parent / "sae.safetensors")}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"saes": {"a": spec}}))
    publish(path, REPO, dry_run=True, folder=tmp_path / "out")
    assert all(b"/home" not in data and b"~/" not in data for data in files_in(tmp_path / "out").values())
    made = load_recipe(tmp_path / "out")
    told = "audiosae-steer learn --absent noise --out mine.json"
    assert made.provenance == {"command": told, "data": {"clips": 3}}
    found = made.load_saes()["a"]
    assert (found.info["command"], found.info["layer"]) == (told, 2)
    assert torch.equal(found.W_enc, sae.W_enc)


def test_names_of_an_untrusted_recipe_are_no_paths(hub: Hub, tmp_path: Path) -> None:
    path = write_recipe(tmp_path / "deep" / "r", small_model())
    (path.parent / "b").mkdir()
    make_sae("jumprelu", 64, 200, seed=1).altered(info={"x": "/home/a/b"}).save(path.parent / "b" / "sae.safetensors")
    make_sae("jumprelu", 64, 200, seed=2).save(path.parent / "sae-2.safetensors")
    files = {"a": "sae.safetensors", "/../../../precious": "b/sae.safetensors", "c": "sae-2.safetensors"}
    content = json.loads(path.read_text()) | {"saes": {name: {"file": file} for name, file in files.items()}}
    path.write_text(json.dumps(content))
    before = sorted(tmp_path.rglob("*"))
    done = publish(path, REPO, dry_run=True, folder=tmp_path / "deep" / "out")
    assert [each for each in sorted(tmp_path.rglob("*")) if each not in before] == [
        tmp_path / "deep" / "out", *(tmp_path / "deep" / "out" / name for name in sorted(done.files))
    ]  # fmt: skip
    assert sorted(done.files) == [
        "README.md",
        "recipe.json",
        *(f"sae-2{n}.safetensors" for n in ("-2", "")),
        "sae.safetensors",
    ]
    made, wanted = (load_recipe(place).load_saes() for place in (tmp_path / "deep" / "out", path))
    assert all(torch.equal(made[name].W_enc, wanted[name].W_enc) for name in files)


def test_an_sae_in_parts_is_published_whole(hub: Hub, tmp_path: Path) -> None:
    path = write_recipe(tmp_path / "r", small_model())
    sae = load_recipe(path).load_saes()["a"]
    (path.parent / "sae.safetensors").unlink()
    save_sae(sae, path.parent / "sae.safetensors", shard_bytes=40_000)
    content = json.loads(path.read_text()) | {"saes": {"a": {"file": "sae.safetensors.index.json"}}}
    path.write_text(json.dumps(content))
    done = publish(path, REPO, dry_run=True, folder=tmp_path / "out")
    assert sorted(done.files) == ["README.md", "recipe.json", "sae.safetensors"]
    assert torch.equal(load_recipe(tmp_path / "out").load_saes()["a"].W_enc, sae.W_enc)


@pytest.mark.parametrize("what", ["its own", "another recipe", "a copy with more", "here"])
def test_a_folder_of_the_users_own_stays(recipe: Path, tmp_path: Path, monkeypatch, what: str) -> None:
    place = recipe.parent
    (place / "README.md").write_text("# Mine")
    if what == "another recipe":
        place = write_recipe(tmp_path / "theirs", small_model(), name="another").parent
    elif what == "a copy with more":
        place = tmp_path / "out"
        publish(recipe, REPO, dry_run=True, folder=place)
        (place / "other-work.safetensors").write_bytes(b"work")
    elif what == "here":
        place = tmp_path / "empty"
        place.mkdir()
        monkeypatch.chdir(place)
        place = Path(".")
    before = files_in(place)
    with pytest.raises(
        RecipeError, match=r"the folder of the recipe itself|holds .*, which is no published|that you are in"
    ):
        publish(recipe, "ann/mine", dry_run=True, folder=place)
    assert files_in(place) == before


def test_an_sae_on_the_hub_stays_there_and_is_pinned(hub: Hub, tmp_path: Path) -> None:
    file = tmp_path / "encoder-2.safetensors"
    make_sae("jumprelu", 64, 200).save(file)
    hub.repositories["you/saes"] = Repository()
    commit = hub.repositories["you/saes"].commit({file.name: file.read_bytes()})
    path = write_recipe(tmp_path / "r", small_model(), saes={"a": {"repo": "you/saes", "layer": 2}})
    with pytest.warns(UnpinnedWarning, match=commit):
        done = publish(path, REPO)
    assert sorted(done.files) == ["README.md", "recipe.json"]
    spec = load_recipe(REPO).saes["a"]
    assert (spec.repo, spec.layer, spec.revision, spec.sha256) == ("you/saes", 2, commit, sha256_of(file))
    assert spec.pinned
    assert f"[you/saes](https://huggingface.co/you/saes) at commit `{commit}`, layer 2" in done.card


def test_a_second_publication_is_the_next_commit(hub: Hub, recipe: Path, tmp_path: Path) -> None:
    first = publish(recipe, REPO)
    second = publish(write_recipe(tmp_path / "r", small_model(), strength=0.5), REPO, message="weaker")
    assert (first.created, second.created) == (True, False)
    assert load_recipe(REPO).strength == 0.5
    assert load_recipe(f"{REPO}@{first.commit}").strength == 1.0
    assert publish(recipe, REPO).commit == second.commit  # nothing changed


def test_organisations_and_private_repositories(hub: Hub, recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(recipe, "lab/mine", private=True)
    assert hub.repositories["lab/mine"].private
    assert load_recipe("lab/mine").name == "mine"
    fresh_cache(monkeypatch, recipe.parent / "cache")
    monkeypatch.setenv("HF_TOKEN", "hf_bob")
    with pytest.raises(HubError, match="or it is private"):
        load_recipe("lab/mine")


REFUSED = [
    # what is in the way; what the HubError says
    ("not logged in", "publishing needs an account on the Hub: log in by `hf auth login`, or set HF_TOKEN"),
    ("a token nobody knows", "does not know the token .*, anew"),
    ("a token that only reads", "the token of ann may only read; make one that may write"),
    ("somebody else's name", r"does not let you write to ann/mine \(403\); bob may write to bob: log in"),
    ("somebody else's repository", r"does not let you write to ann/mine \(403\); bob may write to bob"),
    ("the name is taken", r"ann/mine is taken: it holds model\.bin and no recipe\.json; publish under another name"),
    ("it is public already", "ann/mine is there already, and public; make it private in its settings"),
    ("no network", "the Hub cannot be reached, when asked for who you are; check the network"),
    ("switched off", r"the Hub is switched off \(HF_HUB_OFFLINE\)"),
    ("503", "the Hub answers 503, when asked for who you are; check the network or try again later"),
    ("a licence nobody knows", 'refuses the card\'s front matter: "license" must be one of mit'),
    ("changed meanwhile", r"ann/mine was changed by somebody else meanwhile \(412\); no file was written"),
    ("the upload is refused", r"the Hub did not take ann/mine|the Hub answers 500"),
    ("no name", "'mine' is no repository's name; expected user/repo"),
    ("no name at all", "is no repository's name .*; expected user/repo"),
    ("an SAE is missing", r"recipe 'mine' needs .*sae\.safetensors, which is not there"),
    ("an SAE is another", "is not the file that was asked for"),
    ("no recipe", "is not a recipe of schema 1"),
]


@pytest.mark.parametrize(("way", "says"), REFUSED, ids=[row[0] for row in REFUSED])
def test_what_is_in_the_way_is_said_and_the_hub_stays_as_it_was(
    hub: Hub, recipe: Path, monkeypatch: pytest.MonkeyPatch, way: str, says: str
) -> None:
    to, more = REPO, {}
    if way in ("somebody else's repository", "it is public already", "changed meanwhile"):
        publish(recipe, REPO)
        recipe = write_recipe(recipe.parent, small_model(), strength=0.5)
    if way == "not logged in":
        monkeypatch.delenv("HF_TOKEN")
    elif way.startswith("a token"):
        monkeypatch.setenv("HF_TOKEN", "hf_read" if "reads" in way else "hf_x")
    elif way.startswith("somebody else's"):
        monkeypatch.setenv("HF_TOKEN", "hf_bob")
    elif way == "the name is taken":
        hub.repositories[REPO] = Repository()
        hub.repositories[REPO].commit({"model.bin": b"1", "README.md": b"# A model"})
    elif way == "it is public already":
        more["private"] = True
    elif way in ("no network", "switched off", "503"):
        cut(hub, monkeypatch, "down" if way == "no network" else way)
    elif way == "a licence nobody knows":
        more["licence"] = "finders keepers"
    elif way == "changed meanwhile":
        hub.faults.append(Fault("POST .*/commit/", status=412))
    elif way == "the upload is refused":
        hub.faults.append(Fault("PUT /objects/", status=500, times=99))
    elif way.startswith("no name"):
        to = "mine" if way == "no name" else "../x/y"
    elif way == "an SAE is missing":
        (recipe.parent / "sae.safetensors").unlink()
    elif way == "an SAE is another":
        make_sae("jumprelu", 64, 200, seed=1).save(recipe.parent / "sae.safetensors")
    elif way == "no recipe":
        recipe.write_text("{}")
    before = {name: dict(repository.branches) for name, repository in hub.repositories.items()}
    objects = dict(hub.objects)
    hub.requests.clear()
    with pytest.raises(AudioSAESteerError, match=says):
        publish(recipe, to, **more)
    if way == "the upload is refused":  # a repository is there, empty but for what the Hub itself puts there
        assert list(hub.repositories.pop(REPO).head) == [".gitattributes"]
    assert {name: dict(repository.branches) for name, repository in hub.repositories.items()} == before
    if way not in ("changed meanwhile", "the upload is refused"):
        assert hub.objects == objects
        assert not [path for path in written(hub) if "/preupload/" not in path and path != "/api/repos/create"]


def test_a_refused_commit_says_that_the_new_repository_stays(hub: Hub, recipe: Path) -> None:
    hub.faults.append(Fault("POST .*/commit/", status=400))
    with pytest.raises(HubError, match=r"did not take ann/mine .*ann/mine was made before that, and stays, empty: pub"):
        publish(recipe, REPO)
    assert list(hub.repositories[REPO].head) == [".gitattributes"]
    assert not publish(recipe, REPO).created
    write_recipe(recipe.parent, small_model(), strength=0.5)
    hub.faults.append(Fault("POST .*/commit/", status=400))
    with pytest.raises(HubError, match="no file was written: try again$"):
        publish(recipe, REPO)


@pytest.mark.parametrize("said", [["x"], {}, {"name": "ann", "auth": 3}, {"name": "ann", "orgs": [{}]}])
def test_an_account_of_another_shape(hub: Hub, monkeypatch: pytest.MonkeyPatch, said: object) -> None:
    monkeypatch.setattr(write, "ask", lambda *_: SimpleNamespace(json=lambda: said))
    with pytest.raises(HubError, match="the Hub did not say who you are .*; try again later"):
        account()


def test_on_the_command_line(hub: Hub, recipe: Path, tmp_path: Path) -> None:
    run = CliRunner().invoke
    shown = run(app, ["publish", str(recipe), "--to", REPO, "--dry-run", "--folder", str(tmp_path / "x")])
    assert shown.exit_code == 0, shown.output
    lines = shown.stdout.splitlines()
    assert lines[0] == REPO
    assert lines[1].startswith("├── README.md        ")
    assert lines[3].startswith("└── sae.safetensors  ")
    assert "# mine for small random" in lines
    assert "nothing was uploaded" in shown.stderr
    done = run(app, ["publish", str(recipe), "--to", REPO, "--private"])
    assert done.exit_code == 0, done.output
    commit = hub.repositories[REPO].branches["main"]
    assert f"made {hub.url}/{REPO} at commit {commit}" in done.stdout
    assert f'audiosae_steer.steer(model, "{REPO}")' in done.stdout
    failed = run(app, ["publish", str(recipe), "--to", "bob/x"])
    assert failed.exit_code == 2
    assert "error: the Hub does not let you write to bob/x" in failed.stderr
    assert files_in(tmp_path / "x").keys() == {"README.md", "recipe.json", "sae.safetensors"}
