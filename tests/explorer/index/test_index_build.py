"""Building with tiny.en on bundled clips: byte-equal however it is done, resumed after interruptions, and refused."""

from __future__ import annotations

import shutil
import sqlite3
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from made_parts import files_in

import audiosae_steer.explorer.index.index_building as building
from audiosae_steer import load_sae, load_whisper
from audiosae_steer.data.activations.by_clip import clip_residuals
from audiosae_steer.data.audio import load_audio
from audiosae_steer.errors import AudioError, SiteError, SteeringError
from audiosae_steer.explorer.index.hub_index import index_at
from audiosae_steer.explorer.index.index_build import CHUNKS, SHARDS, SQLITE, build_index, merge_indices
from audiosae_steer.explorer.index.index_building import IndexJob
from audiosae_steer.explorer.index.index_corpus import Corpus, corpus_of
from audiosae_steer.explorer.index.index_schema import unpack_curve
from audiosae_steer.explorer.index.index_settings import IndexSettings
from audiosae_steer.explorer.index.index_source import open_sae
from audiosae_steer.explorer.index.part_files import read_part, write_part
from audiosae_steer.explorer.index.partial_index import merged
from audiosae_steer.io.shipped import checkpoints_dir
from audiosae_steer.models.sites import Site

NAMES = ("fan.flac", "alarm.flac", "speech-01.flac", "speech-08.flac")
SETTINGS = IndexSettings(top=2, each=1, neighbours=4, effects=1, effect_clips=1)


@pytest.fixture(scope="module")
def model() -> Any:
    return load_whisper("tiny.en")


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audio")
    for name in NAMES:
        kind = "speech" if "speech" in name else "noise"
        (folder / kind).mkdir(exist_ok=True)
        shutil.copyfile(checkpoints_dir() / "clips" / name, folder / kind / name)
    (folder / "text.tsv").write_text("file\ttext\nspeech/speech-08.flac\tThe meeting was moved to Thursday.\n")
    return folder


def job_of(model: Any, corpus: Corpus, settings: IndexSettings = SETTINGS) -> IndexJob:
    return IndexJob.of(model, "tiny.en", [open_sae("tiny.en", 4)], corpus, settings)


def subset(corpus: Corpus, rows: list[int]) -> Corpus:
    return Corpus.of([corpus.clips[i] for i in rows], ["" for _ in rows], lambda i, rate: corpus.read(rows[i], rate))


@pytest.fixture(scope="module")
def built(model: Any, audio: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "index"
    found = build_index(job_of(model, corpus_of([audio], licences=["CC0-1.0"], redistributable=True)), out)
    assert found is not None
    assert found.clips == 4
    return out


@pytest.fixture(scope="module")
def query(built: Path) -> Any:
    with sqlite3.connect(built / SQLITE) as connection:
        yield lambda sql, *given: connection.execute(sql, given).fetchall()
    connection.close()


def test_parts_by_other_processes_merged_are_byte_equal(model: Any, audio: Path, built: Path, tmp_path: Path) -> None:
    """One clip on its own, and three in another process: merged in either order, the index without effects is equal."""
    settings = IndexSettings(top=2, each=1, neighbours=4)
    corpus = corpus_of([audio], licences=["CC0-1.0"], redistributable=True)
    for name, rows in {"one": [2], "other": [3, 0, 1]}.items():
        build_index(job_of(model, subset(corpus, rows), settings), tmp_path / name)
    merge_indices([tmp_path / "one", tmp_path / "other"], tmp_path / "both", settings)
    mine, its = files_in(tmp_path / "both" / SHARDS), files_in(built / SHARDS)
    assert {name for name in its if mine.get(name) != its[name]} == {"effects-00000.parquet", "index.json"}
    write_part(merged(read_part(tmp_path / name / SHARDS) for name in ("other", "one")), tmp_path / "turned")
    turned = files_in(tmp_path / "turned")
    assert {name for name in turned if turned[name] != mine[name]} == {"index.json"}


def test_an_interrupted_build_goes_on(
    model: Any, audio: Path, built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in its second chunk, with the first by another process: the files are those of an uninterrupted build."""
    monkeypatch.setattr(building, "CHUNK", 2)
    out = tmp_path / "index"
    corpus = corpus_of([audio], licences=["CC0-1.0"], redistributable=True)
    assert build_index(job_of(model, corpus), out, part=(1, 2)) is None
    read: list[int] = []

    def broken(i: int, rate: int) -> Any:
        read.append(i)
        if i == 3 and len(read) < 3:
            raise KeyboardInterrupt
        return corpus.read(i, rate)

    job = job_of(model, Corpus(corpus.clips, corpus.marks, broken))
    with pytest.raises(KeyboardInterrupt):
        build_index(job, out)
    assert sorted(path.name for path in (out / CHUNKS).iterdir()) == ["00000"]
    with pytest.raises(SteeringError, match="is not finished"):
        index_at(out)
    build_index(job, out)
    assert read[:2] == [2, 3]
    assert 0 not in read[:4]  # the first chunk is not done again; its sound is read for effects alone
    assert files_in(out / SHARDS) == files_in(built / SHARDS)
    assert (out / SQLITE).read_bytes() == (built / SQLITE).read_bytes()
    assert not (out / CHUNKS).exists()


def test_the_file_is_made_of_the_parquet_files_alone(built: Path, tmp_path: Path) -> None:
    shutil.copytree(built / SHARDS, tmp_path / SHARDS)
    assert index_at(tmp_path).read_bytes() == (built / SQLITE).read_bytes()
    assert index_at(built) == built / SQLITE
    assert index_at(built / SQLITE) == built / SQLITE
    with pytest.raises(SteeringError, match="there is no index"):
        index_at(tmp_path / "nowhere")


def test_examples_are_what_the_sae_gives(model: Any, query: Any) -> None:
    sae = load_sae("tiny.en", 4).float()
    sounds = {name: load_audio(checkpoints_dir() / "clips" / name) for name in NAMES}
    names = {number: Path(name).name for number, name in query("SELECT id, recording FROM clips")}
    codes = {n: sae.encode(next(iter(clip_residuals(model, Site(4), [sounds[n]])))).numpy() for n in NAMES}
    peaks = np.stack([codes[names[i]].max(0) for i in range(1, 5)])
    rows = query("SELECT feature, kind, rank, clip, peak, at, scale, curve FROM examples WHERE kind = 'top'")
    assert len({row[0] for row in rows}) == (peaks.max(0) > 0).sum()
    for feature, _, rank, clip, peak, at, scale, curve in rows:
        assert peak == pytest.approx(np.sort(peaks[:, feature])[::-1][rank], rel=1e-4)
        own = codes[names[clip]][:, feature]
        np.testing.assert_allclose(unpack_curve(scale, curve), own, atol=scale / 255)
        assert at == pytest.approx((own.argmax() + 0.5) / 50, abs=1e-3)
    fired = np.sum([(code > 0).sum(0) for code in codes.values()], axis=0)
    assert [row[0] for row in query("SELECT fired FROM features ORDER BY feature")] == fired.tolist()
    firing, values = query("SELECT features, values_ FROM peaks WHERE clip = 1")[0]
    assert np.frombuffer(zlib.decompress(firing), "<u2").tolist() == np.flatnonzero(peaks[0] > 0).tolist()
    assert len(zlib.decompress(values)) == len(zlib.decompress(firing))


def test_clips_bear_their_rights_texts_and_pictures(query: Any, tmp_path: Path) -> None:
    rows = query("SELECT recording, label, transcript, source, licence, redistributable FROM clips ORDER BY id")
    assert [row[0] for row in rows] == ["noise/alarm.flac", "noise/fan.flac", "speech/speech-01.flac",
                                        "speech/speech-08.flac"]  # fmt: skip
    assert rows[3][1:3] == ("speech", "The meeting was moved to Thursday.")
    assert {row[4:] for row in rows} == {("CC0-1.0", 1)}
    assert query("SELECT clip FROM words WHERE words MATCH 'thursday'") == [(4,)]
    for number, flac, png in query("SELECT clip, flac, png FROM sounds JOIN mels USING (clip)"):
        (tmp_path / "sound.flac").write_bytes(flac)
        samples, rate = soundfile.read(tmp_path / "sound.flac")
        seconds = query("SELECT seconds FROM clips WHERE id = ?", number)[0][0]
        assert len(samples) / rate == pytest.approx(seconds, abs=1e-3)
        width, height = int.from_bytes(png[16:20]), int.from_bytes(png[20:24])
        assert (width, height) == (round(seconds * 100), 80)


def test_an_effect_is_that_of_steering(model: Any, query: Any) -> None:
    """Ablated and set by hooks, the model gives the end of text the change of log-probability that is in the index."""
    import json

    import torch
    from whisper.tokenizer import get_tokenizer

    from audiosae_steer import Ablate, Set, steer
    from audiosae_steer.models.families.whisper_mel import mel

    rows = query("SELECT feature, clip, edit, effect FROM effects ORDER BY edit")
    assert [row[2] for row in rows] == ["ablated", "set"]
    tokenizer = get_tokenizer(False)
    prompt = torch.tensor([tokenizer.sot_sequence_including_notimestamps])
    feature, clip = rows[0][:2]
    name = Path(query("SELECT recording FROM clips WHERE id = ?", clip)[0][0]).name
    peak = query("SELECT peak FROM features WHERE feature = ?", feature)[0][0]
    spectrum = mel(model, [load_audio(checkpoints_dir() / "clips" / name)])

    def end() -> float:
        with torch.no_grad():
            return float(torch.log_softmax(model(spectrum, prompt)[0, -1].float(), -1)[tokenizer.eot])

    before = end()
    for row, edit in zip(rows, (Ablate(feature), Set(feature, peak)), strict=True):
        effect = json.loads(row[3])
        with steer(model, sae=load_sae("tiny.en", 4), layer=4, edits=[edit], allow_empty=True):
            assert end() - before == pytest.approx(effect["end"], abs=2e-3)
        assert set(effect) == {"end", "first", "words", "before", "after"}


def test_another_build_in_the_folder_is_refused(model: Any, audio: Path, built: Path) -> None:
    before = (built / SQLITE).read_bytes()
    with pytest.raises(SteeringError, match="another model, SAE or audio"):
        build_index(job_of(model, corpus_of([audio / "speech"])), built)
    assert (built / SQLITE).read_bytes() == before


def test_a_finished_build_reads_no_audio_again(model: Any, audio: Path, built: Path) -> None:
    before = files_in(built / SHARDS)
    corpus = corpus_of([audio], licences=["CC0-1.0"], redistributable=True)

    def never(i: int, rate: int) -> Any:
        raise AssertionError("read again")

    less = job_of(model, Corpus(corpus.clips, corpus.marks, never), IndexSettings(top=2, each=1, neighbours=2))
    shutil.copytree(built, built.parent / "copy")
    assert build_index(less, built.parent / "copy") is not None
    after = files_in(built.parent / "copy" / SHARDS)
    assert after["examples-00000.parquet"] == before["examples-00000.parquet"]
    assert len(after["neighbours-00000.parquet"]) < len(before["neighbours-00000.parquet"])


def test_a_job_says_what_is_wrong(model: Any, audio: Path, tmp_path: Path) -> None:
    corpus = corpus_of([audio])
    with pytest.raises(SteeringError, match="one SAE for each of its layers"):
        IndexJob.of(model, "tiny.en", [], corpus, SETTINGS)
    own = open_sae("tiny.en", 4)
    with pytest.raises(SiteError, match="encoder layers"):
        IndexJob.of(model, "tiny.en", [own._replace(site=Site(2, "decoder"))], corpus, SETTINGS)
    with pytest.raises(AudioError, match="3 licences for 1 sources"):
        corpus_of([audio], licences=["a", "b", "c"])
    with pytest.raises(SteeringError, match="part 3/2"):
        build_index(job_of(model, corpus), tmp_path / "index", part=(3, 2))
    with pytest.raises(SteeringError, match="top is 0"):
        IndexSettings(top=0)
