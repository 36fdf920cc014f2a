"""Models and audio by name, folder or file."""

from __future__ import annotations

from .any_model import load_model
from .audio import audio_files, load_audio
from .load import load_processor, load_whisper

__all__ = ["audio_files", "load_audio", "load_model", "load_processor", "load_whisper"]
