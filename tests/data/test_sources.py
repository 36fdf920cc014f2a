"""Clips from folders and from data sets, on a server of our own that speaks the Hub's protocol."""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
import soundfile
from hub_datasets import CLIPS, ESC50, KNOWN, LIBRISPEECH, audio, put, table
from hub_server import Hub, cut, served

from audiosae_steer import AudioError, AudioSAESteerWarning, HubError, MissingExtraError
from audiosae_steer.data.audio import load_audio
from audiosae_steer.data.sources import open_source, plan_download

SOUNDS = [CLIPS / name for name, entry in KNOWN.items() if entry["kind"] == "nonspeech"][:6]
SPEECH = [CLIPS / name for name, entry in KNOWN.items() if entry["kind"] != "nonspeech"][:6]
SHARDS = ("data/train-00000-of-00002-2f1ab7b8.parquet", "data/train-00001-of-00002-27425e5c.parquet")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with served(monkeypatch, tmp_path) as server:
        yield server


def noise(seconds: float, rate: int = 16_000, kind: str = "WAV") -> bytes:
    buffer = io.BytesIO()
    samples = np.random.default_rng(round(seconds * 10)).uniform(-0.5, 0.5, round(seconds * rate))
    soundfile.write(buffer, samples, rate, format=kind)
    return buffer.getvalue()


def esc50(hub: Hub) -> str:
    """The layout of ashraq/esc50, with sounds of our own."""
    shards = {}
    for shard, (name, files) in enumerate(zip(SHARDS, (SOUNDS[:4], SOUNDS[4:]), strict=True)):
        n = len(files)
        shards[name] = table(
            {
                "filename": [f"1-{100 + shard}{i}-A-0.wav" for i in range(n)],
                "fold": [1 + shard] * n,
                "target": list(range(n)),
                "category": [KNOWN[file.name]["label"] for file in files],
                "esc10": [False] * n,
                "src_file": [100 + 10 * shard + i // 2 for i in range(n)],
                "take": ["A"] * n,
                "audio": audio(files),
            }
        )
    return put(hub, ESC50, {"README.md": b"# ESC-50", **shards})


def librispeech(hub: Hub) -> str:
    """The layout of openslr/librispeech_asr, which holds every part twice."""

    def part(files: list[Path], speaker: int) -> bytes:
        ids = [f"{speaker + i // 2}-134686-{i:04d}" for i in range(len(files))]
        return table(
            {
                "file": [f"{name}.flac" for name in ids],
                "audio": audio(files),
                "text": [f"SENTENCE {i}" for i in range(len(files))],
                "speaker_id": [speaker + i // 2 for i in range(len(files))],
                "chapter_id": [134686] * len(files),
                "id": ids,
            }
        )

    return put(
        hub,
        LIBRISPEECH,
        {
            "all/test.clean/0000.parquet": part(SPEECH[:4], 1089),
            "all/test.other/0000.parquet": part(SPEECH[4:], 367),
            "all/train.clean.100/0000.parquet": part(SPEECH[4:], 103),
            "clean/test/0000.parquet": part(SPEECH[:4], 1089),
            "clean/train.100/0000.parquet": part(SPEECH[4:], 103),
            "other/test/0000.parquet": part(SPEECH[4:], 367),
        },
    )


def test_esc50_is_read_as_it_lies_on_the_hub(hub: Hub) -> None:
    commit = esc50(hub)
    ahead = plan_download("hub:esc50")
    assert hub.downloads() == []
    files = hub.repositories[ESC50].commits[commit]
    assert [(file.name, file.bytes, file.cached) for file in ahead.files] == [
        (name, len(files[name]), False) for name in SHARDS
    ]
    assert ahead.missing == sum(len(files[name]) for name in SHARDS)
    assert ahead.source == f"hub:esc50@{commit}"
    assert "CC BY-NC" in str(ahead)
    assert "at most" in str(ahead)

    source = open_source("hub:esc50", progress=False)
    assert hub.downloads() == list(SHARDS)
    assert source.source == ahead.source
    assert [clip.label for clip in source.clips] == [KNOWN[file.name]["label"] for file in SOUNDS]
    assert [clip.group for clip in source.clips] == ["100", "100", "101", "101", "110", "110"]
    assert source.clips[0].name == "1-1000-A-0.wav"
    assert {clip.text for clip in source.clips} == {None}
    for i, file in enumerate(SOUNDS):
        np.testing.assert_array_equal(source.load(i), load_audio(file))

    assert plan_download("hub:esc50").missing == 0


def test_librispeech_test_clean_is_taken_once_and_nothing_else_of_it(hub: Hub) -> None:
    librispeech(hub)
    source = open_source("hub:librispeech-test-clean", progress=False)
    assert hub.downloads() == ["all/test.clean/0000.parquet"]
    assert [clip.text for clip in source.clips] == [f"SENTENCE {i}" for i in range(4)]
    assert [clip.group for clip in source.clips] == ["1089", "1089", "1090", "1090"]
    assert source.clips[2].name == "1090-134686-0002"
    assert source.load(3).dtype == np.float32

    older = {k: v for k, v in hub.repositories[LIBRISPEECH].commits.popitem()[1].items() if not k.startswith("all/")}
    put(hub, LIBRISPEECH, older)
    assert [file.name for file in plan_download("hub:librispeech-test-clean").files] == ["clean/test/0000.parquet"]


@pytest.mark.parametrize(
    ("part", "files"),
    [
        ("clean/test", ["clean/test/0000.parquet"]),
        ("test", ["clean/test/0000.parquet", "other/test/0000.parquet"]),
        ("clean", ["clean/test/0000.parquet", "clean/train.100/0000.parquet"]),
        ("all/test.clean", ["all/test.clean/0000.parquet"]),
        ("*/test.*/*.parquet", ["all/test.clean/0000.parquet", "all/test.other/0000.parquet"]),
    ],
)
def test_a_part_is_a_config_a_split_both_or_a_pattern(hub: Hub, part: str, files: list[str]) -> None:
    librispeech(hub)
    ahead = plan_download(f"hub:openslr/librispeech_asr:{part}")
    assert [file.name for file in ahead.files] == files
    assert ahead.source.endswith(f":{part}")
    assert [file.name for file in plan_download(ahead.source).files] == files


def test_splits_in_file_names_are_parts_too(hub: Hub) -> None:
    content = table({"audio": audio(SOUNDS[:1])})
    put(
        hub,
        "datasets/a/b",
        {"data/test-00000-of-00001-ab12.parquet": content, "data/train-00000-of-00001.parquet": b""},
    )
    assert [file.name for file in plan_download("hub:a/b:test").files] == ["data/test-00000-of-00001-ab12.parquet"]
    with pytest.raises(HubError, match="several parts; say which, as hub:a/b:data/test: data/test, data/train"):
        plan_download("hub:a/b")


def test_a_pinned_revision_stays_and_a_branch_is_followed(hub: Hub) -> None:
    first = put(hub, "datasets/a/b", {"x.parquet": table({"audio": audio(SOUNDS[:1])})})
    name = plan_download("hub:a/b").source
    put(hub, "datasets/a/b", {"x.parquet": table({"audio": audio(SOUNDS[1:3])})})
    pinned = open_source(name, progress=False)
    assert pinned.source == f"hub:a/b@{first}"
    assert (len(pinned), len(open_source("hub:a/b", progress=False))) == (1, 2)
    assert len(open_source("hub:a/b@main", progress=False)) == 2
    with pytest.raises(HubError, match="no revision 'nowhere'"):
        plan_download("hub:a/b@nowhere")


def test_what_the_hub_converted_is_a_branch_of_its_own(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    put(hub, "datasets/a/b", {"b.py": b"import datasets"})
    converted = {"default/train/0000.parquet": table({"audio": audio(SOUNDS[:2])})}
    hub.repositories["datasets/a/b"].commit(converted, branch="refs/convert/parquet")
    source = open_source("hub:a/b@refs/convert/parquet", progress=False)
    assert len(source) == 2
    cut(hub, monkeypatch, "switched off")
    assert open_source("hub:a/b@refs/convert/parquet:default/train", progress=False).clips[0][:4] == source.clips[0][:4]


def test_without_pyarrow_its_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "x.parquet", {"audio": audio(SOUNDS[:1])})
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"audiosae-steer\[make\]"):
        open_source(path, progress=False)


@pytest.mark.parametrize("way", ["switched off", "down", "503"])
def test_a_second_use_needs_no_network(hub: Hub, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    esc50(hub)
    before = open_source("hub:esc50", progress=False)
    cut(hub, monkeypatch, way)
    for name in ("hub:esc50", before.source):
        again = open_source(name, progress=False)
        assert again.clips == before.clips
        np.testing.assert_array_equal(again.load(5), before.load(5))
    assert plan_download("hub:esc50").missing == 0


@pytest.mark.parametrize(("way", "cure"), [("switched off", "unset it once"), ("down", "HF_ENDPOINT")])
def test_without_network_or_cache_the_cure_is_named(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, way: str, cure: str
) -> None:
    cut(hub, monkeypatch, way)
    for call in (plan_download, open_source):
        with pytest.raises(HubError, match=f"ashraq/esc50 is not in this machine's cache.*{cure}.*or pass a file"):
            call("hub:esc50")


def test_half_a_data_set_in_the_cache_is_not_taken_for_the_whole(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    esc50(hub)
    few = open_source("hub:esc50", most=3, seed=1, progress=False)
    assert hub.downloads() == [SHARDS[0]]
    assert len(few) == 3
    cut(hub, monkeypatch, "switched off")
    assert open_source("hub:esc50", most=3, seed=1, progress=False).clips == few.clips
    with pytest.raises(HubError, match="1 of 2 files"):
        open_source("hub:esc50", progress=False)


def test_a_sample_is_drawn_by_its_seed(hub: Hub) -> None:
    esc50(hub)
    drawn = {seed: open_source("hub:esc50", most=2, seed=seed, progress=False).clips for seed in range(6)}
    assert len(set(drawn.values())) > 1
    assert open_source("hub:esc50", most=2, seed=3, progress=False).clips == drawn[3]
    assert len(open_source("hub:esc50", most=100, progress=False)) == 6


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("hub:no/body", "there is no data set no/body on the Hub"),
        ("hub:esc51", r"no data set called esc51 here; expected hub:user/dataset or hub:esc50\|librispeech"),
        ("hub:", "names no data set"),
        ("hub:a/b/c", "names no data set"),
        ("hub:a/b:train", "no parquet file and no audio in train; it has x"),
        ("hub:a/gated", "asks for consent first"),
        ("hub:a/text", "no parquet file and no audio; it has README.md; .*hub:a/text@refs/convert/parquet"),
    ],
)
def test_what_cannot_be_had_is_said(hub: Hub, source: str, message: str) -> None:
    put(hub, "datasets/a/b", {"x.parquet": table({"audio": audio(SOUNDS[:1])})})
    put(hub, "datasets/a/text", {"README.md": b"nothing"})
    put(hub, "datasets/a/gated", {})
    hub.repositories["datasets/a/gated"].gated = True
    for call in (plan_download, open_source):
        with pytest.raises(HubError, match=message):
            call(source)


def test_what_arrives_damaged_is_refused(hub: Hub) -> None:
    esc50(hub)
    hub.damage = True
    with pytest.raises(HubError, match="not what the Hub recorded"):
        open_source("hub:esc50", progress=False)


def test_audio_files_on_the_hub_come_with_their_table(hub: Hub) -> None:
    files = {f"audio/{file.name}": file.read_bytes() for file in SPEECH[:4]}
    lines = "\n".join(f'{name},"A, {i}",s{i // 2}' for i, name in enumerate(files))
    put(hub, "datasets/a/b", {**files, "metadata.csv": f"file_name,transcription,speaker_id\n{lines}\n".encode()})
    ahead = plan_download("hub:a/b", most=2)
    assert len(ahead.files) == 3
    assert len(plan_download("hub:a/b").files) == 5
    source = open_source("hub:a/b", most=2, progress=False)
    assert sorted(hub.downloads()) == sorted(file.name for file in ahead.files)
    for i, clip in enumerate(source.clips):
        place = list(files).index(clip.name)
        assert (clip.text, clip.group) == (f"A, {place}", f"s{place // 2}")
        np.testing.assert_array_equal(source.load(i), load_audio(SPEECH[place]))


def write(path: Path, columns: dict[str, list[Any]], rows_in_group: int = 2) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(table(columns, rows_in_group))
    return path


def test_parquet_files_lie_in_folders_too_and_are_read_in_any_order(tmp_path: Path) -> None:
    write(tmp_path / "a" / "0.parquet", {"sound": audio(SOUNDS[:3])}, rows_in_group=2)
    one = write(tmp_path / "a" / "1.parquet", {"audio": [file.read_bytes() for file in SOUNDS[3:]]})
    source = open_source(tmp_path / "a", progress=False)
    assert [clip.name for clip in source.clips[:3]] == [file.name for file in SOUNDS[:3]]
    assert source.clips[3].name.endswith("1.parquet:0")
    for i in (5, 0, 2, 2, 1, 4, 3, 0):
        np.testing.assert_array_equal(source.load(i), load_audio(SOUNDS[i]))
    assert len(open_source(one, progress=False)) == 3
    assert plan_download(one).files == ()


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"text": ["a"]}, "no column of .* holds sound: expected one of {bytes, path}.*columns are text"),
        ({"audio": [{"path": "a.wav"}]}, "no column of .* holds sound"),
        ({"audio": [{"bytes": None, "path": "a.wav"}, {"bytes": b"", "path": "b.wav"}]}, r"of 2, 2 cannot be decoded"),
        ({"audio": [{"bytes": b"RIFFnothing", "path": "a.wav"}]}, "of 1, 1 cannot be decoded .*a.wav is not audio"),
        ({"audio": pyarrow.array([], pyarrow.struct({"bytes": pyarrow.binary()}))}, "holds no clips"),
    ],
)
def test_parquet_without_sound_is_refused(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    with pytest.raises(AudioError, match=message.replace("{", r"\{")):
        open_source(write(tmp_path / "x.parquet", columns), progress=False)


@pytest.mark.parametrize("keep", [0, 3, 200, -9])
def test_broken_parquet_is_refused(tmp_path: Path, keep: int) -> None:
    path = write(tmp_path / "x.parquet", {"audio": audio(SOUNDS[:2])})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(AudioError, match="x.parquet is no parquet file that can be read"):
        open_source(path, progress=False)


def test_damaged_pages_of_a_parquet_file_are_an_error_of_ours(tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", {"audio": audio(SOUNDS[:2])})
    content = bytearray(path.read_bytes())
    content[4:400] = bytes(396)
    path.write_bytes(content)
    with pytest.raises(AudioError, match="x.parquet"):
        open_source(path, progress=False)


def test_what_cannot_be_decoded_is_left_out_and_counted(tmp_path: Path) -> None:
    whole = SOUNDS[0].read_bytes()
    sounds = [whole, b"not audio", whole[: len(whole) // 2], noise(1.0), noise(31.0), noise(0)]
    column = [{"bytes": sound, "path": f"{i}.wav"} for i, sound in enumerate(sounds)]
    texts = [None, None, None, "hello", "too long", None]
    path = write(tmp_path / "x.parquet", {"audio": column, "text": texts})
    with pytest.warns(AudioSAESteerWarning, match="of 6 recordings, 3 cannot .*1.wav.* and 1 are longer than 30 s"):
        source = open_source(path, progress=False)
    assert [(clip.name, clip.text) for clip in source.clips] == [("0.wav", None), ("3.wav", "hello")]


def test_all_that_is_left_out_is_named_and_damaged_samples_are_left_out_too(tmp_path: Path) -> None:
    from audiosae_steer.data import sources

    for name, sample in (("good", 0.5), ("nan", np.nan), ("infinite", np.inf), ("far", 1e30), ("twenty", 20.0)):
        samples = np.full((100_000, 2), 0.1)
        samples[90_000] = sample  # beyond the first block
        soundfile.write(tmp_path / f"{name}.wav", samples, 16_000, subtype="FLOAT")
    (tmp_path / "text.wav").write_bytes(b"no sound")
    with pytest.warns(AudioSAESteerWarning, match="of 6 recordings, 4 cannot be decoded") as told:
        source = open_source(tmp_path, progress=False)
    assert [clip.name for clip in source.clips] == ["good.wav", "twenty.wav"]
    said = str(told[0].message)
    assert [said.count(f"{name}.wav") for name in ("nan", "infinite", "far", "text", "good")] == [1, 1, 1, 1, 0]
    for number in range(sources.NAMED):
        (tmp_path / f"text-{number}.wav").write_bytes(b"no sound")
    with pytest.warns(AudioSAESteerWarning, match="14 cannot be decoded .*; and 4 more"):
        open_source(tmp_path, progress=False)


def test_sounds_too_large_to_be_clips_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from audiosae_steer.data import parquet as ours

    path = write(tmp_path / "x.parquet", {"audio": [*audio(SOUNDS[:1]), {"bytes": noise(8.0), "path": "big.wav"}]})
    monkeypatch.setattr(ours, "MAX_SOUND", 200_000)
    with pytest.warns(AudioSAESteerWarning, match="1 cannot be decoded .*row 1 of .* MiB"):
        assert len(open_source(path, progress=False)) == 1
    monkeypatch.setattr(ours, "MAX_ROW_GROUP", 200_000)
    with pytest.raises(AudioError, match="in one group of rows"):
        open_source(path, progress=False)


def test_long_recordings_come_in_pieces(tmp_path: Path) -> None:
    (tmp_path / "wind_1.wav").write_bytes(noise(61.0, 8_000))
    write(tmp_path / "y" / "x.parquet", {"audio": [{"bytes": noise(61.0, 8_000), "path": "wind_1.wav"}]})
    for place in (tmp_path / "wind_1.wav", tmp_path / "y"):
        source = open_source(place, progress=False)
        assert [clip.name.rpartition("wind_1.wav")[2] for clip in source.clips] == ["", "@30s", "@60s"]
        assert {clip.group for clip in source.clips} == {"wind"}
        assert [len(source.load(i)) for i in range(3)] == [480_000, 480_000, 16_000]
        whole = load_audio(tmp_path / "wind_1.wav")
        np.testing.assert_allclose(source.load(1)[100:-100], whole[480_100 : 960_000 - 100], atol=1e-3)
        assert len(open_source(place, most=2, progress=False)) == 2


def test_a_folder_without_tables_is_known_by_its_names(tmp_path: Path) -> None:
    for name in ("rain/1-17367-A.flac", "rain/1-17367-B.flac", "dog/1-4211-A-0.flac", "1089-134686-0003.flac"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(SOUNDS[0].read_bytes())
    source = open_source(tmp_path, progress=False)
    assert {clip.name: (clip.group, clip.label) for clip in source.clips} == {
        "1089-134686-0003.flac": ("1089", None),
        "dog/1-4211-A-0.flac": ("1-4211", "dog"),
        "rain/1-17367-A.flac": ("1-17367", "rain"),
        "rain/1-17367-B.flac": ("1-17367", "rain"),
    }
    assert plan_download(tmp_path).missing == 0
    assert "nothing to download" in str(plan_download(tmp_path))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("text.tsv", 'file\ttext\tspeaker\n{0}\tSay "yes", {0}\tanna\n'),
        ("labels.csv", 'file,text,speaker\n{0},"Say ""yes"", {0}",anna\n'),
    ],
)
@pytest.mark.parametrize("above", [False, True])
def test_tables_beside_the_audio_say_what_is_spoken(tmp_path: Path, name: str, content: str, above: bool) -> None:
    folder = tmp_path / "said"
    folder.mkdir()
    for file in SPEECH[:2]:
        (folder / file.name).write_bytes(file.read_bytes())
    named = f"said/{SPEECH[1].name}" if above else SPEECH[1].name
    (tmp_path if above else folder).joinpath(name).write_text("\ufeff" + content.format(named), encoding="utf-8")
    source = open_source(tmp_path, progress=False)
    found = {clip.name: clip for clip in source.clips}
    assert found[f"said/{SPEECH[1].name}"][1:3] == (f'Say "yes", {named}', "anna")
    assert found[f"said/{SPEECH[0].name}"].text is None
    listed = tmp_path / "some.txt"
    listed.write_text(f"said/{SPEECH[1].name}\n")
    if not above:
        assert [clip.group for clip in open_source(listed, progress=False).clips] == ["anna"]


def test_librispeech_as_it_is_unpacked(tmp_path: Path) -> None:
    folder = tmp_path / "1089" / "134686"
    folder.mkdir(parents=True)
    (folder / "1089-134686-0000.flac").write_bytes(SPEECH[0].read_bytes())
    (folder / "1089-134686.trans.txt").write_text("1089-134686-0000 HE HOPED\n1089-134686-0001 STUFF IT\n")
    (clip,) = open_source(tmp_path, progress=False).clips
    assert (clip.text, clip.group) == ("HE HOPED", "1089")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("labels.csv", b"sound,class\na,b\n", "no column of file names; expected a header like file,text,speaker"),
        ("text.tsv", b"", "no column of file names"),
        ("text.tsv", b"file\ttext\nother.flac\thello\n", "names none of the audio files.*expected names like"),
        ("text.tsv", b"file\ttext\n\xff\xfe\n", "no table in UTF-8"),
    ],
)
def test_tables_that_cannot_be_meant_are_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / "a.flac").write_bytes(SPEECH[0].read_bytes())
    (tmp_path / name).write_bytes(content)
    with pytest.raises(AudioError, match=message):
        open_source(tmp_path, progress=False)


def test_local_sources_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for source, message in [
        (tmp_path / "empty", "holds no audio"),
        (tmp_path / "nowhere", "there is no folder"),
        (tmp_path / "nowhere.txt", "there is no list of audio"),
        (tmp_path / "nowhere.parquet", "there is no parquet file"),
        ("esc50", "is hub:esc50"),
    ]:
        with pytest.raises(AudioError, match=message):
            open_source(source, progress=False)
    with pytest.raises(AudioError, match="most=0"):
        open_source(CLIPS, most=0)


def test_the_progress_bar_goes_to_its_end(capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(open_source(CLIPS, most=3)) == 3
    assert "100%" in capfd.readouterr().out
