"""The benchmark's runner: what an arm writes is what the steered model writes, once; and it resumes."""

from __future__ import annotations

import json
import math
import re
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from bench_rows import sound
from make import make_openai
from typer.testing import CliRunner

from audiosae_steer import AudioError, Recipe, SteeringError, load_audio, load_recipe, steer
from audiosae_steer.cli.app import app
from audiosae_steer.data.acoustics import SNRS, mixture
from audiosae_steer.evaluate.benchmark import run
from audiosae_steer.evaluate.benchmark.arms import STRICT, TIMED, UNTIMED, recipe_arms, vad_arms
from audiosae_steer.evaluate.benchmark.bench_clips import (
    BenchClip,
    ClipGroup,
    audible,
    hard,
    long_files,
    mixed_files,
    mixtures,
    open_clips,
    words,
)
from audiosae_steer.evaluate.benchmark.failing_clips import failures, gate_reading, write_failures
from audiosae_steer.evaluate.benchmark.long_form import run_long_part
from audiosae_steer.evaluate.benchmark.long_recordings import LongFile, Piece
from audiosae_steer.evaluate.benchmark.mixed_arms import mixed_arms
from audiosae_steer.evaluate.benchmark.mixed_recordings import mix
from audiosae_steer.evaluate.benchmark.report import write_report
from audiosae_steer.evaluate.benchmark.results import to_json
from audiosae_steer.evaluate.benchmark.run import Bench, run_bench
from audiosae_steer.evaluate.benchmark.runner import BATCH, UNSTEERED, Runner
from audiosae_steer.evaluate.benchmark.settings import BenchData, BenchSettings, Recipes
from audiosae_steer.evaluate.transcription.vad import highest_probability
from audiosae_steer.models.families.whisper_mel import mel
from audiosae_steer.steering.recipes.load import checkpoints_dir

# Whisper's normaliser leaves its list of spellings open
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file .*english.json:ResourceWarning")

CLIPS = checkpoints_dir() / "clips"
RIVER = "We walked along the river until the sun went down."
LIMIT = 8


def clip(name: str, text: str | None = None) -> BenchClip:
    return BenchClip(name, "clips", partial(load_audio, CLIPS / f"{name}.flac"), text)


NOISE = ClipGroup("absent", (clip("rain"), clip("clicks")))
SPEECH = ClipGroup("present", (clip("speech-04", RIVER),))
BOTH = ClipGroup("both", (*NOISE.clips, *SPEECH.clips))


@pytest.fixture(scope="module")
def shipped() -> Recipe:
    return load_recipe(checkpoints_dir() / "whisper-tiny.en" / "no-false-speech.json")


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    """Shared by the tests, as by the processes of a run."""
    return tmp_path_factory.mktemp("cache")


def decoded(model: Any, mode: Any) -> list[Any]:
    from whisper.decoding import DecodingOptions

    options = DecodingOptions(
        language="en", fp16=False, temperature=0.0, sample_len=LIMIT, without_timestamps=not mode.timestamps
    )
    with torch.no_grad():
        return model.decode(mel(model, [s.samples() for s in BOTH.clips], mode.pad), options)


@pytest.mark.parametrize("mode", [TIMED, UNTIMED, STRICT], ids=lambda mode: mode.name)
def test_an_arm_writes_what_the_steered_model_writes(tiny_en, shipped, cache, mode):
    runner = Runner(tiny_en, 4, cache)
    arms = {arm.name: arm for arm in (UNSTEERED, *recipe_arms(shipped))}
    gated = runner.written(arms["clip-gated"], BOTH, mode, arms, limit=LIMIT)
    with steer(tiny_en, shipped, allow_empty=mode.allow_empty):
        wanted = decoded(tiny_en, mode)
    assert [one.tokens for one in gated] == [tuple(one.tokens) for one in wanted]
    assert [one.opened for one in gated] == [True, True, False]
    plain = runner.written(UNSTEERED, BOTH, mode, arms, limit=LIMIT)
    if not mode.allow_empty:
        assert [one.tokens for one in plain] == [tuple(one.tokens) for one in decoded(tiny_en, mode)]
    silent = [not one.text for one in gated]
    assert silent == [mode is not STRICT, mode is not STRICT, False]
    assert not any(module._forward_hooks for module in tiny_en.modules())
    assert "decode" not in vars(tiny_en)


def test_what_was_written_is_kept_and_what_was_cut_short_made_again(tmp_path):
    model = make_openai()
    told: list[str] = []
    many = ClipGroup("many", tuple(sound(i) for i in range(BATCH + 2)))

    def run(material: ClipGroup) -> list[Any]:
        told.clear()
        runner = Runner(model, 3, tmp_path, progress=lambda what, done, total: told.append(what))
        return runner.written(UNSTEERED, material, TIMED, {}, limit=1)

    first = run(many)
    (path,) = tmp_path.rglob("written/*.jsonl")
    assert told
    assert run(many) == first
    assert not told
    whole = path.read_text()
    assert len(whole.splitlines()) == len(many.clips)
    path.write_text(whole[: whole.rindex('"text"')])  # the last line, torn
    assert run(many) == first
    assert told
    rows = [line for line in path.read_text().splitlines() if line.endswith("}")]
    assert {json.loads(line)["clip"] for line in rows} == {s.key for s in many.clips}
    assert len(rows) == len(many.clips) + 1  # of the last batch alone, the clip that was whole is there twice
    other = many.sample(3)
    assert run(other) == [first[i] for i in (0, 8, 17)]
    assert not told


def test_masks_take_what_others_wrote(tiny_en, shipped, cache):
    runner = Runner(tiny_en, 4, cache)
    own = recipe_arms(shipped)
    arms = {arm.name: arm for arm in (UNSTEERED, *own, *vad_arms(own, ["timed"]))}
    plain, alone, vad = (
        runner.written(arms[name], BOTH, TIMED, arms) for name in ("unsteered", "gate-alone", "vad-0.5")
    )
    assert [bool(one.text) for one in alone] == [False, False, True]
    assert alone[2] == plain[2]
    speech = runner.vad(BOTH)
    assert speech == [highest_probability(s.samples()) for s in BOTH.clips]
    assert [bool(one.text) for one in vad] == [p >= 0.5 and bool(q.text) for p, q in zip(speech, plain, strict=True)]
    assert speech[2] > 0.9


def test_clips_of_a_run(tiny_en, shipped, cache, tmp_path):
    settings = BenchSettings(
        parts=("clips",), modes=("timed",), arms=("learned-1", "clip-gated", "gate-alone"), timed_clips=2
    )
    found = run_bench(
        tiny_en, Recipes(main=shipped), BenchData(absent=NOISE.clips, present=SPEECH.clips), cache, settings
    )  # fmt: skip
    rows = found.clips["timed"]
    assert list(rows) == ["unsteered", "learned-1", "clip-gated", "gate-alone"]
    assert [row.noise.text.after[:2] for row in rows.values()][2:] == [(0, 2), (0, 2)]
    assert rows["clip-gated"].speech.wer.value == 0.0
    assert rows["clip-gated"].speech.blanked[:2] == (0, 1)
    assert found.latency["unsteered"] is None
    assert 0 < found.latency["clip-gated"].low <= found.latency["clip-gated"].share
    assert found.latency["gate-alone"] == found.latency["clip-gated"]
    assert found.data["absent"].clips == 2
    assert {"dense", "contrast", "frame-gated"} <= set(found.left_out)
    json.dumps(to_json(found), allow_nan=False)


def test_failures_are_shown_with_the_gate(tiny_en, shipped, cache, tmp_path):
    idle = shipped.model_copy(update={"strength": 0.0})  # its gate opens, and nothing is changed
    settings = BenchSettings(parts=("clips",), modes=("timed",), arms=("clip-gated",))
    bench = Bench(
        tiny_en, Recipes(main=idle), BenchData(absent=NOISE.clips, present=SPEECH.clips), cache, settings, None
    )
    noise, speech = failures(bench, TIMED, ["clip-gated"])
    plain = bench.written("unsteered", bench.absent, TIMED)
    assert {one.clip.name for one in noise} == {
        s.name for s, w in zip(NOISE.clips, plain, strict=True) if w.text.strip()
    }
    assert noise
    assert speech == []
    for one in noise:
        assert one.gate.score > 0
        assert 0 < len(one.gate.features) <= 8
        assert one.gate.curve.values.max() == pytest.approx(one.gate.features[0].activation, rel=1e-5)  # pooled by max
        assert one.texts["clip-gated"] == one.texts["unsteered"]
    score, features, _ = gate_reading(bench, SPEECH.clips[0], TIMED)
    assert score < 0
    gate = idle.gate
    weights = dict(zip(gate.features, gate.weights, strict=True))
    for number, value, share in features:
        assert share == pytest.approx(weights[number] * value, rel=1e-5)
    path = write_failures(bench, TIMED, ["clip-gated"], tmp_path / "new" / "failures.html")
    page = path.read_text()
    assert page.count('<article class="stage-group">') == page.count('class="thumb"') == len(noise)
    assert page.count("data:image/png;base64,") == 1 + len(noise)  # the stage, and the link to each
    assert page.count("<audio") == 1
    assert all(one.clip.name in page for one in noise)
    assert "<p>None.</p>" in page


def test_names_of_clips_are_no_markup(tiny_en, shipped, cache, tmp_path):
    idle = shipped.model_copy(update={"strength": 0.0, "name": "<b>"})
    absent = tuple(replace(s, name="<script>1</script>", source='"&') for s in NOISE.clips)
    settings = BenchSettings(parts=("clips",), modes=("timed",), arms=("clip-gated",))
    data = BenchData(absent=absent, present=SPEECH.clips)
    bench = Bench(tiny_en, Recipes(main=idle), data, cache, settings, None)
    page = write_failures(bench, TIMED, ["clip-gated"], tmp_path / "failures.html").read_text()
    page = re.sub(r'<script type="module">.*?</script>', "", page, flags=re.DOTALL)  # the player, which is ours
    root = ElementTree.fromstring(page.removeprefix("<!DOCTYPE html>\n"))  # strict: every tag closed, all else escaped
    assert [script.get("type") for script in root.iter("script")] == ["application/json"]
    assert {one.text.strip() for one in root.iter("h3")} == {"<script>1</script>"}
    assert all(one.text.startswith('"&, ') for one in root.iter("small"))
    assert "<b>: where it fails" in root.findtext("head/title")


def test_what_cannot_be_run_says_why(tiny_en, shipped, tmp_path):
    data = BenchData(absent=NOISE.clips, present=SPEECH.clips)
    for settings, says in (
        (BenchSettings(parts=("clip",)), "unknown part 'clip'; expected clips, mixtures, hard, long, mixed, beams"),
        (BenchSettings(modes=()), "unknown mode"),
        (BenchSettings(parts=("clips",), modes=("timed",), arms=("learnt",)), "there is no arm 'learnt'"),
    ):
        with pytest.raises(SteeringError, match=says):
            run_bench(tiny_en, Recipes(main=shipped), data, tmp_path, settings)
    with pytest.raises(SteeringError, match="clips without speech, and clips with speech"):
        run_bench(tiny_en, Recipes(main=shipped), replace(data, absent=()), tmp_path)


def test_long_files_are_measured_and_kept(tiny_en, shipped, tmp_path):
    noise, speech = NOISE.clips[0].samples(), SPEECH.clips[0].samples()
    ends = [len(noise) / 16_000, (len(noise) + len(speech)) / 16_000]
    pieces = (Piece(0.0, ends[0], None, "rain"), Piece(ends[0], ends[1], RIVER, "speech"))
    file = LongFile(np.concatenate([noise, speech]), pieces, "short")
    runner = Runner(tiny_en, 4, tmp_path)
    own = recipe_arms(shipped)
    arms = {arm.name: arm for arm in (UNSTEERED, *own, *vad_arms(own, ["timed"]))}
    wanted = [arms[name] for name in ("unsteered", "vad-0.5")]
    found = run_long_part(runner, [file], wanted, arms)
    assert set(found.transcribe) == {"unsteered", "vad-0.5"}
    row = found.transcribe["vad-0.5"]
    assert row.gap_minutes == pytest.approx(ends[0] / 60)
    assert row.speech.words == 10
    assert row.words_per_minute.value == row.gap_words / row.gap_minutes
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("long/*.json")}
    assert len(files) == 2
    assert run_long_part(runner, [file], wanted, arms) == found
    assert {path: path.stat().st_mtime_ns for path in files} == files
    assert run_long_part(runner, [file], wanted, arms, lambda: pytest.fail("loaded"), pipeline_files=0) == found
    assert not any(math.isnan(number) for each in found.transcribe.values() for number in each.words_per_minute)


def test_clips_are_read_with_their_texts(tmp_path):
    for name in ("fan", "speech-04"):
        shutil.copy(CLIPS / f"{name}.flac", tmp_path)
    table = tmp_path.parent / f"{tmp_path.name}.tsv"
    table.write_text(f"file\ttext\nspeech-04.flac\t{RIVER}\n", encoding="utf-8")
    fan, speech = open_clips([str(tmp_path)], table)
    assert (fan.name, fan.text, speech.text) == ("fan.flac", None, RIVER)
    np.testing.assert_array_equal(speech.samples(), load_audio(CLIPS / "speech-04.flac"))
    assert speech.seconds == len(speech.samples()) / 16_000
    assert speech.key == clip("speech-04").key != fan.key
    with pytest.raises(AudioError, match="columns file and text"):
        open_clips([str(tmp_path)], tmp_path / "fan.flac")


def test_harder_clips_are_made_of_them():
    speech = [sound(i, "a b") for i in range(3)]
    noise = [sound(10), BenchClip("still", "made", lambda: np.zeros(16_000, np.float32)), sound(11)]
    assert [s.name for s in audible(noise)] == ["made/10.wav", "made/11.wav"]
    mixed = dict(mixtures(speech, noise))
    assert list(mixed) == [f"{snr:g} dB" for snr in SNRS]
    wanted = mixture(speech[1].samples(), noise[2].samples(), 5.0, 1)
    np.testing.assert_array_equal(mixed["5 dB"].clips[1].samples(), wanted)
    assert {s.text for s in mixed["5 dB"].clips} == {"a b"}
    kinds = dict(hard(speech, noise, [sound(20, "one")]))
    assert list(kinds) == ["digits", "quiet", "telephone", "reverb", "after noise"]
    assert kinds["after noise"].clips[0].seconds == pytest.approx(21.0)
    assert len({s.key for material in (*mixed.values(), *kinds.values()) for s in material.clips}) == 3 * 8 + 1
    made = long_files(speech, noise, 2, 1.0)
    assert [file.seconds for file in made] == [60.0, 60.0]
    assert not np.array_equal(made[0].samples, made[1].samples)
    with pytest.raises(AudioError, match="loud enough"):
        audible(noise[1:2])
    assert (words("Thank you."), words(" . "), words("")) == (2, 0, 0)


def test_the_command(cache, tmp_path):
    for kind, names in (("noise", ("rain", "clicks")), ("speech", ("speech-04",))):
        (tmp_path / kind).mkdir()
        for name in names:
            shutil.copy(CLIPS / f"{name}.flac", tmp_path / kind)
    (tmp_path / "speech" / "text.tsv").write_text(f"file\ttext\nspeech-04.flac\t{RIVER}\n", encoding="utf-8")
    out = tmp_path / "o"
    places = {"--absent": tmp_path / "noise", "--present": tmp_path / "speech", "--cache": cache, "--out": out}
    some = ["--modes", "timed", "--parts", "clips", "--arms", "clip-gated,gate-alone"]
    typed = ["bench", "false-speech", *(str(word) for pair in places.items() for word in pair), *some]
    result = CliRunner().invoke(app, typed, env={"NO_COLOR": "1"})
    assert result.exit_code == 0, result.output
    names = ["failures.html", "false-speech.json", "front.png", "table.md"]
    assert sorted(path.name for path in out.iterdir()) == names
    found = json.loads((out / "false-speech.json").read_text())
    assert found["clips"]["timed"]["clip-gated"]["noise"]["text"]["after"][:2] == [0, 2]
    assert "| ours, clip gate | 0.0%" in (out / "table.md").read_text()
    failed = CliRunner().invoke(app, [*typed[:-1], "nothing"], env={"NO_COLOR": "1"})
    assert failed.exit_code == 2
    assert "there is no arm 'nothing'" in failed.stderr


def test_windows_of_speech_and_noise_are_a_part(tiny_en, shipped, tmp_path, monkeypatch):
    monkeypatch.setattr(
        run, "mixed_arms", lambda *given: [a for a in mixed_arms(*given) if a.name in ("unsteered", shipped.name)]
    )
    window = mix([(SPEECH.clips[0].samples(), RIVER)], {"rain": [NOISE.clips[0].samples()]}, 1, 8.0, name="one")
    data = BenchData(absent=NOISE.clips, present=SPEECH.clips, mixed=[window])
    settings = BenchSettings(parts=("mixed",))
    found = run_bench(tiny_en, Recipes(main=shipped), data, tmp_path / "cache", settings)
    assert found.mixed is not None
    assert [row.name for row in found.mixed] == ["unsteered", shipped.name]
    assert all(row.files == 1 and row.wer < 0.5 for row in found.mixed)
    write_report(found, tmp_path / "out")
    assert "## Windows with speech and noise" in (tmp_path / "out" / "table.md").read_text()
    written = json.loads((tmp_path / "out" / "false-speech.json").read_text())
    assert [row["name"] for row in written["mixed"]] == ["unsteered", shipped.name]


def test_windows_are_assembled_of_the_clips():
    found = mixed_files(SPEECH.clips, NOISE.clips, 2)
    assert [window.mixed.seconds for window in found] == [30.0, 30.0]
    assert all(piece.text == RIVER for window in found for piece in window.mixed.speech)
    mute = [replace(clip, text=None) for clip in SPEECH.clips]
    with pytest.raises(AudioError, match="leave out the part mixed"):
        mixed_files(mute, NOISE.clips, 1)
