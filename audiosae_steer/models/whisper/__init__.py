"""Whisper weights of every layout: openai-whisper, transformers and CTranslate2, read and written."""
