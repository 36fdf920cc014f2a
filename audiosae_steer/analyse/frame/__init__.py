"""Parts, nulls, controls, intervals and results: what every analysis has in common."""
