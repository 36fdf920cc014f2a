"""Transcription with either library's Whisper, and transcripts as files."""
