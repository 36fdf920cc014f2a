"""Fixtures shared by all tests: the released tiny.en in both libraries, and the real audio where it is at hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # before anything imports triton

WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))
if WORKERS > 1:  # processes that share the cores, and what they start, must not each take all of them
    threads = max(1, (os.cpu_count() or 1) // WORKERS)
    torch.set_num_threads(threads)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))

settings.register_profile("ours", deadline=None)  # a shared machine is slow now and then; time is never asserted
settings.load_profile("ours")

ASSETS = Path(__file__).resolve().parents[2] / "shared" / "assets"


@pytest.fixture(scope="session")
def assets() -> Path:
    """The folder of real audio; tests that need it are skipped where it is absent."""
    if not ASSETS.is_dir():
        pytest.skip("the real audio (../shared/assets beside the repository) is not on this machine")
    return ASSETS


@pytest.fixture(scope="session")
def tiny_en():
    """The released tiny.en as an openai-whisper model. Shared: leave it as it was."""
    from audiosae_steer.models.load import load_whisper

    return load_whisper("tiny.en", library="openai")


@pytest.fixture(scope="session")
def tiny_en_hf():
    """The released tiny.en as a transformers WhisperForConditionalGeneration. Shared: leave it as it was."""
    from audiosae_steer.models.load import load_whisper

    return load_whisper("tiny.en", library="transformers")
