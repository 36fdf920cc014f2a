"""Recipes: edits, gates and where they apply, as one JSON file."""
