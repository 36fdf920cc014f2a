"""Mel spectrograms around the peaks of a feature's activation, beside those around random frames."""
