"""Models and audio by name, folder or file."""

from __future__ import annotations

from .audio import audio_files, load_audio
from .load import load_processor, load_whisper

__all__ = ["audio_files", "load_audio", "load_processor", "load_whisper"]
