"""What `list_sites` and `audiosae-steer sites` say of a model, and sites by path."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from families import FAMILIES, Case, encodec, speech_encoder, width
from make import make_openai, make_sae
from torch import nn
from typer.testing import CliRunner

from audiosae_steer import (
    Ablate,
    ClipGate,
    GateError,
    ModelError,
    Push,
    Scale,
    Site,
    SiteEdits,
    SiteError,
    SiteGate,
    SteeringError,
    UnknownModelError,
    list_sites,
    load_model,
    load_sae,
    steer,
)
from audiosae_steer.cli.app import app
from audiosae_steer.models.sites import Dims
from audiosae_steer.steering.listing import ON_THE_HUB


@pytest.mark.parametrize("case", FAMILIES, ids=lambda case: case.name)
def test_every_layer_of_every_family_is_listed(case: Case) -> None:
    model = case.make()
    found = list_sites(model)
    assert [info.site for info in found] == case.sites(model)
    for info in found:
        assert info.d_model == width(model, info.site)
        assert type(model.get_submodule(info.path.removeprefix("→ "))).__name__ == info.kind


def test_modules_are_listed_where_no_family_is_known() -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Conv1d(6, 3, 1), nn.LayerNorm(5))
    with pytest.raises(UnknownModelError, match="path"):
        list_sites(model)
    found = {info.path: (info.d_model, info.layout) for info in list_sites(model, modules=True)}
    assert found == {"0": (6, "bfd"), "1": (None, "bfd"), "2": (3, "bdf"), "3": (5, "bfd")}
    with pytest.raises(UnknownModelError, match="no module"):
        list_sites(nn.ReLU(), modules=True)


def test_the_command_prints_a_table(tmp_path: Any) -> None:
    speech_encoder("HubertForCTC")().save_pretrained(tmp_path / "hubert")
    result = CliRunner().invoke(app, ["sites", str(tmp_path / "hubert")])
    assert result.exit_code == 0, result.output
    assert "encoder layer 3  hubert.encoder.layers.2" in result.stdout
    result = CliRunner().invoke(app, ["sites", "tiny.en"])
    assert "checkpoints/whisper-tiny.en/encoder-4.safetensors" in result.stdout
    assert isinstance(load_model("tiny.en"), nn.Module)


def test_the_saes_that_are_listed_load_from_anywhere(
    tiny_en: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    named = [info.sae for info in list_sites(tiny_en) if info.sae is not None]
    assert len(named) == 2
    assert [load_sae(name).d_model for name in named] == [384, 384]


def test_a_folder_that_holds_no_model_is_refused(tmp_path: Any) -> None:
    (tmp_path / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(ModelError, match="could not be loaded"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text('{"architectures": ["Songbird"]}', encoding="utf-8")
    with pytest.raises(UnknownModelError, match="Songbird"):
        load_model(tmp_path)


class Odd(nn.Module):
    """A model nobody knows, with channels first after its first half."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(5, 12), nn.Conv1d(12, 12, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(x).transpose(1, 2))


@pytest.mark.parametrize(("path", "layout"), [("first", "bfd"), ("second", "bdf")])
def test_any_module_is_steered_by_its_path(path: str, layout: Any) -> None:
    model, x = Odd(), torch.randn(2, 40, 5)
    sae = make_sae("jumprelu", 12, 31)
    site = Site(path=path, layout=layout, frame_rate=20.0)
    with torch.no_grad():
        plain = model(x)
        with steer(model, site=site, sae=sae, edits=[Scale([1, 2], 3.0, window=(0.5, 1.0))]) as steering:
            changed = (model(x) != plain).any(1).any(0).nonzero().flatten().tolist()
            steering.strength = 0.0
            assert torch.equal(model(x), plain)
        assert changed
        assert set(changed) <= set(range(10, 20))
    assert repr(path) in repr(steering)
    assert "by torch" in steering.explain()


def test_a_path_within_a_known_model() -> None:
    model = encodec(24000, 1)()
    with torch.no_grad():
        wav = 0.1 * torch.randn(1, 1, 4800)
        plain = model(wav, bandwidth=6.0).audio_values
        site = Site(path="decoder.layers.1", layout="bdf")
        d = model.decoder.layers[1].lstm.hidden_size
        with steer(model, site=site, edits=[Push(torch.ones(d))]):
            assert not torch.equal(model(wav, bandwidth=6.0).audio_values, plain)


@pytest.mark.parametrize(
    ("site", "says"),
    [
        (Site(path="third"), "holds first, second|which holds"),
        (Site(path="first.weight.x"), "no module"),
    ],
)
def test_a_path_that_is_not_there_names_what_is(site: Site, says: str) -> None:
    with pytest.raises(SiteError, match=says):
        steer(Odd(), site=site, edits=[Push(torch.ones(12))])


def test_a_residual_of_another_shape_is_refused_and_the_model_still_runs() -> None:
    model, x = Odd(), torch.randn(2, 40, 5)
    with steer(model, site=Site(path="second"), edits=[Push(torch.ones(12))]) as steering:
        with pytest.raises(SiteError, match="layout"):
            model(x)
        steering.remove()
        assert model(x).shape == (2, 12, 40)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"path": "a", "layer": 2}, "not both"),
        ({"layer": 0}, "counted from 1"),
        ({"path": "a", "layout": "fbd"}, "layout"),
        ({"path": "a", "frame_rate": 0.0}, "frames per second"),
        ({"layer": 2, "frame_rate": 50.0}, "go with a path"),
    ],
)
def test_what_is_no_site_is_refused(fields: Any, says: str) -> None:
    with pytest.raises(SiteError, match=says):
        Site(**fields)


def test_gates_and_edits_at_paths_are_ordered_as_the_model_runs() -> None:
    model, sae = make_openai(d=24), make_sae("relu", 24, 31)
    gate = ClipGate(features=[1], weights=[1.0], bias=0.0, threshold=0.0, pool="max")
    late, early = Site(path="encoder.blocks.2"), Site(path="encoder.blocks.0.mlp")
    with pytest.raises(GateError, match="comes after"):
        steer(model, [SiteEdits(Site(2), sae, [Ablate(1)])], gate=SiteGate(late, sae, gate))
    parts = [SiteEdits(late, sae, [Ablate(1)]), SiteEdits(early, sae, [Ablate(1)])]
    with torch.no_grad(), steer(model, parts) as s:
        model.encoder(0.1 * torch.randn(1, 80, 3000))
    assert s.sites == (early, late)
    with torch.no_grad(), steer(model, [SiteEdits(late, sae, [Ablate(1)])], gate=SiteGate(Site(2), sae, gate)) as s:
        model.encoder(0.1 * torch.randn(1, 80, 3000))
    assert s.opened is not None


def test_what_gives_no_residual_is_refused_by_name() -> None:
    model = speech_encoder("HubertModel")()
    with steer(model, site=Site(path="encoder"), edits=[Push(torch.ones(24))]), pytest.raises(SiteError, match="type"):
        model(0.1 * torch.randn(1, 8000))
    with pytest.raises(SteeringError, match="not an SAE"):
        steer(model, site=Site(path="encoder.layers.0"), sae="sae.safetensors", edits=[Ablate(1)])


def test_a_width_that_nothing_tells_is_asked_for() -> None:
    with pytest.raises(SiteError, match="pass sae="):
        steer(Odd(), site=Site(path="first"), edits=[])
    with pytest.raises(SteeringError, match="by hand"):
        steer(Odd(), site=Site(path="first"), layer=1, sae=make_sae("relu"), edits=[Ablate(1)])
    with pytest.raises(UnknownModelError, match="path="):
        steer(Odd(), layer=1, sae=make_sae("relu"), edits=[Ablate(1)])
    with pytest.raises(SiteError, match="frames per second"):
        steer(make_openai(d=24), site=Site(path="encoder.blocks.0", frame_rate=-1.0), edits=[Push(torch.ones(24))])


@pytest.mark.parametrize(
    ("family", "sizes", "folder"),
    [
        ("whisper", (768, 12, 12, 51865), "whisper-small"),
        ("whisper", (1280, 32, 32, 51866), "whisper-large-v3"),
        ("whisper", (1280, 32, 4, 51866), "whisper-large-v3-turbo"),
        ("whisper", (1280, 32, 32, 51865), None),  # large-v2
        ("hubert", (1024, 24, 0, 0), "hubert-large"),
    ],
)
def test_saes_on_the_hub_are_named_by_their_models_sizes(
    family: str, sizes: tuple[int, ...], folder: str | None
) -> None:
    found = ON_THE_HUB.get((family, Dims(*sizes)))
    assert found == (None if folder is None else f"Egorgij21/Audio-SAE/{folder}")
