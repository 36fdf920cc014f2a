"""Measuring what a steering does: text on non-speech, word error rate, cost, and the demo."""
