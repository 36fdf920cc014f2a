"""Phones that features fire on: alignments read, features named, names scored beside their null."""
