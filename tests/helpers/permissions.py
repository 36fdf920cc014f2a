"""Files and folders without permission."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from make import make_sae


@contextmanager
def without_permission() -> Iterator[Path]:
    """A folder with `closed.pt`, that cannot be read, `locked/ae.pt`, that cannot be reached, and a good SAE."""
    user = os.geteuid()
    with tempfile.TemporaryDirectory() as name:  # outside pytest's folders, which are their owner's alone
        folder = Path(name)
        (folder / "locked").mkdir()
        make_sae().save(folder / "open.safetensors")
        (folder / "open.safetensors").chmod(0o644)
        for path in (folder / "closed.pt", folder / "locked" / "ae.pt"):
            path.write_bytes(b"PK\x03\x04")
        (folder / "closed.pt").chmod(0)
        (folder / "locked").chmod(0)
        folder.chmod(0o755)
        try:
            if user == 0:
                os.seteuid(65534)
            yield folder
        finally:
            os.seteuid(user)
            (folder / "locked").chmod(0o755)
