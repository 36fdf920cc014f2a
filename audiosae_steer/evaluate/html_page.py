"""HTML pages by jinja2, one self-contained file each, with everything that a template prints escaped."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def render(template: Path, **values: Any) -> str:
    """The page that a template makes of values. Texts in them may be untrusted: they are escaped, never markup.

    Args:
        template: a file that extends `page.html` (beside this module) and fills its blocks `style` and `body`; a
            misspelt name in it is an error.
        **values: what it prints; `title` is the page's.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader([template.parent, Path(__file__).parent]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template.name).render(**values)
