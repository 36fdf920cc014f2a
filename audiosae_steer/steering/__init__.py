"""Steering: edits and gates, compiled to a plan, run by hooks in a model, baked or removed."""
