"""Discovery: from activations to features, edits, gates and recipes.

`contrast` finds features that tell two kinds of clips apart; `learning` learns the amounts of `Add` edits by gradient;
`gates` fits the probes that open and shut the edits; `calibration` chooses kind of edit, strength and thresholds within
a budget on speech; `pipeline` does all of it in one call.
"""
