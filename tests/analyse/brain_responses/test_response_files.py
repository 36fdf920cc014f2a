"""Files of responses: what is read of them, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.io import savemat

from audiosae_steer.analyse import Responses
from audiosae_steer.analyse.brain_responses.response_files import matched
from audiosae_steer.errors import SteeringError

Y = np.random.default_rng(0).standard_normal((400, 2))


def test_an_npz_of_one_subject(tmp_path):
    np.savez(tmp_path / "anna.npz", a=Y, b=Y[:300], fs=64.0, channels=["Cz", "Pz"])
    found = Responses.read(tmp_path / "anna.npz")
    assert [(each.subject, each.stimulus, each.samples.shape) for each in found.items] == [
        ("anna", "a", (400, 2)),
        ("anna", "b", (300, 2)),
    ]
    assert (found.rate, found.channels) == (64.0, ("Cz", "Pz"))
    assert np.array_equal(found.items[0].samples, Y)
    assert found.digest() == Responses.read(tmp_path / "anna.npz").digest()


def test_a_folder_of_mat_files_named_by_subject_and_run(tmp_path):
    for subject in (1, 2):
        (tmp_path / f"Subject{subject}").mkdir()
        for run in (1, 2):
            path = tmp_path / f"Subject{subject}" / f"Subject{subject}_Run{run}.mat"
            savemat(path, {"eegData": Y + subject, "fs": 128.0, "mastoids": Y})
    found = Responses.read(tmp_path)
    assert found.subjects == ("Subject1", "Subject2")
    assert [each.stimulus for each in found.items] == ["Run1", "Run2"] * 2
    assert found.rate == 128
    assert np.allclose(found.items[-1].samples, Y + 2)
    assert matched(["audio1", "audio2"], [each.stimulus for each in found.items]) == {
        "audio1": "Run1",
        "audio2": "Run2",
    }


@pytest.mark.parametrize("kind", ["npy", "tsv"])
def test_a_folder_in_the_manner_of_bids(tmp_path, kind):
    folder = tmp_path / "sub-01" / "eeg"
    folder.mkdir(parents=True)
    stem = folder / "sub-01_task-story_run-1"
    if kind == "npy":
        np.save(f"{stem}_eeg.npy", Y)
    else:
        rows = ["Cz\tPz", *("\t".join(f"{v:.12g}" for v in row) for row in Y)]
        (folder / f"{stem.name}_eeg.tsv").write_text("\n".join(rows), encoding="utf-8")
    (folder / f"{stem.name}_eeg.json").write_text(json.dumps({"SamplingFrequency": 100}), encoding="utf-8")
    (folder / f"{stem.name}_channels.tsv").write_text("name\ttype\nCz\tEEG\nPz\tEEG\n", encoding="utf-8")
    events = "onset\tduration\tstim_file\n0.5\t1\taudio/a.wav\n1.0\tn/a\tn/a\n2\t1.5\taudio/b.wav\n"
    (folder / f"{stem.name}_events.tsv").write_text(events, encoding="utf-8")
    found = Responses.read(tmp_path)
    assert [(each.subject, each.stimulus) for each in found.items] == [("sub-01", "a"), ("sub-01", "b")]
    assert found.channels == ("Cz", "Pz")
    assert np.allclose(found.items[0].samples, Y[50:150])
    assert np.allclose(found.items[1].samples, Y[200:350])


def test_what_cannot_be_read_is_said(tmp_path):
    with pytest.raises(SteeringError, match="there is no"):
        Responses.read(tmp_path / "none")
    with pytest.raises(SteeringError, match="holds no responses"):
        Responses.read(tmp_path)
    np.savez(tmp_path / "a.npz", a=Y)
    with pytest.raises(SteeringError, match="say no rate"):
        Responses.read(tmp_path)
    assert Responses.read(tmp_path, 100).rate == 100
    np.savez(tmp_path / "b.npz", a=Y[:, :1], rate=100)
    with pytest.raises(SteeringError, match="same channels"):
        Responses.read(tmp_path)
    (tmp_path / "b.npz").write_bytes(b"nothing")
    with pytest.raises(SteeringError, match="cannot be read"):
        Responses.read(tmp_path, 100)
    with pytest.raises(SteeringError, match="NaN"):
        Responses.of([("s", "a", np.full((9, 1), np.nan))], 100)
    with pytest.raises(SteeringError, match="two responses of s to a"):
        Responses.of([("s", "a", Y), ("s", "a", Y)], 100)
    with pytest.raises(SteeringError, match="no sound has a response"):
        matched(["a"], ["b"])
    assert matched(["a", "c"], ["a", "b"]) == {"a": "a"}
