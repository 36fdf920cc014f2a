"""Pages to compare sounds by ear."""
