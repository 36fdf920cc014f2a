"""Calibration of a recipe: kind of edit, strength and gate, within a budget on speech."""
