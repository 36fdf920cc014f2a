"""Edits by concept, measured in the sound that they make."""
