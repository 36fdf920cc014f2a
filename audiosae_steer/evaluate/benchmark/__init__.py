"""The benchmark of false speech: arms, material, measures and reports."""
