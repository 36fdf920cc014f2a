"""From activations to features, edits and recipes.

One module for each step, imported when it is needed: `collect` (a model's residuals, as shards on disk), `train` (an
SAE of them), `learn` (the amounts of `Add` edits, by gradient), `fit_gate` (the probe that opens and shuts the edits).
"""
