"""Completeness of codes: by how few of their numbers attributes of the sound are carried."""
