"""`python -m audiosae_steer`."""

from __future__ import annotations

from .cli.app import main

main()
