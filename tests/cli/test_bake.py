"""`audiosae-steer bake`, as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from commands import CLIPS, failed, run

from audiosae_steer import load_audio
from audiosae_steer.models.registry import family_of, fingerprint

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of ctranslate2's imports


@pytest.fixture(scope="module")
def recipe(tiny_en, tmp_path_factory) -> Path:
    """A constant that makes tiny.en mute: after the last decoder layer, towards end-of-text."""
    end = tiny_en.decoder.token_embedding.weight[50256].detach().double()
    path = tmp_path_factory.mktemp("recipe") / "mute.json"
    data = {
        "schema": 1,
        "name": "mute",
        "model": {"family": "whisper", "name": "tiny.en", **family_of(tiny_en).dims(tiny_en)._asdict(),
                  "fingerprint": fingerprint(tiny_en)},
        "sites": [{"layer": 4, "side": "decoder", "edits": [{"kind": "push", "vector": (end / end.norm()).tolist(),
                                                             "amount": 500.0}]}],
        "allow_empty": True,
    }  # fmt: skip
    path.write_text(json.dumps(data))
    return path


@pytest.mark.parametrize("form", ["openai", "transformers", "ctranslate2"])
def test_it_says_what_it_changed_and_the_lines_it_prints_work(recipe, tmp_path, form):
    to = tmp_path / "baked"
    result = run("bake", "tiny.en", "--recipe", recipe, "--to", to, "--format", form, "--strength", 0.8)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    name = "decoder.blocks.3.mlp.2.bias" if form == "openai" else "model.decoder.layers.3.fc2.bias"
    assert lines[0] == "baked at strength 0.8:"
    assert lines[1].startswith(f"  {name} (decoder layer 4): a vector of norm 400 (")
    assert lines[2].startswith(f"wrote {to} ({form}, {'float32' if form == 'transformers' else 'float16'}, ")
    assert lines[3].startswith(
        "note: openai-whisper's SuppressBlank stays" if form == "openai" else "note: end-of-text"
    )
    scope: dict = {}
    exec("import whisper, transformers, faster_whisper\n" + "\n".join(line.strip() for line in lines[5:]), scope)
    model, clip = scope["model"], load_audio(CLIPS / "speech-04.flac")
    if form == "ctranslate2":
        assert list(model.transcribe(clip, beam_size=1, temperature=0.0)[0]) == []
    elif form == "openai":
        assert model.transcribe(clip, temperature=0.0, fp16=False)["text"].strip() == ""
    else:
        with torch.no_grad():
            logits = model.eval()(torch.zeros(1, 80, 3000), decoder_input_ids=torch.tensor([[50257, 50362]])).logits
        assert logits[0, -1].argmax() == 50256


def test_what_cannot_be_baked_is_one_line(tmp_path, recipe):
    said = failed(run("bake", "tiny.en", "--recipe", "no-false-speech", "--to", tmp_path / "out"))
    assert "cannot be baked: its clip gate at encoder layer 4 decides clip by clip" in said
    assert "dtype is 'int3'" in failed(
        run("bake", "tiny.en", "-r", recipe, "--to", tmp_path / "out", "--quantization", "int3")
    )
    assert "format is 'onnx'" in failed(run("bake", "tiny.en", "-r", recipe, "--to", tmp_path, "--format", "onnx"))
    assert "at strength 0" in failed(run("bake", "tiny.en", "-r", recipe, "--to", tmp_path / "out", "--strength", 0))
    assert list(tmp_path.iterdir()) == []
