"""Random choices that depend on the recording alone, and never on the order in which recordings are met."""

from __future__ import annotations

import hashlib


def seed_of(seed: int, recording: str, purpose: str) -> int:
    """A seed of 63 bits for one choice about one recording: a hash of the three.

    Args:
        seed: of the whole work.
        recording: its name in the plan.
        purpose: what is drawn, such as "gain"; each purpose has draws of its own.
    """
    words = (str(seed), recording, purpose)
    content = b"".join(len(word).to_bytes(8, "little") + word for word in (w.encode("utf-8", "replace") for w in words))
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "little") >> 1
