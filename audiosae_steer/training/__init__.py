"""Training of SAEs on a model's activations, by SAELens: from audio files to a native file, its curve and its card."""
