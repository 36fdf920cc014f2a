"""The lock: openai-whisper's model called by several threads, one at a time."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from make import make_hf

from audiosae_steer import Push, load_audio, locked, steer
from audiosae_steer.models.lock import lock_of
from audiosae_steer.steering.recipes.load import checkpoints_dir

NAMES = ["footsteps", "speech-01", "rain", "speech-02"]


def transcripts(model: Any, names: list[str], write: Any) -> list[str]:
    sounds = {name: load_audio(checkpoints_dir() / "clips" / f"{name}.flac") for name in NAMES}
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(lambda name: write(model, sounds[name]), names))


def test_threads_share_a_locked_model(tiny_en: Any) -> None:
    import whisper

    def by_function(model: Any, samples: Any) -> str:
        with locked(model):
            return str(whisper.transcribe(model, samples, fp16=False, sample_len=20, temperature=0.0)["text"])

    def by_method(model: Any, samples: Any) -> str:
        return str(model.transcribe(samples, fp16=False, sample_len=20, temperature=0.0)["text"])

    with steer(tiny_en, "no-false-speech", lock=True):
        alone = {name: transcripts(tiny_en, [name], by_method)[0] for name in NAMES}
        for write in (by_method, by_function):
            assert transcripts(tiny_en, NAMES * 2, write) == [alone[name] for name in NAMES * 2]
    assert not {"transcribe", "decode", "forward"} & set(vars(tiny_en))
    assert alone["rain"] == ""
    assert alone["speech-01"] != ""


def test_a_copy_has_a_lock_of_its_own_and_a_model_one() -> None:
    model = make_hf()
    assert lock_of(model) is lock_of(model)
    assert lock_of(copy.deepcopy(model)) is not lock_of(model)
    assert pickle.loads(pickle.dumps(lock_of(model))) is not lock_of(model)
    with steer(model, sae=None, layer=1, edits=[Push(torch.ones(64))], lock=True) as one:
        with locked(model), torch.no_grad():  # re-entrant
            model(torch.zeros(1, 80, 3000), decoder_input_ids=torch.tensor([[50257]]))
        assert one.opened is None
