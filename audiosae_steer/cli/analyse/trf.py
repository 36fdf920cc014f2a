"""Command `analyse trf`."""


def trf() -> None:
    """Stub."""
