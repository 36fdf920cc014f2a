"""Commands of `audiosae-steer analyse`, each one call of `audiosae_steer.analyse`."""
