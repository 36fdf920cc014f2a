"""ES modules and style sheets put into one page that needs no server, under a policy that lets nothing else run."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

PARTS = Path(__file__).parent
"""Folder of the shared modules, style sheet and macros."""
_IMPORT = re.compile(
    r'^import\s+(?:\{[^}]*\}\s+from\s+"\./(?:parts/)?|\w+\s+from\s+"\./vendor/\w+/)([\w.-]+)";\n', re.MULTILINE
)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const) )", re.MULTILINE)


def joined_modules(modules: Sequence[Path], given: Sequence[str] = ()) -> str:
    """One module made of several, each after those that it imports; their top-level names must differ.

    Only `import { … } from "./file.js";`, `import Name from "./vendor/…";` and `export` before a declaration are
    understood, which is all that this package's modules use.

    Args:
        modules: the files.
        given: names of further files, whose names the caller declares before.

    Raises:
        ValueError: one imports what is not given before it.
    """
    known, parts = set(given), []
    for path in modules:
        text = path.read_text(encoding="utf-8")
        missing = set(_IMPORT.findall(text)) - known
        if missing:
            raise ValueError(f"{path.name} imports {', '.join(sorted(missing))}, which is not before it")
        known.add(path.name)
        parts.append(_EXPORT.sub("", _IMPORT.sub("", text)))
    joined = "\n".join(parts)
    if re.search(r"^\s*(import|export)\b(?!\()", joined, re.MULTILINE):
        raise ValueError("a module imports or exports in a way that cannot be joined")
    return joined.replace("</script", "<\\/script")


def page_policy(script: str, style: str) -> str:
    """Content-Security-Policy for a page whose only script and style element hold these texts: nothing from outside."""
    return (
        f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; "
        "img-src data:; media-src data:; base-uri 'none'; form-action 'none'"
    )


def data_address(kind: str, body: bytes) -> str:
    """Address that holds the bytes itself."""
    return f"data:{kind};base64,{base64.b64encode(body).decode('ascii')}"


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
