"""Activations of a model: captured at its sites, and kept as shards on disk."""
