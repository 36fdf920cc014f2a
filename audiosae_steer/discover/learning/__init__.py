"""Amounts of `Add` edits, learned by gradient through the frozen Whisper."""
