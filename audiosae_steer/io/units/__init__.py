"""Corpus work cut into units that run on one process, several, or Ray, with the same bytes; knows no model."""
