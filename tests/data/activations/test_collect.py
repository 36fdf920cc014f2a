from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from families import FAMILIES
from make import make_openai
from safetensors.torch import load_file

from audiosae_steer.data.activations.capture import residuals
from audiosae_steer.data.activations.collect import collect
from audiosae_steer.data.activations.shards import load_activations
from audiosae_steer.data.audio_paths import list_audio, recording_of
from audiosae_steer.data.windows import windows_of
from audiosae_steer.errors import AudioError, SiteError, SteeringError
from audiosae_steer.models.families.whisper_mel import mel
from audiosae_steer.models.registry import family_of
from audiosae_steer.models.sites import Site

SECONDS = (1.0, 2.0, 1.5)
FRAMES = sum(int(s * 50) + 25 for s in SECONDS)
"""50 frames a second, and half a second after each clip."""


def write_noise(folder: Path, name: str, seconds: float, seed: int) -> Path:
    path = folder / name
    samples = 0.1 * np.random.default_rng(seed).standard_normal(int(seconds * 16_000))
    soundfile.write(path, samples.astype(np.float32), 16_000, subtype="FLOAT")
    return path


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audio")
    for n, seconds in enumerate(SECONDS):
        write_noise(folder, f"{'abc'[n]}.wav", seconds, n)
    return folder


def plain(model, audio, out, **other):
    return collect(model, [audio], [1, 3], out, augment=False, padding_share=0.0, progress=False, **other)


def test_shapes_and_manifest(tiny_en, audio, tmp_path):
    assert plain(tiny_en, audio, tmp_path) == tmp_path
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["complete"]
    assert (manifest["clips"], manifest["shards"]) == (3, 1)
    assert manifest["settings"]["layers"] == [1, 3]
    for layer in (1, 3):
        found = load_activations(tmp_path, layer)
        assert found.train.shape[1] == found.held_out.shape[1] == 384
        assert len(found.train) + len(found.held_out) == FRAMES
        assert found.train.dtype == torch.float16


def test_the_frames_are_the_hidden_states_of_a_direct_forward(tiny_en_hf, tiny_en, audio, tmp_path):
    """transformers' own `output_hidden_states` on the one hand, hooks on either library on the other."""
    from audiosae_steer import load_audio

    samples = [load_audio(path) for path in sorted(audio.iterdir())]
    with torch.no_grad():
        states = tiny_en_hf.model.encoder(mel(tiny_en_hf, samples), output_hidden_states=True).hidden_states
    for model in (tiny_en, tiny_en_hf):
        taken = residuals(model, samples, [1, 3])
        for layer in (1, 3):
            torch.testing.assert_close(taken[layer], states[layer], rtol=1e-3, atol=2e-3)
    plain(tiny_en_hf, audio, tmp_path)
    expected = torch.cat([states[3][row, : int(s * 50) + 25] for row, s in enumerate(SECONDS)]).half()
    clips = windows_of(list_audio([audio]))
    sides = np.repeat([clip.held_out for clip in clips], [int(s * 50) + 25 for s in SECONDS])
    found = load_activations(tmp_path, 3)
    torch.testing.assert_close(found.train, expected[torch.from_numpy(~sides)], rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(found.held_out, expected[torch.from_numpy(sides)], rtol=1e-2, atol=1e-2)


def test_no_hook_is_left_behind(tiny_en, audio, tmp_path):
    before = [len(module._forward_hooks) for module in tiny_en.modules()]
    plain(tiny_en, audio, tmp_path)
    assert [len(module._forward_hooks) for module in tiny_en.modules()] == before


def test_an_interrupted_collection_resumes_where_it_stopped(tiny_en, audio, tmp_path, monkeypatch):
    from audiosae_steer.data.activations import collect as module
    from audiosae_steer.data.activations import extraction

    monkeypatch.setattr(module, "WINDOWS_PER_SHARD", 1)
    collect(tiny_en, [audio], [2], tmp_path / "whole", progress=False)
    place, placed = extraction.Extractor._place, []

    def interrupted(extractor, window):
        if len(placed) == 2:
            raise KeyboardInterrupt
        placed.append(window.path.name)
        return place(extractor, window)

    monkeypatch.setattr(extraction.Extractor, "_place", interrupted)
    with pytest.raises(KeyboardInterrupt):
        collect(tiny_en, [audio], [2], tmp_path / "cut", progress=False)
    with pytest.raises(SteeringError, match="no complete set"):
        load_activations(tmp_path / "cut", 2)
    placed.clear()
    collect(tiny_en, [audio], [2], tmp_path / "cut", progress=False)
    assert placed == ["c.wav"]
    for whole in sorted((tmp_path / "whole").glob("*.safetensors")):
        for key, tensor in load_file(whole).items():
            assert torch.equal(tensor, load_file(tmp_path / "cut" / whole.name)[key])


def test_a_finished_folder_is_taken_as_it_is(tiny_en, audio, tmp_path):
    plain(tiny_en, audio, tmp_path)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    plain(tiny_en, audio, tmp_path)
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_other_settings_and_absent_layers_are_refused(tiny_en, audio, tmp_path):
    plain(tiny_en, audio, tmp_path)
    with pytest.raises(SteeringError, match="other settings"):
        plain(tiny_en, audio, tmp_path, seed=1)
    with pytest.raises(SteeringError, match="layer 2"):
        load_activations(tmp_path, 2)
    with pytest.raises(SteeringError, match="no complete set"):
        load_activations(tmp_path / "absent", 2)


def test_other_weights_and_changed_audio_are_refused(audio, tmp_path):
    one, other = make_openai(1), make_openai(2)
    folder = Path(shutil.copytree(audio, tmp_path / "audio"))
    plain(one, folder, tmp_path / "out")
    with pytest.raises(SteeringError, match=r"other settings \(weights\); give another folder"):
        plain(other, folder, tmp_path / "out")
    write_noise(folder, "a.wav", SECONDS[0], 7)  # of the same name and size
    with pytest.raises(SteeringError, match=r"other settings \(files\); give another folder"):
        plain(one, folder, tmp_path / "out")


def test_a_file_that_is_no_audio_is_removed_and_collecting_begins(audio, tmp_path):
    folder = Path(shutil.copytree(audio, tmp_path / "audio"))
    (folder / "zz.wav").write_text("no sound")
    with pytest.raises(AudioError, match=r"zz\.wav"):
        plain(make_openai(1), folder, tmp_path / "out")
    (folder / "zz.wav").unlink()
    plain(make_openai(1), folder, tmp_path / "out")
    assert load_activations(tmp_path / "out", 1)


@pytest.mark.parametrize("content", ["{}", "[]", "no", '{"settings": 1, "complete": true}'])
def test_a_manifest_of_something_else(content, audio, tmp_path):
    (tmp_path / "shard-00000.safetensors").write_bytes(b"")
    (tmp_path / "manifest.json").write_text(content)
    for read in (lambda: plain(make_openai(), audio, tmp_path), lambda: load_activations(tmp_path, 1)):
        with pytest.raises(SteeringError, match=r"manifest\.json is not what a collection"):
            read()


def test_augmentation_is_seeded_and_keeps_a_share_of_the_padding(tiny_en, audio, tmp_path):
    counts, firsts = [], []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        found = load_activations(collect(tiny_en, [audio], [1], tmp_path / name, seed=seed, progress=False), 1)
        both = torch.cat(found)
        counts.append(len(both))
        firsts.append(both)
    assert torch.equal(firsts[0], firsts[1])
    assert not (firsts[0].shape == firsts[2].shape and torch.equal(firsts[0], firsts[2]))
    padding = 3 * 1500 - FRAMES
    assert all(abs(count - FRAMES - 0.1 * padding) < 0.04 * padding for count in counts)


def test_long_files_are_cut_and_pieces_of_one_recording_stay_together(tmp_path):
    write_noise(tmp_path, "long.wav", 61, 0)
    assert [clip.start for clip in windows_of(list_audio([tmp_path]))] == [0, 480_000, 960_000]
    for n in range(30):
        write_noise(tmp_path, f"rain{n}_1.wav", 0.5, n)
        write_noise(tmp_path, f"rain{n}_2.wav", 0.5, n)
    sides: dict[str, set[bool]] = {}
    for clip in windows_of(list_audio([tmp_path])):
        sides.setdefault(clip.path.stem.split("_")[0], set()).add(clip.held_out)
    assert all(len(side) == 1 for side in sides.values())


@pytest.mark.parametrize(
    ("name", "recording"),
    [
        ("rain_2.wav", "rain"),
        ("1-4211-B.ogg", "1-4211"),
        ("1-4211-B-14.wav", "1-4211"),
        ("speech-01.flac", "speech"),
        ("a.b_3.flac", "a.b"),
        ("1-4211.ogg", "1"),
        ("rain.wav", "rain"),
        ("x-Ray.wav", "x-Ray"),
    ],
)
def test_pieces_are_told_by_their_names(name, recording):
    assert recording_of(Path("some") / name) == recording


def test_what_is_no_audio_is_named(tmp_path):
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    with pytest.raises(AudioError, match="broken.wav is not audio"):
        windows_of([tmp_path / "broken.wav"])


def test_lists_name_files_and_folders_relative_to_themselves(audio, tmp_path):
    other = write_noise(tmp_path, "d.wav", 0.5, 9)
    listing = tmp_path / "list.txt"
    listing.write_text(f"# a comment\nd.wav\n\n{audio}\n", encoding="utf-8")
    assert list_audio([listing, other]) == [other, *sorted(audio.iterdir())]


def test_lists_that_cannot_be_read(tmp_path):
    for name, content, why in (
        ("latin.txt", "Geräusch".encode("latin-1"), "not text in UTF-8"),
        ("self.txt", b"self.txt", "names itself"),
        ("one.txt", b"two.txt", "names itself"),
        ("two.txt", b"one.txt", "names itself"),
        ("long.txt", b"x" * 300, "too long"),
        ("lost.txt", b"absent.txt", "cannot read the list"),
        ("home.txt", b"../../~nosuchuser", "no folder"),
    ):
        (tmp_path / name).write_bytes(content)
        if name != "one.txt":
            with pytest.raises(AudioError, match=why):
                list_audio([tmp_path / name])


def test_no_audio_is_an_error(tmp_path):
    empty = tmp_path / "empty.txt"
    empty.write_text("", encoding="utf-8")
    with pytest.raises(AudioError, match="no audio"):
        list_audio([empty])
    with pytest.raises(AudioError, match="no folder"):
        list_audio([tmp_path / "absent"])


def test_the_two_ways_to_pad_are_those_of_the_libraries(tiny_en, tiny_en_hf):
    from audiosae_steer import load_processor
    from audiosae_steer.evaluate.transcription.transcribe import transcribe

    rng = np.random.default_rng(0)
    samples = (0.1 * rng.standard_normal(20_000) * np.linspace(0, 1, 20_000)).astype(np.float32)
    processor = load_processor("tiny.en")
    for model, pad, options in ((tiny_en, "zeros", {}), (tiny_en_hf, "silence", {"processor": processor})):
        seen = []
        encoder = model.encoder if model is tiny_en else model.model.encoder
        handle = encoder.register_forward_pre_hook(
            lambda module, args, kwargs, seen=seen: seen.append(args[0] if args else kwargs["input_features"]),
            with_kwargs=True,
        )
        try:
            transcribe(model, samples, **options)
        finally:
            handle.remove()
        ours = mel(model, [samples], pad)
        # openai-whisper sees the sound's last frame with a window that reaches into the padding
        torch.testing.assert_close(ours[..., :120], seen[0][..., :120], rtol=0, atol=1e-4)
        torch.testing.assert_close(ours[..., 130:], seen[0][..., 130:], rtol=0, atol=1e-4)
    assert not torch.equal(mel(tiny_en, [samples], "zeros"), mel(tiny_en, [samples], "silence"))


HEARING = [case for case in FAMILIES if case.name not in ("DiffRhythm", "whisper (openai-whisper)")]


@pytest.mark.parametrize("case", HEARING, ids=lambda case: case.name)
def test_every_family_that_takes_audio_is_collected_from(case, audio, tmp_path):
    model = case.make()
    sites = [site for site in case.sites(model) if site.side == "encoder"]
    for name, nnsight in (("hooks", False), ("traces", True)):
        if nnsight and importlib.util.find_spec("nnsight") is None:
            continue
        collect(
            model, [audio], sites, tmp_path / name, augment=False, padding_share=1.0, progress=False, nnsight=nnsight
        )
    rate = family_of(model).frame_rate(model, sites[0])
    for site in sites:
        found = load_activations(tmp_path / "hooks", site)
        assert found.train.isfinite().all()
        assert found.train.shape[1] == case.width(model, site)
        if (tmp_path / "traces").is_dir():
            assert torch.equal(found.train, load_activations(tmp_path / "traces", site).train)
        seconds = {"ast": 0.0, "whisper": 30.0 * len(SECONDS)}.get(case.family, sum(SECONDS))
        if seconds:
            assert abs(len(found.train) + len(found.held_out) - rate * seconds) < 10  # pieces of 48 kHz overlap


def test_what_makes_sound_and_what_is_not_reached_is_refused(audio, tmp_path, tiny_en):
    made = next(case for case in FAMILIES if case.name == "DiffRhythm").make()
    with pytest.raises(SiteError, match="takes no audio"):
        collect(made, [audio], [1], tmp_path / "a", progress=False)
    with pytest.raises(SiteError, match="nothing passed"):
        collect(tiny_en, [audio], [Site(1, "decoder")], tmp_path / "b", progress=False, nnsight=True)
    with pytest.raises(SiteError, match="no encoder layer 9"):
        collect(tiny_en, [audio], [9], tmp_path / "c", progress=False)
