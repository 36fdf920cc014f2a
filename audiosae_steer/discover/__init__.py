"""From activations to features, edits and recipes."""
