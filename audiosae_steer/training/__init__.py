"""From a model's activations to an SAE of them.

One module for each step, imported when it is needed: `frames` (activations on disk, streamed and shuffled), `settings`,
`trainer` (SAELens' own, and what it trained as an SAE of ours), `checkpoints` (an interrupted training goes on),
`figures` (how well an SAE explains activations), `train` (all of it, from audio to a file), `curve` and `card` (what is
written beside that file).
"""
