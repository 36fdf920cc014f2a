"""Features of sound beside responses of the brain to it."""
