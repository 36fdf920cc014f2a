"""The demo on a small folder of clips: what it reads, counts, prints and draws."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from audiosae_steer import (
    AudioError,
    AudioSAESteerWarning,
    Recipe,
    SteeringError,
    UnknownModelError,
    load_audio,
    load_recipe,
    steer,
)
from audiosae_steer.evaluate.demo.picture import choose, draw
from audiosae_steer.evaluate.demo.run import Demo, DemoClip, Result, read_clips, run_demo
from audiosae_steer.evaluate.demo.table import print_demo
from audiosae_steer.evaluate.latency import Latency
from audiosae_steer.evaluate.metrics.rates import reduction
from audiosae_steer.evaluate.metrics.wer import rate_difference, word_errors
from audiosae_steer.evaluate.transcription.transcribe import Transcript, transcribe
from audiosae_steer.models.registry import family_of, fingerprint
from audiosae_steer.steering.recipes.load import checkpoints_dir

# Whisper's normaliser leaves its list of spellings open
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file .*english.json:ResourceWarning")

CLIPS = checkpoints_dir() / "clips"
RIVER = "We walked along the river until the sun went down."


def content(model: Any, folder: Path) -> dict[str, Any]:
    """A recipe for tiny.en that takes a fan's text away and leaves speech alone, its SAE beside it."""
    shutil.copy(checkpoints_dir() / "whisper-tiny.en" / "encoder-4.safetensors", folder / "sae.safetensors")
    fan = 1146  # fires on the demo's fan and engine, and not on its speech
    return {
        "schema": 1,
        "name": "no-fan",
        "description": "Writes nothing for a fan.",
        "model": {
            "family": "whisper",
            "name": "tiny.en",
            **family_of(model).dims(model)._asdict(),
            "fingerprint": fingerprint(model),
        },
        "saes": {"a": {"file": "sae.safetensors"}},
        "sites": [{"layer": 4, "sae": "a", "edits": [{"kind": "add", "features": [fan, 7], "amount": [20.0, 0.5]}]}],
        "gate": {"layer": 4, "sae": "a", "features": [fan], "weights": [1.0], "threshold": 3.0},
        "allow_empty": True,
        "provenance": {"command": "by hand"},
        "measured": {"clips": 2},
    }


def written(folder: Path, data: dict[str, Any]) -> Path:
    Recipe.model_validate(data).save(folder / "recipe.json")
    return folder / "recipe.json"


@pytest.fixture(scope="module")
def recipe(tiny_en, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("recipe")
    return written(folder, content(tiny_en, folder))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Two clips in folders named by what they hold, and one that is no audio."""
    root = tmp_path_factory.mktemp("audio")
    for name, kind in (("fan", "Non-Speech"), ("speech-04", "speech")):
        (root / kind).mkdir()
        shutil.copy(CLIPS / f"{name}.flac", root / kind)
    (root / "speech" / "text.tsv").write_text(f"file\ttext\nspeech-04.flac\t{RIVER}\n", encoding="utf-8")
    (root / "speech" / "broken.wav").write_bytes(b"RIFF")
    return root


@pytest.fixture(scope="module")
def ran(folder, recipe) -> tuple[Demo, Any, list[tuple[str, int, int]]]:
    told: list[tuple[str, int, int]] = []
    with pytest.warns(AudioSAESteerWarning, match=r"left out of the demo:\n  .*broken.wav is not audio"):
        demo, model = run_demo("tiny.en", recipe, folder, progress=lambda *what: told.append(what))
    return demo, model, told


def test_it_transcribes_without_and_with_steering(ran, tiny_en, recipe):
    demo, _, _ = ran
    fan, speech = demo.results
    assert (fan.clip.label, fan.clip.kind, fan.clip.text) == ("fan", "nonspeech", None)
    assert (speech.clip.label, speech.clip.kind, speech.clip.text) == ("speech-04", "speech", RIVER)
    assert fan.before == transcribe(tiny_en, load_audio(fan.clip.path))
    assert fan.before.text
    with steer(tiny_en, recipe):
        assert fan.after == transcribe(tiny_en, load_audio(fan.clip.path))
    assert fan.after.text == ""
    assert speech.before.text == speech.after.text == RIVER
    np.testing.assert_array_equal(speech.samples, load_audio(speech.clip.path))


def test_it_counts_what_changed(ran):
    demo, _, _ = ran
    assert demo.text == reduction([True], [False])
    errors = word_errors([RIVER], [RIVER])
    assert demo.wer == (errors, errors, rate_difference(errors, errors))
    assert 0 < demo.latency.low <= demo.latency.share <= demo.latency.high
    assert demo.recipe.name == "no-fan"


def test_it_keeps_what_was_left_out(ran, folder, capsys):
    demo, _, _ = ran
    assert [each.path for each in demo.skipped] == [folder / "speech" / "broken.wav"]
    print_demo(demo)
    assert "left out: broken.wav\n" in capsys.readouterr().out


def test_it_leaves_the_model_unsteered(ran):
    _, model, _ = ran
    assert not any(module._forward_hooks for module in model.modules())


def test_it_tells_how_far_it_is(ran):
    _, _, told = ran
    tasks = list(dict.fromkeys(what for what, _, _ in told))
    assert tasks == ["loading", "transcribing unsteered", "transcribing steered", "timing the encoder"]
    for task in tasks:
        done = [number for what, number, _ in told if what == task]
        totals = {total for what, _, total in told if what == task}
        assert done == sorted(done)
        assert totals == {done[-1]}


def test_the_table(ran, capsys):
    demo, _, _ = ran
    print_demo(demo)
    printed = capsys.readouterr().out
    assert "tiny.en, no-fan" in printed
    rows = [line for line in printed.splitlines() if "│" in line]
    assert "fan" in rows[0]
    assert "(nothing)" in rows[0]
    assert printed.index("fan") < printed.index("speech-04")
    assert f"non-speech clips with text, Whisper's own filters off: {demo.text.before} → 0.0% [0.0%, 79.3%]" in printed
    assert "word error rate: 0.0% (0.0% to 0.0%) → 0.0% (change +0.00 points, +0.00 to +0.00)" in printed
    assert "of the encoder's time" in printed
    print_demo(demo, filters=True)
    assert "filters on" in capsys.readouterr().out


def pixels(path: Path) -> np.ndarray:
    from matplotlib.image import imread

    assert path.read_bytes().startswith(b"\x89PNG")
    return imread(path)[:, :, :3]


def test_the_picture(ran, tmp_path):
    demo, model, _ = ran
    path = draw(demo, model, tmp_path / "a.PNG")
    image = pixels(path)
    assert path == tmp_path / "a.PNG"
    assert image.shape[0] > 600
    assert image.shape[1] > 600
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 200  # two colour maps, and not a blank page
    assert 0.2 < (image.min(2) > 0.99).mean() < 0.95
    one = pixels(draw(demo, model, tmp_path / "one.png", clips=1))
    assert one.shape[1] < image.shape[1]
    assert not any(module._forward_hooks for module in model.modules())


def test_a_picture_of_texts_that_look_like_formulas(ran, tmp_path):
    demo, model, _ = ran
    clip = DemoClip(Path("a"), "$\\price$", "speech", "x")
    said = Transcript("It costs $5 and \\frac{ $\\nothing$", ())
    strange = demo._replace(results=(demo.results[0]._replace(clip=clip, before=said, after=said),))
    assert pixels(draw(strange, model, tmp_path / "a.png")).std() > 0.05


def test_a_picture_where_no_encoder_feature_is_edited_shows_none(ran, tmp_path, tiny_en):
    demo, model, _ = ran
    demo = demo._replace(results=demo.results[:1])
    data = content(tiny_en, tmp_path)
    del data["gate"]
    pictures = []
    for sites in (
        data["sites"],
        [{"layer": 2, "edits": [{"kind": "push", "vector": [0.1] * 384}]}],
        [{"layer": 4, "side": "decoder", "sae": "a", "edits": [{"kind": "ablate", "features": [1146]}]}],
    ):
        other = load_recipe(written(tmp_path, data | {"sites": sites}))
        pictures.append(pixels(draw(demo._replace(recipe=other), model, tmp_path / "a.png")))
    encoder, push, decoder = pictures
    assert np.array_equal(push, decoder)
    assert not np.array_equal(encoder, push)


def test_a_picture_that_cannot_be_written(ran, tmp_path):
    demo, model, _ = ran
    (tmp_path / "dir.png").mkdir()
    for name, says in (("a.jpg", "must end in .png"), ("no/a.png", "there is no folder"), ("dir.png", "cannot write")):
        with pytest.raises(SteeringError, match=says):
            draw(demo, model, tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["dir.png"]


def test_strength_zero_in_transformers_on_clips_of_which_nothing_is_known(recipe, tmp_path, capsys):
    shutil.copy(CLIPS / "fan.flac", tmp_path / "a.flac")
    (tmp_path / "clips.json").write_text('[{"file": "a.flac", "label": "a [b] fan"}]')
    demo, model = run_demo("tiny.en", recipe, tmp_path, library="transformers", strength=0.0)
    assert demo.results[0].before.text
    before, after = demo.results[0].before, demo.results[0].after
    assert before == after._replace(gates=())
    assert [event.strength for event in after.gates] == [0.0]
    assert demo.text is None
    assert demo.wer is None
    print_demo(demo)
    printed = capsys.readouterr().out
    assert "a [b] fan" in printed
    assert "word error rate" not in printed
    assert "non-speech clips" not in printed
    assert pixels(draw(demo, model, tmp_path / "a.png")).std() > 0.05


def test_choosing_the_telling_clips():
    def result(label: str, kind: str | None, before: str, after: str) -> Result:
        said = (Transcript(before, ()), Transcript(after, ()))
        return Result(DemoClip(Path(label), label, kind), np.zeros(1, np.float32), *said)

    results = [
        result("kept", "nonspeech", "you", "you"),
        result("short", "nonspeech", "you", ""),
        result("unknown", None, "a b c d", ""),
        result("long", "nonspeech", "thank you all", ""),
        result("loop", "nonspeech", "you you you you you", ""),
        *(result(f"speech {n}", "speech", "hello", "hello") for n in range(3)),
    ]
    labels = [r.clip.label for r in choose(results, 5)]
    assert labels == ["long", "short", "loop", "speech 0", "speech 1"]
    assert [r.clip.label for r in choose(results, 1)] == ["long"]
    assert len(choose(results, 20)) == len(results)
    assert choose(results[:1], 5) == results[:1]


def silent(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(160), 16_000)
    return path


def test_folders_tell_what_is_in_them(tmp_path):
    for name in ("Speech/a.wav", "nonspeech/deep/b.wav", "nonspeech/speech/c.wav", "d.wav"):
        silent(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no audio")
    kinds = {clip.path.relative_to(tmp_path).as_posix(): clip.kind for clip in read_clips(tmp_path)}
    assert kinds == {
        "Speech/a.wav": "speech",
        "nonspeech/deep/b.wav": "nonspeech",
        "nonspeech/speech/c.wav": "speech",
        "d.wav": None,
    }
    assert [clip.kind for clip in read_clips(tmp_path / "nonspeech" / "deep")] == [None]
    assert [clip.kind for clip in read_clips(tmp_path / "Speech")] == ["speech"]


def test_files_of_one_name_are_told_apart(tmp_path):
    files = ("speech/a.wav", "nonspeech/a.wav", "b.wav", "b.flac", "c.wav", "x/d.wav", "x/d.flac", "d.wav")
    for name in files:
        silent(tmp_path / name)
    labels = {clip.path.relative_to(tmp_path).as_posix(): clip.label for clip in read_clips(tmp_path)}
    assert labels == {
        "speech/a.wav": "speech/a",
        "nonspeech/a.wav": "nonspeech/a",
        "b.wav": "b.wav",
        "b.flac": "b.flac",
        "c.wav": "c",
        "x/d.wav": "x/d.wav",
        "x/d.flac": "x/d.flac",
        "d.wav": "d.wav",
    }
    entries = [{"file": name, "label": "rain"} for name in ("c.wav", "b.wav")]
    entries += [{"file": str(silent(tmp_path.parent / "elsewhere" / "c.wav")), "label": "c"}, {"file": "d.wav"}]
    (tmp_path / "clips.json").write_text(json.dumps(entries))
    assert [clip.label for clip in read_clips(tmp_path)] == ["rain (c.wav)", "rain (b.wav)", "c", "d.wav"]


def test_what_is_not_read_is_told_with_the_reason(tmp_path, recipe):
    shutil.copy(CLIPS / "fan.flac", tmp_path / "fan.flac")
    (tmp_path / "talk.wma").write_bytes(b"0")
    (tmp_path / "text.tsv").write_text("file\ttext\ngone.wav\thello\n")
    (tmp_path / "notes.txt").write_text("no audio")
    with pytest.warns(AudioSAESteerWarning) as seen:
        demo, _ = run_demo("tiny.en", recipe, tmp_path)
    assert [each.path.name for each in demo.skipped] == ["gone.wav", "talk.wma"]
    (said,) = [str(each.message) for each in seen if each.category is AudioSAESteerWarning]
    assert "talk.wma is not audio that libsndfile or PyAV reads" in said
    assert "gone.wav: text.tsv has it, and there is no such file" in said
    (tmp_path / "clips.json").write_text('[{"file": "fan.flac"}]')
    silent(tmp_path / "more" / "b.wav")
    with (  # told before anything is loaded
        pytest.warns(AudioSAESteerWarning, match=r"b\.wav: clips\.json does not list it"),
        pytest.raises(UnknownModelError),
    ):
        run_demo("tiny.xx", recipe, tmp_path)


@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "as Excel writes it"])
def test_a_table_of_texts(tmp_path, mark):
    a, b, c = (silent(tmp_path / name) for name in ("a.wav", "b.wav", "nonspeech/c.wav"))
    (tmp_path / "text.tsv").write_text(f'{mark}file\ttext\na.wav\tSay "hello\ngone.wav\tbye\n', encoding="utf-8")
    assert read_clips(tmp_path) == [
        DemoClip(a, "a", "speech", 'Say "hello'),
        DemoClip(b, "b", None, None),
        DemoClip(c, "c", "nonspeech", None),
    ]


def test_a_list_of_clips(tmp_path):
    silent(tmp_path / "a.wav")
    entries = [
        {"file": "a.wav"},
        {"file": "b.wav", "kind": "Non-Speech", "label": "rain"},
        {"file": "c.wav", "kind": "speech", "text": "hello", "made_by": "me"},
        {"file": "d.wav", "kind": None, "label": None, "text": None},
    ]
    (tmp_path / "clips.json").write_text(json.dumps(entries))
    assert read_clips(tmp_path) == [
        DemoClip(tmp_path / "a.wav", "a.wav"),
        DemoClip(tmp_path / "b.wav", "rain", "nonspeech"),
        DemoClip(tmp_path / "c.wav", "c.wav", "speech", "hello"),
        DemoClip(tmp_path / "d.wav", "d.wav"),
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("clips.json", "[]"),
        ("clips.json", "{"),
        ("clips.json", "3"),
        ("clips.json", '{"file": "a.wav"}'),
        ("clips.json", '["a.wav"]'),
        ("clips.json", '[["a.wav"]]'),
        ("clips.json", "[{}]"),
        ("clips.json", '[{"file": 3}]'),
        ("clips.json", '[{"file": "a.wav", "text": 3}]'),
        ("clips.json", '[{"file": "a.wav", "kind": "music"}]'),
        ("text.tsv", "name\ttext\na.wav\thello\n"),
        ("text.tsv", "file\na.wav\n"),
        ("text.tsv", "file\ttext\na.wav\t" + "x" * 200_000),
    ],
)
def test_a_list_that_cannot_be_read_says_what_it_should_be(tmp_path, name, text):
    silent(tmp_path / "a.wav")
    (tmp_path / name).write_text(text)
    with pytest.raises(AudioError, match=r"the list of clips in .* cannot be read .*a text.tsv has the columns"):
        read_clips(tmp_path)


def test_no_folder_no_audio_and_nothing_but_broken_audio(tmp_path, recipe):
    with pytest.raises(AudioError, match="there is no folder"):
        run_demo("tiny.en", recipe, tmp_path / "no")
    with pytest.raises(AudioError, match="holds no audio"):
        run_demo("tiny.en", recipe, tmp_path)
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).write_bytes(b"RIFF")
    with pytest.raises(AudioError, match="none of the 2 clips can be read; the first: .*a.wav"):
        run_demo("tiny.en", recipe, tmp_path)


def test_words_in_brackets_and_between_colons_are_printed_as_they_are(ran, capsys):
    demo, _, _ = ran
    said = Transcript("[bold]you[/bold] :bell: [/]", ())
    clip = DemoClip(Path("a"), "[red]a", None)
    strange = Result(clip, np.zeros(1, np.float32), said, said)
    print_demo(Demo((strange,), demo.recipe, None, None, Latency(0.01, 0.005, 0.02)))
    printed = capsys.readouterr().out
    assert "[red]a" in printed
    assert printed.count(":bell:") == 2
    assert printed.count("[bold]you") == 2
    assert "added latency: 1.00% of the encoder's time (0.50% to 2.00%)" in printed
